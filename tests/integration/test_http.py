"""What all answers share, and what happens to requests that are hardly any."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator

import pytest

from server.route import Route
from server.routes import ROUTES
from tests.running_app import Board

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
JSON = {"Content-Type": "application/json"}


def path_of(route: Route, number: object = 1) -> str:
    return re.sub(r"{\w+}", str(number), route.path)


PATHS = sorted({path_of(route) for route in ROUTES})


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


async def test_a_guarded_route_asks_who_calls_before_anything_else(
    board: Board,
) -> None:
    forgery = {"Authorization": "Bearer x.y.z"}
    for route in ROUTES:
        if route.is_public:
            continue
        path = path_of(route, "no-id") + "?nonsense"

        nobody = await board.nobody.ask(route.method, path)
        forged = await board.nobody.ask(route.method, path, headers=forgery)

        assert nobody.refusal == (401, "unauthenticated"), path
        assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="boardcast"'
        assert forged.refusal == (401, "invalid_token"), path
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


async def test_an_id_that_is_not_safe_is_replaced(board: Board) -> None:
    for sent in ("x" * 129, "a b", 'a"b', "ä", "a\tb", "<script>"):
        answer = await board.nobody.get("/tasks", X_Request_ID=sent)

        assert answer.headers["X-Request-ID"] == answer.json["request_id"] != sent


async def test_a_trace_is_carried_into_the_event(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()
    trace = "0af7651916cd43dd8448eb211c80319c"

    await ada.post(
        "/tasks", {"title": "x"}, traceparent=f"00-{trace}-00f067aa0ba902b7-01"
    )

    (event,) = await listener.events()
    assert event["request_id"] == trace


async def test_head_is_get_without_a_body(board: Board) -> None:
    ada = await board.person()
    task, fixed = await ada.task(), {"X-Request-ID": "1"}
    said = await ada.post(f"/tasks/{task['id']}/comments", {"comment": "x"})
    ids = {"task_id": task["id"], "project_id": task["project_id"], "user_id": ada.id}
    ids["comment_id"] = said.json["id"]
    for row in ROUTES:
        if row.method != "GET" or row.upgrades:
            continue
        path = row.path.format_map(ids | {"name": "init.js"})
        got = await ada.ask("GET", path, headers=fixed)
        head = await ada.ask("HEAD", path, headers=fixed)

        assert (head.status, head.body) == (got.status, b""), path
        assert got.status in (200, 403), path
        changing = {"Date": "", "RateLimit": ""}  # these go on
        if path in ("/health", "/health/ready", "/metrics"):  # latencies, counters
            changing["Content-Length"] = ""
        assert dict(head.headers) | changing == dict(got.headers) | changing, path


MANY_FIELDS = [b'"%x": 0' % number for number in range(70_000)]
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
    (b'{"title": "x", ' + b", ".join(MANY_FIELDS) + b"}", JSON, 422),
    (b'{"title": "' + b"x" * 2**20 + b'"}', JSON, 413),
    (b'{"title": "x"}', JSON | {"Content-Encoding": "gzip"}, 415),
    (b'{"title": "x"}', JSON | {"Expect": "the impossible"}, 417),
]


async def test_a_body_that_cannot_be_read_is_refused(board: Board) -> None:
    ada = await board.person()
    for body, headers, status in BODIES:
        stream = io.BytesIO(body) if len(body) > 2**20 else body
        answer = await ada.ask("POST", "/tasks", data=stream, headers=headers)

        assert answer.status == status, (body[:40], headers)
        assert answer.json["code"] == answer.code
        assert answer.headers["X-Request-ID"] == answer.json["request_id"]
        assert len(answer.body) < 1000
    assert (await ada.get("/tasks")).json["total"] == 0


async def test_a_body_in_pieces_without_a_length_is_limited_too(board: Board) -> None:
    ada = await board.person()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b'"' * 2**16

    answer = await ada.ask("POST", "/tasks", data=pieces(), headers=JSON)

    assert answer.refusal == (413, "body_too_large")


async def test_a_body_that_is_announced_as_too_large_is_not_waited_for(
    board: Board,
) -> None:
    for more in (b"", b"Expect: 100-continue\r\n"):
        request = (
            b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n"
            b"Content-Type: application/json\r\n" + more + b"\r\n{"
        )
        head, _, body = (await first(board, request)).partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 413 "), more
        assert b"Connection: close" in head
        assert json.loads(body)["code"] == "body_too_large"


async def test_a_body_that_nobody_asked_for_may_not_be_too_large_either(
    board: Board,
) -> None:
    ada = await board.person()
    for row in ROUTES:
        if row.body is not None:
            continue
        line = f"{row.method} {path_of(row)} HTTP/1.1\r\nHost: x\r\n"
        sent = f"Authorization: Bearer {ada.access_token}\r\nContent-Length: 1048577"
        answer = await first(board, f"{line}{sent}\r\n\r\n".encode())

        assert answer.startswith(b"HTTP/1.1 413 "), row.path


async def test_a_body_that_nobody_asked_for_is_not_waited_for_with_a_key_either(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read for the key: so that another body is another request."""
    monkeypatch.setattr("server.validation._BODY_SECONDS", 0)
    ada = await board.person()
    sent = (
        "POST /ws/tickets HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
        f"Authorization: Bearer {ada.access_token}\r\nContent-Length: 5\r\n\r\n"
    )

    answer = await first(board, sent.encode())

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_problem_tells_the_address_as_it_was_written(board: Board) -> None:
    for path in ("/a%20b", "/%0D%0Ax", "/%FF", "/%3Cscript%3E"):
        line = f"GET {path}?x=%20 HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await first(board, line.encode())

        assert f'"instance":"{path}"'.encode() in answer


