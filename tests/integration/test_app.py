"""The application as a whole: what all its answers share, how it starts and stops."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from actors.domain.errors import StoreUnavailable
from server import keys
from server.app import Urls, create_app
from server.route import Route
from server.routes import ROUTES
from tests.running_app import CONFIG, Board, running

NOWHERE = "unix:///nonexistent/valkey.sock"
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
JSON = {"Content-Type": "application/json"}


def path_of(route: Route, number: object = 1) -> str:
    return re.sub(r"{\w+}", str(number), route.path)


PATHS = sorted({path_of(route) for route in ROUTES})
GUARDED = [route for route in ROUTES if not route.is_public]


def name_of(value: object) -> str:
    return f"{value.method} {value.path}" if isinstance(value, Route) else ""


async def test_every_path_names_its_methods_alike_in_options_and_405(
    board: Board,
) -> None:
    for path in PATHS:
        methods = {route.method for route in ROUTES if path_of(route) == path}
        if "GET" in methods and path != "/ws":
            methods.add("HEAD")
        methods.add("OPTIONS")

        options = await board.nobody.ask("OPTIONS", path)
        refused = await board.nobody.ask("PROPFIND", path)

        assert options.status == 204, path
        assert options.body == b""
        assert refused.refusal == (405, "method_not_allowed")
        allowed = options.headers["Allow"].split(", ")
        assert refused.headers["Allow"] == options.headers["Allow"]
        assert (sorted(allowed), set(allowed)) == (allowed, methods), path


@pytest.mark.parametrize("route", GUARDED, ids=name_of)
async def test_a_guarded_route_asks_who_calls_before_anything_else(
    board: Board, route: Route
) -> None:
    path = path_of(route, "no-id") + "?nonsense"

    nobody = await board.nobody.ask(route.method, path)
    forged = await board.nobody.ask(
        route.method, path, headers={"Authorization": "Bearer x.y.z"}
    )

    assert nobody.refusal == (401, "unauthenticated")
    assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="boardcast"'
    assert forged.refusal == (401, "invalid_token")
    assert 'error="invalid_token"' in forged.headers["WWW-Authenticate"]


async def test_every_answer_has_an_id_and_is_safe_to_show(board: Board) -> None:
    ada = await board.person()

    for person in (board.nobody, ada):
        for path in (*PATHS, "/nowhere", "/tasks/1/2/3", "//", "/tasks?x=1"):
            headers = {"X-Request-ID": "id-1"}
            answer = await person.ask("GET", path, headers=headers)
            assert answer.status < 500, path
            assert answer.headers["X-Request-ID"] == "id-1"
            assert {name: answer.headers[name] for name in SECURITY} == SECURITY
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            if answer.status >= 400:
                assert answer.json["request_id"] == "id-1"
                assert answer.json["status"] == answer.status
                assert answer.json["type"] == f"/problems/{answer.code}"


@pytest.mark.parametrize("sent", ["x" * 129, "a b", 'a"b', "ä", "a\tb", "<script>"])
async def test_an_id_that_is_not_safe_is_replaced(board: Board, sent: str) -> None:
    answer = await board.nobody.ask("GET", "/tasks", headers={"X-Request-ID": sent})

    assert answer.headers["X-Request-ID"] == answer.json["request_id"] != sent


async def test_a_trace_is_carried_into_the_event(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()
    trace = "0af7651916cd43dd8448eb211c80319c"

    await ada.post("/tasks", {"title": "x"}, traceparent=f"00-{trace}-00f067aa0ba902b7-01")

    (event,) = await listener.events()
    assert event["request_id"] == trace


@pytest.mark.parametrize("path", ["/tasks", "/projects", "/users/me", "/auth/sessions"])
async def test_head_is_get_without_a_body(board: Board, path: str) -> None:
    ada = await board.person()

    got = await ada.ask("GET", path, headers={"X-Request-ID": "1"})
    head = await ada.ask("HEAD", path, headers={"X-Request-ID": "1"})

    assert (head.status, head.body) == (200, b"")
    same = dict(got.headers) | {"Date": ""}
    assert dict(head.headers) | {"Date": ""} == same


BODIES: list[tuple[bytes, dict[str, str], int]] = [
    (b'{"title": "x"}', {"Content-Type": "text/plain"}, 415),
    (b'{"title": "x"}', {"Content-Type": "application/json; charset=utf-16"}, 415),
    (b'{"title": "x"}', {"Content-Type": "application/merge-patch+json"}, 415),
    (b'{"title": "x"}', {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    (b"", JSON, 400),
    (b"{", JSON, 400),
    (b'{"title": "x"} {}', JSON, 400),
    (b"\xef\xbb\xbf{}", JSON, 400),
    (b'{"title": "\xff"}', JSON, 400),
    (b'{"title": "\\ud800"}', JSON, 400),
    (b'{"title": NaN}', JSON, 400),
    (b'{"a":' * 50_000, JSON, 400),
    (b"[" * 500 + b"]" * 500, JSON, 422),
    (b"[]", JSON, 422),
    (b'"title"', JSON, 422),
    (b'{"title": "x", "title": 5}', JSON, 422),
    (b'{"title": "x", "__proto__": {}}', JSON, 422),
    (b'{"title": "' + b"x" * 2**20 + b'"}', JSON, 413),
    (b'{"title": "x"}', JSON | {"Content-Encoding": "gzip"}, 400),
    (b'{"title": "x"}', JSON | {"Expect": "the impossible"}, 417),
]


@pytest.mark.parametrize(
    ("body", "headers", "status"), BODIES, ids=[str(body)[:24] for body, _, _ in BODIES]
)
async def test_a_body_that_cannot_be_read_is_refused(
    board: Board, body: bytes, headers: dict[str, str], status: int
) -> None:
    ada = await board.person()

    stream = io.BytesIO(body) if len(body) > 2**20 else body
    answer = await ada.ask("POST", "/tasks", data=stream, headers=headers)

    assert answer.status == status
    assert answer.json["code"] == answer.code
    assert answer.headers["X-Request-ID"] == answer.json["request_id"]
    assert (await ada.get("/tasks")).json["total"] == 0


async def test_a_body_in_pieces_without_a_length_is_limited_too(board: Board) -> None:
    ada = await board.person()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b'"' * 2**16

    answer = await ada.ask("POST", "/tasks", data=pieces(), headers=JSON)

    assert answer.refusal == (413, "body_too_large")


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("?statsu=pending", ["?statsu"]),
        ("?limit=1&limit=2", ["?limit"]),
        ("?limit=0", ["?limit"]),
        ("?limit=101", ["?limit"]),
        ("?limit=1e1", ["?limit"]),
        ("?limit=%31%30%30%30", ["?limit"]),
        ("?offset=-1", ["?offset"]),
        ("?offset=99999999999999999999", ["?offset"]),
        ("?status=", ["?status"]),
        ("?status=pending,", ["?status"]),
        ("?status=Pending", ["?status"]),
        ("?priority=pending", ["?priority"]),
        ("?assigned_to=you", ["?assigned_to"]),
        ("?assigned_to=0", ["?assigned_to"]),
        (f"?created_by={2**63}", ["?created_by"]),
        ("?project_id=null", ["?project_id"]),
        (f"?project_id={2**63}", ["?project_id"]),
        ("?due_date_from=yesterday", ["?due_date_from"]),
        ("?due_date_to=2026-01-01T00:00:00", ["?due_date_to"]),
        ("?overdue=1", ["?overdue"]),
        ("?unassigned=TRUE", ["?unassigned"]),
        ("?q=", ["?q"]),
        ("?q=%00", ["?q"]),
        (f"?q={'x' * 201}", ["?q"]),
        ("?a=1&b=2&b=3", ["?b"]),
    ],
)
async def test_a_filter_that_is_not_understood_widens_nothing(
    board: Board, query: str, pointers: list[str]
) -> None:
    ada = await board.person()

    answer = await ada.get(f"/tasks{query}")

    assert answer.refusal == (422, "invalid_request")
    assert answer.pointers == pointers


@pytest.mark.parametrize(
    "query",
    ["?q=%ED%A0%80", "?q=%ff", "?q=%27%22%29%3b--", "?q=-", "?q=%22", "?q=or", "?q=%5c"],
)
async def test_any_words_may_be_looked_for(board: Board, query: str) -> None:
    ada = await board.person()

    assert (await ada.get(f"/tasks{query}")).status in (200, 422)


async def raw(board: Board, request: bytes) -> bytes:
    """Send bytes as they are; the first line of the answer."""
    host, port = board.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "request_line",
    [b"GET /tasks HTTP/9.9", b"GET", b"\x00\x01\x02", b"GET /\xff HTTP/1.1", b"A" * 9000],
)
async def test_what_is_no_http_gets_a_problem_or_nothing(
    board: Board, request_line: bytes
) -> None:
    end = b"\r\nHost: x\r\nConnection: close\r\n\r\n"

    answer = await raw(board, request_line + end)

    head, _, _ = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert b"application/problem+json" in head


def own_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def connections(database_url: str) -> int:
    """How many others are connected to the test's database."""
    async with running(database_url, NOWHERE) as board:
        return int(
            await board.value(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


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
        assert len(app[keys.HUB]) == len(app[keys.SOCKETS]) == 1

    assert (await listener.closing())[0] == 1012
    assert own_tasks() == before
    assert len(app[keys.HUB]) == len(app[keys.SOCKETS]) == len(app[keys.REGISTRY]) == 0
    assert await connections(database_url) == 0


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
    pool = board.app[keys.DATABASE]._pool
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
        await board.app[keys.SOCKETS].drain()
        closing = await listener.closing()
        answer = await ada.post("/tasks", {"title": "still"})
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await board.connect(headers=ada.headers)

    assert closing[0] == 1012
    assert answer.status == 201
    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"]


def test_a_config_does_not_show_its_secrets() -> None:
    config = replace(CONFIG, monitoring_token="s3cret", database_url="pg://a:b@c")

    assert "secret" not in repr(config).replace("_secret", "")
    assert "pg://" not in repr(config)
