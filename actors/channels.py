"""The stream of one project on this node: its ring, and who sits where in it."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from weakref import WeakValueDictionary

from actors.audiences import hears
from actors.domain.criteria import Criteria, Outcome
from actors.domain.events import CommentEvent, Entry, TaskEvent
from actors.domain.model import ProjectId
from actors.domain.state import ProjectState
from actors.parcels import (
    PARCEL_BYTES,
    Kind,
    Parcel,
    Told,
    frames_apart,
    frames_together,
)
from actors.ports import Audience, Wording
from actors.ring import Item, Ring
from actors.seats import NOWHERE, Seat

# Of rings that nobody watches: they answer whoever comes back in the next minutes.
_KEPT_BYTES = 64 << 20
_KEPT_CHANNELS = 4096
_OVERHEAD_BYTES = 2048
_RECENT_PARCELS = 32
# Who lags far behind goes on in the same steps as the others who do, wherever each of
# them stopped: from the first multiple of this on they are owed the same parcels.
_STRIDE = 64

Look = Callable[[ProjectId], ProjectState | None]
_Key = tuple[int, int, int, Kind]


class Channel:
    """Events up to `ring.head` were committed and published, each once and in order.

    `listened` is the version up to which listeners have been served; of these, `guests`
    are catching up here. While it `is_stirred`, sockets are brought up to `reach`, and
    what came since goes out in the next pass.
    """

    __slots__ = (
        "__weakref__",
        "_last",
        "_look",
        "_parcels",
        "_recent",
        "_wording",
        "guests",
        "is_stirred",
        "listened",
        "project_id",
        "reach",
        "rests_until",
        "ring",
        "seats",
    )

    def __init__(
        self, project_id: ProjectId, version: int, wording: Wording, look: Look
    ):
        self.project_id = project_id
        self.ring = Ring(version)
        self.seats: dict[Seat, None] = {}
        self.listened = version
        self.guests = 0
        self.is_stirred = False
        self.reach = version
        self.rests_until = 0.0
        self._wording = wording
        self._look = look
        self._parcels: WeakValueDictionary[_Key, Parcel] = WeakValueDictionary()
        self._recent: deque[Parcel] = deque(maxlen=_RECENT_PARCELS)
        self._last: tuple[_Key, Parcel] | None = None

    @property
    def head(self) -> int:
        """The version of the last event that was published."""
        return self.ring.head

    def take(self, audience: Audience, entries: Sequence[Entry]) -> list[Item]:
        """Take the next events; what is known already is left out."""
        items = [
            Item(entry, audience)
            for entry in entries
            if entry.event.version > self.head
        ]
        for item in items:
            self.ring.append(item)
        return items

    def begin(self, version: int) -> None:
        """Go on from the version that the project was read at, or is published from.

        What lies between is not in the ring: each seat gets it from the log, after it
        was asked whether its reader may still see the project. If it is less than what
        was published, the database has lost that: every seat is owed a snapshot.
        """
        if version < self.head:
            self.listened = min(self.listened, version)
            for seat in self.seats:
                seat.stand_at(NOWHERE)
        if version != self.head:
            for seat in self.seats:
                seat.is_doubtful = True
            self.ring.restart(version)
            self.forget()

    def parcel(self, seat: Seat, goal: int) -> Parcel | None:
        """Give what the seat is to get next on its way to a version; None: not here.

        Made once for all seats of a kind that stand at the same place.
        """
        if not self.ring.covers(seat.position):
            return None
        if goal - seat.position > _STRIDE:
            goal = (seat.position // _STRIDE + 1) * _STRIDE
        key = (seat.position, seat.told, goal, seat.kind)
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        parcel = self._parcels.get(key)
        if parcel is None:
            parcel = self._made(seat, goal)
            if parcel is None:
                return None
            self._parcels[key] = parcel
            self._recent.append(parcel)
        self._last = (key, parcel)
        return parcel

    def forget(self) -> None:
        """Let go of parcels that nobody holds any more."""
        self._recent.clear()
        self._last = None

    def _made(self, seat: Seat, goal: int) -> Parcel | None:
        if seat.kind.criteria is not None and self._look(self.project_id) is None:
            return None  # comments are judged by their tasks
        told: list[Told] = []
        size, last = 0, seat.position
        for item in self.ring.after(seat.position, goal):
            if seat.kind.reader is not None and item.audience is None:
                return None  # from the log, which does not say who was to hear of it
            body = self._body(item, seat.kind)
            if body is not None:
                size += len(body)
                if told and size > PARCEL_BYTES:
                    break
                told.append(Told(item.version, body))
            last = item.version
        if not told or not seat.kind.is_together:
            return Parcel(frames_apart(self._wording, told), last)
        if seat.kind.reader is not None:
            return Parcel(frames_together(self._wording, self.project_id, told), last)
        bodies = [body for _, body in told]
        first = seat.told + 1
        return Parcel(self._wording.events(self.project_id, first, last, bodies), last)

    def _body(self, item: Item, kind: Kind) -> bytes | None:
        """Give what this kind of reader is told of an event, if anything."""
        audience, reader = item.audience, kind.reader
        if audience is not None and reader is not None and not hears(audience, reader):
            return None
        if kind.criteria is None:
            return item.entry.body
        return self._wanted(item, kind.criteria)

    def _wanted(self, item: Item, criteria: Criteria) -> bytes | None:
        event, body = item.entry.event, item.entry.body
        if isinstance(event, CommentEvent):
            state = self._look(self.project_id)
            task = state and state.tasks.get(event.comment.task_id)
            return body if task and criteria.matches(task, event.at) else None
        if not isinstance(event, TaskEvent):
            return body
        match criteria.outcome(event):
            case Outcome.TOLD:
                return body
            case Outcome.LEFT:
                return self._wording.task_left(
                    self.project_id, event.version, event.task.id
                )
            case Outcome.SILENT:
                return None


class Channels:
    """The channels of this node; of those without seats, the ones used last."""

    def __init__(self, wording: Wording, look: Look):
        self._wording = wording
        self._look = look
        self._channels: OrderedDict[ProjectId, Channel] = OrderedDict()

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    def get(self, project_id: ProjectId) -> Channel | None:
        """Find a channel."""
        return self._channels.get(project_id)

    def at(self, project_id: ProjectId, version: int) -> Channel:
        """Find the channel of a project that has this version, or make it."""
        channel = self._channels.get(project_id)
        if channel is None:
            channel = Channel(project_id, version, self._wording, self._look)
            self._channels[project_id] = channel
        elif version > channel.head:
            channel.begin(version)
        self._channels.move_to_end(project_id)
        return channel

    def tidy(self) -> None:
        """Forget what nobody holds, and the rings that were used least recently."""
        size_bytes, kept = 0, 0
        for channel in reversed(list(self._channels.values())):
            channel.forget()
            if channel.seats or channel.guests:
                continue
            kept += 1
            size_bytes += channel.ring.size_bytes + _OVERHEAD_BYTES
            if size_bytes > _KEPT_BYTES or kept > _KEPT_CHANNELS:
                del self._channels[channel.project_id]
