"""What bodies and queries may hold.

They load into plain values and the domain's enums; an absent field stays absent.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from marshmallow import (
    EXCLUDE,
    RAISE,
    Schema,
    ValidationError,
    validate,
    validates_schema,
)

from actors.domain.model import (
    MemberRole,
    ProjectStatus,
    TaskPriority,
    TaskStatus,
    UserRole,
)
from server.fields import (
    LARGEST_ID,
    Choice,
    Choices,
    Flag,
    QueryInteger,
    Timestamp,
    Truth,
    UserOrMe,
    identifier,
    pattern,
    text,
)
from server.fields import Text as _Text
from server.versions import Versions

LARGEST_PAGE = 100
USUAL_PAGE = 20
LARGEST_OFFSET = 10_000
LONGEST_DESCRIPTION = 20_000
LONGEST_COMMENT = 10_000
LONGEST_CURSOR = 2048  # it may hold a title of 200 characters, four bytes each

# The pattern that browsers use for <input type=email>, with a dot in the domain.
_EMAIL = (
    r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@"
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+$"
)


class Request(Schema):
    """Input: fields that are not named here are refused."""

    class Meta:  # noqa: D106
        unknown = RAISE

    error_messages = {  # noqa: RUF012  # marshmallow's own convention
        "unknown": "Unknown or read-only field.",
        "type": "It must be an object.",
    }

    # Whether each field stands for itself: none has a default, no rule is about two.
    is_flat = False

    @cached_property
    def required_names(self) -> tuple[str, ...]:
        """Name the fields that have to be there."""
        return tuple(name for name, field in self.fields.items() if field.required)


class AnyQuery(Schema):
    """A query that is not looked at."""

    class Meta:  # noqa: D106
        unknown = EXCLUDE


class NoQuery(Request):
    """A query without any parameter."""


def _email(**options: Any) -> _Text:
    return _Text(
        validate=[
            validate.Length(max=254),
            pattern(_EMAIL, "It must be an e-mail address."),
        ],
        metadata={"examples": ["ada@example.com"]},
        **options,
    )


def _username(**options: Any) -> _Text:
    return _Text(
        validate=[
            validate.Length(3, 50),
            pattern(r"^[A-Za-z0-9_.-]+$", "Only letters, digits, '_', '.' and '-'."),
        ],
        metadata={"examples": ["ada"]},
        **options,
    )


class Register(Request):
    """A new account."""

    email = _email(required=True)
    username = _username(required=True)
    password = text(8, 256, required=True, metadata={"format": "password"})
    first_name = text(0, 100)
    last_name = text(0, 100)


class Login(Request):
    """Who, by e-mail or username, and the password."""

    email = text(1, 320)
    username = text(1, 320)
    password = text(1, 256, required=True, metadata={"format": "password"})

    class Meta(Request.Meta):  # noqa: D106
        json_schema: Mapping[str, Any] = {
            "oneOf": [{"required": ["email"]}, {"required": ["username"]}]
        }

    @validates_schema
    def _names_one(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if ("email" in data) == ("username" in data):
            raise ValidationError("Give either email or username.")


class Refresh(Request):
    """The refresh token, where it is not sent as Bearer."""

    refresh_token = text(1, 512)


class MeUpdate(Request):
    """The fields of your account to change."""

    is_flat = True

    email = _email()
    username = _username()
    first_name = text(0, 100)
    last_name = text(0, 100)


class UserUpdate(Request):
    """The fields of somebody's account to change; who is not active is logged out."""

    is_flat = True

    first_name = text(0, 100)
    last_name = text(0, 100)
    role = Choice(UserRole)
    is_active = Truth()


class PasswordChange(Request):
    """The password you have, and the one you want; your other sessions end."""

    is_flat = True

    old_password = text(1, 256, required=True, metadata={"format": "password"})
    new_password = text(8, 256, required=True, metadata={"format": "password"})


class TaskUpdate(Request):
    """The fields to change; those that are absent stay as they are."""

    is_flat = True

    title = text(1, 200)
    description = text(0, LONGEST_DESCRIPTION, allow_none=True)
    status = Choice(TaskStatus)
    priority = Choice(TaskPriority)
    assigned_to = identifier(allow_none=True)
    due_date = Timestamp(
        day="start",
        allow_none=True,
        metadata={"description": "A plain date means its midnight in UTC."},
    )


class TaskCreate(TaskUpdate):
    """A new task; without a project it goes into your inbox."""

    title = text(1, 200, required=True)
    project_id = identifier()


class TaskAssign(Request):
    """The user who is to do it, or null for nobody."""

    is_flat = True

    assigned_to = identifier(required=True, allow_none=True)


class CommentUpdate(Request):
    """What is to be said instead."""

    is_flat = True

    comment = text(1, LONGEST_COMMENT)


class CommentAdd(Request):
    """What is to be said of the task."""

    is_flat = True

    comment = text(1, LONGEST_COMMENT, required=True)


