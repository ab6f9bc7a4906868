"""Cursors on every sort: exact while rows come and go, and good for their list only.

BOARDCAST_CURSOR_SECONDS makes the walk among the writers a longer one (and needs a
longer --timeout).
"""

import asyncio
import base64
import itertools
import os
import random
import time
from collections.abc import Sequence
from typing import Any

from actors.domain.model import UserRole
from tests.running_app import Answer, Board, Person

SECONDS = float(os.environ.get("BOARDCAST_CURSOR_SECONDS", "2"))
WRITES_A_SECOND = 200
FIELDS = ("created_at", "updated_at", "due_date", "priority", "status", "title")
SORTS = [f"{sign}{field}" for field in FIELDS for sign in ("", "-")]
RANKS = {
    "priority": ["low", "medium", "high", "urgent"],
    "status": ["pending", "in_progress", "completed"],
}


def varied(chance: random.Random) -> dict[str, Any]:
    """A task with ties in all that can be sorted by, and often without a due date."""
    return {
        "title": chance.choice(["a", "A", "b", "Ü", "ü", "zz"]),
        "status": chance.choice(RANKS["status"]),
        "priority": chance.choice(RANKS["priority"]),
        "due_date": chance.choice([None, "2026-01-01", "2026-01-02", "2030-01-01"]),
    }


async def walk(person: Person, path: str) -> list[Any]:
    """Follow the links to the end."""
    found: list[Any] = []
    while path:
        answer = await person.get(path)
        assert answer.status == 200, answer
        found += answer.json["tasks"]
        path = answer.headers.get("Link", "").partition(">")[0][1:]
    return found


def place(task: Any, sort: str) -> tuple[bool, Any, int]:
    """Where a task stands: behind all others if it has no value."""
    field = sort.removeprefix("-")
    value = task[field]
    if value is None:
        return True, 0, task["id"]
    if field in RANKS:
        value = RANKS[field].index(value)
    return False, value.lower() if field == "title" else value, task["id"]


def check(found: Sequence[Any], lasting: set[int], sort: str) -> None:
    """Nothing twice, nothing lost that lasted, and all of it in order."""
    seen = [task["id"] for task in found]
    assert len(seen) == len(set(seen)), sort
    assert lasting <= set(seen), sort
    places = [place(task, sort) for task in found]
    known = [one for one in places if not one[0]]
    unknown = [one for one in places if one[0]]
    is_descending = sort.startswith("-")
    assert places == known + unknown, sort
    assert known == sorted(known, reverse=is_descending), sort
    assert unknown == sorted(unknown, reverse=is_descending), sort


class Disturbance:
    """Tasks that come and go, at a steady rate, until it is told to stop."""

    def __init__(self, person: Person, project_id: int):
        self._person = person
        self._project_id = project_id
        self._chance = random.Random(1)  # noqa: S311
        self._made: list[int] = []
        self.is_over = False
        self.writes = 0

    async def run(self) -> None:
        """Have eight writers share the rate; a late one does not wait."""
        start, turns = time.monotonic(), itertools.count()
        await asyncio.gather(*(self._write(start, turns) for _ in range(8)))

    async def _write(self, start: float, turns: "itertools.count[int]") -> None:
        while not self.is_over:
            due = start + next(turns) / WRITES_A_SECOND
            await asyncio.sleep(due - time.monotonic())
            if self._made and self._chance.random() < 0.5:
                place = self._chance.randrange(len(self._made))
                answer = await self._person.delete(f"/tasks/{self._made.pop(place)}")
                assert answer.status == 204
            else:
                fields = varied(self._chance)
                task = await self._person.task(self._project_id, **fields)
                self._made.append(task["id"])
            self.writes += 1


async def test_walks_among_writers_skip_and_repeat_nothing(board: Board) -> None:
    ada, chance = await board.person(), random.Random(2)  # noqa: S311
    root = await board.person(UserRole.ADMIN)
    project = (await ada.project())["id"]
    tasks = [await ada.task(project, **varied(chance)) for _ in range(60)]
    await board.execute("UPDATE tasks SET created_at = '2026-01-01' WHERE id % 3 = 0")
    await board.execute("UPDATE tasks SET updated_at = '2026-01-01' WHERE id % 2 = 0")
    lasting = {task["id"] for task in tasks}
    disturbance = Disturbance(ada, project)
    writing = asyncio.create_task(disturbance.run())
    start, walks = time.monotonic(), 0

    async def keep_walking(person: Person, sorts: Sequence[str]) -> None:
        nonlocal walks
        for number, sort in enumerate(itertools.cycle(sorts)):
            if number >= len(sorts) and time.monotonic() - start > SECONDS:
                return
            limit = chance.choice([5, 11, 30])
            where = chance.choice(["", f"&project_id={project}"])
            path = f"/tasks?sort={sort}&limit={limit}{where}"
            check(await walk(person, path), lasting, sort)
            walks += 1

    await asyncio.gather(keep_walking(ada, SORTS), keep_walking(root, SORTS[::-1]))
    seconds = time.monotonic() - start
    disturbance.is_over = True
    await writing

    print(  # noqa: T201  # shown by pytest -s: what the long form is for
        f"{walks} walks in {seconds:.1f} s, {disturbance.writes / seconds:.0f} writes/s"
    )
    assert walks >= 2 * len(SORTS)
    assert disturbance.writes > 0


