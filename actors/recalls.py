"""What is not in a ring: older events from the log, and snapshots of the state.

Whatever is fetched is fetched once, for all who came in the meantime.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol

import structlog

from actors.channels import Channel
from actors.domain.criteria import Criteria
from actors.domain.errors import ProjectNotFound, Unavailable
from actors.domain.events import Entry
from actors.domain.model import ProjectId
from actors.domain.state import ProjectState
from actors.parcels import Parcel
from actors.ports import Codec, Ending, Frames, Wording
from actors.ring import RING_EVENTS, Item
from actors.rounds import SLICE_SECONDS
from actors.seats import NOWHERE, Seat

_FRESH_SECONDS = 1.0
_TRIES = 20
_PAUSE_SECONDS = 0.25
_PAGE_EVENTS = 256
_SNAPSHOTS_AT_ONCE = 4

_log = structlog.get_logger()


class Log(Protocol):
    """Where older events are kept."""

    async def events_since(
        self, project_id: ProjectId, version: int, limit: int
    ) -> list[bytes]:
        """Read the log after `version`, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state at a version, ready to be sent; made at a moment of the clock."""

    parcel: Parcel
    version: int
    made_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the feed gets what it was not told: from memory, or from the database.

    `find` gives a project's committed state, of this version or later if there is such
    a version; `look` gives it only if it is in memory.
    """

    log: Log
    codec: Codec
    find: Callable[[ProjectId, int], Awaitable[ProjectState]]
    look: Callable[[ProjectId], ProjectState | None]


