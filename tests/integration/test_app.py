"""The application as a whole: how it starts, how it is, and how it stops."""

import asyncio
from dataclasses import replace
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from actors.domain.errors import StoreUnavailable
from server import keys
from server.app import Urls, create_app
from tests.running_app import CONFIG, Board, running

NOWHERE = "unix:///nonexistent/valkey.sock"


def own_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def others_on(connection: Any) -> int:
    """How many clients besides this one are connected to the test's database."""
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    )


async def no_connections(database_url: str) -> None:
    """Wait for the last to go: a backend ends a moment after its connection."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(5):
            while await others_on(connection):  # noqa: ASYNC110 (PostgreSQL tells nobody)
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def test_a_stopped_application_leaves_nothing_behind(
    database_url: str, redis_url: str
) -> None:
    before = own_tasks()

    async with running(database_url, redis_url) as board:
        app = board.app
        ada = await board.person()
        await asyncio.gather(*(ada.task() for _ in range(20)))
        listener = await ada.listen()
        await ada.post("/ws/tickets")
        assert await listener.events() == []
        assert len(app[keys.FEED]) == len(app[keys.SOCKETS]) == 1

    assert own_tasks() == before
    assert len(app[keys.FEED]) == len(app[keys.SOCKETS]) == len(app[keys.REGISTRY]) == 0
    await no_connections(database_url)


async def test_it_starts_again_on_what_it_left(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url) as board:
        ada = await board.person()
        task = await ada.task()

    async with running(database_url, redis_url) as board:
        ada.board = board
        assert (await ada.get(f"/tasks/{task['id']}")).json == task
        assert (await ada.task())["id"] > task["id"]


async def test_health_is_well(board: Board) -> None:
    for path in ("/health", "/health/ready"):
        answer = await board.nobody.get(path)
        assert answer.status == 200
        assert answer.json["status"] == answer.json["database"] == "ok"
        assert answer.json["redis"] == "ok"
        assert answer.json["database_latency_ms"] >= 0
        assert answer.headers["Cache-Control"] == "no-store"


async def test_without_redis_everything_works_a_little_worse(database_url: str) -> None:
    async with running(database_url, NOWHERE) as board:
        ada = await board.person()

        health = await board.nobody.get("/health")
        await ada.task()
        ticket = (await ada.post("/ws/tickets")).json["ticket"]
        listener = await board.connect(f"?ticket={ticket}")

        assert (health.status, health.json["status"]) == (200, "degraded")
        assert (health.json["redis"], health.json["redis_latency_ms"]) == (
            "unavailable",
            None,
        )
        assert await listener.events() == []


async def cut(board: Board) -> None:
    """Take the database away: every connection ends, and no new one comes."""
    pool: Any = board.app[keys.DATABASE]._pool
    pool._connect_kwargs["host"] = "/nowhere"
    await pool.expire_connections()


async def test_without_the_database_it_says_so(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    listener = await ada.listen()
    path = f"/tasks/{task['id']}"
    await ada.get(path)

    await cut(board)
    health = await board.nobody.get("/health")
    ready = await board.nobody.get("/health/ready")
    live = await board.nobody.get("/health/live")
    refused = [
        await ada.post("/tasks", {"title": "x"}),
        await ada.put(path, {"title": "x"}),
        await ada.get("/tasks?q=new"),
        await ada.get("/projects/99999"),
        await board.nobody.post("/auth/login", {"username": "a", "password": "b"}),
        await board.nobody.post("/auth/refresh", {"refresh_token": "b"}),
    ]

    assert health.status == ready.status == 503
    assert health.json["database"] == "unavailable"
    assert health.headers["Retry-After"] == "1"
    assert live.status == 200
    for answer in refused:
        assert answer.refusal == (503, "database_unavailable")
        assert answer.headers["Retry-After"] == "1"
    assert (await ada.get(path)).json == task  # from memory
    assert await listener.events() == []


async def test_pending_migrations_are_said_and_wait_for_approval(
    empty_database_url: str, redis_url: str
) -> None:
    async with running(
        empty_database_url, redis_url, environment="production"
    ) as board:
        health = await board.nobody.get("/health")
        ready = await board.nobody.get("/health/ready")
        asked = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        tables = await board.value(asked)

    assert health.status == ready.status == 503
    assert health.json["status"] == "unavailable"
    assert health.json["database"] == "migrations_pending"
    assert tables == 0


async def test_a_database_that_is_away_at_the_start_is_named(redis_url: str) -> None:
    urls = Urls(database="postgresql://x@127.0.0.1:1/x", redis=redis_url)
    runner = web.AppRunner(create_app(CONFIG, urls=urls))

    with pytest.raises(StoreUnavailable):
        await runner.setup()
    await runner.cleanup()

    assert own_tasks() == set()


async def test_metrics_are_for_who_has_the_token(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url, monitoring_token="s3cret") as board:
        ada = await board.person()
        await ada.task()
        await ada.get("/tasks")
        await ada.get("/tasks")

        refused = [await board.nobody.get("/metrics"), await ada.get("/metrics")]
        page = await board.nobody.get("/metrics", Authorization="Bearer s3cret")

    assert [answer.status for answer in refused] == [401, 401]
    text = page.body.decode()
    assert 'boardcast_cache_requests_total{cache="lists",result="hit"} 1.0' in text
    assert 'route="/tasks",status="201"} 1.0' in text


async def test_the_last_answers_are_given_before_the_end(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url) as board:
        ada = await board.person()
        listener = await ada.listen()
        hint, _ = await asyncio.gather(listener.next(), board.app.shutdown())
        closing = await listener.closing()
        ready = await board.nobody.get("/health/ready")
        answer = await ada.post("/tasks", {"title": "still"})
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await board.connect(headers=ada.headers)

    assert hint["type"] == "restarting"
    assert 0 < hint["return_in"] < 2
    assert closing[0] == 1012
    assert (ready.status, ready.json["draining"]) == (503, True)
    assert answer.status == 201
    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"]


def test_a_config_does_not_show_its_secrets() -> None:
    config = replace(CONFIG, monitoring_token="s3cret", database_url="pg://a:b@c")

    assert "secret" not in repr(config).replace("_secret", "")
    assert "pg://" not in repr(config)
