"""What may be done to tasks, and which events say so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from actors.domain.commands import Command, CreateTask, DeleteTask, UpdateTask
from actors.domain.decide import decide
from actors.domain.errors import ProjectArchived, TaskNotFound, VersionMismatch
from actors.domain.events import (
    Change,
    Event,
    TaskAssigned,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskUpdated,
)
from actors.domain.model import ProjectStatus, Task, TaskPriority, TaskStatus
from tests.factories import (
    AT,
    BOB,
    CYD,
    LATER,
    TASK,
    apply_all,
    make_command,
    make_project,
    make_state,
    make_task,
)

DONE = TaskStatus.COMPLETED


def tasks_of(events: tuple[Event, ...]) -> list[Task]:
    assert all(isinstance(event, TaskEvent) for event in events)
    return [event.task for event in events if isinstance(event, TaskEvent)]


def test_a_new_task_is_what_was_asked_for() -> None:
    command = make_command(
        CreateTask,
        title="Ship it",
        description="soon",
        priority=TaskPriority.HIGH,
        assigned_to=BOB,
        due_date=AT,
    )

    events = decide(make_state(version=9), command)

    task = make_task(
        title="Ship it",
        description="soon",
        priority=TaskPriority.HIGH,
        assigned_to=BOB,
        due_date=AT,
        created_at=LATER,
        updated_at=LATER,
        version=10,
    )
    stamp = {"by": 1, "at": LATER, "request_id": "r-1", "project_id": 7}
    assert events == (TaskCreated(task=task, version=10, **stamp),)  # type: ignore[arg-type]


def test_a_task_that_is_born_completed_was_completed_then() -> None:
    (task,) = tasks_of(decide(make_state(), make_command(CreateTask, status=DONE)))

    assert task.completed_at == LATER


def test_a_put_of_several_things_makes_an_event_for_each_kind() -> None:
    state = make_state(tasks=[make_task(assigned_to=CYD)], version=9)
    command = make_command(
        UpdateTask, title="New", status=DONE, assigned_to=BOB, due_date=AT
    )

    events = decide(state, command)

    titled = make_task(
        title="New", due_date=AT, assigned_to=CYD, updated_at=LATER, version=10
    )
    assigned = replace(titled, assigned_to=BOB, version=11)
    completed = replace(assigned, status=DONE, completed_at=LATER, version=12)
    assert [type(event) for event in events] == [
        TaskUpdated,
        TaskAssigned,
        TaskCompleted,
    ]
    assert [event.version for event in events] == [10, 11, 12]
    assert tasks_of(events) == [titled, assigned, completed]


def test_changes_say_what_was_and_what_is() -> None:
    state = make_state(tasks=[make_task(assigned_to=CYD)])
    command = make_command(
        UpdateTask, title="New", status=DONE, assigned_to=None, due_date=AT
    )

    updated, assigned, completed = decide(state, command)

    assert updated.changes == {
        "title": Change(old="Write it", new="New"),
        "due_date": Change(old=None, new="2026-01-02T03:04:05Z"),
    }
    assert assigned.changes == {"assigned_to": Change(old=3, new=None)}
    assert completed.changes == {
        "status": Change(old="pending", new="completed"),
        "completed_at": Change(old=None, new="2026-01-02T04:00:00Z"),
    }


def test_changes_are_plain_values() -> None:
    command = make_command(UpdateTask, status=TaskStatus.IN_PROGRESS)

    (updated,) = decide(make_state(tasks=[make_task()]), command)

    assert type(updated.changes["status"].new) is str


def test_changes_tell_times_in_utc() -> None:
    there = datetime(2026, 5, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))

    (updated,) = decide(
        make_state(tasks=[make_task()]), make_command(UpdateTask, due_date=there)
    )

    assert updated.changes["due_date"].new == "2026-05-01T10:00:00Z"


def test_a_change_without_a_plain_form_is_a_defect() -> None:
    command = make_command(UpdateTask, title=b"bytes")

    with pytest.raises(TypeError, match="bytes"):
        decide(make_state(tasks=[make_task()]), command)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"title": "Write it"},
        {"status": TaskStatus.PENDING, "assigned_to": None, "due_date": None},
        {"due_date": None, "description": None, "priority": TaskPriority.MEDIUM},
    ],
)
def test_what_changes_nothing_makes_no_event(fields: dict[str, object]) -> None:
    state = make_state(tasks=[make_task()])

    assert decide(state, make_command(UpdateTask, **fields)) == ()


def test_the_same_due_date_in_another_zone_changes_nothing() -> None:
    same = AT.astimezone(timezone(timedelta(hours=5)))
    state = make_state(tasks=[make_task(due_date=AT)])

    assert decide(state, make_command(UpdateTask, due_date=same)) == ()


def test_a_task_completed_twice_stays_completed_when_it_was() -> None:
    state = make_state(tasks=[make_task(status=DONE, completed_at=AT)])

    assert decide(state, make_command(UpdateTask, status=DONE)) == ()


def test_a_task_that_is_opened_again_was_not_completed() -> None:
    state = make_state(tasks=[make_task(status=DONE, completed_at=AT)])
    command = make_command(UpdateTask, status=TaskStatus.IN_PROGRESS)

    (event,) = decide(state, command)

    assert isinstance(event, TaskUpdated)
    assert event.task.completed_at is None
    assert event.changes["completed_at"] == Change(old="2026-01-02T03:04:05Z", new=None)


def test_a_status_among_open_ones_says_nothing_of_completion() -> None:
    command = make_command(UpdateTask, status=TaskStatus.IN_PROGRESS)

    (event,) = decide(make_state(tasks=[make_task()]), command)

    assert set(event.changes) == {"status"}


def test_a_deleted_task_is_told_as_it_was() -> None:
    task = make_task(title="Old", version=4)
    state = make_state(tasks=[task], version=9)

    (event,) = decide(state, make_command(DeleteTask))

    assert isinstance(event, TaskDeleted)
    assert event.task == replace(task, version=10)
    assert TASK not in apply_all(state, [event]).tasks


@pytest.mark.parametrize("kind", [UpdateTask, DeleteTask])
def test_a_task_that_is_not_there_is_not_found(kind: type[Command]) -> None:
    with pytest.raises(TaskNotFound):
        decide(make_state(), make_command(kind, task_id=99))


@pytest.mark.parametrize("kind", [CreateTask, UpdateTask, DeleteTask])
def test_tasks_of_an_archived_project_are_read_only(kind: type[Command]) -> None:
    archived = make_project(status=ProjectStatus.ARCHIVED)
    state = make_state(project=archived, tasks=[make_task()])

    with pytest.raises(ProjectArchived):
        decide(
            state,
            make_command(kind, title="x") if kind is UpdateTask else make_command(kind),
        )


@pytest.mark.parametrize("kind", [UpdateTask, DeleteTask])
def test_a_task_that_moved_on_is_not_changed(kind: type[Command]) -> None:
    state = make_state(tasks=[make_task(version=4)])

    with pytest.raises(VersionMismatch, match="version is 4") as refusal:
        decide(state, make_command(kind, if_match=(3, 5)))
    assert refusal.value.current == 4


@pytest.mark.parametrize("kind", [UpdateTask, DeleteTask])
def test_one_version_of_those_named_is_enough(kind: type[Command]) -> None:
    state = make_state(tasks=[make_task(version=4)])

    decide(state, make_command(kind, if_match=(3, 4)))


def test_a_change_that_is_refused_for_its_version_is_refused_though_it_is_none() -> (
    None
):
    state = make_state(tasks=[make_task(version=4)])

    with pytest.raises(VersionMismatch):
        decide(state, make_command(UpdateTask, if_match=(3,)))


def test_time_is_the_commands_own() -> None:
    at = datetime(2031, 1, 1, tzinfo=UTC)

    (event,) = decide(make_state(), make_command(CreateTask, at=at))

    assert event.at == at
