"""Whose address counts, whatever is written into the headers."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from server.addresses import Addresses, bucket


def address_of(peer: str | None, *lines: str, proxies: tuple[str, ...] = ()) -> str:
    request = make_mocked_request("GET", "/")
    headers = CIMultiDict(("X-Forwarded-For", line) for line in lines)
    return Addresses(proxies).of(request.clone(remote=peer or "", headers=headers))


INSIDE = ("10.0.0.0/8", "fd00::/8")


def test_without_trusted_proxies_nobody_is_believed():
    assert address_of("10.0.0.1", "203.0.113.9") == "10.0.0.1"


def test_who_is_no_proxy_is_not_believed():
    assert address_of("198.51.100.7", "203.0.113.9", proxies=INSIDE) == "198.51.100.7"


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
        (["1.2.3.4, 203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        (["1.2.3.4", "203.0.113.9", "10.9.9.9"], "203.0.113.9"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]:443"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["fe80::1%eth0"], "fe80::1"),
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["203.0.113.9, unknown"], "10.0.0.1"),
        (["203.0.113.9, garbage, 10.0.0.2"], "10.0.0.2"),
        (["203.0.113.9,"], "10.0.0.1"),
        (["ÿ\x00"], "10.0.0.1"),
        (["1.2.3.4:"], "10.0.0.1"),
        (["[::1", "[]", "%", "1.2.3", "0x7f.1", "1.2.3.4:x"], "10.0.0.1"),
        (["," * 8000], "10.0.0.1"),
    ],
)
def test_behind_a_proxy_the_last_address_that_is_no_proxy_counts(
    lines: list[str], address: str
):
    assert address_of("10.0.0.1", *lines, proxies=INSIDE) == address


def test_a_proxy_may_be_named_by_its_ipv6_address_or_as_ipv4_within_it():
    assert address_of("fd00::1", "203.0.113.9", proxies=INSIDE) == "203.0.113.9"
    assert address_of("::ffff:10.0.0.1", "203.0.113.9", proxies=INSIDE) == "203.0.113.9"


def test_who_has_no_address_is_nobody():
    assert address_of(None) == ""


def test_one_customer_of_ipv6_is_one():
    assert bucket("2001:db8:1:2:3:4:5:6") == bucket("2001:db8:1:2::1")
    assert bucket("2001:db8:1:2::1") != bucket("2001:db8:1:3::1")
    assert bucket("192.0.2.1") != bucket("192.0.2.2")
    assert bucket("") == ""
