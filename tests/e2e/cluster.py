"""Three servers on one PostgreSQL and one Valkey, all of them the test's own.

None is another's child, so that each can be killed by itself. The first server reaches
its database directly, the second through a proxy that can swallow what is said, the
third from a network namespace of its own where the machine allows that.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import aiohttp
import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from server import migrate, processes
from server.postgres import Postgres
from server.processes import Process
from server.valkey import Valkey
from tests.e2e.history import Log
from tests.e2e.ledger import read_log
from tests.e2e.namespaces import Namespace
from tests.e2e.people import SECRETS
from tests.e2e.proxy import BlackHole
from tests.e2e.servers import START_SECONDS, Served

_NODES = ("a", "b", "c")
_POLL_SECONDS = 0.05
# What a killed process has written, the machine still has; commits have to be written.
_POSTGRES = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
_QUIET = {
    "BOARDCAST_ACCESS_LOG": "off",
    "BOARDCAST_LOG_LEVEL": "warning",
    "BOARDCAST_RATE_LIMIT_PER_MINUTE": "0",
}


class Node:
    """A server, and its way to the database."""

    def __init__(
        self, served: Served, *, way: BlackHole, namespace: Namespace | None = None
    ):
        self.served = served
        self.way = way
        self.namespace = namespace

    async def start(self) -> None:
        """Start it as a supervisor would: again, if it ends before it is ready."""
        host = self.namespace.inner if self.namespace is not None else "127.0.0.1"
        port = self.served.port if self.served.url else 0
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    await self.served.start("--host", host, port=port)
                except AssertionError:
                    if self.served.is_running:
                        raise
                else:
                    return
                await asyncio.sleep(_POLL_SECONDS)


class Cluster:
    """The servers, and all that can be done to them."""

    def __init__(self, place: Path):
        self.postgres = Postgres.at(place, _POSTGRES)
        self.valkey = Valkey.at(place)
        self.nodes: list[Node] = []
        self._database: Process | None = None
        self._redis: Process | None = None

    @classmethod
    @asynccontextmanager
    async def start(
        cls, place: Path, *, redis_url: str | None = None
    ) -> AsyncIterator[Self]:
        """Have them run for as long as the context lasts.

        `redis_url` is where the servers find Valkey, if not where it is. Then none is
        in a namespace, whose loopback is another.
        """
        cluster = cls(place)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(cluster._stop)
            await cluster.start_postgres()
            await cluster.start_valkey()
            await asyncio.to_thread(migrate.migrate, cluster.postgres.url)
            for name in _NODES:
                node = await cluster._node(stack, place / name, redis_url)
                cluster.nodes.append(node)
            await asyncio.gather(*(node.start() for node in cluster.nodes))
            yield cluster

    @property
    def namespace(self) -> Namespace | None:
        """The one that the last server lives in, if it does."""
        return self.nodes[-1].namespace

    async def start_postgres(self) -> None:
        self._database = await self.postgres.start()

    async def start_valkey(self) -> None:
        self._redis = await self.valkey.start()

    async def kill_postgres(self) -> None:
        """End all of its processes at once."""
        self.signal_postgres(signal.SIGKILL)
        assert self._database is not None
        await self._database.wait()

    async def kill_valkey(self) -> None:
        self.signal_valkey(signal.SIGKILL)
        assert self._redis is not None
        await self._redis.wait()

    def signal_postgres(self, number: signal.Signals) -> None:
        for pid in processes.find("postgres", self.postgres._mark):
            processes.send(pid, number)

    def signal_valkey(self, number: signal.Signals) -> None:
        assert self._redis is not None
        processes.send(self._redis.pid, number)

    async def flush_valkey(self) -> None:
        """Have it forget everything, if it is there."""
        with suppress(RedisError):
            async with Redis.from_url(self.valkey.url, socket_timeout=1) as client:
                await client.flushall()

    async def log(self) -> Log:
        """Read what the database holds."""
        async with self.connection() as connection:
            return await read_log(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection that takes no server's way."""
        connection = await asyncpg.connect(self.postgres.url, timeout=5)
        try:
            yield connection
        finally:
            await connection.close()

    async def is_well(self) -> bool:
        """Ask all servers whether they can serve."""
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            urls = [f"{node.served.url}/health" for node in self.nodes]
            return all(await asyncio.gather(*(_is_ok(session, url) for url in urls)))

    async def _node(
        self, stack: AsyncExitStack, directory: Path, redis_url: str | None
    ) -> Node:
        namespace = None
        if directory.name == _NODES[-1] and redis_url is None:
            namespace = stack.enter_context(Namespace.found())
        host = namespace.outer if namespace is not None else "127.0.0.1"
        upstream = self.postgres.sockets / ".s.PGSQL.5432"
        way = await stack.enter_async_context(BlackHole.open(upstream, host=host))
        url = self.postgres.url
        if directory.name != _NODES[0]:
            url = f"postgresql://boardcast@{host}:{way.port}/boardcast"
        environ: Mapping[str, str] = (
            SECRETS
            | _QUIET
            | {
                "DATABASE_URL": url,
                "REDIS_URL": redis_url or self.valkey.url,
            }
        )
        prefix = namespace.prefix if namespace is not None else ()
        served = Served(directory, environ, prefix=prefix)
        return Node(served, way=way, namespace=namespace)

    async def _stop(self) -> None:
        for node in self.nodes:
            if node.served.is_running:
                node.served.send(signal.SIGCONT)
                await asyncio.to_thread(node.served.stop)
        if self._redis is not None:
            self.signal_valkey(signal.SIGCONT)
            await self.valkey.stop(self._redis)
        if self._database is not None:
            self.signal_postgres(signal.SIGCONT)
            await self.postgres.stop(self._database)


async def _is_ok(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            found = await answer.json()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
    return bool(found["status"] == "ok")
