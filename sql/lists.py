"""What a list is asked for: by whom, which rows, in which order, and which part."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from actors.domain.model import (
    ProjectId,
    ProjectStatus,
    TaskPriority,
    TaskStatus,
    UserId,
    UserRole,
)

# Where a row stands: its own value of what the list is sorted by, None for none.
Key = datetime | int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a user may see: their projects, and by their role perhaps everything."""

    user_id: UserId
    role: UserRole
    project_ids: tuple[ProjectId, ...]

    def params(self) -> dict[str, object]:
        """Say the same as the list queries name it."""
        return {
            "user_id": self.user_id,
            "is_everywhere": self.role is not UserRole.USER,
            "is_admin": self.role is UserRole.ADMIN,
            "project_ids": self.project_ids,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks; a None does not restrict. Both ends of the dates are included.

    `overdue_at` is the moment that `is_overdue` is judged at.
    """

    project_id: ProjectId | None = None
    statuses: Sequence[TaskStatus] | None = None
    priorities: Sequence[TaskPriority] | None = None
    assigned_to: UserId | None = None
    is_unassigned: bool | None = None
    created_by: UserId | None = None
    due_from: datetime | None = None
    due_to: datetime | None = None
    is_overdue: bool | None = None
    overdue_at: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFilter:
    """Which projects; a None does not restrict."""

    statuses: Sequence[ProjectStatus] | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Which users; None means all. `text` is any part of a name or an address."""

    role: UserRole | None = None
    is_active: bool | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list in which order: after a row, then `offset` rows on.

    That row is named by its id and by the one of the other three that the order goes
    by; by its id alone if it has no value there.
    """

    limit: int
    offset: int = 0
    sort: str = "created_at"
    is_descending: bool = True
    after_at: datetime | None = None
    after_rank: int | None = None
    after_text: str | None = None
    after_id: int | None = None


def params(wanted: TaskFilter | ProjectFilter | UserFilter | Page) -> dict[str, Any]:
    """Name what a filter or a page says as the list queries do."""
    return {name: getattr(wanted, name) for name in wanted.__slots__}


def key_of(row: object, sort: str) -> Key:
    """Say where a row stands in an order; enums go by their declaration, from one."""
    value = getattr(row, sort)
    if isinstance(value, StrEnum):
        return list(type(value)).index(value) + 1
    if isinstance(value, datetime | str) or value is None:
        return value
    raise TypeError(sort)
