"""What actors need from outside, said by those who need it."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

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

    `members` is the project's own collection: it holds only until the next event.
    `bystanders` had a part in tasks that went with their project: what they see has
    changed, but the project's own event is not for them.
    """

    members: Collection[UserId]
    others: frozenset[UserId]
    is_inbox: bool
    bystanders: frozenset[UserId] = frozenset()

    def is_same(self, other: "Audience") -> bool:
        """Say, without comparing members one by one, that both are the same users."""
        return self.members is other.members and self.others == other.others


class Feed(Protocol):
    """Whoever is told of committed events: the local sockets, the list cache."""

    def publish(self, audience: Audience, entries: Sequence[Entry]) -> None:
        """Take note. Must not wait and must not raise: it runs after the commit."""
        ...

    def doubt(self) -> None:
        """Rely on nothing: something may be committed that nobody was told of yet."""
        ...


class Meter(Protocol):
    """Whoever counts; as cheap as an addition, and it never raises."""

    def committed(self, events: int, seconds: float) -> None:
        """Count a transaction, the events in it, and how long it took."""
        ...

    def conflicted(self) -> None:
        """Count a batch that another node was faster than."""
        ...

    def failed(self) -> None:
        """Count an actor that stopped for something unexpected."""
        ...


class NoMeter:
    """Counts nothing."""

    def committed(self, events: int, seconds: float) -> None:
        """Ignore it."""

    def conflicted(self) -> None:
        """Ignore it."""

    def failed(self) -> None:
        """Ignore it."""
