"""A way to Redis on which messages of its channels get lost, and overtake each other.

Nothing else is touched: answers to commands, subscriptions' too, arrive in order.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from tests.e2e.proxy import Proxy

_MESSAGES = frozenset({b"message", b"smessage", b"pmessage"})
_ITEMS = {b"*": 1, b">": 1, b"~": 1, b"%": 2, b"|": 2}  # a count, and so many for each
_SIZED = b"$=!"  # a length, then so many bytes
_HELD_SECONDS = 0.05  # a message that is to be overtaken waits no longer


class Lossy(Proxy):
    """Loses a part of the messages, and lets as many be overtaken by the next one."""

    def __init__(self, upstream: Path | int):
        super().__init__(upstream)
        self.lost_part = 0.3
        self.seen = self.lost = self.overtaken = 0
        self.chance = random.Random(0)  # noqa: S311

    async def answer(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on what is not lost."""
        held: list[bytes] = []
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            async for frame in _frames(upstream, held, writer):
                if not is_message(frame):
                    writer.write(frame)
                elif (kept := self._kept(frame, held)) is not None:
                    writer.write(kept)
                await writer.drain()

    def _kept(self, frame: bytes, held: list[bytes]) -> bytes | None:
        """Give what is to be sent now, if anything."""
        self.seen += 1
        if self.chance.random() < self.lost_part:
            self.lost += 1
            return None
        if not held and self.chance.random() < self.lost_part:
            held.append(frame)
            return None
        self.overtaken += len(held)
        sent = frame + b"".join(held)
        held.clear()
        return sent


def is_message(frame: bytes) -> bool:
    """Say whether Redis sends it by itself, for a channel."""
    words = frame.split(b"\r\n", 3)
    return frame[:1] in b"*>" and len(words) > 2 and words[2] in _MESSAGES


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Read one whole answer of RESP2 or RESP3, with all that is in it."""
    line = await reader.readuntil(b"\r\n")
    kind, count = line[:1], line[1:-2]
    if kind in _SIZED and count != b"-1":
        return line + await reader.readexactly(int(count) + 2)
    found = [line]
    for _ in range(int(count) * _ITEMS[kind] if kind in _ITEMS else 0):
        found.append(await read_frame(reader))  # noqa: PERF401 (one after the other)
    return b"".join(found)


async def _frames(
    upstream: asyncio.StreamReader, held: list[bytes], writer: asyncio.StreamWriter
) -> AsyncIterator[bytes]:
    """Read on; send what is held when nothing comes that could overtake it."""
    while True:
        reading = asyncio.ensure_future(read_frame(upstream))
        try:
            if held:
                await asyncio.wait({reading}, timeout=_HELD_SECONDS)
                if not reading.done():
                    writer.write(b"".join(held))
                    held.clear()
            yield await reading
        finally:
            reading.cancel()
