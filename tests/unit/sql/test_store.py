"""Projects, tasks and lists, read from the real database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from actors.domain.commands import (
    Command,
    CreateProject,
    CreateTask,
    DeleteProject,
    DeleteTask,
    IdempotencyKey,
    PutMember,
    UpdateProject,
    UpdateTask,
)
from actors.domain.errors import ProjectNotFound, StoreUnavailable
from actors.domain.events import Batch
from actors.domain.model import (
    MemberRole,
    ProjectId,
    ProjectStatus,
    TaskId,
    TaskPriority,
    TaskStatus,
    UserId,
    UserRole,
)
from actors.domain.state import ProjectState
from sql.database import Database
from sql.lists import Page, ProjectFilter, Sight, TaskFilter
from sql.receipts import Remembered
from sql.store import Store
from tests.factories import (
    ADA,
    AT,
    BOB,
    CYD,
    DAN,
    LATER,
    PROJECT,
    insert_users,
    make_batch,
    make_caller,
    make_command,
    make_key,
)

EVE = UserId(5)
HOUR = timedelta(hours=1)
ALL = Page(limit=100)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=4, timeout_seconds=10)
    await insert_users(database, ADA, BOB, CYD, DAN, EVE)
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


async def write(store: Store, state: ProjectState, *commands: Command) -> None:
    batch = make_batch(state, *commands)
    assert await store.append([batch]) == {state.project_id}


async def make_project(
    store: Store,
    *commands: Command,
    project_id: int = PROJECT,
    owner_id: int = ADA,
    **fields: object,
) -> ProjectState:
    state = ProjectState(project_id=ProjectId(project_id))
    creation = make_command(
        CreateProject, project_id=project_id, owner_id=owner_id, **fields
    )
    await write(store, state, creation, *commands)
    return state


def create(number: int, **fields: object) -> CreateTask:
    """A task whose number says how late it was made, too."""
    at = AT + number * HOUR
    return make_command(CreateTask, task_id=number, at=at, **fields)


async def sight_of(
    store: Store, user_id: UserId, role: UserRole = UserRole.USER
) -> Sight:
    project_ids = await store.visible_ids(user_id) if role is UserRole.USER else ()
    return Sight(user_id=user_id, role=role, project_ids=project_ids)


async def numbers(
    store: Store, sight: Sight, page: Page = ALL, **wanted: object
) -> list[int]:
    tasks, _ = await store.list_tasks(sight, TaskFilter(**wanted), page)  # type: ignore[arg-type]  # what the test names
    return [task.id for task in tasks]


async def test_a_loaded_project_is_what_was_written(store: Store) -> None:
    state = await make_project(
        store,
        make_command(PutMember, user_id=BOB, role=MemberRole.VIEWER),
        create(1, description="long", assigned_to=BOB, due_date=AT),
        create(2, status=TaskStatus.COMPLETED, priority=TaskPriority.URGENT),
        description="to the moon",
    )

    assert await store.load(PROJECT) == state


async def test_what_was_deleted_is_not_loaded(store: Store) -> None:
    state = await make_project(store, create(1), create(2))
    await write(store, state, make_command(DeleteTask, task_id=1))

    loaded = await store.load(PROJECT)

    assert loaded == state
    assert set(state.tasks) == {2}


@pytest.mark.parametrize("is_deleted", [True, False])
async def test_a_project_that_is_not_there_is_none(
    store: Store,
    is_deleted: bool,  # a parameter of the case
) -> None:
    if is_deleted:
        await make_project(store, create(1), make_command(DeleteProject))

    assert await store.load(PROJECT) is None


async def test_the_log_is_read_in_order_and_in_parts(store: Store) -> None:
    state = ProjectState(project_id=PROJECT)
    commands = [create(number) for number in range(1, 6)]
    batch = make_batch(state, make_command(CreateProject), *commands)
    await store.append([batch])
    bodies = [entry.body for entry in batch.entries]

    assert await store.events_since(PROJECT, 0, 100) == bodies
    assert await store.events_since(PROJECT, 2, 3) == bodies[2:5]
    assert await store.events_since(PROJECT, 6, 100) == []
    assert await store.event(PROJECT, 3) == bodies[2]
    assert await store.event(PROJECT, 7) is None


async def test_a_task_is_found_in_its_project_until_it_is_deleted(
    store: Store,
) -> None:
    state = await make_project(store, create(1))

    assert await store.project_of(TaskId(1)) == PROJECT
    await write(store, state, make_command(DeleteTask, task_id=1))
    assert await store.project_of(TaskId(1)) is None
    assert await store.project_of(TaskId(99)) is None


async def test_an_inbox_is_found_by_its_owner(store: Store) -> None:
    await make_project(store, project_id=7)
    await make_project(store, project_id=8, is_inbox=True)

    assert await store.inbox_of(ADA) == 8
    with pytest.raises(ProjectNotFound):
        await store.inbox_of(BOB)


async def test_a_user_sees_the_projects_they_own_or_are_in(store: Store) -> None:
    await make_project(store, project_id=9)
    await make_project(
        store,
        make_command(PutMember, user_id=ADA, caller=make_caller(BOB)),
        project_id=8,
        owner_id=BOB,
    )
    await make_project(store, project_id=10, owner_id=BOB)
    await make_project(store, make_command(DeleteProject), project_id=11)

    assert await store.visible_ids(ADA) == (8, 9)
    assert await store.visible_ids(CYD) == ()


async def test_ids_are_new_each_time_and_for_each_kind(store: Store) -> None:
    first, second = await asyncio.gather(
        store.next_ids("task", 100), store.next_ids("task", 100)
    )

    assert len({*first, *second}) == 200
    assert len(await store.next_ids("project", 3)) == 3
    assert len(await store.next_ids("user", 2)) == 2


async def test_a_database_that_is_there_answers(store: Store) -> None:
    await store.ping()


async def test_projects_are_counted_with_the_deleted_ones(store: Store) -> None:
    assert await store.count_projects() == 0
    await make_project(store, make_command(DeleteProject))

    assert await store.count_projects() == 1


async def is_somebody_waiting_for_a_lock(database: Database) -> bool:
    async with database.connection() as connection:
        sql = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        return bool(await connection.fetchval(sql))


async def test_who_holds_a_project_writes_without_a_race(
    store: Store, database: Database
) -> None:
    state = await make_project(store)
    batch = make_batch(state, create(1))

    async def rival() -> int:
        async with store.exclusive(PROJECT) as held:
            return held.version

    async with store.exclusive(PROJECT) as held:
        assert len(await held.events_since(0)) == 1
        waiting = asyncio.create_task(rival())
        while not await is_somebody_waiting_for_a_lock(database):
            assert not waiting.done()
        await held.append(batch)

    assert await waiting == state.version
    assert await store.load(PROJECT) == state


@pytest.mark.parametrize("key", [None, make_key()], ids=["at_once", "by_statements"])
async def test_who_meets_a_held_project_does_not_wait_for_it(
    store: Store,
    key: IdempotencyKey | None,  # with one it takes several statements
) -> None:
    state = await make_project(store)
    other = await make_project(store, project_id=8)
    batches = [
        make_batch(state, create(1, key=key)),
        make_batch(other, create(2, key=key and make_key("k-2"))),
    ]

    async with store.exclusive(PROJECT):
        written = await store.append(batches)

    assert written == {8}
    assert await store.load(other.project_id) == other


@pytest.mark.parametrize("key", [None, make_key()], ids=["at_once", "by_statements"])
async def test_who_holds_a_project_writes_what_is_next_only(
    store: Store,
    key: IdempotencyKey | None,  # with one it takes several statements
) -> None:
    state = await make_project(store)
    make_batch(state, create(1))
    late = make_batch(state, create(2, key=key))

    with pytest.raises(ValueError, match="is not at"):
        await hold_and_write(store, late)


async def hold_and_write(store: Store, batch: Batch) -> None:
    async with store.exclusive(batch.project_id) as held:
        await held.append(batch)


async def test_projects_that_are_fought_over_leave_connections_to_the_rest(
    store: Store, database_url: str
) -> None:
    await make_project(store)
    small = await Database.open(database_url, size=2, timeout_seconds=1)
    node = Store(small)

    async with store.exclusive(PROJECT):
        batch = Batch(project_id=PROJECT, expected=1, entries=())
        waiting = [asyncio.create_task(hold_and_write(node, batch)) for _ in range(5)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(0.5):
            await node.ping()
        answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(answer) for answer in answers} == {StoreUnavailable}
    await small.close()


async def hold_and_fail(store: Store, batch: Batch) -> None:
    async with store.exclusive(batch.project_id) as held:
        await held.append(batch)
        raise ZeroDivisionError


async def test_what_was_held_and_failed_leaves_nothing(store: Store) -> None:
    state = await make_project(store)

    with pytest.raises(ZeroDivisionError):
        await hold_and_fail(store, make_batch(state, create(1)))

    assert (await store.load(PROJECT)) != state
    assert await store.events_since(PROJECT, 1, 100) == []


async def test_a_project_without_a_head_cannot_be_held(store: Store) -> None:
    with pytest.raises(ProjectNotFound):
        async with store.exclusive(PROJECT):
            pass


async def age_keys(database: Database, hours: float) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE idempotency_keys SET created_at = now() - $1::interval",
            timedelta(hours=hours),
        )


async def test_a_key_is_remembered_with_the_effect_it_had(store: Store) -> None:
    await make_project(store, create(1, key=make_key("k")))

    known = await store.remembered(ADA, "k")
    assert known is not None
    assert 0 <= known.age_seconds < 60
    assert replace(known, age_seconds=0) == Remembered(
        fingerprint=b"digest",
        status=201,
        project_id=PROJECT,
        version=2,
        body=None,
        age_seconds=0,
    )
    assert await store.remembered(BOB, "k") is None
    assert await store.remembered(ADA, "other") is None


async def test_a_key_is_forgotten_after_a_day(store: Store, database: Database) -> None:
    state = await make_project(store, create(1, key=make_key("k")))

    await age_keys(database, 23.9)
    assert await store.remembered(ADA, "k") is not None
    await age_keys(database, 24.1)
    assert await store.remembered(ADA, "k") is None

    await write(store, state, create(2, key=make_key("k")))
    found = await store.remembered(ADA, "k")
    assert found is not None
    assert found.version == 3


async def test_old_keys_are_swept_however_many_there_are(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sql.store._FORGOTTEN_KEYS", 2)
    old = [create(n, key=make_key(f"old {n}")) for n in range(1, 6)]
    state = await make_project(store, *old)
    await age_keys(database, 25)
    await write(store, state, create(6, key=make_key("new")))

    await store.forget_keys()

    async with database.connection() as connection:
        rows = await connection.fetch("SELECT key FROM idempotency_keys")
    assert [row["key"] for row in rows] == ["new"]


async def make_board(store: Store) -> None:
    """Six tasks of Ada's in which everything differs, and one that was deleted."""
    await make_project(
        store,
        create(1, title="Write the plan", status=TaskStatus.IN_PROGRESS),
        create(2, title="Fly", description="a plan B", assigned_to=BOB, due_date=AT),
        create(
            3,
            priority=TaskPriority.HIGH,
            due_date=AT + HOUR,
            status=TaskStatus.COMPLETED,
        ),
        create(4, priority=TaskPriority.LOW, assigned_to=CYD, due_date=AT + 2 * HOUR),
        create(5, title="Gone"),
        make_command(DeleteTask, task_id=5),
        make_command(PutMember, user_id=BOB, role=MemberRole.MEMBER),
        create(6, caller=make_caller(BOB), title="Planning"),
    )
    await make_project(store, create(7, title="Elsewhere"), project_id=8)


