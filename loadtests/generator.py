"""A load generator for one process: keep-alive connections that never pause.

It measures servers, so it has to cost less than they do: requests are ready bytes, and
of an answer only the status and the length are read.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Result:
    """What was answered within `seconds`."""

    seconds: float
    statuses: dict[int, int] = field(default_factory=dict)
    body: bytes = b""
    refusal: bytes = b""
    by_connection: tuple[int, ...] = ()

    @property
    def rate(self) -> float:
        """Answers a second, whatever they were."""
        return sum(self.statuses.values()) / self.seconds

    @property
    def errors(self) -> int:
        """Answers that were no success."""
        return sum(n for status, n in self.statuses.items() if status >= 400)


class _Connection(asyncio.Protocol):
    def __init__(self, next_request: Callable[[], bytes | None], result: Result):
        self._next_request = next_request
        self._result = result
        self._received = bytearray()
        self.answers = 0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        at = head.find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        whole = end + len(_HEAD_END) + length
        if len(self._received) < whole:
            return
        status = int(head[9:12])
        result = self._result
        result.statuses[status] = result.statuses.get(status, 0) + 1
        result.body = bytes(self._received[whole - length : whole])
        if status >= 400:
            result.refusal = result.body
        self._received.clear()
        self.answers += 1
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def _send(self) -> None:
        request = self._next_request()
        if request is None:
            self._transport.close()
            return
        self._transport.write(request)


async def run(
    host: str,
    port: int,
    make_request: Callable[[int], bytes],
    *,
    connections: int,
    seconds: float,
) -> Result:
    """Keep `connections` busy for `seconds`; request number n is `make_request(n)`."""
    loop = asyncio.get_running_loop()
    result = Result(seconds)
    number = 0
    deadline = time.perf_counter() + seconds

    def next_request() -> bytes | None:
        nonlocal number
        if time.perf_counter() >= deadline:
            return None
        number += 1
        return make_request(number)

    opened = await asyncio.gather(
        *(
            loop.create_connection(
                lambda: _Connection(next_request, result), host, port
            )
            for _ in range(connections)
        )
    )
    closed = [protocol.closed for _, protocol in opened]
    await asyncio.wait(closed, timeout=seconds + 15)
    result.by_connection = tuple(protocol.answers for _, protocol in opened)
    result.seconds = time.perf_counter() - (deadline - seconds)
    return result


class Client:
    """One keep-alive connection, for a request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str, port: int) -> AsyncIterator["Client"]:
        """Keep a connection for as long as the context lasts."""
        reader, writer = await asyncio.open_connection(host, port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def ask(self, request: bytes) -> bytes:
        """Give the body of the answer; exits if it is no success."""
        self._writer.write(request)
        head = (await self._reader.readuntil(_HEAD_END)).lower()
        at = head.find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = await self._reader.readexactly(length)
        if int(head[9:12]) >= 400:
            sys.exit(f"an error under load: {head!r} {body[:300]!r}")
        return body


def http_request(
    method: str, path: str, *, token: str = "", body: bytes = b"", host: str = "bench"
) -> bytes:
    """Write a request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + _HEAD_END + body