class Recalls:
    """Fetches for seats that cannot be served, then has them served.

    `end` is told of seats that nothing can be fetched for.
    """

    def __init__(
        self,
        source: Source,
        wording: Wording,
        *,
        serve: Callable[[Seat], None],
        put: Callable[[Seat, Parcel], bool],
        end: Callable[[Seat, Ending], None],
    ):
        self._source = source
        self._wording = wording
        self._serve = serve
        self._put = put
        self._end = end
        self._waiting: dict[Channel, list[Seat]] = {}
        self._tasks: dict[Channel, asyncio.Task[None]] = {}
        self._making = asyncio.Semaphore(_SNAPSHOTS_AT_ONCE)
        self._snapshots: dict[tuple[ProjectId, Criteria | None], Snapshot] = {}

    def fetch(self, seat: Seat) -> None:
        """See to what this seat lacks; it is served when that is here."""
        seat.is_waiting = True
        channel = seat.channel
        if seat.kind.reader is not None:  # the log does not say who was to hear
            seat.position = NOWHERE
        self._waiting.setdefault(channel, []).append(seat)
        if channel not in self._tasks:
            # A context of its own: it is for more than the one who asked first.
            self._tasks[channel] = asyncio.create_task(
                self._run(channel), name="recall", context=Context()
            )

    def tidy(self) -> None:
        """Let go of snapshots that are not fresh any more."""
        before = time.monotonic() - _FRESH_SECONDS
        for key, kept in list(self._snapshots.items()):
            if kept.made_at < before:
                del self._snapshots[key]

    async def close(self) -> None:
        """Stop fetching."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, channel: Channel) -> None:
        try:
            while seats := _still_waiting(self._waiting.pop(channel, ())):
                await self._settle_patiently(channel, seats)
        finally:
            del self._tasks[channel]

    async def _settle_patiently(self, channel: Channel, seats: list[Seat]) -> None:
        for _ in range(_TRIES):
            try:
                await self._settle(channel, _still_waiting(seats))
            except ProjectNotFound:
                for seat in seats:
                    self._refuse(seat)
            except Unavailable:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            except Exception:  # noqa: BLE001  # who waits has to be told
                _log.exception("feed.recall_failed", id=channel.project_id)
                self._give_up(seats, Ending.UNAVAILABLE)
            return
        self._give_up(seats, Ending.UNAVAILABLE)

    async def _settle(self, channel: Channel, seats: Sequence[Seat]) -> None:
        state = await self._source.find(channel.project_id, channel.head)
        for seat in seats:
            seat.is_doubtful = False
            if not _may_see(seat, state):
                self._refuse(seat)
        least = channel.head - RING_EVENTS
        near = [s.position for s in seats if s.position >= max(least, 0)]
        if near:
            await self._recall(channel, min(near))
        lacking = [seat for seat in seats if _lacks(seat)]
        await self._release([seat for seat in seats if not _lacks(seat)])
        if lacking:
            await self._hand_out(channel, lacking)

    async def _hand_out(self, channel: Channel, seats: Sequence[Seat]) -> None:
        """Give out the whole state, and that by one filter.

        Other filters have to wait for the next turn: whoever asks for many must not
        keep those waiting who want what all want.
        """
        kinds = list(dict.fromkeys(seat.kind.criteria for seat in seats))
        kinds.sort(key=lambda criteria: criteria is not None)
        for criteria in kinds[:2]:
            snapshot = await self._snapshot(channel, criteria)
            ready = [seat for seat in seats if seat.kind.criteria == criteria]
            for seat in _still_waiting(ready):
                self._hand(seat, snapshot)
            await self._release(ready)
        later = [seat for seat in seats if seat.kind.criteria in kinds[2:]]
        self._waiting[channel] = [*later, *self._waiting.get(channel, ())]

    async def _recall(self, channel: Channel, since: int) -> None:
        """Read what came before the ring into it, if it fits and the log has it."""
        ring = channel.ring
        while not ring.covers(since) and not ring.is_full:
            start = max(since, ring.oldest - 1 - _PAGE_EVENTS)
            bodies = await self._source.log.events_since(
                channel.project_id, start, ring.oldest - 1 - start
            )
            before = ring.oldest
            ring.prepend([self._item(body) for body in bodies])
            if ring.oldest == before:
                return

    def _item(self, body: bytes) -> Item:
        return Item(Entry(event=self._source.codec.decode(body), body=body))

    async def _snapshot(self, channel: Channel, criteria: Criteria | None) -> Snapshot:
        key = (channel.project_id, criteria)
        kept = self._snapshots.get(key)
        fresh = time.monotonic() - _FRESH_SECONDS
        if kept and kept.made_at >= fresh and channel.ring.covers(kept.version):
            return kept
        async with self._making:
            state = await self._source.find(channel.project_id, channel.head)
            version = state.version
            frames: Frames = await self._wording.snapshot(state, criteria)
        made = Snapshot(
            parcel=Parcel(frames), version=version, made_at=time.monotonic()
        )
        self._snapshots[key] = made
        return made

    def _hand(self, seat: Seat, snapshot: Snapshot) -> None:
        """Give a seat the state instead of the events; live events go on from there.

        Listeners are not told when they lose sight of a project, so they are looked at
        again: much may have been committed while the state was read and written.
        """
        state = self._source.look(seat.channel.project_id)
        if state is None:
            return  # it is fetched again
        if not _may_see(seat, state):
            self._refuse(seat)
        elif self._put(seat, snapshot.parcel):
            seat.stand_at(snapshot.version)
            if seat.greeting is not None:
                seat.greeting = snapshot.version

    def _refuse(self, seat: Seat) -> None:
        """End who may see the project no more, or saw but a part of it.

        There is no snapshot of a part: its reader has to come back.
        """
        if not seat.is_gone:
            is_partial = seat.kind.reader is not None
            self._end(seat, Ending.SLOW if is_partial else Ending.FORBIDDEN)

    async def _release(self, seats: Sequence[Seat]) -> None:
        ends = time.perf_counter() + SLICE_SECONDS
        for seat in seats:
            seat.is_waiting = False
            self._serve(seat)
            if time.perf_counter() > ends:
                await asyncio.sleep(0)
                ends = time.perf_counter() + SLICE_SECONDS

    def _give_up(self, seats: Sequence[Seat], ending: Ending) -> None:
        for seat in _still_waiting(seats):
            seat.is_waiting = False
            self._end(seat, ending)


def _still_waiting(seats: Iterable[Seat]) -> list[Seat]:
    return [seat for seat in seats if seat.is_waiting and not seat.is_gone]


def _may_see(seat: Seat, state: ProjectState) -> bool:
    return state.visible_project(seat.watcher.caller) is not None


def _lacks(seat: Seat) -> bool:
    """Say whether the ring cannot take it on from where it stands."""
    return not seat.is_gone and not seat.channel.ring.covers(seat.position)
