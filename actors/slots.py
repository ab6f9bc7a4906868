"""The live actors of a node, and which of them are let go: the idle, and for room.

Only who has nothing to do is let go, so nothing is lost or delayed by it, and no
project ever has two actors here.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from actors.domain.errors import Unavailable
from actors.domain.model import ProjectId
from actors.domain.state import ProjectState
from actors.lru import SegmentedLru
from actors.ports import Archive, Meter
from actors.project import ProjectActor

_IN_HAND_SECONDS = 1.0  # who asked for an actor may be about to use it
_LOOKED_AT = 64  # actors in one go, so that no round takes long
_ACTOR_WEIGHT = 8  # of an actor without tasks, in tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many actors may be live, and with how many tasks and comments together."""

    actors: int = 10_000
    tasks: int = 1_000_000


@dataclass(slots=True)
class Slot:
    """A live actor, its version at the start, and its weight when it was last taken."""

    actor: ProjectActor
    first_version: int
    weight: int
    weighed_at: int

    def weigh(self) -> int:
        """Give the weight, taken anew when enough has happened for it to be another."""
        state = self.actor.state
        if state.version - self.weighed_at > self.weight // 4:
            self.weight, self.weighed_at = _weight_of(state), state.version
        return self.weight


class Slots:
    """Actors by their projects; `is_watched` says whose changes sockets here get."""

    def __init__(
        self,
        capacity: Capacity,
        *,
        archive: Archive,
        meter: Meter,
        is_watched: Callable[[ProjectId], bool],
        clock: Callable[[], float],
    ):
        self._capacity = capacity
        self._archive = archive
        self._meter = meter
        self._is_watched = is_watched
        self._clock = clock
        self._lru: SegmentedLru[ProjectId, Slot] = SegmentedLru(
            capacity.actors, capacity.tasks + capacity.actors * _ACTOR_WEIGHT
        )

    def __len__(self) -> int:
        return len(self._lru)

    def __iter__(self) -> Iterator[ProjectActor]:
        return iter([slot.actor for slot in self._lru])

    @property
    def weight(self) -> int:
        """What all weigh together, about 1 KB each."""
        return self._lru.weight

    def peek(self, project_id: ProjectId) -> ProjectActor | None:
        """Find a live actor, which is no use of it."""
        slot = self._lru.find(project_id)
        return None if slot is None else slot.actor

    def use(self, project_id: ProjectId) -> ProjectActor | None:
        """Find a live actor, and keep it for longer."""
        slot = self._lru.find(project_id)
        if slot is None:
            return None
        self._lru.use(project_id, self._clock(), slot.weigh())
        return slot.actor

    def put(self, actor: ProjectActor) -> None:
        """Take in an actor that was started, and make room for it."""
        state, weight = actor.state, _weight_of(actor.state)
        slot = Slot(actor, state.version, weight, state.version)
        self._lru.put(actor.project_id, slot, self._clock(), weight)
        self.make_room()

    def remove(self, actor: ProjectActor) -> Slot | None:
        """Take out an actor that ended; None if it was not in."""
        slot = self._lru.find(actor.project_id)
        if slot is None or slot.actor is not actor:
            return None
        return self._lru.pop(actor.project_id)

    def admit(self, loads: int) -> None:
        """Refuse where making room does not keep up, because all actors are busy.

        Raises Unavailable at twice the capacity, with what is being loaded.
        """
        if len(self) + loads < 2 * self._capacity.actors:
            return
        self.make_room(is_pressing=True)
        if len(self) + loads >= 2 * self._capacity.actors:
            raise Unavailable

    def make_room(self, *, is_pressing: bool = False) -> None:
        """Evict the least used beyond the capacity; those that are watched come last.

        Who is in hand stays, unless this is pressing.
        """
        if not self._lru.is_over:
            return
        spared_from = math.inf if is_pressing else self._clock() - _IN_HAND_SECONDS
        found = [
            project_id
            for project_id in self._lru.first(_LOOKED_AT)
            if self._lru.used_at(project_id) <= spared_from
        ]
        for project_id in sorted(found, key=self._is_watched):
            is_in_use = self._is_watched(project_id)
            if self._lru.is_over:
                is_in_use = not self._evict(project_id, "room")
            if is_in_use:
                self.use(project_id)  # and next time others are looked at before it

    async def evict_idle(self, idle_seconds: float) -> int:
        """Evict whom nobody used for so long, or watches; say how many."""
        before = self._clock() - idle_seconds
        evicted = 0
        for _ in range(0, len(self), _LOOKED_AT):
            found = self._lru.unused_since(before, _LOOKED_AT)
            if not found:
                break
            for project_id in found:
                if self._is_watched(project_id) or not self._evict(project_id, "idle"):
                    self.use(project_id)
                else:
                    evicted += 1
            await asyncio.sleep(0)  # others have their turn
        self.make_room()
        return evicted

    def _evict(self, project_id: ProjectId, reason: str) -> bool:
        """Stop an actor and have its state kept; False if it has something to do."""
        slot = self._lru.find(project_id)
        if slot is None or not slot.actor.dismiss():
            return False
        self._lru.pop(project_id)
        self._meter.evicted(reason)
        if slot.actor.state.project is not None:
            self._archive.offer(slot.actor.state)
        return True


def _weight_of(state: ProjectState) -> int:
    comments = sum(map(len, state.comments.values()))
    return _ACTOR_WEIGHT + len(state.tasks) + comments
