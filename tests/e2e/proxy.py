"""Proxies that do what networks do when they fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self


class Proxy:
    """Passes on what clients say, and what they are answered."""

    def __init__(self, upstream: Path | int):
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self.host = ""
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, upstream: Path | int, *, host: str = "127.0.0.1"
    ) -> AsyncIterator[Self]:
        """Listen in front of the server on this port, or Unix socket."""
        proxy = cls(upstream)
        server = await asyncio.start_server(proxy._serve, host, 0)
        proxy.host, proxy.port = server.sockets[0].getsockname()
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it is, for clients of HTTP."""
        return f"http://{self.host}:{self.port}"

    def cut(self) -> None:
        """Break all connections off, without a goodbye."""
        for task in self._tasks:
            task.cancel()

    async def ask(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> None:
        """Let the server have what the client says."""
        await _pass_on(reader, upstream)

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
            # Cut off, or with nobody behind it. Nobody waits for this task, and Python
            # 3.11 reports one that was cancelled.
            with suppress(OSError, asyncio.CancelledError):
                await self._connect(reader, writer)
        finally:
            writer.transport.abort()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        upstream, to_server = await self._dial()
        both = (
            asyncio.create_task(self.ask(reader, to_server)),
            asyncio.create_task(self.answer(upstream, writer)),
        )
        try:  # whoever ends it ends it for the other side too
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            to_server.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection("127.0.0.1", self._upstream)


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


class BlackHole(Proxy):
    """Lets nothing through while it is dark, as a network does that loses packets.

    Nothing is refused or closed. What was said meanwhile arrives when there is light
    again, as it does by TCP.
    """

    def __init__(self, upstream: Path | int):
        super().__init__(upstream)
        self.light = asyncio.Event()
        self.light.set()

    async def ask(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> None:
        """Keep it until there is light."""
        await self._hold(reader, upstream)

    async def answer(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Keep it until there is light."""
        await self._hold(upstream, writer)

    async def _hold(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while said := await reader.read(65536):
                await self.light.wait()
                writer.write(said)
                await writer.drain()
            await self.light.wait()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while said := await reader.read(65536):
            writer.write(said)
            await writer.drain()
