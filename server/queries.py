"""What the query of an address may hold."""

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, validate, validates_schema

from actors.domain.model import ProjectStatus, TaskPriority, TaskStatus, UserRole
from server.fields import (
    LARGEST_ID,
    Choice,
    Choices,
    Flag,
    QueryInteger,
    Timestamp,
    UserOrMe,
    text,
)
from server.fields import Text as _Text
from server.schemas import Request
from server.versions import Versions

LARGEST_PAGE = 100
USUAL_PAGE = 20
LARGEST_OFFSET = 10_000
LONGEST_CURSOR = 2048  # it may hold a title of 200 characters, four bytes each


class AnyQuery(Schema):
    """A query that is not looked at."""

    class Meta:  # noqa: D106
        unknown = EXCLUDE


class NoQuery(Request):
    """A query without any parameter."""


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
