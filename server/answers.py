"""What answers look like, for the OpenAPI document.

msgspec writes the answers; a test a resource holds both alike.
"""

from marshmallow import INCLUDE, RAISE, Schema, fields, validate

from actors.domain.events import EVENT_TYPES
from actors.domain.model import (
    MemberRole,
    ProjectStatus,
    TaskPriority,
    TaskStatus,
    UserRole,
)
from server.fields import Choice, Integer, Timestamp, identifier

_ADDRESS = {"format": "uri-reference"}
_PLAIN = {"type": ["string", "integer", "boolean"]}  # null comes with allow_none


class Answer(Schema):
    """Output: it has these fields and no others."""

    class Meta:  # noqa: D106
        unknown = RAISE


def _version() -> Integer:
    return Integer(
        required=True,
        strict=True,
        validate=validate.Range(1),
        metadata={"format": "int64"},
    )


class User(Answer):
    """An account."""

    id = identifier(required=True)
    email = fields.String(required=True)
    username = fields.String(required=True)
    first_name = fields.String(required=True)
    last_name = fields.String(required=True)
    role = Choice(UserRole, required=True)
    is_active = fields.Boolean(required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    version = _version()


class Task(Answer):
    """A task; `version` is its project's version of its last change."""

    id = identifier(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    status = Choice(TaskStatus, required=True)
    priority = Choice(TaskPriority, required=True)
    project_id = identifier(required=True)
    created_by = identifier(required=True)
    assigned_to = identifier(required=True, allow_none=True)
    due_date = Timestamp(required=True, allow_none=True)
    completed_at = Timestamp(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    version = _version()


class Project(Answer):
    """A project; an inbox is the one that everybody has for themselves."""

    id = identifier(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    owner_id = identifier(required=True)
    status = Choice(ProjectStatus, required=True)
    is_inbox = fields.Boolean(required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    version = _version()


class Member(Answer):
    """A user's role in a project; the owner is not a member."""

    user_id = identifier(required=True)
    role = Choice(MemberRole, required=True)
    created_at = Timestamp(required=True)
    version = _version()


class Comment(Answer):
    """What a user said of a task; `version` is the project's of its last change."""

    id = identifier(required=True)
    task_id = identifier(required=True)
    user_id = identifier(required=True)
    comment = fields.String(required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    version = _version()


class _Page(Answer):
    total = Integer(required=True, validate=validate.Range(0))
    limit = Integer(required=True, validate=validate.Range(1))
    offset = Integer(required=True, validate=validate.Range(0))
    next_cursor = fields.String(required=True, allow_none=True)


class TaskList(_Page):
    """A page of tasks."""

    tasks = fields.List(fields.Nested(Task), required=True)


class ProjectList(_Page):
    """A page of projects."""

    projects = fields.List(fields.Nested(Project), required=True)


class UserList(_Page):
    """A page of users."""

    users = fields.List(fields.Nested(User), required=True)


class MemberList(_Page):
    """The members of a project."""

    members = fields.List(fields.Nested(Member), required=True)


class Change(Answer):
    """A field before and after."""

    old = fields.Raw(required=True, allow_none=True, metadata=_PLAIN)
    new = fields.Raw(required=True, allow_none=True, metadata=_PLAIN)


class Event(Answer):
    """What happened; it has what it happened to, whole, as it was afterwards."""

    type = fields.String(required=True, validate=validate.OneOf(sorted(EVENT_TYPES)))
    project_id = identifier(required=True)
    version = _version()
    by = identifier(required=True)
    at = Timestamp(required=True)
    request_id = fields.String(required=True)
    changes = fields.Dict(
        keys=fields.String(), values=fields.Nested(Change), required=True
    )
    task = fields.Nested(Task)
    project = fields.Nested(Project)
    member = fields.Nested(Member)
    comment = fields.Nested(Comment)


class CommentList(_Page):
    """A page of the comments on a task."""

    comments = fields.List(fields.Nested(Comment), required=True)


class EventLog(Answer):
    """A part of a project's log; `version` is the project's own by now."""

    events = fields.List(fields.Nested(Event), required=True)
    version = _version()
    since = Integer(required=True, validate=validate.Range(0))
    limit = Integer(required=True, validate=validate.Range(1))


class History(_Page):
    """A page of what happened to a task."""

    history = fields.List(fields.Nested(Event), required=True)


class TokenPair(Answer):
    """An access token for requests, and a refresh token for the next pair."""

    access_token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("Bearer"))
    expires_in = Integer(required=True, metadata={"description": "Seconds."})


class Session(Answer):
    """A log-in that has not ended."""

    id = identifier(required=True)
    created_at = Timestamp(required=True)
    last_used_at = Timestamp(required=True)
    expires_at = Timestamp(required=True)
    address = fields.String(required=True)
    user_agent = fields.String(required=True)
    is_current = fields.Boolean(required=True)


class SessionList(_Page):
    """The caller's sessions."""

    sessions = fields.List(fields.Nested(Session), required=True)


class Ticket(Answer):
    """A ticket that opens one WebSocket."""

    ticket = fields.String(required=True)
    expires_in = Integer(required=True, metadata={"description": "Seconds."})


class FieldError(Answer):
    """What is wrong with one part of the input."""

    pointer = fields.String(
        required=True,
        metadata={
            "description": "A JSON pointer into the body, or ?name of the query."
        },
    )
    detail = fields.String(required=True)


class Problem(Answer):
    """Why there is no other answer, by RFC 9457."""

    type = fields.String(required=True, metadata=_ADDRESS)
    title = fields.String(required=True)
    status = Integer(required=True, validate=validate.Range(400, 599))
    detail = fields.String(required=True)
    instance = fields.String(required=True, metadata=_ADDRESS)
    code = fields.String(
        required=True, metadata={"description": "A stable word to program against."}
    )
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldError))
    current_version = Integer(
        validate=validate.Range(0),
        metadata={"description": "With 412 and 410: the version it has now."},
    )


class Health(Answer):
    """How the server is; `degraded` serves, `unavailable` does not."""

    status = fields.String(
        required=True, validate=validate.OneOf(["ok", "degraded", "unavailable"])
    )
    database = fields.String(
        required=True,
        validate=validate.OneOf(["ok", "unavailable", "migrations_pending"]),
    )
    redis = fields.String(required=True, validate=validate.OneOf(["ok", "unavailable"]))
    draining = fields.Boolean(required=True)
    database_latency_ms = fields.Float(required=True, allow_none=True)
    redis_latency_ms = fields.Float(required=True, allow_none=True)
    version = fields.String(required=True)


class Index(Answer):
    """Where things are."""

    name = fields.String(required=True, validate=validate.Equal("Boardcast"))
    version = fields.String(required=True)
    documentation = fields.String(required=True, metadata=_ADDRESS)
    openapi = fields.String(required=True, metadata=_ADDRESS)
    asyncapi = fields.String(required=True, metadata=_ADDRESS)
    health = fields.String(required=True, metadata=_ADDRESS)
    websocket = fields.String(required=True, metadata=_ADDRESS)


class Liveness(Answer):
    """The process answers."""

    status = fields.String(required=True, validate=validate.Equal("ok"))


class Document(Schema):
    """An OpenAPI document."""

    class Meta:  # noqa: D106
        unknown = INCLUDE

    openapi = fields.String(required=True)


class LiveDocument(Schema):
    """An AsyncAPI document."""

    class Meta:  # noqa: D106
        unknown = INCLUDE

    asyncapi = fields.String(required=True)
