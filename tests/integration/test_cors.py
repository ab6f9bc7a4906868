"""What a page of another origin may do, and what it can read of the answers."""

from collections.abc import AsyncIterator

import pytest

from server.cors import EXPOSED, METHODS, REQUEST_HEADERS
from server.health import Health
from server.routes import ROUTES
from tests.integration.test_http import path_of
from tests.running_app import Answer, Board, Person, running

PAGE = "https://app.example"
STRANGE = ("https://evil.example", "https://app.example.evil.example", "null", "", "*")


@pytest.fixture
async def open_board(database_url: str, redis_url: str) -> AsyncIterator[Board]:
    async with running(database_url, redis_url, cors_origins=(PAGE,)) as board:
        yield board


async def preflight(
    person: Person, path: str, method: str, origin: str = PAGE, headers: str = ""
) -> Answer:
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        sent["Access-Control-Request-Headers"] = headers
    return await person.ask("OPTIONS", path, headers=sent)


def cors_headers(answer: Answer) -> list[str]:
    return [name for name in answer.headers if name.startswith("Access-Control-")]


async def test_every_route_may_be_used_with_every_header(open_board: Board) -> None:
    wanted = ", ".join(REQUEST_HEADERS).lower()
    for route in ROUTES:
        answer = await preflight(
            open_board.nobody, path_of(route), route.method, headers=wanted
        )

        assert (answer.status, answer.body) == (204, b""), route
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Access-Control-Allow-Methods"] == route.method
        assert int(answer.headers["Access-Control-Max-Age"]) >= 600
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(",")
        assert set(allowed) == set(wanted.split(", "))
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_methods_of_all_rows_are_allowed() -> None:
    assert {route.method for route in ROUTES} <= set(METHODS)


def test_the_headers_of_all_rows_are_allowed_and_shown() -> None:
    # The headers of a socket's handshake are the browser's own: no page sees them.
    fetched = [route for route in ROUTES if 101 not in route.replies]
    asked = {name for route in fetched for name in route.request_headers}
    answered = {
        name
        for route in fetched
        for reply in route.replies.values()
        for name in reply.headers
    }

    assert asked <= set(REQUEST_HEADERS)
    assert answered - {"Cache-Control", "Vary"} <= set(EXPOSED)


async def test_a_page_reads_what_a_program_reads(open_board: Board) -> None:
    ada = await open_board.person()
    task = await ada.task()

    answer = await ada.get(f"/tasks/{task['id']}", Origin=PAGE)

    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    shown = answer.headers["Access-Control-Expose-Headers"].split(",")
    assert set(shown) == set(EXPOSED)


REFUSALS = [
    ("GET", "/tasks", 401),
    ("GET", "/nowhere", 404),
    ("PROPFIND", "/tasks", 405),
    ("POST", "/auth/login", 400),
    ("POST", "/auth/register", 417),
]


@pytest.mark.parametrize(("method", "path", "status"), REFUSALS)
async def test_a_page_can_read_why_it_was_refused(
    open_board: Board, method: str, path: str, status: int
) -> None:
    headers = {"Origin": PAGE}
    if status == 417:
        headers["Expect"] = "miracles"

    answer = await open_board.nobody.ask(method, path, headers=headers)

    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]
    assert "Origin" in answer.headers["Vary"]


async def test_a_page_can_read_that_the_server_failed(
    open_board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(health: Health) -> None:
        raise RuntimeError

    monkeypatch.setattr(Health, "report", broken)

    answer = await open_board.nobody.get("/health", Origin=PAGE)

    assert answer.refusal == (500, "internal_error")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize("origin", STRANGE)
async def test_other_pages_are_told_nothing(open_board: Board, origin: str) -> None:
    ada = await open_board.person()

    asked = await preflight(ada, "/tasks", "POST", origin)
    answer = await ada.get("/tasks", Origin=origin)

    assert asked.refusal == (403, "cors_refused")
    assert cors_headers(asked) == cors_headers(answer) == []
    assert answer.status == 200
    assert answer.headers["Vary"] == "Origin"


async def test_unknown_methods_and_headers_are_refused(open_board: Board) -> None:
    for method, headers in (("PROPFIND", ""), ("post", ""), ("POST", "X-Evil")):
        asked = await preflight(open_board.nobody, "/tasks", method, headers=headers)

        assert asked.refusal == (403, "cors_refused"), (method, headers)
        assert cors_headers(asked) == []


async def test_a_page_may_ask_for_what_is_not_there(open_board: Board) -> None:
    """Else it could not read the 404 or the 405 that follows."""
    for path, method in (("/nowhere", "GET"), ("/tasks", "DELETE")):
        assert (await preflight(open_board.nobody, path, method)).status == 204


async def test_options_of_a_program_still_names_the_methods(open_board: Board) -> None:
    for headers in ({}, {"Origin": PAGE}, {"Access-Control-Request-Method": "GET"}):
        answer = await open_board.nobody.ask("OPTIONS", "/tasks", headers=headers)

        assert answer.status == 204
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
        assert ("Access-Control-Allow-Origin" in answer.headers) == (
            "Origin" in headers
        )


async def test_caches_are_told_with_every_answer(open_board: Board) -> None:
    plain = await open_board.nobody.get("/tasks")
    packed = await open_board.nobody.get("/docs")

    assert plain.headers["Vary"] == "Origin"
    assert packed.headers["Vary"] == "Accept-Encoding, Origin"
    assert cors_headers(plain) == []


async def test_every_origin_may_be_let_in(database_url: str, redis_url: str) -> None:
    async with running(database_url, redis_url, cors_origins=("*",)) as board:
        ada = await board.person()
        asked = await preflight(ada, "/tasks", "POST", "http://localhost:3000")
        answer = await ada.get("/tasks", Origin="http://localhost:3000")
        socket = await board.connect(headers=ada.headers | {"Origin": "null"})

        assert asked.status == 204
        allowed = answer.headers["Access-Control-Allow-Origin"]
        assert allowed == "http://localhost:3000"
        assert await socket.events() == []


async def test_without_a_list_there_is_no_cors(board: Board) -> None:
    asked = await preflight(board.nobody, "/tasks", "POST")
    answer = await board.nobody.get("/tasks", Origin=PAGE)

    assert (asked.status, asked.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert cors_headers(asked) == cors_headers(answer) == []
    assert "Vary" not in answer.headers
    assert len(board.app.on_response_prepare) == 0
