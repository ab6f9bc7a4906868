import asyncio
import io
import logging
import re
from dataclasses import replace

import pytest
from aiohttp import ClientPayloadError, ServerDisconnectedError, web
from marshmallow import fields
from pytest_aiohttp import AiohttpClient
from small_app import (
    BEARER,
    FakeSessions,
    Note,
    Settings,
    echo,
    logged,
    route,
    small_app,
)
from structlog.testing import capture_logs

from server import keys, logs
from server.fields import QueryInteger
from server.headers import json_headers
from server.limits import Limits
from server.queries import AnyQuery
from server.schemas import Request


class PageQuery(Request):
    limit = QueryInteger(load_default=20)
    word = fields.String()


async def who(request: web.Request) -> web.Response:
    return web.json_response({"user_id": request[keys.PRINCIPAL].user_id})


async def show_ids(request: web.Request) -> web.Response:
    return web.json_response(dict(request[keys.PATH_IDS]))


async def show_query(request: web.Request) -> web.Response:
    return web.json_response(dict(request[keys.QUERY]))


async def code_of(response) -> str:
    problem = await response.json(content_type="application/problem+json")
    return str(problem["code"])


async def pointers_of(response) -> list[str]:
    problem = await response.json(content_type="application/problem+json")
    return [error["pointer"] for error in problem["errors"]]


async def test_a_safe_request_id_is_taken_and_echoed(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route()))
    given = "A-z.0_9:/+=@-"

    response = await client.get("/things", headers={"X-Request-ID": given})

    assert response.headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["a b", "x" * 129, "<script>", "a;b", ""])
async def test_an_unsafe_request_id_is_replaced(
    aiohttp_client: AiohttpClient, given: str
):
    client = await aiohttp_client(small_app(route()))

    response = await client.get("/things", headers={"X-Request-ID": given})

    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", response.headers["X-Request-ID"])


async def test_fresh_request_ids_differ(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route()))

    seen = {(await client.get("/things")).headers["X-Request-ID"] for _ in range(5)}

    assert len(seen) == 5


async def test_a_trace_gives_the_request_its_id(aiohttp_client: AiohttpClient):
    lines = io.StringIO()
    app = small_app(route(), lines=lines)
    client = await aiohttp_client(app)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"

    response = await client.get("/things", headers={"traceparent": parent})
    await client.close()

    assert response.headers["X-Request-ID"] == trace
    assert logged(lines)[0]["trace_id"] == trace


@pytest.mark.parametrize(
    "parent",
    [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "nonsense",
    ],
)
async def test_a_trace_that_is_none_is_ignored(
    aiohttp_client: AiohttpClient, parent: str
):
    client = await aiohttp_client(small_app(route()))

    response = await client.get("/things", headers={"traceparent": parent})

    assert "4bf92f" not in response.headers["X-Request-ID"]
    assert "0000000000000000" not in response.headers["X-Request-ID"]


async def test_log_lines_of_a_request_know_its_id(aiohttp_client: AiohttpClient):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=logs.REQUEST_ID.get())

    client = await aiohttp_client(small_app(route(handler)))

    response = await client.get("/things", headers={"X-Request-ID": "mine"})

    assert await response.text() == "mine"


@pytest.mark.parametrize(
    ("path", "kept"), [("/things", "private, no-cache"), ("/nowhere", "no-store")]
)
async def test_every_answer_has_the_security_headers(
    aiohttp_client: AiohttpClient, path: str, kept: str
):
    client = await aiohttp_client(small_app(route()))

    headers = (await client.get(path)).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Server"] == "boardcast"
    assert headers["Cache-Control"] == kept
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_a_handler_may_say_more_about_caching(aiohttp_client: AiohttpClient):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(headers={"Cache-Control": "no-store"})

    client = await aiohttp_client(small_app(route(handler)))

    response = await client.get("/things")

    assert response.headers.getall("Cache-Control") == ["no-store"]


async def test_no_cache_keeps_what_is_secret(aiohttp_client: AiohttpClient):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(headers=json_headers('"1"'))

    client = await aiohttp_client(small_app(replace(route(handler), is_secret=True)))

    response = await client.get("/things")

    assert response.headers.getall("Cache-Control") == ["no-store"]


