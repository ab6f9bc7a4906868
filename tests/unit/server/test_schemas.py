from datetime import UTC, datetime
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, missing

from actors.domain.model import MemberRole, ProjectStatus, TaskPriority, TaskStatus
from server import queries, schemas

TOO_LARGE = 2**63


def errors_of(schema: type[Schema], data: dict[str, Any]) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        schema().load(data)
    return set(caught.value.messages_dict)


def test_a_task_loads_into_the_domains_values():
    loaded = schemas.TaskCreate().load(
        {
            "title": " Ship it ",
            "description": None,
            "status": "in_progress",
            "priority": "urgent",
            "project_id": 3,
            "assigned_to": 7,
            "due_date": "2026-05-01T12:30:00+02:00",
        }
    )

    assert loaded == {
        "title": " Ship it ",
        "description": None,
        "status": TaskStatus.IN_PROGRESS,
        "priority": TaskPriority.URGENT,
        "project_id": 3,
        "assigned_to": 7,
        "due_date": datetime(2026, 5, 1, 10, 30, tzinfo=UTC),
    }
    assert isinstance(loaded["status"], TaskStatus)


def test_what_is_absent_stays_absent():
    assert schemas.TaskUpdate().load({}) == {}
    assert schemas.TaskCreate().load({"title": "x"}) == {"title": "x"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-05-01T12:30:00Z", datetime(2026, 5, 1, 12, 30, tzinfo=UTC)),
        ("2026-05-01t12:30:00.25z", datetime(2026, 5, 1, 12, 30, 0, 250000, UTC)),
        (
            "2026-05-01T12:30:00.1234567-01:00",
            datetime(2026, 5, 1, 13, 30, 0, 123456, UTC),
        ),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_due_date_is_an_instant_or_a_day(given: str | None, meant: datetime | None):
    assert schemas.TaskUpdate().load({"due_date": given}) == {"due_date": meant}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", ""),
        ("title", " \t\n"),
        ("title", "x" * 201),
        ("title", "a\0b"),
        ("title", "a\ud800"),
        ("title", 5),
        ("title", None),
        ("description", "x" * 20_001),
        ("description", "a\0"),
        ("description", ["x"]),
        ("status", "done"),
        ("status", None),
        ("status", 1),
        ("status", ["pending"]),
        ("priority", "HIGH"),
        ("assigned_to", "7"),
        ("assigned_to", True),
        ("assigned_to", 7.5),
        ("assigned_to", 0),
        ("assigned_to", -1),
        ("assigned_to", TOO_LARGE),
        ("due_date", "2026-05-01T12:30:00"),
        ("due_date", "2026-05-01 12:30:00Z"),
        ("due_date", "20260501T123000Z"),
        ("due_date", "2026-02-30"),
        ("due_date", "2026-W18-5"),
        ("due_date", "0001-01-01T00:00:00+10:00"),
        ("due_date", "tomorrow"),
        ("due_date", 1777638600),
        ("due_date", ""),
        ("id", 5),
        ("version", 5),
        ("completed_at", None),
        ("created_by", 7),
        ("project_id", 3),
    ],
)
def test_a_change_that_is_not_valid_is_refused(name: str, value: object):
    assert errors_of(schemas.TaskUpdate, {name: value}) == {name}


def test_a_title_of_200_characters_is_accepted():
    title = "ä" * 200

    assert schemas.TaskCreate().load({"title": title}) == {"title": title}


def test_a_task_needs_a_title():
    assert errors_of(schemas.TaskCreate, {}) == {"title"}


def test_an_integer_may_be_spelt_with_a_fraction_of_zero():
    loaded = schemas.TaskAssign().load({"assigned_to": 7.0})

    assert (loaded, type(loaded["assigned_to"])) == ({"assigned_to": 7}, int)


def test_an_assignment_names_somebody_or_nobody():
    assert schemas.TaskAssign().load({"assigned_to": None}) == {"assigned_to": None}
    assert errors_of(schemas.TaskAssign, {}) == {"assigned_to"}


def test_an_account_loads():
    account = {"email": "a.b+c@example.com", "username": "a_b.c-d", "password": "p" * 8}

    assert schemas.Register().load(account) == account


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("email", "ada"),
        ("email", "ada@localhost"),
        ("email", "ada@example.com\n"),
        ("email", "a" * 65 + "@example.com"),
        ("email", "ada@" + "a.b" * 100),
        ("username", "ad"),
        ("username", "a" * 51),
        ("username", "ada lovelace"),
        ("username", "ada\n"),
        ("password", "1234567"),
        ("password", "x" * 257),
        ("password", 12345678),
        ("first_name", "x" * 101),
        ("role", "admin"),
        ("is_active", True),
    ],
)
def test_an_account_that_is_not_valid_is_refused(name: str, value: object):
    account = {"email": "a@example.com", "username": "ada", "password": "p" * 8}

    assert errors_of(schemas.Register, {**account, name: value}) == {name}


