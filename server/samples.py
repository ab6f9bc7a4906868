"""One of each message of the WebSocket, as the server itself writes it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from msgspec import Raw, json

from actors.domain import events as happened
from actors.domain.events import Change, Event
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
from server import messages as said
from server.representations import encode, encode_event

_MIRA, _OLEG = UserId(1), UserId(2)
_LAUNCH = ProjectId(7)
_AT = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
_PROJECT = Project(
    id=_LAUNCH,
    name="Launch",
    description="Everything until the first of May",
    owner_id=_MIRA,
    status=ProjectStatus.ACTIVE,
    is_inbox=False,
    created_at=_AT,
    updated_at=_AT,
    version=1,
)
_MEMBER = Member(user_id=_OLEG, role=MemberRole.MEMBER, created_at=_AT, version=2)
_TASK = Task(
    id=TaskId(3),
    title="Write the announcement",
    description=None,
    status=TaskStatus.PENDING,
    priority=TaskPriority.MEDIUM,
    project_id=_LAUNCH,
    created_by=_MIRA,
    assigned_to=None,
    due_date=None,
    completed_at=None,
    created_at=_AT,
    updated_at=_AT,
    version=3,
)
_COMMENT = Comment(
    id=CommentId(5),
    task_id=_TASK.id,
    user_id=_OLEG,
    comment="The draft is in the shared folder.",
    created_at=_AT,
    updated_at=_AT,
    version=4,
)

_Thing = Task | Project | Member | Comment
_HAPPENED: tuple[tuple[type[Event], _Thing, Mapping[str, Any]], ...] = (
    (happened.ProjectCreated, _PROJECT, {}),
    (happened.MemberAdded, _MEMBER, {}),
    (happened.TaskCreated, _TASK, {}),
    (happened.CommentCreated, _COMMENT, {}),
    (happened.TaskUpdated, _TASK, {"priority": TaskPriority.HIGH}),
    (happened.TaskAssigned, _TASK, {"assigned_to": _OLEG}),
    (
        happened.TaskCompleted,
        _TASK,
        {"status": TaskStatus.COMPLETED, "completed_at": _AT},
    ),
    (happened.CommentUpdated, _COMMENT, {"comment": "It is in the folder."}),
    (happened.CommentDeleted, _COMMENT, {}),
    (happened.TaskDeleted, _TASK, {}),
    (happened.MemberUpdated, _MEMBER, {"role": MemberRole.MAINTAINER}),
    (happened.MemberRemoved, _MEMBER, {}),
    (happened.ProjectUpdated, _PROJECT, {"status": ProjectStatus.ARCHIVED}),
    (happened.ProjectDeleted, _PROJECT, {}),
)


def samples() -> dict[str, Any]:
    """Give the JSON of one of each, by the names of their types."""
    return {name: json.decode(body) for name, body in _samples()} | {
        "Auth": {"op": "auth", "token": "eyJhbGciOi..."},
        "Ping": {"op": "ping"},
        "Subscribe": {
            "op": "subscribe",
            "project_id": _LAUNCH,
            "since": 4,
            "filter": {"status": ["pending", "in_progress"], "assigned_to": "me"},
        },
        "Unsubscribe": {"op": "unsubscribe", "project_id": _LAUNCH},
    }


def _samples() -> Iterator[tuple[str, bytes]]:
    bodies = []
    for version, (kind, thing, changed) in enumerate(_HAPPENED, start=1):
        bodies.append(encode_event(_event(kind, version, thing, changed)))
        yield kind.__name__, bodies[-1]
    for message in (
        said.Pong(),
        said.Authenticated(expires_in=900),
        said.Expiring(expires_in=30),
        said.Subscribed(project_id=_LAUNCH, version=6),
        said.Unsubscribed(project_id=_LAUNCH, reason="asked"),
        said.Snapshot(
            project_id=_LAUNCH,
            version=4,
            project=Raw(encode(_PROJECT)),
            members=[Raw(encode(_MEMBER))],
            tasks=[Raw(encode(_TASK))],
            comments=[Raw(encode(_COMMENT))],
        ),
        said.Events(
            project_id=_LAUNCH,
            first=5,
            last=6,
            events=[Raw(body) for body in bodies[4:6]],
        ),
        said.TaskLeft(project_id=_LAUNCH, version=7, task_id=_TASK.id),
        said.Tick(heads={str(_LAUNCH): 6}),
        said.Restarting(return_in=1.27),
        said.Error(
            code="project_not_found",
            detail="There is no such project.",
            op="subscribe",
            project_id=_LAUNCH,
        ),
    ):
        yield type(message).__name__, said.written(message)


def _event(
    kind: type[Event], version: int, thing: _Thing, changed: Mapping[str, Any]
) -> Event:
    after = replace(thing, version=version, **changed)
    changes = {
        name: Change(old=getattr(thing, name), new=new) for name, new in changed.items()
    }
    fields: dict[str, Any] = {type(thing).__name__.lower(): after, "changes": changes}
    return kind(
        project_id=_LAUNCH,
        version=version,
        by=_MIRA,
        at=_AT,
        request_id="5f0c3a9b7d21e486-1a",
        **fields,
    )