async def test_the_line_of_a_request_has_the_template_and_no_query(
    aiohttp_client: AiohttpClient,
):
    lines = io.StringIO()
    row = route(path="/things/{thing_id}", query=AnyQuery, is_public=False)
    client = await aiohttp_client(small_app(row, lines=lines))

    headers = {**BEARER, "X-Request-ID": "r1"}
    await client.get("/things/5?token=s3cret", headers=headers)
    await client.close()

    (line,) = logged(lines)
    assert line["event"] == "http.request"
    assert line["path"] == "/things/{thing_id}"
    assert (line["method"], line["status"], line["user_id"]) == ("GET", 200, 7)
    assert line["request_id"] == "r1"
    assert line["ms"] >= 0
    assert "s3cret" not in lines.getvalue()


async def test_only_errors_are_written_if_so_configured(aiohttp_client: AiohttpClient):
    lines = io.StringIO()
    settings = Settings(access_log="errors")
    client = await aiohttp_client(small_app(route(), settings=settings, lines=lines))

    await client.get("/things")
    await client.get("/nowhere/s3cret")
    await client.close()

    assert [(line["status"], line["path"]) for line in logged(lines)] == [
        (404, "(unmatched)")
    ]


async def test_requests_are_counted_by_template_and_status(
    aiohttp_client: AiohttpClient,
):
    app = small_app(route(path="/things/{thing_id}"))
    client = await aiohttp_client(app)

    await client.get("/things/5")
    await client.get("/things/6")
    await client.get("/things/x")

    page = app[keys.METRICS].page().decode()
    labels = 'method="GET",route="/things/{thing_id}"'
    assert f'boardcast_http_requests_total{{{labels},status="200"}} 2.0' in page
    assert f'boardcast_http_requests_total{{{labels},status="404"}} 1.0' in page
    name = "boardcast_http_request_duration_seconds_count"
    assert f'{name}{{{labels},status_class="2xx"}} 2.0' in page


async def test_what_is_under_way_is_counted(aiohttp_client: AiohttpClient):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=str(request.app[keys.METRICS].http.in_flight))

    app = small_app(route(handler))
    client = await aiohttp_client(app)

    response = await client.get("/things")

    assert await response.text() == "1"
    assert app[keys.METRICS].http.in_flight == 0


async def test_a_websocket_is_neither_timed_nor_under_way(
    aiohttp_client: AiohttpClient,
):
    async def handler(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_str(str(request.app[keys.METRICS].http.in_flight))
        await ws.close()
        return ws

    app = small_app(route(handler, upgrades=True))
    client = await aiohttp_client(app)

    async with client.ws_connect("/things") as ws:
        in_flight = await ws.receive_str()
        await ws.receive()

    assert in_flight == "0"
    assert 'route="/things"' not in app[keys.METRICS].page().decode()


async def test_what_is_unexpected_is_logged_once_with_its_stack(
    aiohttp_client: AiohttpClient,
):
    async def handler(request: web.Request) -> web.Response:
        raise ValueError("boom")

    client = await aiohttp_client(small_app(route(handler)))

    with capture_logs() as entries:
        await client.get("/things")

    (entry,) = [entry for entry in entries if entry["event"] == "http.failed"]
    assert entry["exc_info"]
    assert entry["log_level"] == "error"


async def test_a_refusal_is_not_logged_as_a_failure(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route(is_public=False)))

    with capture_logs() as entries:
        await client.get("/things")

    assert entries == []


async def test_cancellation_passes(aiohttp_client: AiohttpClient):
    async def handler(request: web.Request) -> web.Response:
        raise asyncio.CancelledError

    app = small_app(route(handler))
    client = await aiohttp_client(app)

    with capture_logs() as entries, pytest.raises(ServerDisconnectedError):
        await client.get("/things")

    assert entries == []
    assert app[keys.METRICS].http.in_flight == 0


async def test_no_second_answer_follows_one_that_has_begun(
    aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture
):
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"begun")
        raise ValueError("boom")

    client = await aiohttp_client(small_app(route(handler)))
    caplog.set_level(logging.CRITICAL, "aiohttp.server")

    response = await client.get("/things")

    with capture_logs(), pytest.raises(ClientPayloadError):
        await response.read()


async def test_options_says_what_is_allowed(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(
        small_app(route(), route(echo, method="POST", body=Note))
    )

    response = await client.options("/things")

    assert response.status == 204
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


async def test_head_is_get_without_a_body(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route()))

    response = await client.head("/things")

    assert response.status == 200
    assert response.headers["Content-Length"] == str(len('{"ok": true}'))
    assert await response.read() == b""


