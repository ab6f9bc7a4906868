"""Filters: what matches, and what an event is to who wants only that."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.domain.commands import CreateTask, DeleteTask, UpdateTask
from actors.domain.criteria import Criteria, Outcome
from actors.domain.decide import decide
from actors.domain.events import TaskEvent
from actors.domain.model import Task, TaskId, TaskPriority, TaskStatus, UserId
from server.representations import decode_event, encode_event
from tests.factories import ADA, AT, BOB, apply_all, make_command, make_state, make_task

DAY = timedelta(days=1)
PENDING = frozenset({TaskStatus.PENDING})


@pytest.mark.parametrize(
    ("wanted", "fields", "matches"),
    [
        ({}, {}, True),
        ({"statuses": PENDING}, {}, True),
        ({"statuses": PENDING}, {"status": TaskStatus.COMPLETED}, False),
        ({"priorities": frozenset({TaskPriority.LOW})}, {}, False),
        ({"assigned_to": BOB}, {"assigned_to": BOB}, True),
        ({"assigned_to": BOB}, {}, False),
        ({"created_by": ADA}, {}, True),
        ({"created_by": BOB}, {}, False),
        ({"is_unassigned": True}, {}, True),
        ({"is_unassigned": True}, {"assigned_to": BOB}, False),
        ({"is_unassigned": False}, {"assigned_to": BOB}, True),
        ({"due_from": AT}, {"due_date": AT}, True),
        ({"due_from": AT}, {"due_date": AT - DAY}, False),
        ({"due_from": AT}, {}, False),
        ({"due_to": AT}, {"due_date": AT}, True),
        ({"due_to": AT}, {"due_date": AT + DAY}, False),
        ({"due_to": AT}, {}, False),
        ({"is_overdue": True}, {"due_date": AT - DAY}, True),
        ({"is_overdue": True}, {"due_date": AT}, False),
        ({"is_overdue": False}, {}, True),
        (
            {"is_overdue": True},
            {"due_date": AT - DAY, "status": TaskStatus.COMPLETED},
            False,
        ),
        ({"text": "write"}, {}, True),
        ({"text": "WRITE it"}, {}, True),
        ({"text": "wri"}, {}, False),
        ({"text": '"it write"'}, {}, False),
        ({"text": '"write it"'}, {}, True),
        ({"text": "write -it"}, {}, False),
        ({"text": "write -read"}, {}, True),
        ({"text": "read or write"}, {}, True),
        ({"text": "read"}, {"description": "and read"}, True),
        ({"text": "!!"}, {}, False),
        ({"text": "case"}, {"title": "snake_case fix"}, True),
        ({"text": "or"}, {"title": "or and not"}, True),
        ({"text": "or foo"}, {"title": "foo"}, False),
        ({"text": "foo or"}, {"title": "foo"}, False),
        ({"text": '"foo bar'}, {"title": "bar foo"}, False),
    ],
)
def test_what_matches(
    wanted: dict[str, Any], fields: dict[str, Any], matches: bool
) -> None:
    assert Criteria(**wanted).matches(make_task(**fields), AT) is matches


def events_of(*commands: Any) -> list[TaskEvent]:
    state, found = make_state(), []
    for command in commands:
        events = decide(state, command)
        apply_all(state, events)
        found += [decode_event(encode_event(event)) for event in events]
    assert all(isinstance(event, TaskEvent) for event in found)
    return found  # type: ignore[return-value]  # asserted


def test_a_task_that_stops_matching_left_once() -> None:
    events = events_of(
        make_command(CreateTask),
        make_command(UpdateTask, status=TaskStatus.IN_PROGRESS),
        make_command(UpdateTask, title="x"),
        make_command(DeleteTask),
    )

    outcomes = [Criteria(statuses=PENDING).outcome(event) for event in events]

    assert outcomes == [Outcome.TOLD, Outcome.LEFT, Outcome.SILENT, Outcome.SILENT]


def test_a_deletion_is_told_to_who_knew_the_task() -> None:
    _, deleted = events_of(make_command(CreateTask), make_command(DeleteTask))

    assert Criteria(statuses=PENDING).outcome(deleted) is Outcome.TOLD


_updates = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(TaskStatus),
        "priority": st.sampled_from(TaskPriority),
        "assigned_to": st.sampled_from([None, ADA, BOB]),
        "due_date": st.sampled_from([None, AT, AT + DAY, AT + 2 * DAY]),
        "title": st.sampled_from(["one", "two", "one two"]),
    },
)
_wanted = st.builds(
    Criteria,
    statuses=st.none() | st.frozensets(st.sampled_from(TaskStatus), min_size=1),
    priorities=st.none() | st.frozensets(st.sampled_from(TaskPriority), min_size=1),
    assigned_to=st.none() | st.just(BOB),
    is_unassigned=st.none() | st.booleans(),
    due_to=st.none() | st.just(AT + DAY),
    due_from=st.none() | st.just(AT + DAY),
    text=st.none() | st.sampled_from(["one", "two -one"]),
)


@settings(max_examples=200, deadline=None)
@given(
    wanted=_wanted,
    steps=st.lists(st.tuples(st.integers(1, 3), _updates), max_size=15),
    since=st.integers(0, 15),
)
def test_who_is_told_so_much_knows_the_matching_tasks(
    wanted: Criteria, steps: list[tuple[int, dict[str, Any]]], since: int
) -> None:
    """From any place of the log on, without a memory of what was told before."""
    commands = [make_command(CreateTask, task_id=number) for number in (1, 2, 3)]
    commands += [make_command(UpdateTask, task_id=id_, **new) for id_, new in steps]
    tasks: dict[TaskId, Task] = {}
    known: set[TaskId] = set()
    for number, event in enumerate(events_of(*commands)):
        tasks[event.task.id] = event.task
        matching = {id_ for id_, t in tasks.items() if wanted.matches(t, event.at)}
        if number < since:
            known = matching
            continue
        outcome = wanted.outcome(event)
        assert (outcome is Outcome.LEFT) == bool(known - matching)
        known = known | {event.task.id} if outcome is Outcome.TOLD else known
        known = known - {event.task.id} if outcome is Outcome.LEFT else known
        assert known == matching


def test_criteria_that_are_the_same_are_equal() -> None:
    one, other = (Criteria(assigned_to=UserId(2), text="x") for _ in range(2))
    one.matches(make_task(), AT)

    assert one == other
    assert hash(one) == hash(other)