FILTERS: list[tuple[dict[str, object], list[int]]] = [
    ({}, [7, 6, 4, 3, 2, 1]),
    ({"project_id": 8}, [7]),
    ({"project_id": 404}, []),
    ({"statuses": ["in_progress"]}, [1]),
    ({"statuses": [TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED]}, [3, 1]),
    ({"priorities": [TaskPriority.HIGH, TaskPriority.LOW]}, [4, 3]),
    ({"priorities": []}, []),
    ({"assigned_to": BOB}, [2]),
    ({"is_unassigned": True}, [7, 6, 3, 1]),
    ({"is_unassigned": False}, [4, 2]),
    ({"created_by": BOB}, [6]),
    ({"due_from": AT}, [4, 3, 2]),
    ({"due_to": AT + HOUR}, [3, 2]),
    ({"due_from": AT + HOUR, "due_to": AT + HOUR}, [3]),
    ({"due_from": AT + timedelta(seconds=1), "due_to": AT + HOUR * 0.9}, []),
    ({"is_overdue": True, "overdue_at": AT + 3 * HOUR}, [4, 2]),
    ({"is_overdue": True, "overdue_at": AT}, []),
    ({"is_overdue": False, "overdue_at": AT + 3 * HOUR}, [7, 6, 3, 1]),
    ({"text": "plan"}, [2, 1]),
    ({"text": "PLAN write"}, [1]),
    ({"text": "plan -write"}, [2]),
    ({"text": '"the plan"'}, [1]),
    ({"text": "'; DROP TABLE tasks; --"}, []),
    ({"text": "fly", "assigned_to": CYD}, []),
]


