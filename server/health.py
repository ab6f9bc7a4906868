"""Whether the server can serve, and how quickly what it needs answers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

import msgspec
import structlog
from aiohttp import web
from redis.exceptions import RedisError

from actors.domain.errors import DomainError
from server import __version__
from server.keys import HEALTH

_DATABASE_SECONDS = 1.0
_REDIS_SECONDS = 0.25
_AWAY = (DomainError, RedisError, OSError, TimeoutError)
_NO_STORE = {"Cache-Control": "no-store", "Content-Type": "application/json"}


_log = structlog.get_logger(__name__)


class Report(msgspec.Struct, frozen=True):
    """What `GET /health` answers; latencies in milliseconds, null where none came."""

    status: str
    database: str
    redis: str
    draining: bool
    database_latency_ms: float | None
    redis_latency_ms: float | None
    version: str

    @property
    def can_serve(self) -> bool:
        """Without Redis it can, without its database it cannot."""
        return self.database == "ok"


@dataclass(frozen=True, slots=True)
class _Answer:
    value: object
    latency_ms: float


class Health:
    """Asks the database and Redis, each for a bounded time.

    `ask_database` waits for the database and tells whether every migration is applied;
    `ask_redis` waits for Redis. Both raise when there is no answer.
    """

    def __init__(
        self,
        *,
        ask_database: Callable[[], Awaitable[bool]],
        ask_redis: Callable[[], Awaitable[object]],
    ):
        self._ask_database = ask_database
        self._ask_redis = ask_redis
        self.is_draining = False

    async def report(self) -> Report:
        """Ask both at once; takes a second at most, and raises nothing."""
        async with asyncio.TaskGroup() as group:
            database = group.create_task(_ask(self._ask_database, _DATABASE_SECONDS))
            redis = group.create_task(_ask(self._ask_redis, _REDIS_SECONDS))
        return self._report(database.result(), redis.result())

    def _report(self, database: _Answer | None, redis: _Answer | None) -> Report:
        stored = _word_for(database)
        hinted = "ok" if redis else "unavailable"
        status = "ok" if redis else "degraded"
        return Report(
            status=status if stored == "ok" else "unavailable",
            database=stored,
            redis=hinted,
            draining=self.is_draining,
            database_latency_ms=database.latency_ms if database else None,
            redis_latency_ms=redis.latency_ms if redis else None,
            version=__version__,
        )


def _word_for(database: _Answer | None) -> str:
    if database is None:
        return "unavailable"
    return "ok" if database.value else "migrations_pending"


async def _ask(
    question: Callable[[], Awaitable[object]], seconds: float
) -> _Answer | None:
    started = perf_counter()
    try:
        async with asyncio.timeout(seconds):
            value = await question()
    except _AWAY:
        return None
    return _Answer(value, round((perf_counter() - started) * 1000, 2))


async def look_for_redis(ask: Callable[[], Awaitable[object]]) -> None:
    """Say at the start that REDIS_URL may be wrong; the server works without."""
    try:
        async with asyncio.timeout(_REDIS_SECONDS):
            await ask()
    except _AWAY as error:
        reason = str(error) or "no answer"
        _log.warning("redis.unavailable", reason=reason, see="REDIS_URL")


async def get_health(request: web.Request) -> web.Response:
    """Answer `GET /health`: 503 when it cannot serve."""
    report = await request.app[HEALTH].report()
    return _response(report, is_fine=report.can_serve)


async def get_liveness(request: web.Request) -> web.Response:
    """Answer `GET /health/live`: the process is there, whatever else is not."""
    return web.Response(body=b'{"status":"ok"}', headers=_NO_STORE)


async def get_readiness(request: web.Request) -> web.Response:
    """Answer `GET /health/ready`: 503 when no new requests should be sent here."""
    health = request.app[HEALTH]
    report = await health.report()
    return _response(report, is_fine=report.can_serve and not health.is_draining)


def _response(report: Report, *, is_fine: bool) -> web.Response:
    headers = _NO_STORE if is_fine else {**_NO_STORE, "Retry-After": "1"}
    body = msgspec.json.encode(report)
    return web.Response(status=200 if is_fine else 503, body=body, headers=headers)
