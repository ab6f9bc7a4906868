"""The servers that come along: PostgreSQL and Valkey, private to one data directory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from server.datadir import DataDirBusy, Lock, prepare
from server.postgres import Postgres
from server.processes import Service, Supervised
from server.valkey import Valkey

_ATTACH_SECONDS = 60.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """How to reach them; None for one that was not asked for."""

    database_url: str | None
    redis_url: str | None


class Embedded:
    """Run the servers for as long as the context lasts, and restart one that dies.

    They listen on Unix sockets in private directories only. Raises DataDirBusy if
    another process holds the data directory, DataDirError if it cannot be used, and
    StartFailed if a server does not start.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        postgres: bool = True,
        valkey: bool = True,
        purpose: str = "serve",
        postgres_settings: Mapping[str, str] | None = None,
    ):
        self._data_dir = data_dir
        self._postgres = postgres
        self._valkey = valkey
        self._purpose = purpose
        self._settings = postgres_settings or {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Servers:
        """Answer when all of them are ready."""
        async with AsyncExitStack() as stack:
            servers = await self._start(stack)
            self._stack = stack.pop_all()
        return servers

    async def __aexit__(self, *raised: object) -> None:
        """Stop them, the last first, and give the data directory back."""
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> Servers:
        data_dir = prepare(self._data_dir)
        _hold(stack, data_dir, self._purpose)
        postgres = valkey = None
        if self._postgres:
            postgres = Postgres.at(data_dir, self._settings)
            # A copied data directory may share its files through a link.
            _hold(stack, postgres.home, self._purpose)
            await _run(stack, postgres)
        if self._valkey:
            valkey = Valkey.at(data_dir)
            await _run(stack, valkey)
        return Servers(
            database_url=postgres.url if postgres else None,
            redis_url=valkey.url if valkey else None,
        )


@asynccontextmanager
async def attach_or_start(data_dir: Path, *, purpose: str) -> AsyncIterator[str]:
    """Lend the URL of the directory's database, whether its server runs or not.

    If it does not, PostgreSQL runs for the time of the context. Waits up to a minute
    for another command, or for a server that is starting.
    """
    async with AsyncExitStack() as stack:
        yield await _reach(stack, data_dir, purpose)


async def _reach(stack: AsyncExitStack, data_dir: Path, purpose: str) -> str:
    deadline = asyncio.get_running_loop().time() + _ATTACH_SECONDS
    while True:
        embedded = Embedded(data_dir, valkey=False, purpose=purpose)
        try:
            servers = await stack.enter_async_context(embedded)
        except DataDirBusy as busy:
            url = await _url_of_running(data_dir) if busy.holder.is_server else None
            if url is None and asyncio.get_running_loop().time() > deadline:
                raise
        else:
            url = servers.database_url
        if url is not None:
            return url
        await asyncio.sleep(_POLL_SECONDS)


async def _url_of_running(data_dir: Path) -> str | None:
    url = Postgres.at(prepare(data_dir)).url
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return None  # it is starting, or stopping
    await connection.close()
    return url


def _hold(stack: AsyncExitStack, directory: Path, purpose: str) -> None:
    stack.callback(Lock.take(directory, purpose).release)


async def _run(stack: AsyncExitStack, service: Service) -> None:
    supervised = Supervised(service)
    stack.push_async_callback(supervised.stop)
    await supervised.start()
