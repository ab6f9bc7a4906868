"""What the supervisor hears from its workers, and their metrics together."""

import asyncio
import itertools
import socket

from server.merging import Totals
from server.pipe import (
    Count,
    Counted,
    Failed,
    Gather,
    Gathered,
    Message,
    Orders,
    Pipe,
    Ready,
)
from server.processes import StartFailed

_COUNT_SECONDS = 1.0


class Voices:
    """All workers that can be heard."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._voices: dict[int, Voice] = {}
        self._numbers = itertools.count()

    async def hear(self, end: socket.socket) -> "Voice":
        """Listen to a worker until it ends, or until the voice is closed."""
        number = next(self._numbers)
        voice = self._voices[number] = Voice(await Pipe.over(end), number, self)
        return voice

    def forget(self, number: int) -> None:
        """Let go of a worker that has ended."""
        self._voices.pop(number, None)
        self.totals.forget(number)

    async def gather(self) -> bytes:
        """Show the metrics of all, the last known ones of who does not answer."""
        voices = [voice for voice in self._voices.values() if voice.is_ready]
        answers = await asyncio.gather(*(voice.count() for voice in voices))
        return self.totals.page(len(voices), answers.count(False))


class Voice:
    """One worker, as it is heard."""

    def __init__(self, pipe: Pipe, number: int, voices: Voices):
        self.is_ready = False
        self._pipe = pipe
        self._number = number
        self._voices = voices
        self._reason = "it ended at once"
        self._begun = asyncio.Event()
        self._counted: asyncio.Event | None = None
        self._gathering: asyncio.Task[None] | None = None
        self._hearing = asyncio.create_task(self._hear(), name="hear-worker")

    def order(self, orders: Orders) -> None:
        """Tell it what to do."""
        self._pipe.send(orders)

    async def ready(self) -> None:
        """Wait until it is; raises StartFailed if it never will be."""
        await self._begun.wait()
        if not self.is_ready:
            raise StartFailed(self._reason)

    async def count(self) -> bool:
        """Have it tell its metrics; False if it does not in time."""
        if self._counted is None:  # else it has been asked already
            self._counted = asyncio.Event()
            self._pipe.send(Count())
        try:
            async with asyncio.timeout(_COUNT_SECONDS):
                await self._counted.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Listen no more."""
        self._hearing.cancel()
        await asyncio.gather(self._hearing, return_exceptions=True)

    async def _hear(self) -> None:
        try:
            while message := await self._pipe.receive():
                self._take(message)
        finally:
            if self._gathering is not None:
                self._gathering.cancel()
            self._voices.forget(self._number)
            self._begun.set()
            self._told()
            await self._pipe.close()

    def _take(self, message: Message) -> None:
        match message:
            case Ready():
                self.is_ready = True
                self._begun.set()
            case Failed(reason=reason):
                self._reason = reason
            case Counted(page=page):
                self._voices.totals.take(self._number, page)
                self._told()
            case Gather():
                self._gathering = asyncio.create_task(self._gather(), name="gather")

    def _told(self) -> None:
        if self._counted is not None:
            self._counted.set()
            self._counted = None

    async def _gather(self) -> None:
        self._pipe.send(Gathered(await self._voices.gather()))
