"""Proxies that do what networks do when they fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self


class Proxy:
    """Passes on what clients say, and what they are answered."""

    def __init__(self, port: int):
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator[Self]:
        """Listen in front of the server on this port."""
        proxy = cls(port)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break all connections off, without a goodbye."""
        for task in self._tasks:
            task.cancel()

    async def answer(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Let the client have what the server says."""
        await _pass_on(upstream, writer)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with suppress(ConnectionError):
                await self._connect(reader, writer)
        finally:
            writer.transport.abort()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        asking = asyncio.create_task(_pass_on(reader, to_server))
        try:
            await self.answer(upstream, writer)
        finally:
            asking.cancel()
            to_server.transport.abort()


class Withholding(Proxy):
    """Swallows what clients are answered."""

    swallowed_bytes = 0

    async def answer(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Count it."""
        while answer := await upstream.read(65536):
            self.swallowed_bytes += len(answer)


class Cutting(Proxy):
    """Breaks off each connection after so many bytes of answers; None: never."""

    most_bytes: int | None = None

    async def answer(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on what is left of them."""
        left = self.most_bytes
        if left is None:
            await _pass_on(upstream, writer)
            return
        while left > 0 and (answer := await upstream.read(min(left, 65536))):
            writer.write(answer)
            await writer.drain()
            left -= len(answer)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while said := await reader.read(65536):
            writer.write(said)
            await writer.drain()