async def test_a_redirect_passes(aiohttp_client: AiohttpClient):
    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    client = await aiohttp_client(small_app(route(handler)))

    response = await client.get("/things", allow_redirects=False)

    assert (response.status, response.headers["Location"]) == (302, "/elsewhere")


@pytest.mark.parametrize("header", [None, "Basic YTpi", "Bearer", "adas-token"])
async def test_who_sends_no_token_is_asked_for_one(
    aiohttp_client: AiohttpClient, header: str | None
):
    client = await aiohttp_client(small_app(route(who, is_public=False)))
    headers = {} if header is None else {"Authorization": header}

    response = await client.get("/things", headers=headers)

    assert response.status == 401
    assert await code_of(response) == "unauthenticated"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="boardcast"'


async def test_a_bad_token_is_refused(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route(who, is_public=False)))

    headers = {"Authorization": "Bearer forged"}
    response = await client.get("/things", headers=headers)

    assert response.status == 401
    assert await code_of(response) == "invalid_token"


@pytest.mark.parametrize("header", ["Bearer adas-token", "bearer  adas-new-token"])
async def test_a_good_token_tells_who_calls(aiohttp_client: AiohttpClient, header: str):
    client = await aiohttp_client(small_app(route(who, is_public=False)))

    response = await client.get("/things", headers={"Authorization": header})

    assert await response.json() == {"user_id": 7}


async def test_a_public_route_asks_nobody(
    aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
):
    client = await aiohttp_client(small_app(route()))
    monkeypatch.delattr(FakeSessions, "cached")
    monkeypatch.delattr(FakeSessions, "authenticate")

    response = await client.get("/things", headers=BEARER)

    assert response.status == 200


async def test_strangers_learn_nothing_about_their_input(
    aiohttp_client: AiohttpClient,
):
    row = route(echo, method="POST", path="/t/{t_id}", is_public=False, body=Note)
    client = await aiohttp_client(small_app(row))

    response = await client.post("/t/none?x=1", data=b"{")

    assert response.status == 401


@pytest.mark.parametrize("given", ["1", str(2**63 - 1)])
async def test_ids_come_as_numbers(aiohttp_client: AiohttpClient, given: str):
    client = await aiohttp_client(small_app(route(show_ids, path="/t/{task_id}")))

    response = await client.get(f"/t/{given}")

    assert await response.json() == {"task_id": int(given)}


@pytest.mark.parametrize(
    "given",
    ["0", "-1", "+1", "01", "x", "1.0", "1e3", str(2**63), "\u0663", "%00", "9" * 99],
)
async def test_an_id_that_is_none_is_not_there(
    aiohttp_client: AiohttpClient, given: str
):
    client = await aiohttp_client(small_app(route(show_ids, path="/t/{task_id}")))

    response = await client.get(f"/t/{given}")

    assert response.status == 404
    assert await code_of(response) == "not_found"


async def test_a_query_is_read_with_its_defaults(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route(show_query, query=PageQuery)))

    assert await (await client.get("/things")).json() == {"limit": 20}
    assert await (await client.get("/things?limit=5&word=a+b")).json() == {
        "limit": 5,
        "word": "a b",
    }


async def test_queries_that_are_spelt_alike_are_read_alike(
    aiohttp_client: AiohttpClient,
):
    client = await aiohttp_client(small_app(route(show_query, query=PageQuery)))

    answers = [await (await client.get("/things?limit=5")).json() for _ in range(3)]
    other = await (await client.get("/things?limit=6")).json()

    assert answers == [{"limit": 5}] * 3
    assert other == {"limit": 6}


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("limt=5", ["?limt"]),
        ("limit=5&limit=6", ["?limit"]),
        ("limit=5&limit=5", ["?limit"]),
        ("limit=five", ["?limit"]),
        ("limit=5.0", ["?limit"]),
        ("limit=", ["?limit"]),
        ("a/b=1", ["?a/b"]),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(
    aiohttp_client: AiohttpClient, query: str, pointers: list[str]
):
    client = await aiohttp_client(small_app(route(show_query, query=PageQuery)))

    response = await client.get(f"/things?{query}")

    assert response.status == 422
    assert await pointers_of(response) == pointers


async def test_a_route_without_parameters_refuses_them(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route()))

    assert (await client.get("/things?x=1")).status == 422


async def test_a_route_may_ignore_its_query(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route(query=AnyQuery)))

    assert (await client.get("/things?x=1&x=2")).status == 200