async def test_filters_restrict_a_list_to_what_they_say(store: Store) -> None:
    await make_board(store)
    sight = await sight_of(store, ADA)

    found = [await numbers(store, sight, ALL, **wanted) for wanted, _ in FILTERS]

    assert found == [expected for _, expected in FILTERS]


async def test_a_list_says_how_many_match_whatever_the_page(store: Store) -> None:
    await make_board(store)
    sight = await sight_of(store, ADA)
    wanted = TaskFilter(project_id=PROJECT)

    for page in (ALL, Page(limit=1), Page(limit=2, offset=99)):
        assert (await store.list_tasks(sight, wanted, page))[1] == 5


async def test_a_listed_task_is_the_task(store: Store) -> None:
    state = await make_project(store, create(1, due_date=AT, description="x"))

    tasks, total = await store.list_tasks(await sight_of(store, ADA), TaskFilter(), ALL)

    assert (tasks, total) == (list(state.tasks.values()), 1)


async def test_pages_follow_each_other(store: Store) -> None:
    await make_board(store)
    sight = await sight_of(store, ADA)

    assert await numbers(store, sight, Page(limit=2)) == [7, 6]
    assert await numbers(store, sight, Page(limit=2, offset=2)) == [4, 3]
    assert await numbers(store, sight, Page(limit=9, offset=5)) == [1]


