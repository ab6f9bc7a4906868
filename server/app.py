"""Where everything is wired together: one application, opened and closed in order."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from aiohttp import web

from actors.domain.errors import StoreUnavailable, Unavailable
from server import cors, hints, idempotency, keys, limits, live, snapshots
from server.config import Config
from server.demo import Demo
from server.dialogue import Dialogue
from server.health import Health
from server.logs import AccessLog
from server.metrics import Metrics
from server.middlewares import Endpoint, stack
from server.migrate import MigrationFailed, pending
from server.passwords import Passwords
from server.people import People
from server.routes import register
from server.seals import Seal
from server.sessions import Sessions
from server.sockets import Sockets
from server.tickets import Tickets
from server.tokens import Tokens
from sql.accounts import Accounts
from sql.database import PLANNED_EACH_TIME, Database
from sql.store import Store
from sql.users import Users

_HOUSEKEEPING_SECONDS = 30.0
_LIST_CONNECTIONS = 4  # apart, so that no search takes a connection from a write
_GC_THRESHOLDS = (20_000, 20, 50)

CleanupContext = Callable[[web.Application], AsyncIterator[None]]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Where the servers are that the application needs."""

    database: str
    redis: str


def create_app(
    config: Config, *, urls: Urls, is_alone: bool = False
) -> web.Application:
    """Make the application; it connects when it starts, and closes in reverse order.

    One that is alone neither sends nor hears hints: others find its doings in the log.
    """
    metrics, access_log = Metrics(), AccessLog(config)
    endpoints: dict[web.AbstractRoute, Endpoint] = {}
    app = web.Application(
        middlewares=stack(metrics, access_log, endpoints),
        client_max_size=config.body_limit_bytes,
    )
    app[keys.CONFIG], app[keys.URLS] = config, urls
    app[keys.METRICS] = metrics
    app[keys.ENDPOINTS] = endpoints
    app[keys.SOCKETS] = Sockets(config.sockets_per_user)
    idempotency.prepare(app, config.jwt_secret)
    register(app)
    cors.install(app, config.cors_origins)
    app.cleanup_ctx.append(_logs(access_log))
    app.cleanup_ctx.append(_stores(urls))
    app.cleanup_ctx.append(limits.opened)
    app.cleanup_ctx.append(snapshots.opened)
    app.cleanup_ctx.append(live.opened)
    app.cleanup_ctx.append(_accounts)
    if not is_alone:
        app.cleanup_ctx.append(live.connected)
    app.cleanup_ctx.append(_housekeeping)
    if config.demo:
        app.on_startup.append(_fill)
    app.on_startup.append(_freeze)
    app.on_shutdown.append(_drain)
    return app


def _logs(access_log: AccessLog) -> CleanupContext:
    async def context(app: web.Application) -> AsyncIterator[None]:
        yield
        access_log.flush()

    return context


def _stores(urls: Urls) -> CleanupContext:
    async def context(app: web.Application) -> AsyncIterator[None]:
        config = app[keys.CONFIG]
        database = await Database.open(
            urls.database,
            size=config.database_pool_size,
            timeout_seconds=config.database_timeout_seconds,
        )
        lists = await Database.open(
            urls.database,
            size=_LIST_CONNECTIONS,
            timeout_seconds=config.database_timeout_seconds,
            settings=PLANNED_EACH_TIME,
        )
        tail = await Database.open(
            urls.database,
            size=1,  # its own, so that no news wait behind requests
            timeout_seconds=config.database_timeout_seconds,
        )
        app[keys.DATABASE], app[keys.TAIL_DATABASE] = database, tail
        app[keys.STORE] = store = Store(
            database, lists=lists, at_once=config.group_commit
        )
        app[keys.USERS] = Users(database, lists=lists)
        app[keys.REDIS] = hints.connect(urls.redis)
        app[keys.HEALTH] = Health(
            ask_database=_question(store, urls.database),
            ask_redis=app[keys.REDIS].ping,
        )
        metrics = app[keys.METRICS]
        metrics.sample(
            "database_connections", "Open.", lambda: database.size + lists.size
        )
        metrics.sample(
            "database_connections_idle", "Unused.", lambda: database.idle + lists.idle
        )
        yield
        await app[keys.REDIS].aclose()
        await tail.close()
        await lists.close()
        await database.close()

    return context


def _question(store: Store, url: str) -> Callable[[], Awaitable[bool]]:
    """Ask the database to answer, and until they are all applied for its migrations."""
    is_migrated = False

    async def ask() -> bool:
        nonlocal is_migrated
        await store.ping()
        if not is_migrated:
            try:
                is_migrated = not await asyncio.to_thread(pending, url)
            except MigrationFailed as error:
                raise StoreUnavailable from error
        return is_migrated

    return ask


async def _accounts(app: web.Application) -> AsyncIterator[None]:
    config, feed = app[keys.CONFIG], app[keys.FEED]
    accounts = Accounts(app[keys.DATABASE], on_created=live.announcer(app))
    tokens = Tokens(
        access_secret=config.jwt_secret,
        refresh_secret=config.jwt_refresh_secret,
        access_seconds=config.access_token_seconds,
    )
    sessions = Sessions(
        accounts,
        tokens,
        lifetime_seconds=config.session_days * 86400,
        grace_seconds=config.refresh_grace_seconds,
    )
    sessions.on_revoked(feed.end_sessions)
    sessions.on_roles_changed(feed.reseat)
    sessions.on_changed(app[keys.RELAY].tell_of_sessions)
    app[keys.ACCOUNTS], app[keys.SESSIONS] = accounts, sessions
    app[keys.TOKENS], app[keys.DIALOGUE] = tokens, Dialogue(feed, sessions)
    app[keys.PASSWORDS] = passwords = Passwords()
    app[keys.TICKETS] = Tickets(app[keys.REDIS], Seal(config.jwt_secret, b"tickets"))
    app[keys.PEOPLE] = People(app[keys.USERS], app[keys.STORE])
    sessions.start()
    yield
    await sessions.close()
    passwords.close()


async def _housekeeping(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(_keep_house(app), name="housekeeping")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _keep_house(app: web.Application) -> None:
    """Stop idle actors, forget old idempotency keys and sessions, now and then."""
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        try:
            await app[keys.REGISTRY].evict_idle()
            await app[keys.STORE].forget_keys()
            await app[keys.ACCOUNTS].forget_sessions()
        except Unavailable:
            _log.warning("housekeeping.postponed", reason="database away")
        except Exception:  # noqa: BLE001  # the next round may succeed
            _log.exception("housekeeping.failed")


async def _fill(app: web.Application) -> None:
    """Fill an empty database with the demo company."""
    demo = Demo(
        app[keys.STORE],
        app[keys.ACCOUNTS],
        app[keys.REGISTRY],
        app[keys.IDS],
        app[keys.PASSWORDS],
    )
    if await demo.fill():
        _log.info("demo.filled")


async def _drain(app: web.Application) -> None:
    """Say goodbye to the sockets before the handlers are waited for."""
    app[keys.HEALTH].is_draining = True
    await app[keys.SOCKETS].drain()


async def _freeze(app: web.Application) -> None:
    """Keep what was made at the start out of every later garbage collection.

    And collect more rarely: requests leave hardly any cycles, and the default
    thresholds cost a tenth of the write rate (loadtests/bench.py, both in one run).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
