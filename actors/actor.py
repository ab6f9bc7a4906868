"""The mailbox of an actor, and the task that empties it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.domain.commands import Command
from actors.domain.errors import (
    ActorStopped,
    DeadlineExceeded,
    MailboxFull,
    OutcomeUnknown,
)
from actors.domain.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The answer to a command: its events, perhaps none, and the version after them."""

    events: tuple[Event, ...]
    version: int


@dataclass(slots=True, kw_only=True, eq=False)
class Envelope:
    """A command on its way; `deadline` is in the mailbox's clock, in seconds."""

    command: Command
    deadline: float
    done: asyncio.Future[Committed]
    has_started: bool = field(default=False)
    is_refused: bool = field(default=False)

    def start(self, now: float) -> bool:
        """Say whether it is still worth doing: its caller is there, and has time."""
        if self.done.done():
            return False
        if now > self.deadline:
            self.fail(DeadlineExceeded())
            return False
        self.has_started = True
        return True

    def expire(self) -> None:
        """Refuse because the time is up."""
        self.fail(OutcomeUnknown() if self.has_started else DeadlineExceeded())

    def answer(self, answer: Committed) -> None:
        """Give the answer, unless the caller has gone."""
        if not self.done.done():
            self.done.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Refuse, unless the caller has gone."""
        if not self.done.done():
            self.done.set_exception(error)


class Mailbox:
    """Commands that wait for their actor: at most `size`, first come, first served."""

    def __init__(self, size: int, *, clock: Callable[[], float] = time.monotonic):
        self._queue: asyncio.Queue[Envelope | None] = asyncio.Queue(size)
        self._clock = clock
        self._is_closed = False

    def __len__(self) -> int:
        return self._queue.qsize()

    async def ask(self, command: Command, timeout_seconds: float) -> Committed:
        """Put the command in and wait for its answer.

        Raises MailboxFull at once when there is no room, ActorStopped when the actor
        ended first, DeadlineExceeded when it was not started in time (nothing was
        changed), OutcomeUnknown when it was started but has not ended in time.
        """
        if self._is_closed:
            raise ActorStopped
        envelope = Envelope(
            command=command,
            deadline=self._clock() + timeout_seconds,
            done=asyncio.get_running_loop().create_future(),
        )
        try:
            self._queue.put_nowait(envelope)
        except asyncio.QueueFull:
            raise MailboxFull from None
        # A timer of the loop's costs a quarter of asyncio.timeout, which cancels.
        timer = asyncio.get_running_loop().call_later(timeout_seconds, envelope.expire)
        try:
            return await envelope.done
        finally:
            timer.cancel()

    def nudge(self) -> None:
        """Wake who empties it, without a command; one that is full is awake.

        Raises ActorStopped if nobody empties it any more.
        """
        if self._is_closed:
            raise ActorStopped
        if not self._queue.full():
            self._queue.put_nowait(None)

    async def take(self, limit: int) -> list[Envelope]:
        """Wait for a command or a nudge, then take all there are, up to `limit`."""
        first = await self._queue.get()
        return self._started([first, *self._ready(limit - 1)])

    def take_more(self, limit: int) -> list[Envelope]:
        """Take the commands that there are, up to `limit`; never waits."""
        return self._started(self._ready(limit))

    def _ready(self, limit: int) -> list[Envelope | None]:
        count = min(limit, self._queue.qsize())
        return [self._queue.get_nowait() for _ in range(count)]

    def _started(self, taken: list[Envelope | None]) -> list[Envelope]:
        now = self._clock()
        return [envelope for envelope in taken if envelope and envelope.start(now)]

    def close(self) -> None:
        """Accept nothing more, and answer whoever waits with ActorStopped."""
        self._is_closed = True
        while not self._queue.empty():
            envelope = self._queue.get_nowait()
            if envelope is not None:
                envelope.fail(ActorStopped())
