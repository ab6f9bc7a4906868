"""Where a client is: its address behind the proxies that are trusted, and its bucket.

Proxies append the peer's address to X-Forwarded-For, so what a trusted one wrote stands
on the right; everything left of the first address that is no trusted proxy is hearsay.
"""

from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from aiohttp import web
from multidict import istr

_FORWARDED_FOR = istr("X-Forwarded-For")
_SITE_BITS = 64  # one customer's, who may use any address in it

Address = IPv4Address | IPv6Address


class Addresses:
    """Tells clients' addresses; `proxies` are networks whose word is taken."""

    def __init__(self, proxies: Iterable[str] = ()):
        self._proxies = tuple(ip_network(text) for text in proxies)

    def of(self, request: web.BaseRequest) -> str:
        """Give the client's address: the last one that no trusted proxy has."""
        peer = parsed(request.remote or "")
        if peer is None:
            return ""
        if self._is_proxy(peer):
            for hop in _hops(request.headers.getall(_FORWARDED_FOR, ())):
                if hop is None:  # whoever sent it to this proxy is not told
                    break
                peer = hop
                if not self._is_proxy(hop):
                    break
        return str(peer)

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def bucket(address: str) -> str:
    """Name what is limited as one: an IPv4 address, or 64 bits of an IPv6 one."""
    found = parsed(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), _SITE_BITS), strict=False))
    return address


def parsed(text: str) -> Address | None:
    """Read an address, with or without a port; IPv4 within IPv6 is IPv4."""
    try:
        found = ip_address(_without_port(text.strip()))
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return found
    return found.ipv4_mapped or IPv6Address(int(found))  # without its zone


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, _, port = text.partition(":")
    return host if port.isdigit() and "." in host else text


def _hops(lines: Iterable[str]) -> Iterator[Address | None]:
    """Read the header from the right: the nearest hop first."""
    for text in reversed(",".join(lines).split(",")):
        yield parsed(text)
