"""Rows of PostgreSQL as values of the domain."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from actors.domain.model import (
    Comment,
    CommentId,
    Member,
    MemberRole,
    Project,
    ProjectId,
    ProjectStatus,
    Task,
    TaskId,
    TaskPriority,
    TaskStatus,
    UserId,
)

# To call an Enum takes ten times as long as to look a word up.
_STATUSES = {word.value: word for word in TaskStatus}
_PRIORITIES = {word.value: word for word in TaskPriority}


def task_of(row: Mapping[str, Any]) -> Task:
    """Read a task."""
    return Task(
        id=TaskId(row["id"]),
        title=row["title"],
        description=row["description"],
        status=_STATUSES[row["status"]],
        priority=_PRIORITIES[row["priority"]],
        project_id=ProjectId(row["project_id"]),
        created_by=UserId(row["created_by"]),
        assigned_to=row["assigned_to"],
        due_date=row["due_date"],
        completed_at=row["completed_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def by_task(
    comments: Iterable[Comment],
) -> dict[TaskId, Mapping[CommentId, Comment]]:
    """Put each task's comments together, in the order given."""
    found: defaultdict[TaskId, dict[CommentId, Comment]] = defaultdict(dict)
    for comment in comments:
        found[comment.task_id][comment.id] = comment
    return dict(found)


def comment_of(row: Mapping[str, Any]) -> Comment:
    """Read a comment."""
    return Comment(
        id=CommentId(row["id"]),
        task_id=TaskId(row["task_id"]),
        user_id=UserId(row["user_id"]),
        comment=row["comment"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def project_of(row: Mapping[str, Any]) -> Project:
    """Read a project."""
    return Project(
        id=ProjectId(row["id"]),
        name=row["name"],
        description=row["description"],
        owner_id=UserId(row["owner_id"]),
        status=ProjectStatus(row["status"]),
        is_inbox=row["is_inbox"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def member_of(row: Mapping[str, Any]) -> Member:
    """Read a member of a project."""
    return Member(
        user_id=UserId(row["user_id"]),
        role=MemberRole(row["role"]),
        created_at=row["created_at"],
        version=row["version"],
    )