class ProjectCreate(Request):
    """A new project; it is yours."""

    is_flat = True

    name = text(1, 200, required=True)
    description = text(0, LONGEST_DESCRIPTION, allow_none=True)


class ProjectUpdate(Request):
    """The fields to change; an `owner_id` hands the project over."""

    is_flat = True

    name = text(1, 200)
    description = text(0, LONGEST_DESCRIPTION, allow_none=True)
    status = Choice(ProjectStatus)
    owner_id = identifier()


class MemberPut(Request):
    """The member's role."""

    is_flat = True

    role = Choice(MemberRole, required=True)


class OffsetQuery(Request):
    """Which part of a short list."""

    limit = QueryInteger(
        load_default=USUAL_PAGE, validate=validate.Range(1, LARGEST_PAGE)
    )
    offset = QueryInteger(
        load_default=0,
        validate=validate.Range(0, LARGEST_OFFSET),
        metadata={"description": "How many to leave out."},
    )


def _min_version() -> Versions:
    text = (
        "Not without this version, as a write answered: of the project that is asked "
        "for, or `project:version`; several are separated by commas."
    )
    return Versions(metadata={"description": text})


class FreshQuery(Request):
    """What the answer has to have."""

    min_version = _min_version()


class PageQuery(OffsetQuery):
    """Which part of a list: by offset, or to any depth by following the cursors."""

    cursor = text(
        1,
        LONGEST_CURSOR,
        metadata={
            "description": "The `next_cursor` of the page before, for the same list, "
            "filters and order; instead of an `offset`. Following them skips and "
            "repeats nothing that was there all along with the same value of what "
            "the list is sorted by."
        },
    )

    @validates_schema(pass_original=True)
    def _begins_once(
        self, data: Mapping[str, Any], original: Mapping[str, Any], **kwargs: Any
    ) -> None:
        if "cursor" in original and "offset" in original:
            raise ValidationError("Give either cursor or offset.", "offset")


def _sort(*names: str) -> _Text:
    choices = [name for field in names for name in (field, f"-{field}")]
    return _Text(
        load_default="-created_at",
        validate=validate.OneOf(choices, error="It must be one of: {choices}."),
        metadata={
            "description": "What to sort by, `-` for the largest or latest first. "
            "A priority goes by urgency, a status by progress, a text by its letters "
            "whatever their case. What has no value comes last; ties go by id."
        },
    )


class FreshPageQuery(PageQuery):
    """Which part of a list that another node may have changed."""

    min_version = _min_version()


class LogQuery(FreshQuery):
    """Which part of a project's log."""

    since = QueryInteger(
        load_default=0,
        validate=validate.Range(0, 2**63 - 1),
        metadata={"format": "int64", "description": "The last version that you have."},
    )
    limit = QueryInteger(
        load_default=USUAL_PAGE, validate=validate.Range(1, LARGEST_PAGE)
    )


class _QueryId(QueryInteger):
    def __init__(self, **options: Any):
        from_one = validate.Range(1, 2**63 - 1)
        super().__init__(validate=from_one, metadata={"format": "int64"}, **options)


class TaskFilter(Request):
    """What has to be true of a task."""

    status = Choices(TaskStatus)
    priority = Choices(TaskPriority)
    assigned_to = UserOrMe()
    created_by = UserOrMe()
    due_date_from = Timestamp(
        day="start", metadata={"description": "Due then or later."}
    )
    due_date_to = Timestamp(
        day="end",
        metadata={"description": "Due then or earlier; a plain date means its end."},
    )
    overdue = Flag(metadata={"description": "Due in the past, and not completed."})
    unassigned = Flag(metadata={"description": "With nobody to do it."})
    q = text(1, 200, metadata={"description": "Words in the title or description."})


class TaskListQuery(TaskFilter, FreshPageQuery):
    """Which tasks."""

    project_id = _QueryId()
    sort = _sort("created_at", "updated_at", "due_date", "priority", "status", "title")


class ProjectListQuery(FreshPageQuery):
    """Which projects."""

    status = Choices(ProjectStatus)
    q = text(1, 200, metadata={"description": "Words in the name or description."})
    sort = _sort("created_at", "updated_at", "name")


class UserListQuery(PageQuery):
    """Which users."""

    role = Choice(UserRole)
    is_active = Flag()
    q = text(1, 200, metadata={"description": "Part of a name or an e-mail address."})
    sort = _sort("created_at", "updated_at", "username", "email")


class WebSocketQuery(TaskFilter):
    """Who connects, without an Authorization header; and what to subscribe to."""

    token = _Text(metadata={"description": "An access token."})
    ticket = _Text(metadata={"description": "From `POST /ws/tickets`."})
    project_id = _QueryId()
    since = QueryInteger(
        validate=validate.Range(0, LARGEST_ID),
        metadata={"format": "int64", "description": "The last version that you have."},
    )
    snapshot = Flag(metadata={"description": "Begin with the state of the project."})

    @validates_schema
    def _names_a_project(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if "project_id" not in data:
            for name in data.keys() - {"token", "ticket"}:
                raise ValidationError("It goes with a project_id.", name)
