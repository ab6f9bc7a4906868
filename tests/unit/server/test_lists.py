"""Lists: pages that follow each other, kept while nothing the caller sees moves."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from yarl import URL

from actors.domain.commands import (
    Command,
    CreateProject,
    CreateTask,
    DeleteTask,
    PutMember,
    UpdateTask,
)
from actors.domain.model import Caller, ProjectId, Task, TaskStatus, UserRole
from actors.domain.state import ProjectState
from actors.journal import Journal
from actors.ports import Audience
from actors.project import Surroundings
from actors.registry import Registry
from server.cursors import Cursors
from server.lists import Lists
from server.pages import ListAnswer, Pages
from server.problems import Problem
from server.representations import EventCodec
from server.sights import Sights
from sql.database import Database
from sql.lists import Page, Sight, TaskFilter
from sql.store import Store
from tests.factories import (
    ADA,
    AT,
    BOB,
    CYD,
    PROJECT,
    insert_users,
    make_batch,
    make_caller,
    make_command,
)

ADA_HERSELF, CYD_HERSELF = make_caller(ADA), make_caller(CYD)


class SlowStore(Store):
    """The real store, which can be made to wait before it answers a list."""

    def __init__(self, database: Database):
        super().__init__(database)
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def list_tasks(
        self, sight: Sight, wanted: TaskFilter, page: Page
    ) -> tuple[list[Task], int]:
        found = await super().list_tasks(sight, wanted, page)
        self.asked.set()
        await self.gate.wait()
        return found


class World:
    """A project of Ada's in a real database, and lists over it."""

    def __init__(self, database: Database, *, kept_bytes: int = 1_000_000):
        self.store = SlowStore(database)
        self.counts: Counter[str] = Counter()
        self.sights = sights = Sights(self.store)
        self.journal = Journal(self.store)
        around = Surroundings(
            store=self.store,
            journal=self.journal,
            codec=EventCodec(),
            feeds=(sights,),
        )
        self.registry = Registry(around)
        self.lists = Lists(
            self.store,
            sights,
            Pages(Cursors(b"s" * 32)),
            count=lambda outcome: self.counts.update([outcome]),
            kept_bytes=kept_bytes,
        )

    async def do(self, *commands: Command) -> None:
        for command in commands:
            await self.registry.ask(PROJECT, command)

    async def tasks(
        self, caller: Caller = ADA_HERSELF, limit: int = 20, **query: object
    ) -> ListAnswer:
        given = {"limit": limit, "offset": 0, "sort": "-created_at", **query}
        return await self.lists.tasks(caller, given, address("/tasks", given))

    async def projects(
        self, caller: Caller = ADA_HERSELF, limit: int = 20, **query: object
    ) -> ListAnswer:
        given = {"limit": limit, "offset": 0, "sort": "-created_at", **query}
        return await self.lists.projects(caller, given, address("/projects", given))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url)
    await insert_users(database, ADA, BOB, CYD)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    world = World(database)
    world.journal.start()
    await world.registry.create(make_command(CreateProject))
    yield world
    await world.registry.close()
    await world.journal.close()


def create(number: int, **fields: object) -> CreateTask:
    at = AT + timedelta(hours=number)
    return make_command(CreateTask, task_id=number, at=at, **fields)


def address(path: str, query: Mapping[str, object]) -> URL:
    named = {name: str(value) for name, value in query.items()}
    return URL(path).with_query(named)


def cursor_of(answer: ListAnswer) -> str | None:
    found = shown(answer)["next_cursor"]
    return None if found is None else str(found)


def shown(answer: ListAnswer) -> Any:
    return json.loads(answer.body)


def numbers(answer: ListAnswer) -> list[int]:
    body = shown(answer)
    return [thing["id"] for thing in body.get("tasks", body.get("projects"))]


async def test_a_list_says_what_it_is_a_part_of(world: World) -> None:
    await world.do(*(create(number) for number in (1, 2, 3)))

    answer = await world.tasks(limit=2)

    body = shown(answer)
    assert [task["id"] for task in body.pop("tasks")] == [3, 2]
    assert body.pop("next_cursor")
    assert body == {"total": 3, "limit": 2, "offset": 0}


async def test_the_last_page_leads_nowhere(world: World) -> None:
    await world.do(*(create(number) for number in (1, 2)))

    answer = await world.tasks(limit=2)

    assert cursor_of(answer) is None
    assert answer.link is None


async def test_a_list_of_nothing_is_empty(world: World) -> None:
    await world.do(create(1))

    body = shown(await world.tasks(CYD_HERSELF))

    assert (body["tasks"], body["total"], body["next_cursor"]) == ([], 0, None)


async def test_a_link_names_the_next_page(world: World) -> None:
    await world.do(*(create(number) for number in range(1, 6)))

    answer = await world.tasks(limit=2, offset=1, q="write it", sort="-priority")

    assert answer.link is not None
    target = re.fullmatch(r'<(/tasks\?[^>]+)>; rel="next"', answer.link)
    assert target is not None
    assert dict(URL(target[1]).query) == {
        "limit": "2",
        "q": "write it",
        "sort": "-priority",
        "cursor": cursor_of(answer),
    }


