import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from small_app import route, small_app

from server.runner import Runner


@pytest.fixture
async def port() -> AsyncIterator[int]:
    runner = Runner(small_app(route()), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


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
        b"GET /things HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 10_000 + b"\r\n\r\n",
        b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_by_a_problem(
    port: int, request_bytes: bytes, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.CRITICAL, "aiohttp.server")

    status, headers, body = await send(port, request_bytes)

    assert 400 <= status < 500
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["request_id"] == headers["X-Request-ID"]


async def test_what_is_http_is_answered(port: int):
    request = b"GET /things HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    status, headers, body = await send(port, request)

    assert status == 200
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(body) == {"ok": True}
