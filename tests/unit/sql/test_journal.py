"""Batches become rows: together, in order, and whole or not at all."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from actors.domain.commands import (
    AddComment,
    Command,
    CreateProject,
    CreateTask,
    DeleteComment,
    DeleteProject,
    DeleteTask,
    PutMember,
    RemoveMember,
    UpdateComment,
    UpdateProject,
    UpdateTask,
)
from actors.domain.errors import KeyAlreadyUsed, UserNotFound
from actors.domain.events import Batch
from actors.domain.model import (
    MemberRole,
    ProjectId,
    ProjectStatus,
    TaskId,
    TaskPriority,
    TaskStatus,
)
from actors.domain.state import ProjectState
from sql.database import Database
from sql.lists import Page
from sql.store import Store
from tests.factories import (
    ADA,
    BOB,
    CYD,
    LATER,
    PROJECT,
    insert_users,
    make_batch,
    make_command,
    make_key,
    make_new_state,
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=8, timeout_seconds=10)
    await insert_users(database, ADA, BOB, CYD)
    yield database
    await database.close()


@pytest.fixture(params=[True, False], ids=["at_once", "by_statements"])
def store(database: Database, request: pytest.FixtureRequest) -> Store:
    return Store(database, at_once=request.param)


async def make_project(store: Store, project_id: int = PROJECT) -> ProjectState:
    state = ProjectState(project_id=ProjectId(project_id))
    batch = make_batch(state, make_command(CreateProject, project_id=project_id))
    assert await store.append([batch]) == {project_id}
    return state


async def versions(store: Store, project_id: ProjectId = PROJECT) -> list[int]:
    async with store._database.connection() as connection:
        rows = await connection.fetch(
            "SELECT version FROM project_events WHERE project_id = $1 ORDER BY version",
            project_id,
        )
    return [row["version"] for row in rows]


def create(number: int, **fields: object) -> CreateTask:
    return make_command(CreateTask, task_id=number, **fields)


async def test_batches_of_several_projects_go_together(store: Store) -> None:
    states = [await make_project(store, number) for number in (7, 8, 9)]

    matched = await store.append(
        [make_batch(state, create(state.project_id)) for state in reversed(states)]
    )

    assert matched == {7, 8, 9}
    for state in states:
        assert await store.load(state.project_id) == state
        assert await versions(store, state.project_id) == [1, 2]


async def test_only_the_projects_that_are_where_expected_are_written(
    store: Store,
) -> None:
    behind = await make_project(store, 7)
    current = await make_project(store, 8)
    await store.append([make_batch(make_new_state(), create(1))])

    matched = await store.append(
        [
            make_batch(behind, create(2, key=make_key("k"))),
            make_batch(current, create(3)),
        ]
    )

    assert matched == {8}
    assert await store.project_of(create(2).task_id) is None
    assert await store.remembered(ADA, "k") is None
    assert await versions(store) == [1, 2]
    assert await store.load(current.project_id) == current


async def test_a_batch_that_is_ahead_is_not_written(store: Store) -> None:
    state = await make_project(store)
    make_batch(state, create(1))

    assert await store.append([make_batch(state, create(2))]) == frozenset()
    assert await versions(store) == [1]


async def test_a_project_without_a_head_is_not_written(store: Store) -> None:
    assert await store.append([make_batch(make_new_state(), create(1))]) == frozenset()


async def test_of_many_at_the_same_version_one_is_written(store: Store) -> None:
    await make_project(store)
    batches = [make_batch(make_new_state(), create(number)) for number in range(1, 9)]

    matched = await asyncio.gather(*(store.append([batch]) for batch in batches))

    assert sum(len(each) for each in matched) == 1
    assert await versions(store) == [1, 2]


async def test_crossing_batches_do_not_lock_each_other_out(store: Store) -> None:
    states = [await make_project(store, number) for number in range(1, 9)]
    batches = [make_batch(state, create(state.project_id)) for state in states]

    async def write(part: list[Batch]) -> int:
        return len(await store.append(part))

    counts = await asyncio.gather(
        *(write(batches[turn:] + batches[:turn]) for turn in range(8))
    )

    assert sum(counts) == 8


SEQUENCES: dict[str, list[Command]] = {
    "a task in all its forms": [
        create(1),
        make_command(
            UpdateTask, title="x", status=TaskStatus.COMPLETED, assigned_to=BOB
        ),
        make_command(UpdateTask, status=TaskStatus.PENDING, due_date=LATER),
        create(2),
        make_command(DeleteTask),
    ],
    "a task of which everything changes": [
        create(1),
        make_command(
            UpdateTask,
            title="another",
            description="more",
            status=TaskStatus.COMPLETED,
            priority=TaskPriority.URGENT,
            assigned_to=CYD,
            due_date=LATER,
        ),
    ],
    "made and deleted at once": [create(1), make_command(DeleteTask)],
    "members": [
        make_command(PutMember, user_id=BOB, role=MemberRole.VIEWER),
        make_command(PutMember, user_id=BOB, role=MemberRole.MAINTAINER),
        make_command(PutMember, user_id=CYD),
        make_command(RemoveMember, user_id=CYD),
    ],
    "handed over to a member": [
        make_command(PutMember, user_id=BOB),
        make_command(UpdateProject, owner_id=BOB),
    ],
    "changed and archived": [
        make_command(UpdateProject, name="x", description="y"),
        make_command(UpdateProject, status=ProjectStatus.ARCHIVED),
    ],
}


@pytest.mark.parametrize("name", SEQUENCES)
async def test_a_batch_is_written_as_memory_has_it(store: Store, name: str) -> None:
    state = await make_project(store)

    await store.append([make_batch(state, *SEQUENCES[name])])

    assert await store.load(PROJECT) == state
    assert await versions(store) == list(range(1, state.version + 1))


@pytest.mark.parametrize("name", SEQUENCES)
async def test_batch_after_batch_is_written_as_memory_has_it(
    store: Store, name: str
) -> None:
    state = await make_project(store)

    for command in SEQUENCES[name]:
        await store.append([make_batch(state, command)])
        assert await store.load(PROJECT) == state

    assert await versions(store) == list(range(1, state.version + 1))


async def test_a_deleted_project_leaves_tombstones_and_its_log(
    store: Store, database: Database
) -> None:
    state = await make_project(store)
    batch = make_batch(
        state, create(1), make_command(PutMember), make_command(DeleteProject)
    )

    await store.append([batch])

    assert await store.load(PROJECT) is None
    assert await versions(store) == [1, 2, 3, 4]
    async with database.connection() as connection:
        row = await connection.fetchrow(
            "SELECT p.deleted_at, p.version, t.deleted_at,"
            " (SELECT count(*) FROM members)"
            " FROM projects p JOIN tasks t ON t.project_id = p.id"
        )
    assert tuple(row) == (LATER, 4, LATER, 0)


@pytest.mark.parametrize(
    "command",
    [
        create(1, assigned_to=99),
        make_command(PutMember, user_id=99),
        make_command(UpdateProject, owner_id=99),
    ],
)
async def test_a_user_who_is_not_there_is_named_and_nothing_is_written(
    store: Store, command: Command
) -> None:
    state = await make_project(store)
    before = await store.load(PROJECT)

    with pytest.raises(UserNotFound):
        await store.append([make_batch(state, create(2), command)])

    assert await store.load(PROJECT) == before
    assert await versions(store) == [1]


async def test_a_project_for_nobody_is_refused(store: Store) -> None:
    state = ProjectState(project_id=PROJECT)

    with pytest.raises(UserNotFound):
        await store.append(
            [make_batch(state, make_command(CreateProject, owner_id=99))]
        )


async def test_a_key_that_was_used_is_refused_with_its_effect(store: Store) -> None:
    state = await make_project(store)
    await store.append([make_batch(state, create(1, key=make_key("k")))])

    with pytest.raises(KeyAlreadyUsed):
        await store.append([make_batch(state, create(2, key=make_key("k")))])

    assert await store.project_of(create(2).task_id) is None
    assert await versions(store) == [1, 2]


async def test_a_key_is_the_callers_own(store: Store) -> None:
    state = await make_project(store)
    commands = [create(user, key=make_key("k", user_id=user)) for user in (ADA, BOB)]

    await store.append([make_batch(state, *commands)])

    for user, version in ((ADA, 2), (BOB, 3)):
        found = await store.remembered(user, "k")
        assert found is not None
        assert found.version == version


async def test_what_the_schema_refuses_is_a_defect(store: Store) -> None:
    state = await make_project(store)

    with pytest.raises(asyncpg.CheckViolationError):
        await store.append([make_batch(state, create(1, title=""))])

    assert await versions(store) == [1]


async def test_the_log_keeps_the_very_bytes(store: Store) -> None:
    state = await make_project(store)
    batch = make_batch(state, create(1, title='"Zoë" \\ \u2028 🚀\n'))

    await store.append([batch])

    assert await store.events_since(PROJECT, 1, 10) == [batch.entries[0].body]
    assert await store.load(PROJECT) == state


async def test_comments_become_rows_with_their_task_and_leave_tombstones(
    store: Store,
) -> None:
    state = await make_project(store)
    texts = [make_command(UpdateComment, comment_id=1, comment=word) for word in "ab"]
    comments = [make_command(AddComment, comment_id=number) for number in (1, 2, 3)]
    deletion = make_command(DeleteComment, comment_id=2)

    await store.append([make_batch(state, create(1), *comments, *texts, deletion)])

    assert await store.load(PROJECT) == state
    assert {c.comment for c in state.comments[TaskId(1)].values()} == {"b", "Well done"}
    async with store._database.connection() as connection:
        rows = await connection.fetch(
            "SELECT id, version, deleted_at FROM comments ORDER BY id"
        )
    assert [tuple(row) for row in rows] == [(1, 7, None), (2, 8, LATER), (3, 5, None)]


async def test_comments_of_a_deleted_task_are_not_loaded(store: Store) -> None:
    state = await make_project(store)
    comments = [
        make_command(AddComment, task_id=number, comment_id=number) for number in (1, 2)
    ]
    await store.append([make_batch(state, create(1), create(2), *comments)])

    await store.append([make_batch(state, make_command(DeleteTask, task_id=1))])

    assert await store.load(PROJECT) == state
    assert list(state.comments) == [2]


async def test_an_event_of_a_comment_is_in_no_tasks_history(store: Store) -> None:
    state = await make_project(store)
    await store.append([make_batch(state, create(1), make_command(AddComment))])

    total, events = await store.history(TaskId(1), 0, Page(limit=5))

    assert (total, [event.version for event in events]) == (1, [2])
