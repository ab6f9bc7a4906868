"""Group commit: what all actors of this node have ready goes into one transaction.

While one transaction is on its way to the disk, the batches of other actors gather; the
next transaction takes them all. An idle journal commits at once. A lane is one
transaction in flight; a project always uses the same lane.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field

import structlog

from actors.domain.errors import ActorStopped, OutcomeUnknown, StoreUnavailable
from actors.domain.events import Batch
from actors.ports import Meter, NoMeter, Store

_log = structlog.get_logger()

_FLUSH_ENTRIES = 1024
_PATIENCE_SECONDS = 1.0  # half of a caller's: the other half is for the commit


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    batch: Batch
    done: asyncio.Future[bool]
    until: float

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(slots=True)
class _Lane:
    waiting: deque[_Waiting] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, entries_limit: int) -> list[_Waiting]:
        """Take batches until they hold `entries_limit` events: at least one."""
        taken: list[_Waiting] = []
        entries = 0
        while self.waiting and (not taken or entries < entries_limit):
            taken.append(self.waiting.popleft())
            entries += len(taken[-1].batch.entries)
        if not self.waiting:
            self.ready.clear()
        return taken


class Journal:
    """The only way of actors to the database.

    Waiting batches are bounded by the number of actors: each has one at most.
    """

    def __init__(
        self,
        store: Store,
        *,
        lanes: int = 1,
        entries_limit: int = _FLUSH_ENTRIES,
        patience_seconds: float = _PATIENCE_SECONDS,
        meter: Meter | None = None,
    ):
        self._store = store
        self._entries_limit = entries_limit
        self._patience_seconds = patience_seconds
        self._meter = meter or NoMeter()
        self._lanes = [_Lane() for _ in range(lanes)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to commit; `close` ends it."""
        self._tasks = [
            asyncio.create_task(
                self._run(lane), name=f"journal-{number}", context=Context()
            )
            for number, lane in enumerate(self._lanes)
        ]

    async def close(self) -> None:
        """Stop at once: what has not been committed is answered with ActorStopped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes:
            for one in lane.take(1 << 62):
                one.fail(ActorStopped())

    async def commit(self, batch: Batch) -> bool:
        """Wait for the batch to be durable; False if its project has moved on.

        Raises StoreUnavailable (nothing changed), OutcomeUnknown, or what the database
        has against this batch alone. Who waits too long for their turn, behind a
        database that does not answer, is not sent at all; a commit is bounded by it.
        """
        lane = self._lanes[batch.project_id % len(self._lanes)]
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience_seconds
        lane.waiting.append(one := _Waiting(batch, loop.create_future(), until))
        lane.ready.set()
        return bool(await one.done)

    async def _run(self, lane: _Lane) -> None:
        while True:
            await lane.ready.wait()
            taken = self._in_time(lane.take(self._entries_limit))
            try:
                if taken:
                    await self._flush(taken)
            except Exception:  # noqa: BLE001  # a dead lane would keep its projects waiting
                _log.exception("journal.failed", batches=len(taken))
            finally:
                for one in taken:
                    one.fail(OutcomeUnknown())

    def _in_time(self, taken: Sequence[_Waiting]) -> Sequence[_Waiting]:
        now = asyncio.get_running_loop().time()
        for one in taken:
            if one.until < now:
                one.fail(StoreUnavailable())
        return [one for one in taken if not one.done.done()]

    async def _flush(self, taken: Sequence[_Waiting]) -> None:
        started = time.perf_counter()
        batches = [one.batch for one in taken]
        try:
            matched = await self._store.append(batches)
        except (StoreUnavailable, OutcomeUnknown) as error:
            for one in taken:
                one.fail(error)
        except Exception as error:  # noqa: BLE001  # the actor concerned gets it
            await self._flush_apart(taken, error)
        else:
            events = sum(len(batch.entries) for batch in batches)
            self._meter.committed(events, time.perf_counter() - started)
            for one in taken:
                if not one.done.done():
                    one.done.set_result(one.batch.project_id in matched)

    async def _flush_apart(self, taken: Sequence[_Waiting], error: Exception) -> None:
        """Find the batch that the database refuses; its neighbours succeed."""
        if len(taken) == 1:
            taken[0].fail(error)
            return
        _log.warning("journal.split", batches=len(taken), error=type(error).__name__)
        middle = len(taken) // 2
        await self._flush(taken[:middle])
        await self._flush(taken[middle:])
