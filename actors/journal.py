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


@dataclass(slots=True)
class _Lane:
    waiting: deque[tuple[Batch, asyncio.Future[bool]]] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, entries_limit: int) -> list[tuple[Batch, asyncio.Future[bool]]]:
        """Take batches until they hold `entries_limit` events: at least one."""
        taken: list[tuple[Batch, asyncio.Future[bool]]] = []
        entries = 0
        while self.waiting and (not taken or entries < entries_limit):
            taken.append(self.waiting.popleft())
            entries += len(taken[-1][0].entries)
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
        meter: Meter | None = None,
    ):
        self._store = store
        self._entries_limit = entries_limit
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
            for _, done in lane.take(1 << 62):
                _fail(done, ActorStopped())

    async def commit(self, batch: Batch) -> bool:
        """Wait for the batch to be durable; False if its project has moved on.

        Raises StoreUnavailable (nothing changed), OutcomeUnknown, or what the database
        has against this batch alone. How long it waits is bounded by the store.
        """
        lane = self._lanes[batch.project_id % len(self._lanes)]
        done = asyncio.get_running_loop().create_future()
        lane.waiting.append((batch, done))
        lane.ready.set()
        return bool(await done)

    async def _run(self, lane: _Lane) -> None:
        while True:
            await lane.ready.wait()
            taken = lane.take(self._entries_limit)
            try:
                await self._flush(taken)
            except Exception:  # noqa: BLE001  # a dead lane would keep its projects waiting
                _log.exception("journal.failed", batches=len(taken))
            finally:
                for _, done in taken:
                    _fail(done, OutcomeUnknown())

    async def _flush(self, taken: Sequence[tuple[Batch, asyncio.Future[bool]]]) -> None:
        started = time.perf_counter()
        batches = [batch for batch, _ in taken]
        try:
            matched = await self._store.append(batches)
        except (StoreUnavailable, OutcomeUnknown) as error:
            for _, done in taken:
                _fail(done, error)
        except Exception as error:  # noqa: BLE001  # the actor concerned gets it
            await self._flush_apart(taken, error)
        else:
            events = sum(len(batch.entries) for batch in batches)
            self._meter.committed(events, time.perf_counter() - started)
            for batch, done in taken:
                if not done.done():
                    done.set_result(batch.project_id in matched)

    async def _flush_apart(
        self, taken: Sequence[tuple[Batch, asyncio.Future[bool]]], error: Exception
    ) -> None:
        """Find the batch that the database refuses; its neighbours succeed."""
        if len(taken) == 1:
            _fail(taken[0][1], error)
            return
        _log.warning("journal.split", batches=len(taken), error=type(error).__name__)
        middle = len(taken) // 2
        await self._flush(taken[:middle])
        await self._flush(taken[middle:])


def _fail(done: asyncio.Future[bool], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
