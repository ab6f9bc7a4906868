"""What REDIS_URL means."""

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from server import hints
from server.cluster import Cluster


def test_one_server() -> None:
    servers = hints.read("redis://ada:pa%20ss@cache:7000/3")
    connection = servers.connection(None)

    assert not servers.is_cluster
    assert (connection.host, connection.port, connection.db) == ("cache", 7000, 3)
    assert (connection.username, connection.password) == ("ada", "pa ss")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("rediss://cache", SSLConnection),
        ("unix:///run/valkey.sock", UnixDomainSocketConnection),
    ],
)
def test_one_server_behind_something_else(url: str, kind: type) -> None:
    assert type(hints.read(url).connection(None)) is kind


def test_a_cluster() -> None:
    servers = hints.read("redis+cluster://ada:p@ss@a:7000,[::1]:7001,c/0")
    connection = servers.connection(("d", 7003))

    assert servers.places == (("a", 7000), ("::1", 7001), ("c", 6379))
    assert (connection.host, connection.port) == ("d", 7003)
    assert (connection.username, connection.password) == ("ada", "p@ss")


def test_a_cluster_behind_tls() -> None:
    servers = hints.read("rediss+cluster://a:1,b:2?ssl_cert_reqs=none")

    assert servers.places == (("a", 1), ("b", 2))
    assert type(servers.connection(("a", 1))) is SSLConnection


@pytest.mark.parametrize(
    ("url", "kind"), [("redis://a", Redis), ("redis+cluster://a:1", Cluster)]
)
def test_a_client_is_of_the_kind_that_the_url_says(url: str, kind: type) -> None:
    assert type(hints.connect(url)) is kind


async def test_a_client_waits_for_nothing_longer_than_a_quarter_of_a_second() -> None:
    pool = hints.read("redis://a").client().connection_pool

    assert pool.connection_kwargs["socket_timeout"] == 0.25
    assert pool.connection_kwargs["socket_connect_timeout"] == 0.25