@pytest.mark.parametrize("data", [{}, {"email": "a@b.c", "username": "ada"}])
def test_a_log_in_names_either_email_or_username(data: dict[str, str]):
    assert errors_of(schemas.Login, {**data, "password": "secret"}) == {"_schema"}


@pytest.mark.parametrize("name", ["email", "username"])
def test_a_log_in_by_either_is_accepted(name: str):
    data = {name: "ada@example.com", "password": "short"}

    assert schemas.Login().load(data) == data


def test_a_project_loads():
    assert schemas.ProjectUpdate().load({"status": "archived", "owner_id": 7}) == {
        "status": ProjectStatus.ARCHIVED,
        "owner_id": 7,
    }
    assert errors_of(schemas.ProjectCreate, {"name": " ", "status": "active"}) == {
        "name",
        "status",
    }
    assert schemas.MemberPut().load({"role": "viewer"}) == {"role": MemberRole.VIEWER}


def test_a_query_loads_into_the_domains_values():
    loaded = queries.TaskListQuery().load(
        {
            "status": "pending,in_progress,pending",
            "priority": "low",
            "assigned_to": "me",
            "created_by": "7",
            "project_id": "3",
            "due_date_from": "2026-05-01",
            "due_date_to": "2026-05-01",
            "overdue": "true",
            "unassigned": "false",
            "q": "launch",
            "limit": "100",
            "sort": "-due_date",
            "cursor": "abc",
        }
    )

    assert loaded == {
        "status": (TaskStatus.PENDING, TaskStatus.IN_PROGRESS),
        "priority": (TaskPriority.LOW,),
        "assigned_to": "me",
        "created_by": 7,
        "project_id": 3,
        "due_date_from": datetime(2026, 5, 1, tzinfo=UTC),
        "due_date_to": datetime(2026, 5, 1, 23, 59, 59, 999999, UTC),
        "overdue": True,
        "unassigned": False,
        "q": "launch",
        "limit": 100,
        "offset": 0,
        "sort": "-due_date",
        "cursor": "abc",
    }


def test_a_page_has_its_usual_size():
    usual = {"limit": 20, "offset": 0, "sort": "-created_at"}
    assert queries.TaskListQuery().load({}) == usual
    assert queries.ProjectListQuery().load({}) == usual
    assert queries.UserListQuery().load({}) == usual


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "+5"),
        ("limit", "05"),
        ("limit", " 5"),
        ("limit", "\u0665"),
        ("limit", "9" * 5000),
        ("offset", "-1"),
        ("offset", "10001"),
        ("status", ""),
        ("status", "pending,"),
        ("status", "pending,done"),
        ("assigned_to", "you"),
        ("assigned_to", "0"),
        ("assigned_to", str(TOO_LARGE)),
        ("project_id", "me"),
        ("project_id", str(TOO_LARGE)),
        ("overdue", "1"),
        ("overdue", "True"),
        ("q", ""),
        ("q", "  "),
        ("q", "x" * 201),
        ("q", "a\0"),
        ("cursor", ""),
        ("due_date_to", "2026-05-01T12:00:00"),
        ("sort", "version"),
        ("sort", "+title"),
        ("sort", "title,-title"),
        ("sort", ""),
    ],
)
def test_a_query_that_is_not_valid_is_refused(name: str, value: str):
    assert errors_of(queries.TaskListQuery, {name: value}) == {name}


def test_a_page_begins_by_a_cursor_or_by_an_offset():
    for offset in ("0", "10000"):
        query = {"cursor": "abc", "offset": offset}
        assert errors_of(queries.PageQuery, query) == {"offset"}
    assert queries.PageQuery().load({"offset": "10000"})["offset"] == 10000


@pytest.mark.parametrize("last", ["", "\0", "@", "\n"])
def test_long_input_is_refused_without_effort(last: str):
    blanks, letters = " " * 500_000 + last, "a" * 500_000 + last
    account = {"email": letters, "username": letters, "password": blanks}

    assert "title" in errors_of(schemas.TaskCreate, {"title": blanks})
    assert errors_of(schemas.Register, account) == {"email", "username", "password"}


FLAT = [
    schema
    for schema in vars(schemas).values()
    if isinstance(schema, type)
    and issubclass(schema, schemas.Request)
    and schema.is_flat
]


@pytest.mark.parametrize("schema", FLAT)
def test_the_fields_of_a_flat_schema_stand_for_themselves(
    schema: type[schemas.Request],
) -> None:
    assert not any(schema._hooks.values())
    for name, field in schema().fields.items():
        assert field.load_default is missing
        assert field.data_key in (None, name)
        assert field.attribute in (None, name)
