"""Rows of PostgreSQL as values of the domain.

By msgspec, which makes them in half the time that their constructors take.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import convert

from actors.domain.model import Comment, CommentId, Member, Project, Task, TaskId


def task_of(row: Mapping[str, Any]) -> Task:
    """Read a task; columns that are not its own do not matter, here as below."""
    return convert(dict(row), Task)


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
    return convert(dict(row), Comment)


def project_of(row: Mapping[str, Any]) -> Project:
    """Read a project."""
    return convert(dict(row), Project)


def member_of(row: Mapping[str, Any]) -> Member:
    """Read a member of a project."""
    return convert(dict(row), Member)