async def test_a_key_of_a_row_leads_on_even_where_times_are_equal(
    store: Store,
) -> None:
    same = [make_command(CreateTask, task_id=number) for number in range(1, 8)]
    await make_project(store, *same)
    sight = await sight_of(store, ADA)

    seen: list[int] = []
    page = Page(limit=3)
    while found := await numbers(store, sight, page):
        seen += found
        page = Page(limit=3, after_at=LATER, after_id=found[-1])

    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_rows_that_come_and_go_do_not_shift_what_follows_a_key(
    store: Store,
) -> None:
    state = await make_project(store, *(create(number) for number in range(1, 6)))
    sight = await sight_of(store, ADA)
    assert await numbers(store, sight, Page(limit=2)) == [5, 4]

    await write(store, state, create(9), make_command(DeleteTask, task_id=4))

    page = Page(limit=2, after_at=AT + 4 * HOUR, after_id=4)
    assert await numbers(store, sight, page) == [3, 2]


async def make_world(store: Store) -> None:
    """A project of Ada's with Bob in it, inboxes of Ada's and Dan's."""
    await make_project(
        store,
        make_command(PutMember, user_id=BOB, role=MemberRole.VIEWER),
        create(1),
        create(2, assigned_to=CYD),
    )
    await make_project(store, create(3), project_id=8, is_inbox=True)
    await make_project(
        store,
        create(4, caller=make_caller(DAN)),
        create(5, caller=make_caller(EVE, UserRole.ADMIN)),
        project_id=9,
        owner_id=DAN,
        is_inbox=True,
    )


