"""What actors need from outside, said by those who need it."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from actors.domain.criteria import Criteria
from actors.domain.events import Batch, Entry, Event
from actors.domain.model import ProjectId, TaskId, UserId
from actors.domain.state import ProjectState


class Codec(Protocol):
    """Events as JSON and back; both directions are total for events of this code."""

    def encode(self, event: Event) -> bytes:
        """Make the JSON that the log, sockets and other nodes share."""
        ...

    def decode(self, body: bytes) -> Event:
        """Read what `encode` made."""
        ...


class Archive(Protocol):
    """Copies of states outside of the database, which are read faster than its tables.

    It may lose anything, and may give what is old: whoever finds a state there checks
    it against the log. Nothing here raises.
    """

    async def find(self, project_id: ProjectId) -> ProjectState | None:
        """Give a state as it was at some version, its tip included; waits briefly."""
        ...

    def offer(self, state: ProjectState) -> None:
        """Keep a copy of the state of this moment, soon, if it is worth it."""
        ...


class NoArchive:
    """Keeps nothing."""

    async def find(self, project_id: ProjectId) -> ProjectState | None:
        """Find nothing."""
        return None

    def offer(self, state: ProjectState) -> None:
        """Ignore it."""


class Held(Protocol):
    """A project whose head row is locked until the end of the transaction."""

    @property
    def version(self) -> int:
        """The version in the database."""
        ...

    async def events_since(self, version: int) -> list[bytes]:
        """Everything after `version`, oldest first."""
        ...

    async def append(self, batch: Batch) -> None:
        """Write the batch; it cannot be refused for its version."""
        ...


class Store(Protocol):
    """The truth. Every method may wait, within the timeouts of the database.

    All raise StoreUnavailable when nothing was changed because the database is away,
    and OutcomeUnknown when it went away during a commit.
    """

    async def load(self, project_id: ProjectId) -> ProjectState | None:
        """Read a project at one version; None if there is none, or no longer."""
        ...

    async def append(self, batches: Sequence[Batch]) -> frozenset[ProjectId]:
        """Commit in one transaction those whose project is still where they expect.

        Answers with the projects that were; the others are untouched.
        """
        ...

    async def events_since(
        self, project_id: ProjectId, version: int, limit: int
    ) -> list[bytes]:
        """Read the log after `version`, oldest first."""
        ...

    def exclusive(self, project_id: ProjectId) -> AbstractAsyncContextManager[Held]:
        """Lock the project's head for one transaction that commits at the end."""
        ...

    async def project_of(self, task_id: TaskId) -> ProjectId | None:
        """Say which project a task is in; None if there is no such task."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audience:
    """Who saw a thing before an event, or sees it after.

    `members` is never changed, only replaced with the project's next change of members.
    `owner_id` is who owns the project after the event. `bystanders` had a part in tasks
    that went with their project: what they see has changed, but the project's own event
    is not for them. Who is `lost` is told of this event, and of none after it.
    """

    members: Collection[UserId]
    others: frozenset[UserId]
    is_inbox: bool
    owner_id: UserId | None = None
    bystanders: frozenset[UserId] = frozenset()
    lost: frozenset[UserId] = frozenset()

    def is_same(self, other: "Audience") -> bool:
        """Say, without comparing members one by one, that both are the same users."""
        return (
            self.members is other.members
            and self.others == other.others
            and not self.lost
            and not other.lost
        )


class Feed(Protocol):
    """Whoever is told of committed events: the local sockets, the list cache."""

    def publish(self, audience: Audience, entries: Sequence[Entry]) -> None:
        """Take note. Must not wait and must not raise: it runs after the commit."""
        ...

    def begin(self, project_id: ProjectId, version: int) -> None:
        """Take note that a project was read anew; its next event is the next version.

        Others may have written since the last event that was published here.
        """
        ...

    def doubt(self) -> None:
        """Rely on nothing: something may be committed that nobody was told of yet."""
        ...


# One message, or several, ready for the wire: written in this order and whole, except
# that a fragment may be followed by what is no part of a message (a ping, a close).
Frames = tuple[bytes, ...]


class Wording(Protocol):
    """How messages to sockets are written; each method makes ready frames."""

    def event(self, body: bytes) -> Frames:
        """Write one event."""
        ...

    def events(
        self, project_id: ProjectId, first: int, last: int, bodies: Sequence[bytes]
    ) -> Frames:
        """Write in one message all that a subscriber is told of these versions."""
        ...

    def task_left(self, project_id: ProjectId, version: int, task_id: TaskId) -> bytes:
        """Make the body of an event's place: the task matches the filter no more."""
        ...

    async def snapshot(self, state: ProjectState, wanted: Criteria | None) -> Frames:
        """Write the state of the moment of this call, or what is wanted of it."""
        ...

    def subscribed(self, project_id: ProjectId, version: int) -> Frames:
        """Write that a subscription stands at a version."""
        ...

    def unsubscribed(self, project_id: ProjectId, reason: str) -> Frames:
        """Write that a subscription has ended."""
        ...


class Ending(StrEnum):
    """Why the feed ends a socket."""

    SLOW = "slow"
    FORBIDDEN = "forbidden"
    SESSION_ENDED = "session_ended"
    UNAVAILABLE = "unavailable"


class Outlet(Protocol):
    """The writing end of a socket: nothing here waits, and nothing raises."""

    def write(self, data: bytes) -> None:
        """Send, or keep until there is room."""
        ...

    def buffered(self) -> int:
        """Count the bytes that are kept."""
        ...

    def end(self, ending: Ending) -> None:
        """Begin to close; nothing is written after that."""
        ...


class Meter(Protocol):
    """Whoever counts; as cheap as an addition, and it never raises."""

    def committed(self, events: int, seconds: float) -> None:
        """Count a transaction, the events in it, and how long it took."""
        ...

    def conflicted(self, commands: int) -> None:
        """Count a batch that another node was faster than: to be decided again."""
        ...

    def caught_up(self, events: int) -> None:
        """Count a reading of the log for what others wrote, and what there was."""
        ...

    def locked(self) -> None:
        """Count a turn of an actor with the project's head locked."""
        ...

    def failed(self) -> None:
        """Count an actor that stopped for something unexpected."""
        ...

    def loaded(self, source: str, seconds: float) -> None:
        """Count a project that was read, from `snapshot` or `database`."""
        ...

    def evicted(self, reason: str) -> None:
        """Count an actor that was let go: `idle`, or to make `room`."""
        ...


class NoMeter:
    """Counts nothing."""

    def committed(self, events: int, seconds: float) -> None:
        """Ignore it."""

    def conflicted(self, commands: int) -> None:
        """Ignore it."""

    def caught_up(self, events: int) -> None:
        """Ignore it."""

    def locked(self) -> None:
        """Ignore it."""

    def failed(self) -> None:
        """Ignore it."""

    def loaded(self, source: str, seconds: float) -> None:
        """Ignore it."""

    def evicted(self, reason: str) -> None:
        """Ignore it."""
