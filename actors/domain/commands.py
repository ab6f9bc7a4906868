"""What callers ask of a project; ids, time and caller are data in the command."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal

from actors.domain.model import (
    Caller,
    CommentId,
    MemberRole,
    ProjectId,
    ProjectStatus,
    TaskId,
    TaskPriority,
    TaskStatus,
    UserId,
)


class Unset(Enum):
    """The mark of a field that the caller did not name."""

    UNSET = "unset"


UNSET: Literal[Unset.UNSET] = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A caller's key, and what a repeat is recognised and answered by.

    `fingerprint` is a keyed digest of the request; `status` the HTTP status of
    the first answer.
    """

    user_id: UserId
    key: str
    fingerprint: bytes
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    caller: Caller
    at: datetime
    request_id: str
    if_match: Collection[int] | None = None
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProject(_Command):
    """Make a project that belongs to `owner_id`."""

    project_id: ProjectId
    owner_id: UserId
    name: str
    description: str | None = None
    is_inbox: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProject(_Command):
    """Change the named fields; an `owner_id` hands the project over."""

    name: str | Literal[Unset.UNSET] = UNSET
    description: str | Literal[Unset.UNSET] | None = UNSET
    status: ProjectStatus | Literal[Unset.UNSET] = UNSET
    owner_id: UserId | Literal[Unset.UNSET] = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteProject(_Command):
    """Delete the project and everything in it; tombstones stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutMember(_Command):
    """Add a member, or change the role of one."""

    user_id: UserId
    role: MemberRole


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMember(_Command):
    """Remove a member; members may remove themselves."""

    user_id: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask(_Command):
    """Make a task in this project."""

    task_id: TaskId
    title: str
    description: str | None = None
    status: TaskStatus = TaskStatus.PENDING
    priority: TaskPriority = TaskPriority.MEDIUM
    assigned_to: UserId | None = None
    due_date: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTask(_Command):
    """Change the named fields of a task."""

    task_id: TaskId
    title: str | Literal[Unset.UNSET] = UNSET
    description: str | Literal[Unset.UNSET] | None = UNSET
    status: TaskStatus | Literal[Unset.UNSET] = UNSET
    priority: TaskPriority | Literal[Unset.UNSET] = UNSET
    assigned_to: UserId | Literal[Unset.UNSET] | None = UNSET
    due_date: datetime | Literal[Unset.UNSET] | None = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTask(_Command):
    """Delete a task; a tombstone stays."""

    task_id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class AddComment(_Command):
    """Say something of a task."""

    task_id: TaskId
    comment_id: CommentId
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateComment(_Command):
    """Say it in other words; authors only."""

    task_id: TaskId
    comment_id: CommentId
    comment: str | Literal[Unset.UNSET] = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteComment(_Command):
    """Delete a comment; a tombstone stays."""

    task_id: TaskId
    comment_id: CommentId


Command = (
    CreateProject
    | UpdateProject
    | DeleteProject
    | PutMember
    | RemoveMember
    | CreateTask
    | UpdateTask
    | DeleteTask
    | AddComment
    | UpdateComment
    | DeleteComment
)
