"""What a command would change, and the stamp that its events carry."""

from datetime import UTC, datetime
from typing import Any, TypedDict

from actors.domain.commands import (
    UNSET,
    Command,
    UpdateComment,
    UpdateProject,
    UpdateTask,
)
from actors.domain.events import Change, Plain
from actors.domain.model import Comment, Project, ProjectId, Task, UserId
from actors.domain.state import ProjectState

# What a command names and would really change; the dataclasses check the names, and
# the commands' types the values.
Fields = dict[str, Any]


def named_changes(
    command: UpdateTask | UpdateProject | UpdateComment,
    thing: Task | Project | Comment,
) -> Fields:
    """Find the fields that the command names and that would really change."""
    return {
        name: value
        for name in _FIELDS[type(command)]
        if (value := getattr(command, name)) is not UNSET
        and value != getattr(thing, name)
    }


_FIELDS: dict[type, tuple[str, ...]] = {
    UpdateTask: (
        "title",
        "description",
        "status",
        "priority",
        "assigned_to",
        "due_date",
    ),
    UpdateProject: ("name", "description", "status", "owner_id"),
    UpdateComment: ("comment",),
}


def changes_of(thing: object, fields: Fields) -> dict[str, Change]:
    """Show what fields were and what they become, as the log keeps it."""
    return {
        name: Change(old=_plain(getattr(thing, name)), new=_plain(new))
        for name, new in fields.items()
    }


def _plain(value: object) -> Plain:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, int):
        return value
    msg = f"no plain form for {type(value).__name__}"
    raise TypeError(msg)


class _Stamp(TypedDict):
    project_id: ProjectId
    version: int
    by: UserId
    at: datetime
    request_id: str


def stamp_of(state: ProjectState, command: Command) -> _Stamp:
    """Say where, when, by whom and under which request, as the next version."""
    return {
        "project_id": state.project_id,
        "version": state.version + 1,
        "by": command.caller.id,
        "at": command.at,
        "request_id": command.request_id,
    }