def forged(cursor: str) -> list[str]:
    """The same cursor with a bit of each byte changed, cut short, and made longer."""
    raw = base64.urlsafe_b64decode(cursor)
    changed = [raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :] for n in range(len(raw))]
    others = [raw[:-1], raw[:16], raw + b"\0", b""]
    return [base64.urlsafe_b64encode(one).decode() for one in (*changed, *others)]


async def test_a_cursor_is_for_one_list_in_one_order_of_one_caller(
    board: Board,
) -> None:
    ada, root = await board.person(), await board.person(UserRole.ADMIN)
    for _ in range(3):
        await ada.task()
        await ada.project()
    for sort in SORTS:
        cursor = (await ada.get(f"/tasks?limit=1&sort={sort}")).json["next_cursor"]
        other = SORTS[SORTS.index(sort) - 1]

        wrong: list[Answer] = [
            *[
                await ada.get(f"/tasks?limit=1&sort={sort}&cursor={text}")
                for text in forged(cursor)[:: 1 if sort == "-due_date" else 9]
                if text
            ],
            await root.get(f"/tasks?limit=1&sort={sort}&cursor={cursor}"),
            await ada.get(f"/tasks?limit=1&sort={other}&cursor={cursor}"),
            await ada.get(f"/tasks?limit=1&sort={sort}&q=it&cursor={cursor}"),
            await ada.get(f"/tasks?limit=1&sort={sort}&status=pending&cursor={cursor}"),
            await ada.get(f"/projects?limit=1&cursor={cursor}"),
        ]

        assert {answer.refusal for answer in wrong} == {(400, "invalid_cursor")}
        right = await ada.get(f"/tasks?limit=2&sort={sort}&cursor={cursor}")
        assert len(right.json["tasks"]) == 2


async def test_a_cursor_goes_without_an_offset(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    await ada.task()
    comments = f"/tasks/{task['id']}/comments"
    for path in ("/tasks", "/projects", comments, f"/tasks/{task['id']}/history"):
        for offset in (0, 1):
            answer = await ada.get(f"{path}?cursor=x&offset={offset}")

            assert answer.refusal == (422, "invalid_request")
            assert answer.pointers == ["?offset"]


async def test_projects_and_users_are_sorted_and_walked(board: Board) -> None:
    root = await board.person(UserRole.ADMIN)
    await asyncio.gather(*(root.project(name) for name in ("b", "A", "ä", "a", "B")))
    for name, field in (
        ("projects", "name"),
        ("users", "username"),
        ("users", "email"),
    ):
        for sort in (field, f"-{field}", "created_at", "-updated_at"):
            path, found = f"/{name}?limit=1&sort={sort}", []
            whole = (await root.get(f"/{name}?sort={sort}")).json[name]
            while path:
                answer = await root.get(path)
                found += answer.json[name]
                path = answer.headers.get("Link", "").partition(">")[0][1:]

            assert found == whole
            if field in sort:
                keys = [(thing[field].lower(), thing["id"]) for thing in found]
                assert keys == sorted(keys, reverse=sort.startswith("-"))


async def test_an_order_that_there_is_not_is_refused(board: Board) -> None:
    root = await board.person(UserRole.ADMIN)
    for path in (
        "/tasks?sort=version",
        "/projects?sort=title",
        "/users?sort=",
        "/tasks?sort=--title",
    ):
        answer = await root.get(path)

        assert answer.refusal == (422, "invalid_request")
        assert answer.pointers == ["?sort"]


async def test_a_title_of_any_length_leads_on(board: Board) -> None:
    ada = await board.person()
    titles = [letter + "\U0001f600" * 199 for letter in "cab"]
    for title in titles:
        await ada.task(title=title)

    found = await walk(ada, "/tasks?sort=title&limit=1")

    assert [task["title"] for task in found] == sorted(titles)
