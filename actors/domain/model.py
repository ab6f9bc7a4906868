"""The values of the domain: users' roles, projects, members, tasks, comments."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

UserId = NewType("UserId", int)
ProjectId = NewType("ProjectId", int)
TaskId = NewType("TaskId", int)
CommentId = NewType("CommentId", int)


class Word(StrEnum):
    """A member of a closed set, spelt as JSON and SQL spell it.

    Hashed as the string that it is: Enum's own hash is a call of a Python function,
    and every question about permissions hashes several.
    """

    __hash__ = str.__hash__


class TaskStatus(Word):
    """Where a task stands."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


class TaskPriority(Word):
    """How much a task matters."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class ProjectStatus(Word):
    """An archived project is read-only."""

    ACTIVE = "active"
    ARCHIVED = "archived"


class UserRole(Word):
    """What a user may do everywhere, whatever the project."""

    USER = "user"
    MANAGER = "manager"
    ADMIN = "admin"


class MemberRole(Word):
    """What a member may do in one project; the owner is not a member."""

    VIEWER = "viewer"
    MEMBER = "member"
    MAINTAINER = "maintainer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The user who asks, with the role they have at that moment."""

    id: UserId
    role: UserRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it was at `version`, the project's version of its last change."""

    id: TaskId
    title: str
    description: str | None
    status: TaskStatus
    priority: TaskPriority
    project_id: ProjectId
    created_by: UserId
    assigned_to: UserId | None
    due_date: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project as it was at `version`, the version of its own last change."""

    id: ProjectId
    name: str
    description: str | None
    owner_id: UserId
    status: ProjectStatus
    is_inbox: bool
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user's role in one project, as it was at `version`."""

    user_id: UserId
    role: MemberRole
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Who belongs to a project, without its tasks."""

    owner_id: UserId
    is_inbox: bool
    members: frozenset[UserId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """What a user said of a task, as it was at `version`."""

    id: CommentId
    task_id: TaskId
    user_id: UserId
    comment: str
    created_at: datetime
    updated_at: datetime
    version: int