async def post(aiohttp_client: AiohttpClient, body: bytes, content_type: str | None):
    row = route(echo, method="POST", body=Note)
    client = await aiohttp_client(small_app(row))
    headers = {} if content_type is None else {"Content-Type": content_type}
    skip = ["Content-Type"] if content_type is None else None
    return await client.post(
        "/things", data=body, headers=headers, skip_auto_headers=skip
    )


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON"],
)
async def test_a_good_body_arrives(aiohttp_client: AiohttpClient, content_type: str):
    response = await post(aiohttp_client, '{"text": "ä"}'.encode(), content_type)

    assert await response.json() == {"text": "ä"}


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/jsonx", "application/json; charset=latin-1"],
)
async def test_another_media_type_is_refused(
    aiohttp_client: AiohttpClient, content_type: str | None
):
    response = await post(aiohttp_client, b'{"text": "x"}', content_type)

    assert response.status == 415
    assert await code_of(response) == "unsupported_media_type"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b'{"text": "\xff"}',
        b'{"text": NaN}',
        b'{"text": Infinity}',
        b'{"text": "\\ud800"}',
        b'{"text": "a\nb"}',
        b"[" * 100_000,
    ],
)
async def test_what_is_no_json_is_400(aiohttp_client: AiohttpClient, body: bytes):
    response = await post(aiohttp_client, body, "application/json")

    assert response.status == 400
    assert await code_of(response) == "malformed_json"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"[]", [""]),
        (b"null", [""]),
        (b"3", [""]),
        (b"{}", ["/text"]),
        (b'{"text": 1}', ["/text"]),
        (b'{"text": "x", "a/b~c": 1}', ["/a~1b~0c"]),
        (b'{"text": "x", "tags": [1, "2", true]}', ["/tags/1", "/tags/2"]),
    ],
)
async def test_what_breaks_the_schema_is_422_and_says_where(
    aiohttp_client: AiohttpClient, body: bytes, pointers: list[str]
):
    response = await post(aiohttp_client, body, "application/json")

    assert response.status == 422
    assert await pointers_of(response) == pointers


async def test_a_body_may_be_optional(aiohttp_client: AiohttpClient):
    row = route(echo, method="POST", body=Note, is_body_required=False)
    client = await aiohttp_client(small_app(row))

    response = await client.post("/things")

    assert await response.json() == {}


async def test_a_body_that_does_not_come_is_not_waited_for(
    aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("server.validation._BODY_SECONDS", 0)
    client = await aiohttp_client(
        small_app(route(echo, method="POST", body=Note), body_limit_bytes=100)
    )
    assert client.port is not None
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    writer.write(f"POST /things HTTP/1.1\r\nHost: x\r\n{head}".encode())

    status = await reader.readline()
    writer.close()
    await writer.wait_closed()

    assert status == b"HTTP/1.1 408 Request Timeout\r\n"


async def test_100_continue_is_answered(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route(echo, method="POST", body=Note)))

    response = await client.post("/things", json={"text": "x"}, expect100=True)

    assert await response.json() == {"text": "x"}


async def test_who_asks_too_often_costs_no_more_than_that(
    aiohttp_client: AiohttpClient,
):
    async def fail(request: web.Request) -> web.Response:
        raise AssertionError

    row = route(fail, method="POST", is_public=False, body=Note)
    limits = Limits(requests_per_minute=1, clock=lambda: 1000.0)
    client = await aiohttp_client(small_app(row, limits=limits))
    first = await client.post("/things?x=1", headers=BEARER)

    response = await client.post("/things?x=1", headers=BEARER, data=b"{")

    assert first.status == 422
    assert (response.status, await code_of(response)) == (429, "rate_limited")
    assert response.headers["RateLimit-Policy"] == '"default";q=1;w=60'
    assert response.headers["RateLimit"] == '"default";r=0;t=61'
    assert response.headers["Retry-After"] == "61"


async def test_a_failure_tells_what_is_left_too(aiohttp_client: AiohttpClient):
    async def fail(request: web.Request) -> web.Response:
        raise ValueError("boom")

    limits = Limits(requests_per_minute=5)
    row = route(fail, is_public=False)
    client = await aiohttp_client(small_app(row, limits=limits))

    with capture_logs():
        response = await client.get("/things", headers=BEARER)

    assert response.status == 500
    assert response.headers["RateLimit"].startswith('"default";r=4;')