async def test_who_keeps_sending_gets_the_answer_too(board: Board) -> None:
    """All of it is sent before the answer is looked at; a reset would lose it."""
    length = 4 * 2**20
    head = (
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )
    reader, writer = await _connected(board)
    writer.write(head)
    for _ in range(length // 2**16):
        writer.write(b"x" * 2**16)
        await writer.drain()

    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_refusals_about_accounts_are_kept_by_no_cache(board: Board) -> None:
    for row in ROUTES:
        if row.path.startswith("/auth"):
            answer = await board.nobody.ask(row.method, path_of(row))

            assert answer.status in (400, 401), row
            assert answer.headers["Cache-Control"] == "no-store", row


async def test_the_server_as_a_whole_names_all_methods(board: Board) -> None:
    request = b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    head = await raw(board, request)

    assert head.startswith(b"HTTP/1.1 204 ")
    assert b"\r\nAllow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n" in head


FILTERS = [
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
]


async def test_a_filter_that_is_not_understood_widens_nothing(board: Board) -> None:
    ada = await board.person()
    for query, pointers in FILTERS:
        answer = await ada.get(f"/tasks{query}")

        assert answer.refusal == (422, "invalid_request"), query
        assert answer.pointers == pointers


async def test_any_words_may_be_looked_for(board: Board) -> None:
    ada = await board.person()
    for words in ("%ED%A0%80", "%ff", "%27%22%29%3b--", "-", "%22", "or", "%5c"):
        assert (await ada.get(f"/tasks?q={words}")).status in (200, 422), words


async def _connected(
    board: Board,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = board.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def raw(board: Board, request: bytes) -> bytes:
    """Send bytes as they are; all that comes until the connection ends."""
    reader, writer = await _connected(board)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def first(board: Board, request: bytes) -> bytes:
    """Send bytes as they are; the first answer, while the connection is open."""
    reader, writer = await _connected(board)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    body = await reader.readexactly(int(length[1]))
    writer.close()
    await writer.wait_closed()
    return head + body


async def test_what_is_no_http_gets_a_problem(board: Board) -> None:
    end = b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    for line in (b"GET /tasks HTTP/9.9", b"GET", b"\0\1", b"GET /\xff HTTP/1.1"):
        head, _, _ = (await raw(board, line + end)).partition(b"\r\n\r\n")

        assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), line
        assert b"application/problem+json" in head, line
