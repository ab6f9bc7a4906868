"""What REDIS_URL means."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

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
    assert isinstance(hints.connect(url), kind)


async def test_a_client_waits_for_nothing_longer_than_a_quarter_of_a_second() -> None:
    pool = hints.read("redis://a").client().connection_pool

    assert pool.connection_kwargs["socket_timeout"] == 0.25
    assert pool.connection_kwargs["socket_connect_timeout"] == 0.25


@pytest.mark.parametrize(
    "nonsense",
    [b">0\r\n", b"*1\r\n" * 5000, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\r\n"],
)
async def test_who_speaks_nonsense_is_no_redis(tmp_path: Path, nonsense: bytes) -> None:
    done = asyncio.Event()

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while asked := await reader.read(4096):
            greeting = b"%0\r\n" * asked.count(b"HELLO")
            greeting += b"+OK\r\n" * asked.count(b"SETINFO")
            writer.write(nonsense if b"PING" in asked else greeting)
        writer.close()
        done.set()

    place = tmp_path / "socket"
    async with await asyncio.start_unix_server(answer, place):
        client = hints.connect(f"unix://{place}")
        with pytest.raises(RedisError):
            await client.ping()
        await client.aclose()
        await done.wait()
