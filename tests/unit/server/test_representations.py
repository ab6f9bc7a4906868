import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
import pytest

from actors.domain.events import (
    EVENT_TYPES,
    Change,
    CommentEvent,
    Event,
    MemberEvent,
    ProjectEvent,
    TaskCreated,
    TaskEvent,
)
from actors.domain.model import (
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
    UserRole,
)
from server import answers
from server.representations import (
    EventCodec,
    _TaskMemo,
    decode_event,
    encode_comment,
    encode_event,
    encode_list,
    encode_member,
    encode_project,
    encode_task,
    encode_user,
)
from tests.factories import make_comment

AT = datetime(2026, 5, 1, 12, 30, 0, 123456, tzinfo=UTC)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

TASK = Task(
    id=TaskId(5),
    title='Say "häh?"',
    description=None,
    status=TaskStatus.IN_PROGRESS,
    priority=TaskPriority.HIGH,
    project_id=ProjectId(3),
    created_by=UserId(7),
    assigned_to=UserId(8),
    due_date=NOON,
    completed_at=None,
    created_at=AT,
    updated_at=AT,
    version=9,
)
PROJECT = Project(
    id=ProjectId(3),
    name="Launch",
    description="Soon",
    owner_id=UserId(7),
    status=ProjectStatus.ACTIVE,
    is_inbox=False,
    created_at=AT,
    updated_at=NOON,
    version=2,
)
MEMBER = Member(user_id=UserId(8), role=MemberRole.VIEWER, created_at=AT, version=4)
COMMENT = make_comment(comment="Zoë ☃")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: int = 7
    email: str = "ada@example.com"
    username: str = "ada"
    first_name: str = "Ada"
    last_name: str = ""
    role: UserRole = UserRole.MANAGER
    is_active: bool = True
    created_at: datetime = AT
    updated_at: datetime = NOON
    version: int = 1
    password_hash: str = "$argon2id$never-shown"


def events() -> list[Event]:
    return [an_event(name) for name in EVENT_TYPES]


def an_event(name: str) -> Event:
    kind = EVENT_TYPES[name]
    stamp = {
        "project_id": ProjectId(3),
        "version": 9,
        "by": UserId(7),
        "at": AT,
        "request_id": "r-1",
    }
    changes = {"title": Change(old="a", new=None), "assigned_to": Change(old=1, new=2)}
    for family, subject in (
        (TaskEvent, {"task": TASK}),
        (ProjectEvent, {"project": PROJECT}),
        (MemberEvent, {"member": MEMBER}),
        (CommentEvent, {"comment": COMMENT}),
    ):
        if kind in family.__args__:
            return kind(**subject, **stamp, changes=changes)
    raise AssertionError(name)


@pytest.mark.parametrize("event", events(), ids=lambda event: event.type)
def test_an_event_survives_the_codec(event: Event):
    codec = EventCodec()

    again = codec.decode(codec.encode(event))

    assert again == event
    assert type(again) is type(event)


def test_an_event_names_its_type_first_and_then_its_fields():
    written = json.loads(encode_event(an_event("task_updated")))

    assert list(written) == [
        "type",
        "project_id",
        "version",
        "by",
        "at",
        "request_id",
        "task",
        "changes",
    ]
    assert written["type"] == "task_updated"
    assert written["at"] == "2026-05-01T12:30:00.123456Z"
    assert written["task"] == json.loads(encode_task(TASK))
    assert written["changes"]["title"] == {"old": "a", "new": None}


@pytest.mark.parametrize("event", events(), ids=lambda event: event.type)
def test_an_event_is_written_as_it_is_documented(event: Event):
    assert answers.Event().validate(json.loads(encode_event(event))) == {}


@pytest.mark.parametrize(
    "body", [b'{"type":"task_eaten"}', b"{}", b"nonsense", b'{"type":"task_created"}']
)
def test_what_is_no_event_is_refused(body: bytes):
    with pytest.raises(ValueError):  # noqa: PT011  # msgspec's own is one
        decode_event(body)


@pytest.mark.parametrize(
    ("written", "schema", "value"),
    [
        (encode_task(TASK), answers.Task, TASK),
        (
            encode_task(replace(TASK, due_date=None, assigned_to=None)),
            answers.Task,
            replace(TASK, due_date=None, assigned_to=None),
        ),
        (encode_project(PROJECT), answers.Project, PROJECT),
        (encode_member(MEMBER), answers.Member, MEMBER),
        (encode_comment(COMMENT), answers.Comment, COMMENT),
        (encode_user(Account()), answers.User, Account()),
    ],
    ids=["task", "empty task", "project", "member", "comment", "user"],
)
def test_what_is_written_is_what_is_documented(written: bytes, schema, value):
    documented = schema().dump(value)

    assert json.loads(written) == documented
    assert schema().validate(documented) == {}


def test_a_password_hash_is_never_shown():
    assert b"argon2" not in encode_user(Account())


def test_a_list_joins_ready_items():
    body = encode_list(
        "tasks",
        [encode_task(TASK), encode_task(TASK)],
        total=12,
        limit=2,
        offset=4,
        next_cursor='a"b',
    )

    written = json.loads(body)
    assert written == {
        "tasks": [json.loads(encode_task(TASK))] * 2,
        "total": 12,
        "limit": 2,
        "offset": 4,
        "next_cursor": 'a"b',
    }
    assert answers.TaskList().validate(written) == {}


def test_an_empty_list_is_one():
    body = encode_list("tasks", [], total=0, limit=20, offset=0, next_cursor=None)

    assert json.loads(body)["tasks"] == []
    assert json.loads(body)["next_cursor"] is None


def test_a_task_is_written_once():
    memo = _TaskMemo(10)

    assert memo.encode(TASK) is memo.encode(TASK)


def test_a_changed_task_is_written_anew_even_at_the_same_version():
    memo = _TaskMemo(10)
    memo.encode(TASK)

    body = memo.encode(replace(TASK, title="Another database's task"))

    assert msgspec.json.decode(body)["title"] == "Another database's task"


def test_the_task_shown_longest_ago_is_forgotten():
    memo = _TaskMemo(2)
    tasks = [replace(TASK, id=TaskId(number)) for number in (1, 2, 3)]
    first, second = memo.encode(tasks[0]), memo.encode(tasks[1])
    memo.encode(tasks[0])
    memo.encode(tasks[2])

    assert memo.encode(tasks[0]) is first
    assert memo.encode(tasks[1]) is not second


def test_events_are_of_the_kinds_that_are_known():
    assert isinstance(an_event("task_created"), TaskCreated)
