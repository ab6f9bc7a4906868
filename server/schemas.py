"""What bodies may hold; queries are in `server.queries`.

They load into plain values and the domain's enums; an absent field stays absent.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from marshmallow import (
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
    Choice,
    Timestamp,
    Truth,
    identifier,
    pattern,
    text,
)
from server.fields import Text as _Text

LONGEST_DESCRIPTION = 20_000
LONGEST_COMMENT = 10_000

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


def _email(**options: Any) -> _Text:
    return _Text(
        validate=[
            validate.Length(max=254),
            pattern(_EMAIL, "It must be an e-mail address."),
        ],
        metadata={"examples": ["mira@example.com"]},
        **options,
    )


def _username(**options: Any) -> _Text:
    return _Text(
        validate=[
            validate.Length(3, 50),
            pattern(r"^[A-Za-z0-9_.-]+$", "Only letters, digits, '_', '.' and '-'."),
        ],
        metadata={"examples": ["mira"]},
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
