import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisAway
from small_app import route, small_app
from structlog.testing import capture_logs

from actors.domain.errors import StoreUnavailable
from server import answers, health, keys
from server.health import Health, look_for_redis


async def fine() -> bool:
    return True


async def pending() -> bool:
    return False


async def database_away() -> bool:
    raise StoreUnavailable


async def redis_away() -> bool:
    raise RedisAway


async def hanging() -> bool:
    await asyncio.Event().wait()
    return True


async def client_of(
    aiohttp_client: AiohttpClient,
    database: Callable[[], Awaitable[bool]] = fine,
    redis: Callable[[], Awaitable[bool]] = fine,
) -> TestClient:
    app = small_app(
        route(health.get_health, path="/health"),
        route(health.get_liveness, path="/health/live"),
        route(health.get_readiness, path="/health/ready"),
    )
    app[keys.HEALTH] = Health(ask_database=database, ask_redis=redis)
    return await aiohttp_client(app)


@pytest.fixture
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_DATABASE_SECONDS", 0.01)
    monkeypatch.setattr(health, "_REDIS_SECONDS", 0.01)


async def test_all_is_well(aiohttp_client: AiohttpClient):
    client = await client_of(aiohttp_client)

    response = await client.get("/health")
    report = await response.json()

    assert response.status == 200
    assert (report["status"], report["database"], report["redis"]) == ("ok",) * 3
    assert report["database_latency_ms"] >= 0
    assert report["redis_latency_ms"] >= 0
    assert answers.Health().validate(report) == {}


@pytest.mark.usefixtures("_short_waits")
@pytest.mark.parametrize("redis", [redis_away, hanging])
async def test_without_redis_it_is_degraded_and_serves(
    aiohttp_client: AiohttpClient, redis: Callable[[], Awaitable[bool]]
):
    client = await client_of(aiohttp_client, redis=redis)

    response = await client.get("/health")
    report = await response.json()

    assert response.status == 200
    assert (report["status"], report["redis"]) == ("degraded", "unavailable")
    assert report["redis_latency_ms"] is None
    assert (await client.get("/health/ready")).status == 200
    assert answers.Health().validate(report) == {}


@pytest.mark.usefixtures("_short_waits")
@pytest.mark.parametrize(
    ("database", "word"),
    [
        (database_away, "unavailable"),
        (hanging, "unavailable"),
        (pending, "migrations_pending"),
    ],
)
async def test_without_its_database_it_cannot_serve(
    aiohttp_client: AiohttpClient,
    database: Callable[[], Awaitable[bool]],
    word: str,
):
    client = await client_of(aiohttp_client, database=database)

    response = await client.get("/health")
    report = await response.json()

    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert (report["status"], report["database"]) == ("unavailable", word)
    assert (await client.get("/health/ready")).status == 503
    assert answers.Health().validate(report) == {}


async def test_one_that_drains_is_healthy_but_not_ready(
    aiohttp_client: AiohttpClient,
):
    client = await client_of(aiohttp_client)
    client.app[keys.HEALTH].is_draining = True

    assert (await client.get("/health")).status == 200
    assert (await client.get("/health/ready")).status == 503
    assert (await (await client.get("/health")).json())["draining"] is True


async def test_a_live_process_needs_nothing(aiohttp_client: AiohttpClient):
    client = await client_of(aiohttp_client, database_away, redis_away)

    response = await client.get("/health/live")

    assert response.status == 200
    assert await response.json() == {"status": "ok"}


async def test_a_defect_is_not_taken_for_an_outage(aiohttp_client: AiohttpClient):
    async def broken() -> bool:
        raise TypeError

    with pytest.raises(ExceptionGroup):
        await Health(ask_database=broken, ask_redis=fine).report()


async def test_health_is_never_kept(aiohttp_client: AiohttpClient):
    client = await client_of(aiohttp_client)

    for path in ("/health", "/health/live", "/health/ready"):
        response = await client.get(path)

        assert response.headers["Cache-Control"] == "no-store"


async def test_a_redis_that_is_not_there_is_told_at_the_start():
    url = "redis://:pass-word@127.0.0.1:1/0"  # nobody listens on port 1
    async with Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as redis:
        with capture_logs() as lines:
            await look_for_redis(redis.ping)

    (line,) = lines
    assert (line["event"], line["log_level"]) == ("redis.unavailable", "warning")
    assert line["see"] == "REDIS_URL"
    assert "127.0.0.1:1" in line["reason"]
    assert "pass-word" not in str(line)


async def test_a_redis_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("server.health._REDIS_SECONDS", 0.01)

    with capture_logs() as lines:
        await look_for_redis(asyncio.Event().wait)

    assert [line["reason"] for line in lines] == ["no answer"]


async def test_a_redis_that_answers_is_not_worth_a_line(redis_url: str):
    async with Redis.from_url(redis_url) as redis:
        with capture_logs() as lines:
            await look_for_redis(redis.ping)

    assert lines == []
