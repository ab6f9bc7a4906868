"""Orders of lists: exact over ties and over what has no value, in both directions."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from actors.domain.commands import CreateProject, CreateTask
from actors.domain.model import Task, TaskPriority, TaskStatus, UserRole
from actors.domain.state import ProjectState
from sql.database import PLANNED_EACH_TIME, Database
from sql.lists import Page, ProjectFilter, Sight, TaskFilter, UserFilter, key_of
from sql.store import Store
from sql.users import Users
from tests.factories import (
    ADA,
    AT,
    BOB,
    CYD,
    insert_users,
    make_batch,
    make_command,
    make_task,
)

ADMIN = Sight(user_id=ADA, role=UserRole.ADMIN, project_ids=())
TITLES = ("b", "B", "a", "Über", "über", "z", "Z", "", "10", "9")
PRIORITIES, STATUSES = list(TaskPriority), list(TaskStatus)

# What a row of a task is sorted by; the truth that the database is held to.
TASK_ORDERS: dict[str, Callable[[Task], object]] = {
    "created_at": lambda task: task.created_at,
    "updated_at": lambda task: task.updated_at,
    "due_date": lambda task: task.due_date,
    "priority": lambda task: PRIORITIES.index(task.priority),
    "status": lambda task: STATUSES.index(task.status),
    "title": lambda task: task.title.lower(),
}


@pytest.fixture(params=["planned each time", "planned once"])
async def database(
    database_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    """The order is the same whoever plans; only the time it takes is not."""
    settings = (
        PLANNED_EACH_TIME
        if request.param == "planned each time"
        else {"plan_cache_mode": "force_generic_plan"}
    )
    database = await Database.open(
        database_url, size=1, timeout_seconds=10, settings=settings
    )
    await insert_users(database, ADA, BOB, CYD)
    yield database
    await database.close()


async def make_tasks(store: Store) -> list[Task]:
    """Forty tasks with ties in everything, and every third without a due date."""
    state = ProjectState(project_id=make_task().project_id)
    creations = [
        make_command(
            CreateTask,
            task_id=number,
            title=TITLES[number * 7 % 10] or "-",
            status=STATUSES[number % 3],
            priority=PRIORITIES[number * 3 % 4],
            due_date=None if number % 3 == 0 else AT + timedelta(days=number * 5 % 4),
            at=AT + timedelta(microseconds=number * 11 % 6),
        )
        for number in range(1, 41)
    ]
    batch = make_batch(state, make_command(CreateProject), *creations)
    await store.append([batch])
    return list(state.tasks.values())


def in_order(tasks: list[Task], sort: str, *, is_descending: bool) -> list[int]:
    """Sort by the value, then by id, and put what has no value last."""
    value = TASK_ORDERS[sort]
    known = [task for task in tasks if value(task) is not None]
    unknown = [task for task in tasks if value(task) is None]
    known.sort(key=lambda task: (value(task), task.id), reverse=is_descending)
    unknown.sort(key=lambda task: task.id, reverse=is_descending)
    return [task.id for task in (*known, *unknown)]


def after(page: Page, row: object, row_id: int) -> Page:
    key = key_of(row, page.sort)
    is_text, is_rank = isinstance(key, str), isinstance(key, int)
    return replace(
        page,
        after_id=row_id,
        after_text=key if is_text else None,
        after_rank=key if is_rank else None,
        after_at=None if is_text or is_rank else key,
    )


@pytest.mark.parametrize("is_descending", [False, True])
async def test_every_order_is_walked_exactly(
    database: Database, *, is_descending: bool
) -> None:
    store = Store(database)
    tasks = await make_tasks(store)
    for sort in TASK_ORDERS:
        for limit in (1, 3, 40, 41):
            seen: list[int] = []
            page = Page(limit=limit, sort=sort, is_descending=is_descending)
            while True:
                found, total = await store.list_tasks(ADMIN, TaskFilter(), page)
                assert total == 40
                if not found:
                    break
                seen += [task.id for task in found]
                page = after(page, found[-1], found[-1].id)

            assert seen == in_order(tasks, sort, is_descending=is_descending), sort


@pytest.mark.parametrize("is_descending", [False, True])
async def test_an_offset_counts_what_has_no_value_too(
    database: Database, *, is_descending: bool
) -> None:
    store = Store(database)
    tasks = await make_tasks(store)
    for sort in TASK_ORDERS:
        whole = in_order(tasks, sort, is_descending=is_descending)
        for offset in (0, 7, 25, 27, 39, 40):
            page = Page(limit=5, offset=offset, sort=sort, is_descending=is_descending)
            found, _ = await store.list_tasks(ADMIN, TaskFilter(), page)

            assert [task.id for task in found] == whole[offset : offset + 5]


async def test_a_search_is_sorted_like_any_list(database: Database) -> None:
    store = Store(database)
    tasks = [task for task in await make_tasks(store) if task.title.lower() == "über"]
    assert len(tasks) == 8

    for sort in TASK_ORDERS:
        for is_descending in (False, True):
            page = Page(limit=9, sort=sort, is_descending=is_descending)
            found, total = await store.list_tasks(ADMIN, TaskFilter(text="ÜBER"), page)

            expected = in_order(tasks, sort, is_descending=is_descending)
            assert ([task.id for task in found], total) == (expected, 8)


@pytest.mark.parametrize("is_descending", [False, True])
async def test_projects_and_users_are_walked_exactly(
    database: Database, *, is_descending: bool
) -> None:
    store, users = Store(database), Users(database)
    for number, name in enumerate(TITLES, 1):
        creation = make_command(
            CreateProject,
            project_id=number,
            name=name or "-",
            at=AT + timedelta(days=number % 3),
        )
        state = ProjectState(project_id=creation.project_id)
        await store.append([make_batch(state, creation)])
    lists = {
        **dict.fromkeys(("created_at", "updated_at", "name"), store.list_projects),
        **dict.fromkeys(("username", "email"), users.list_page),
    }

    for sort, ask in lists.items():
        whole = Page(limit=100, sort=sort, is_descending=is_descending)
        of_projects = ask == store.list_projects
        given = (ADMIN, ProjectFilter()) if of_projects else (UserFilter(),)
        rows, total = await ask(*given, whole)  # type: ignore[operator]  # one of two
        keys = [(_lower(getattr(row, sort)), row.id) for row in rows]
        assert keys == sorted(keys, reverse=is_descending)
        assert total == len(keys) == (10 if of_projects else 3)

        seen, page = [], replace(whole, limit=2)
        while found := (await ask(*given, page))[0]:  # type: ignore[operator]  # one of two
            seen += found
            page = after(page, found[-1], found[-1].id)
        assert seen == rows


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def test_only_what_can_be_written_down_is_a_place() -> None:
    with pytest.raises(TypeError, match="version"):
        key_of(make_task(), "version")
