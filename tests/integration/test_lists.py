"""Lists: what they show, and in which pieces."""

import asyncio
import base64
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from actors.domain.model import UserRole
from server import answers, keys
from tests.running_app import Answer, Board, Person


def ids(answer: Answer, name: str = "tasks") -> list[int]:
    assert answer.status == 200, answer
    return [thing["id"] for thing in answer.json[name]]


async def walk(person: Person, path: str, name: str = "tasks") -> list[Any]:
    """Follow the links to the end."""
    found: list[Any] = []
    while path:
        answer = await person.get(path)
        found += answer.json[name]
        cursor, link = answer.json["next_cursor"], answer.headers.get("Link", "")
        assert (cursor is None) == (link == "")
        path = link.partition(">")[0][1:]
        assert link in ("", f'<{path}>; rel="next"')
    return found


async def test_a_page_is_what_the_document_says(board: Board) -> None:
    ada = await board.person()
    await asyncio.gather(*(ada.task() for _ in range(3)))

    tasks = await ada.get("/tasks?limit=2&offset=1")
    projects = await ada.get("/projects")

    answers.TaskList().load(tasks.json)
    answers.ProjectList().load(projects.json)
    page = {name: tasks.json[name] for name in ("total", "limit", "offset")}
    assert page == {"total": 3, "limit": 2, "offset": 1}
    assert len(tasks.json["tasks"]) == 2
    assert tasks.json["next_cursor"] is None


async def test_the_newest_come_first(board: Board) -> None:
    ada = await board.person()
    made = [(await ada.task())["id"] for _ in range(5)]

    assert ids(await ada.get("/tasks")) == made[::-1]


async def make_varied(board: Board) -> tuple[Person, Person, dict[str, int]]:
    """Five tasks that differ in everything, by name."""
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    await ada.add(project["id"], bob, "member")
    p = project["id"]
    varied: dict[str, dict[str, Any]] = {
        "plain": {},
        "late": {"due_date": "2020-01-31T23:59:59.999999Z", "priority": "high"},
        "done": {"status": "completed", "due_date": "2020-01-31"},
        "begun": {"status": "in_progress", "priority": "urgent", "assigned_to": ada.id},
        "far": {"due_date": "2999-01-01", "description": "Über-Größe of the word"},
    }
    made = {
        name: (await ada.task(p, title=f"The {name} one", **fields))["id"]
        for name, fields in varied.items()
    }
    made["bobs"] = (await bob.task(p, title="Bob's", assigned_to=bob.id))["id"]
    made["inbox"] = (await ada.task(title="Alone", assigned_to=bob.id))["id"]
    return ada, bob, made


FILTERS = [
    ("status=completed", {"done"}),
    ("status=in_progress,completed", {"done", "begun"}),
    ("status=completed,completed", {"done"}),
    ("priority=high,urgent", {"late", "begun"}),
    ("assigned_to=me", {"begun"}),
    ("assigned_to={bob}", {"bobs", "inbox"}),
    ("assigned_to=9223372036854775807", set[str]()),
    ("created_by=me", {"plain", "late", "done", "begun", "far", "inbox"}),
    ("created_by={bob}", {"bobs"}),
    ("unassigned=true", {"plain", "late", "done", "far"}),
    ("unassigned=false", {"begun", "bobs", "inbox"}),
    ("overdue=true", {"late"}),
    ("overdue=false", {"plain", "done", "begun", "far", "bobs", "inbox"}),
    ("due_date_from=2020-01-31", {"late", "done", "far"}),
    ("due_date_to=2020-01-31", {"late", "done"}),
    ("due_date_from=2020-01-31&due_date_to=2020-01-31", {"late", "done"}),
    ("due_date_from=2020-01-31T00:00:00.000001Z", {"late", "far"}),
    ("due_date_to=2020-01-31T01:00:00%2B01:00", {"done"}),
    ("due_date_from=2999-01-02", set[str]()),
    ("q=one", {"plain", "late", "done", "begun", "far"}),
    ("q=ONE+-plain", {"late", "done", "begun", "far"}),
    ("q=%22word%22+über-größe", {"far"}),
    ("q=on", set[str]()),
    ("status=pending&priority=high&q=late&overdue=true", {"late"}),
]


async def test_each_filter_finds_exactly_its_tasks(board: Board) -> None:
    ada, bob, made = await make_varied(board)
    for query, names in FILTERS:
        spelt = query.replace("{bob}", str(bob.id))
        answer = await ada.get(f"/tasks?{spelt}")
        assert set(ids(answer)) == {made[name] for name in names}, query
        assert answer.json["total"] == len(names)
    inbox = (await ada.get(f"/tasks/{made['inbox']}")).json["project_id"]
    assert ids(await ada.get(f"/tasks?project_id={inbox}")) == [made["inbox"]]
    # Bob sees the inbox's task, which is his to do, but not the inbox.
    assert ids(await bob.get(f"/tasks?project_id={inbox}")) == [made["inbox"]]
    assert len(ids(await bob.get("/tasks"))) == 7


