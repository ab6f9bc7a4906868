"""The address that is listened on: taken before all else, and kept to the end."""

import errno
import socket
import sys

from aiohttp import web

from server.mistakes import Mistake

_BACKLOG = 4096  # all dashboards may come back at once; Linux allows no more
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 (compared with, not bound to)


def bound(host: str, port: int) -> socket.socket:
    """Take the address without accepting anybody yet; raises Mistake."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Mistake(f"cannot listen on {host}: {error.strerror}") from error
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.setblocking(False)  # noqa: FBT003 (its only parameter)
        taken.bind(address)
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise Mistake(
                f"port {port} of {host} is in use; choose another with --port"
            ) from error
        reason = error.strerror
        raise Mistake(f"cannot listen on port {port} of {host}: {reason}") from error
    return taken


def shared(first: socket.socket, count: int) -> list[socket.socket]:
    """Make one socket of the address for each of so many processes.

    Linux deals the connections out among those that listen; elsewhere the option does
    not exist or the last one gets all, so there every process has the same socket. The
    first was bound without the option, so nobody else had the address. Whoever runs
    these closes the others; raises Mistake.
    """
    if sys.platform != "linux":
        return [first.dup() for _ in range(count)]
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return [first.dup(), *(_beside(first) for _ in range(1, count))]


async def listen(runner: web.AppRunner, listening: socket.socket) -> None:
    """Accept from now on; raises Mistake."""
    try:
        await web.SockSite(runner, listening, backlog=_BACKLOG).start()
    except OSError as error:  # somebody was bound to it too, and was quicker
        raise Mistake("the port is in use; choose another with --port") from error


def url_of(listening: socket.socket) -> str:
    """Write the address as one that can be clicked."""
    host, port = listening.getsockname()[:2]
    if host in _ANYWHERE:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _beside(first: socket.socket) -> socket.socket:
    other = socket.socket(first.family, first.type, first.proto)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.setblocking(False)  # noqa: FBT003 (its only parameter)
    other.bind(first.getsockname())
    return other