SEEN = [
    (ADA, UserRole.USER, [3, 2, 1], [8, 7]),
    (BOB, UserRole.USER, [2, 1], [7]),
    (CYD, UserRole.USER, [2], []),
    (DAN, UserRole.USER, [5, 4], [9]),
    (EVE, UserRole.USER, [5], []),
    (CYD, UserRole.MANAGER, [2, 1], [7]),
    (DAN, UserRole.MANAGER, [5, 4, 2, 1], [9, 7]),
    (EVE, UserRole.MANAGER, [5, 2, 1], [7]),
    (EVE, UserRole.ADMIN, [5, 4, 3, 2, 1], [9, 8, 7]),
]


async def test_everyone_lists_the_tasks_that_they_may_see(store: Store) -> None:
    await make_world(store)

    found = [
        await numbers(store, await sight_of(store, user, role))
        for user, role, _, _ in SEEN
    ]

    assert found == [tasks for _, _, tasks, _ in SEEN]


async def test_everyone_lists_the_projects_that_they_may_see(store: Store) -> None:
    await make_world(store)

    found = []
    for user, role, _, _ in SEEN:
        sight = await sight_of(store, user, role)
        projects, total = await store.list_projects(sight, ProjectFilter(), ALL)
        found.append([project.id for project in projects])
        assert total == len(projects)

    assert found == [projects for _, _, _, projects in SEEN]


async def test_lists_agree_with_what_the_domain_shows(store: Store) -> None:
    await make_world(store)
    states = [await store.load(ProjectId(number)) for number in (7, 8, 9)]

    for user in (ADA, BOB, CYD, DAN, EVE):
        for role in UserRole:
            caller = make_caller(user, role)
            shown = {
                task_id
                for state in states
                if state is not None
                for task_id in state.tasks
                if state.visible_task(caller, task_id)
            }
            assert set(await numbers(store, await sight_of(store, user, role))) == shown


async def test_projects_are_filtered_and_paged(store: Store) -> None:
    archived = make_command(UpdateProject, status=ProjectStatus.ARCHIVED)
    await make_project(store, archived, project_id=7, name="Apollo", at=AT)
    await make_project(store, project_id=8, name="Gemini", description="of Apollo")
    await make_project(store, project_id=9, name="Mercury")
    await make_project(store, make_command(DeleteProject), project_id=10)
    sight = await sight_of(store, ADA)

    async def found(page: Page = ALL, **wanted: object) -> list[int]:
        projects, _ = await store.list_projects(sight, ProjectFilter(**wanted), page)  # type: ignore[arg-type]  # what the test names
        return [project.id for project in projects]

    assert await found() == [9, 8, 7]
    assert await found(statuses=[ProjectStatus.ARCHIVED]) == [7]
    assert await found(text="apollo") == [8, 7]
    assert await found(Page(limit=1, offset=1)) == [8]
    assert await found(Page(limit=5, after_at=LATER, after_id=9)) == [8, 7]


async def test_a_listed_project_is_the_project(store: Store) -> None:
    state = await make_project(
        store, make_command(UpdateProject, name="Gemini", description="x")
    )

    projects, total = await store.list_projects(
        await sight_of(store, ADA), ProjectFilter(), ALL
    )

    assert (projects, total) == ([state.project], 1)


async def test_a_change_of_a_task_is_listed_as_it_is_now(store: Store) -> None:
    state = await make_project(store, create(1))
    await write(store, state, make_command(UpdateTask, title="New", assigned_to=BOB))

    (tasks, _) = await store.list_tasks(await sight_of(store, BOB), TaskFilter(), ALL)

    assert tasks == list(state.tasks.values())
