"""What happened to a project: one event, one version, and the whole thing after it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from actors.domain.commands import IdempotencyKey
from actors.domain.model import Comment, Member, Project, ProjectId, Task, UserId

Plain = str | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A field before and after, as JSON would show it."""

    old: Plain
    new: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    type: ClassVar[str]

    project_id: ProjectId
    version: int
    by: UserId
    at: datetime
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _TaskEvent(_Event):
    task: Task
    changes: Mapping[str, Change] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProjectEvent(_Event):
    project: Project
    changes: Mapping[str, Change] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MemberEvent(_Event):
    member: Member
    changes: Mapping[str, Change] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CommentEvent(_Event):
    comment: Comment
    changes: Mapping[str, Change] = field(default_factory=dict)


class TaskCreated(_TaskEvent):
    """A task was made."""

    __slots__ = ()
    type = "task_created"


class TaskUpdated(_TaskEvent):
    """A task changed, other than by a new assignee or by being completed."""

    __slots__ = ()
    type = "task_updated"


class TaskAssigned(_TaskEvent):
    """A task got another assignee, or none."""

    __slots__ = ()
    type = "task_assigned"


class TaskCompleted(_TaskEvent):
    """A task's status became completed."""

    __slots__ = ()
    type = "task_completed"


class TaskDeleted(_TaskEvent):
    """A task was deleted, its comments with it; `task` is what it was."""

    __slots__ = ()
    type = "task_deleted"


class ProjectCreated(_ProjectEvent):
    """A project was made: always version 1."""

    __slots__ = ()
    type = "project_created"


class ProjectUpdated(_ProjectEvent):
    """A project's own fields changed."""

    __slots__ = ()
    type = "project_updated"


class ProjectDeleted(_ProjectEvent):
    """A project was deleted with its tasks and their comments; the log ends here."""

    __slots__ = ()
    type = "project_deleted"


class MemberAdded(_MemberEvent):
    """A user became a member."""

    __slots__ = ()
    type = "member_added"


class MemberUpdated(_MemberEvent):
    """A member's role changed."""

    __slots__ = ()
    type = "member_updated"


class MemberRemoved(_MemberEvent):
    """A user is a member no more."""

    __slots__ = ()
    type = "member_removed"


class CommentCreated(_CommentEvent):
    """Somebody said something of a task."""

    __slots__ = ()
    type = "comment_created"


class CommentUpdated(_CommentEvent):
    """The author of a comment put it in other words."""

    __slots__ = ()
    type = "comment_updated"


class CommentDeleted(_CommentEvent):
    """A comment was deleted; `comment` is what it was."""

    __slots__ = ()
    type = "comment_deleted"


TaskEvent = TaskCreated | TaskUpdated | TaskAssigned | TaskCompleted | TaskDeleted
ProjectEvent = ProjectCreated | ProjectUpdated | ProjectDeleted
MemberEvent = MemberAdded | MemberUpdated | MemberRemoved
CommentEvent = CommentCreated | CommentUpdated | CommentDeleted
Event = TaskEvent | ProjectEvent | MemberEvent | CommentEvent

EVENT_TYPES: Mapping[str, type[Event]] = {
    kind.type: kind
    for kind in (
        TaskCreated,
        TaskUpdated,
        TaskAssigned,
        TaskCompleted,
        TaskDeleted,
        ProjectCreated,
        ProjectUpdated,
        ProjectDeleted,
        MemberAdded,
        MemberUpdated,
        MemberRemoved,
        CommentCreated,
        CommentUpdated,
        CommentDeleted,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event and its JSON, made once: the log, sockets and other nodes share it."""

    event: Event
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The key of an accepted request, and the event that answers its repeats."""

    key: IdempotencyKey
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one actor wants committed as a whole, if its project is still at `expected`.

    Versions of the entries are dense and start at `expected + 1`.
    """

    project_id: ProjectId
    expected: int
    entries: tuple[Entry, ...]
    receipts: tuple[Receipt, ...] = ()

    @property
    def version(self) -> int:
        """The version of the project after this batch."""
        return self.expected + len(self.entries)