async def test_cursors_lead_through_a_list_while_it_changes(world: World) -> None:
    await world.do(*(create(number) for number in range(1, 8)))
    answer = await world.tasks(limit=3)
    seen = numbers(answer)

    await world.do(create(9), make_command(DeleteTask, task_id=6))
    while cursor := cursor_of(answer):
        answer = await world.tasks(limit=3, cursor=cursor)
        seen += numbers(answer)

    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_a_cursor_is_for_its_caller_and_its_filters(world: World) -> None:
    await world.do(*(create(number) for number in (1, 2)))
    cursor = cursor_of(await world.tasks(limit=1))

    for other in (
        world.tasks(limit=1, cursor=cursor, status=[TaskStatus.PENDING]),
        world.tasks(make_caller(BOB), limit=1, cursor=cursor),
        world.projects(limit=1, cursor=cursor),
    ):
        with pytest.raises(Problem, match="cursor"):
            await other
    assert numbers(await world.tasks(limit=2, cursor=cursor)) == [1]


async def test_a_list_is_kept_while_nothing_changes(world: World) -> None:
    await world.do(create(1))

    first, second = await world.tasks(), await world.tasks()

    assert first is second
    assert world.counts == {"miss": 1, "hit": 1}


async def test_a_change_is_in_the_next_list(world: World) -> None:
    await world.do(create(1))
    before = await world.tasks()

    await world.do(make_command(UpdateTask, task_id=1, title="New"))
    after = await world.tasks()

    assert shown(after)["tasks"][0]["title"] == "New"
    assert after.etag != before.etag
    assert world.counts == {"miss": 2}


async def test_a_change_that_others_see_leaves_a_list_kept(world: World) -> None:
    before = await world.tasks(CYD_HERSELF)

    await world.do(create(1))

    assert await world.tasks(CYD_HERSELF) is before


async def test_who_becomes_a_member_sees_what_there_is(world: World) -> None:
    await world.do(create(1))
    bob = make_caller(BOB)
    assert numbers(await world.tasks(bob)) == []
    assert numbers(await world.projects(bob)) == []

    await world.do(make_command(PutMember, user_id=BOB))

    assert numbers(await world.tasks(bob)) == [1]
    assert numbers(await world.projects(bob)) == [7]


async def test_a_list_that_a_change_overtook_is_not_kept(world: World) -> None:
    await world.do(create(1))
    await world.tasks(limit=5)
    world.store.gate.clear()
    world.store.asked.clear()
    asked = asyncio.create_task(world.tasks())
    await world.store.asked.wait()

    await world.do(create(2))
    world.store.gate.set()

    assert numbers(await asked) == [1]
    assert numbers(await world.tasks()) == [2, 1]


async def test_the_same_body_has_the_same_tag(world: World) -> None:
    await world.do(create(1))
    before = await world.tasks()

    await world.do(create(2), make_command(DeleteTask, task_id=2))
    after = await world.tasks()

    assert after is not before
    assert (after.body, after.etag) == (before.body, before.etag)


async def test_what_depends_on_the_time_of_day_is_not_kept(world: World) -> None:
    await world.do(create(1, due_date=AT), create(2))

    answers = [await world.tasks(overdue=True) for _ in range(2)]

    assert [numbers(answer) for answer in answers] == [[1], [1]]
    assert world.counts == {}


async def test_filters_reach_the_store(world: World) -> None:
    await world.do(
        create(1, assigned_to=ADA, due_date=AT),
        create(2, status=TaskStatus.COMPLETED, title="Fly"),
        create(3, assigned_to=BOB),
    )

    wanted: list[tuple[dict[str, object], list[int]]] = [
        ({"assigned_to": "me"}, [1]),
        ({"assigned_to": BOB}, [3]),
        ({"created_by": "me"}, [3, 2, 1]),
        ({"status": [TaskStatus.COMPLETED]}, [2]),
        ({"priority": []}, []),
        ({"unassigned": True}, [2]),
        ({"due_date_from": AT, "due_date_to": AT}, [1]),
        ({"q": "fly"}, [2]),
        ({"project_id": 404}, []),
        ({"offset": 2}, [1]),
    ]
    found = [numbers(await world.tasks(**query)) for query, _ in wanted]  # type: ignore[arg-type]  # a table

    assert found == [expected for _, expected in wanted]


async def test_roles_do_not_share_a_kept_list(world: World) -> None:
    await world.do(create(1))

    assert numbers(await world.tasks(CYD_HERSELF)) == []
    assert numbers(await world.tasks(make_caller(CYD, UserRole.MANAGER))) == [1]
    assert numbers(await world.tasks(CYD_HERSELF)) == []


async def test_projects_are_listed_and_kept(world: World) -> None:
    await world.registry.create(
        make_command(CreateProject, project_id=ProjectId(8), name="Gemini")
    )

    assert numbers(await world.projects()) == [8, 7]
    assert numbers(await world.projects()) == [8, 7]
    assert numbers(await world.projects(q="gemini")) == [8]
    assert world.counts == {"miss": 2, "hit": 1}


async def test_an_inbox_that_came_with_an_account_is_in_the_next_list(
    world: World,
) -> None:
    admin = make_caller(CYD, UserRole.ADMIN)
    assert numbers(await world.projects(admin)) == [7]
    state = ProjectState(project_id=ProjectId(8))
    inbox = make_command(CreateProject, project_id=8, owner_id=BOB, is_inbox=True)
    batch = make_batch(state, inbox)
    await world.store.append([batch])

    audience = Audience(members=(), others=frozenset({BOB}), is_inbox=True)
    world.sights.publish(audience, batch.entries)

    assert numbers(await world.projects(admin)) == [8, 7]


async def test_what_is_kept_has_a_limit(database: Database, world: World) -> None:
    await world.do(create(1))
    size = len((await world.tasks(limit=1)).body)
    small = World(database, kept_bytes=(size + 1024) * 2 + 20)

    for limit in (1, 2, 1, 3, 1, 2):
        await small.tasks(limit=limit)

    assert small.counts == {"miss": 4, "hit": 2}
    assert small.lists._bytes <= (size + 1024) * 2 + 20