async def test_projects_are_filtered_too(board: Board) -> None:
    ada = await board.person()
    old, new = await ada.project("Old moon"), await ada.project("New moon")
    await ada.put(f"/projects/{old['id']}", {"status": "archived"})

    async def found(query: str) -> list[int]:
        return ids(await ada.get(f"/projects?{query}"), "projects")

    assert await found("status=archived") == [old["id"]]
    assert await found("status=active&q=moon") == [new["id"]]
    assert await found("q=moon") == [new["id"], old["id"]]
    assert await found("q=sun") == []
    assert (await ada.get("/projects?assigned_to=me")).status == 422


async def test_a_walk_misses_nothing_while_others_write(board: Board) -> None:
    ada = await board.person()
    project = (await ada.project())["id"]
    kept = await asyncio.gather(*(ada.task(project) for _ in range(60)))
    doomed = await asyncio.gather(*(ada.task(project) for _ in range(30)))
    walking = True

    async def disturb() -> None:
        for task in doomed:
            await ada.delete(f"/tasks/{task['id']}")
            await ada.task(project)
            await ada.put(f"/tasks/{random.choice(kept)['id']}", {"priority": "low"})  # noqa: S311
            if not walking:
                return

    async def walk_all() -> list[list[Any]]:
        nonlocal walking
        found = [await walk(ada, f"/tasks?limit={limit}") for limit in (1, 7, 50)]
        walking = False
        return found

    walks, _ = await asyncio.gather(walk_all(), disturb())

    for found in walks:
        seen = [task["id"] for task in found]
        assert len(seen) == len(set(seen))
        assert {task["id"] for task in kept} <= set(seen)
        assert seen == sorted(seen, key=lambda number: order(found, number))


def order(found: Sequence[Any], number: int) -> tuple[int, int]:
    """The place in the order of the list: by time, then id, the newest first."""
    times = sorted({task["created_at"] for task in found}, reverse=True)
    at = next(task["created_at"] for task in found if task["id"] == number)
    return times.index(at), -number


async def test_rows_of_the_same_moment_are_all_found(board: Board) -> None:
    ada = await board.person()
    made = [(await ada.task())["id"] for _ in range(20)]
    await board.execute("UPDATE tasks SET created_at = '2026-01-01'")

    found = await walk(ada, "/tasks?limit=3&q=write")

    assert [task["id"] for task in found] == made[::-1]
    assert [p["name"] for p in await walk(ada, "/projects?limit=1", "projects")] == [
        "Inbox"
    ]


async def test_a_cursor_is_for_its_list_and_its_owner(board: Board) -> None:
    ada, bob = await board.person(), await board.person(UserRole.ADMIN)
    for _ in range(2):
        await ada.task()
        await ada.project()
    cursor = (await ada.get("/tasks?limit=1")).json["next_cursor"]
    raw = bytearray(base64.urlsafe_b64decode(cursor))
    forged = [
        base64.urlsafe_b64encode(raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :]).decode()
        for n in range(len(raw))
    ]

    wrong = [
        *[await ada.get(f"/tasks?limit=1&cursor={text}") for text in forged],
        await ada.get(f"/tasks?limit=1&cursor={cursor[:-4]}"),
        await ada.get(f"/tasks?limit=1&cursor={cursor}AAAA"),
        await ada.get("/tasks?cursor=x"),
        await ada.get("/tasks?cursor=%F0%9F%98%80"),
        await ada.get(f"/tasks?status=pending&cursor={cursor}"),
        await ada.get(f"/projects?cursor={cursor}"),
        await bob.get(f"/tasks?cursor={cursor}"),
    ]

    assert {answer.refusal for answer in wrong} == {(400, "invalid_cursor")}
    other_size = await ada.get(f"/tasks?limit=100&cursor={cursor}")
    assert len(ids(other_size)) == 1


async def test_a_list_that_has_not_changed_is_not_sent_again(board: Board) -> None:
    ada = await board.person()
    await ada.task()
    await ada.task()
    path = "/tasks?limit=1"
    first = await ada.get(path)

    known = await ada.get(path, If_None_Match=first.headers["ETag"])
    head = await ada.ask("HEAD", path, headers={"If-None-Match": "*"})
    await ada.task()
    changed = await ada.get(path, If_None_Match=first.headers["ETag"])

    assert (known.status, known.body) == (304, b"")
    assert head.status == 304
    for name in ("ETag", "Link"):
        assert known.headers[name] == first.headers[name]
    assert changed.status == 200


async def test_lists_wait_for_no_connection_that_a_write_has(board: Board) -> None:
    ada, root = await board.person(), await board.person(UserRole.ADMIN)
    await ada.task()
    assert ids(await root.get("/tasks?limit=1"))  # the session is known from now on
    database = board.app[keys.DATABASE]
    async with AsyncExitStack() as held:
        for _ in range(board.app[keys.CONFIG].database_pool_size):
            await held.enter_async_context(database.connection())

        assert len(ids(await root.get("/tasks"))) == 1
        assert len(ids(await root.get("/projects"), "projects")) == 2
        assert len(ids(await root.get("/users"), "users")) == 2


async def test_lists_are_planned_for_their_values(board: Board) -> None:
    lists = (board.app[keys.STORE]._lists, board.app[keys.USERS]._lists)
    for database in lists:
        async with database.connection() as connection:
            mode = await connection.fetchval("SHOW plan_cache_mode")

        assert mode == "force_custom_plan"
