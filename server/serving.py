"""`boardcast serve`: from nothing to a server that listens, and back to nothing."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import structlog
from aiohttp import web

from server import keys
from server.app import Urls
from server.config import Config
from server.demo import PASSWORD, PEOPLE, email_of
from server.descriptors import raise_file_limit
from server.embedded import Embedded
from server.health import look_for_redis
from server.listening import bound, listen, url_of
from server.migrate import migrate, pending
from server.mistakes import Mistake
from server.running import drain, running
from server.supervisor import Supervisor
from server.told import Told

_CONNECTIONS_BESIDE = 5  # of a worker, beside its pool: for lists, and for news
_OTHER_CONNECTIONS = 20  # for commands, and for who looks after the database
_USUAL_CONNECTIONS = 60

# Who may log in to the demo company, and what is done at SIGHUP.
_Serving = AsyncIterator[tuple[str | None, Callable[[], None]]]

_log = structlog.get_logger(__name__)


async def serve(config: Config) -> int:
    """Serve until SIGINT or SIGTERM, then stop everything that was started.

    Raises Mistake, DataDirError, StartFailed or MigrationFailed.
    """
    if config.demo and config.is_production:
        raise Mistake("a demo has published passwords: not in production")
    raise_file_limit()
    is_ready = asyncio.Event()

    def stop() -> None:
        if not is_ready.is_set():
            serving.cancel()

    told = Told(stop)
    serving = asyncio.ensure_future(_serve(config, told, is_ready))
    try:
        await serving
    except asyncio.CancelledError:
        if not told.is_stopping:
            raise
    return 0


async def _serve(config: Config, told: Told, is_ready: asyncio.Event) -> None:
    # First of all: who cannot have the port need not wait for the databases.
    with bound(config.host, config.port) as listening:
        async with _servers(config) as urls:
            missing = await _prepare(config, urls.database)
            serving = _alone if config.workers == 1 else _together
            async with serving(config, urls, listening) as (login, roll):
                url = url_of(listening)
                _log.info("server.listening", url=url, missing=missing)
                _announce(url, missing, login)
                is_ready.set()
                async for _ in told.rolls():
                    roll()


@asynccontextmanager
async def _alone(config: Config, urls: Urls, listening: socket.socket) -> _Serving:
    """Serve in this process."""
    async with running(config, urls) as runner:
        await look_for_redis(runner.app[keys.REDIS].ping)
        await listen(runner, listening)
        login = await _demo_login(runner.app)
        yield login, lambda: _log.warning("server.nothing_to_roll", see="--workers")
        await drain(runner)


@asynccontextmanager
async def _together(config: Config, urls: Urls, listening: socket.socket) -> _Serving:
    """Serve in processes of their own, which are restarted in turn."""
    login = None
    if config.demo:  # once, and before anybody is there
        async with running(config, urls) as runner:
            login = await _demo_login(runner.app)
    async with Supervisor(replace(config, demo=False), urls, listening) as supervisor:
        yield login, supervisor.roll


@asynccontextmanager
async def _servers(config: Config) -> AsyncIterator[Urls]:
    database, redis = config.database_url, config.redis_url
    if database and redis:
        yield Urls(database=database, redis=redis)
        return
    embedded = Embedded(
        config.data_dir,
        postgres=not database,
        valkey=not redis,
        postgres_settings={"max_connections": str(_most_connections(config))},
    )
    async with embedded as servers:
        yield Urls(
            database=database or servers.database_url or "",
            redis=redis or servers.redis_url or "",
        )


def _most_connections(config: Config) -> int:
    """Allow for the pools of all workers, and for one's successor beside it."""
    workers = config.workers + (config.workers > 1)
    wanted = workers * (config.database_pool_size + _CONNECTIONS_BESIDE)
    return max(_USUAL_CONNECTIONS, wanted + _OTHER_CONNECTIONS)


async def _prepare(config: Config, url: str) -> list[str]:
    """Migrate, but in production only tell what is missing."""
    if config.is_production:
        return await asyncio.to_thread(pending, url)
    applied = await asyncio.to_thread(migrate, url)
    if applied:
        _log.info("database.migrated", migrations=applied)
    return []


def _announce(url: str, missing: list[str], login: str | None) -> None:
    lines = [f"Boardcast is ready: {url}"]
    if missing:
        lines = [f"Boardcast waits for `boardcast migrate`: {url}"]
    lines += [f"  API and docs   {url}/docs"]
    if login:
        lines += [f"  Demo login     {login}"]
    lines += ["  Ctrl-C stops it"]
    with suppress(OSError):  # nobody may be reading; the server is there all the same
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


async def _demo_login(app: web.Application) -> str | None:
    person = PEOPLE[0]
    if not app[keys.CONFIG].demo:
        return None
    if await app[keys.ACCOUNTS].find_by_login(email=email_of(person)) is None:
        return None  # it was not empty, so it was not filled
    return f"{person.username} / {PASSWORD}"
