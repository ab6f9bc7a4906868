import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from small_app import route, small_app
from structlog.testing import capture_logs

from server.runner import Runner


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[Runner]:
    runner = Runner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner
    await runner.cleanup()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[int]:
    async with running(app) as runner:
        yield runner.addresses[0][1]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving(small_app(route())) as number:
        yield number


async def send(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /things HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_by_a_problem(port: int, request_bytes: bytes):
    with capture_logs() as entries:
        status, headers, body = await send(port, request_bytes)

    assert [entry["event"] for entry in entries] == ["http.malformed"]
    assert 400 <= status < 500
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["request_id"] == headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("line", "headers", "status", "code"),
    [
        (b"/" + b"y" * 8_000, b"", 414, "address_too_long"),
        (b"/" + b"y" * 100_000, b"", 414, "address_too_long"),
        (b"/things", b"X: " + b"y" * 8_200 + b"\r\n", 431, "headers_too_large"),
        (b"/things", b"y" * 8_200 + b": x\r\n", 431, "headers_too_large"),
        (b"/things", b"X: y\r\n" * 129, 431, "headers_too_large"),
    ],
)
async def test_what_is_too_long_is_told_from_what_is_malformed(
    port: int, line: bytes, headers: bytes, status: int, code: str
):
    request = b"GET " + line + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"

    answer, answered, body = await send(port, request)

    assert (answer, json.loads(body)["code"]) == (status, code)
    assert answered["Cache-Control"] == "no-store"
    assert answered["X-Content-Type-Options"] == "nosniff"
    assert answered["Server"] == "boardcast"


async def test_what_is_just_short_enough_is_read(port: int):
    request = (
        b"GET /things?%s HTTP/1.1\r\nHost: x\r\nX: %s\r\nConnection: close\r\n\r\n"
    )

    status, _, body = await send(port, request % (b"y" * 7_900, b"y" * 8_100))

    assert (status, json.loads(body)["code"]) == (422, "invalid_request")


async def test_what_fails_before_the_middlewares_shows_nothing_of_itself(
    monkeypatch: pytest.MonkeyPatch,
):
    async def broken(app: web.Application, request: web.Request) -> web.Response:
        raise ValueError("secret table name")

    monkeypatch.setattr(web.Application, "_handle", broken)
    request = b"GET /things HTTP/1.1\r\nHost: x\r\n\r\n"

    with capture_logs() as entries:
        async with serving(small_app(route())) as port:
            status, _, body = await send(port, request)

    assert (status, json.loads(body)["code"]) == (500, "internal_error")
    assert b"secret" not in body
    assert [entry["event"] for entry in entries] == ["http.failed"]


async def test_no_second_answer_follows_one_that_has_begun():
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"begun")
        raise ValueError("boom")

    request = b"GET /things HTTP/1.1\r\nHost: x\r\n\r\n"

    with capture_logs():
        async with serving(small_app(route(handler))) as port:
            status, _, body = await send(port, request)

    assert (status, body) == (200, b"begun")


async def test_what_is_http_is_answered(port: int):
    request = b"GET /things HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    status, headers, body = await send(port, request)

    assert status == 200
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(body) == {"ok": True}


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_who_sends_no_whole_request_is_hung_up_on(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("server.runner._FIRST_REQUEST_SECONDS", 0.05)
    async with serving(small_app(route())) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)

        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_who_has_sent_a_request_may_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.runner._FIRST_REQUEST_SECONDS", 0.05)
    async with serving(small_app(route())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(request)
        first = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)  # twice the time that is allowed for the first
        writer.write(request)

        assert first.startswith(b"HTTP/1.1 404")
        assert b"HTTP/1.1 404" in await reader.readuntil(b"HTTP/1.1 404")
        writer.close()
        await writer.wait_closed()


ONE = b"GET /things HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_who_is_connected_at_the_goodbye_is_answered_and_told_to_leave():
    async with running(small_app(route())) as runner:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(ONE)
        first = await reader.readuntil(b"}")

        runner.say_goodbye()
        await runner.stop_accepting()
        writer.write(ONE + ONE)
        rest = await asyncio.wait_for(reader.read(), 5)
        await asyncio.wait_for(runner.quiet(), 5)
        writer.close()

    assert b"Connection: close" not in first
    assert rest.count(b"HTTP/1.1 200 OK") == 2  # both were sent before the answer
    assert rest.count(b"Connection: close") == 1


async def test_after_the_goodbye_nobody_else_is_accepted():
    async with running(small_app(route())) as runner:
        address = runner.addresses[0]
        runner.say_goodbye()
        await runner.stop_accepting()

        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)


async def test_it_is_not_quiet_while_somebody_is_connected():
    async with running(small_app(route())) as runner:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(ONE)
        await reader.readuntil(b"}")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(runner.quiet(), 0.1)
        writer.close()
        await asyncio.wait_for(runner.quiet(), 5)
