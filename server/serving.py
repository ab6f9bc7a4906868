"""`boardcast serve`: from nothing to a server that listens, and back to nothing."""

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from aiohttp import web

from actors.domain.errors import StoreUnavailable
from server import keys
from server.app import Urls, create_app
from server.config import Config
from server.demo import PASSWORD, PEOPLE, email_of
from server.descriptors import raise_file_limit
from server.embedded import Embedded
from server.health import look_for_redis
from server.migrate import migrate, pending
from server.mistakes import Mistake
from server.runner import Runner

_BACKLOG = 4096  # all dashboards may come back at once; Linux allows no more
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 (compared with, not bound to)

_log = structlog.get_logger(__name__)


async def serve(config: Config) -> int:
    """Serve until SIGINT or SIGTERM, then stop everything that was started.

    Raises Mistake, DataDirError, StartFailed or MigrationFailed.
    """
    if config.demo and config.is_production:
        raise Mistake("a demo has published passwords: not in production")
    raise_file_limit()
    stopping, is_ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(_serve(config, stopping, is_ready))

    def stop() -> None:
        if stopping.is_set():  # who is impatient must not interrupt the cleaning
            return
        stopping.set()
        if not is_ready.is_set():
            serving.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await serving
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    return 0


async def _serve(
    config: Config, stopping: asyncio.Event, is_ready: asyncio.Event
) -> None:
    # First of all: who cannot have the port need not wait for the databases.
    with _bound(config.host, config.port) as listening:
        async with _servers(config) as urls:
            missing = await _prepare(config, urls.database)
            async with _running(config, urls) as runner:
                await look_for_redis(runner.app[keys.REDIS].ping)
                await _listen(runner, listening)
                _log.info("server.listening", url=_url(listening), missing=missing)
                await _announce(runner.app, _url(listening), missing)
                is_ready.set()
                await stopping.wait()
                runner.app[keys.HEALTH].is_draining = True
                await asyncio.gather(
                    asyncio.sleep(config.drain_seconds),
                    runner.app[keys.SOCKETS].drain(config.drain_seconds),
                )


async def _listen(runner: web.AppRunner, listening: socket.socket) -> None:
    try:
        await web.SockSite(runner, listening, backlog=_BACKLOG).start()
    except OSError as error:  # somebody was bound to it too, and was quicker
        raise Mistake("the port is in use; choose another with --port") from error


@asynccontextmanager
async def _servers(config: Config) -> AsyncIterator[Urls]:
    database, redis = config.database_url, config.redis_url
    if database and redis:
        yield Urls(database=database, redis=redis)
        return
    embedded = Embedded(config.data_dir, postgres=not database, valkey=not redis)
    async with embedded as servers:
        yield Urls(
            database=database or servers.database_url or "",
            redis=redis or servers.redis_url or "",
        )


@asynccontextmanager
async def _running(config: Config, urls: Urls) -> AsyncIterator[web.AppRunner]:
    runner = Runner(
        create_app(config, urls=urls),
        access_log=None,  # the middleware writes it, with the request's id
        shutdown_timeout=config.shutdown_seconds,
    )
    try:
        try:
            await runner.setup()
        except StoreUnavailable as error:
            raise Mistake("the database does not answer; see DATABASE_URL") from error
        yield runner
    finally:
        await runner.cleanup()


async def _prepare(config: Config, url: str) -> list[str]:
    """Migrate, but in production only tell what is missing."""
    if config.is_production:
        return await asyncio.to_thread(pending, url)
    applied = await asyncio.to_thread(migrate, url)
    if applied:
        _log.info("database.migrated", migrations=applied)
    return []


def _bound(host: str, port: int) -> socket.socket:
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


async def _announce(app: web.Application, url: str, missing: list[str]) -> None:
    lines = [f"Boardcast is ready: {url}"]
    if missing:
        lines = [f"Boardcast waits for `boardcast migrate`: {url}"]
    lines += [f"  API and docs   {url}/docs"]
    if app[keys.CONFIG].demo:
        lines += await _demo_login(app)
    lines += ["  Ctrl-C stops it"]
    with suppress(OSError):  # nobody may be reading; the server is there all the same
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


async def _demo_login(app: web.Application) -> list[str]:
    person = PEOPLE[0]
    if await app[keys.ACCOUNTS].find_by_login(email=email_of(person)) is None:
        return []  # it was not empty, so it was not filled
    return [f"  Demo login     {person.username} / {PASSWORD}"]


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    if host in _ANYWHERE:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
