"""The cache behind the lists: nobody can tell that it is there."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from actors.domain.model import UserRole
from server import keys
from server.lists import Lists
from server.sights import Sights
from tests.running_app import Answer, Board, Person


async def test_everyone_reads_what_was_just_written(board: Board) -> None:
    """Five hundred writes; after each, the list of the owner and of another."""
    owner, member, doer = [await board.person() for _ in range(3)]
    boss = await board.person(UserRole.MANAGER)
    project = (await owner.project())["id"]
    await owner.add(project, member, "viewer")
    others = (member, doer, boss)
    path = f"/tasks?project_id={project}&limit=1"
    fields = ({"title": "x"}, {"status": "completed"}, {"priority": "low"})

    for number in range(250):
        task = await owner.task(project, title=str(number), assigned_to=doer.id)
        for person in (owner, others[number % 3]):
            seen = (await person.get(path)).json
            assert (seen["tasks"], seen["total"]) == ([task], number + 1)
        changed = await owner.put(f"/tasks/{task['id']}", fields[number // 3 % 3])
        for person in (owner, others[number % 3]):
            assert (await person.get(path)).json["tasks"] == [changed.json]


async def totals(person: Person) -> tuple[int, int]:
    tasks, projects = await person.get("/tasks"), await person.get("/projects")
    return tasks.json["total"], projects.json["total"]


async def test_who_is_removed_loses_the_project_at_once(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = (await ada.project())["id"]
    await ada.task(project)
    path = f"/projects/{project}/members/{bob.id}"

    for _ in range(20):
        assert await totals(bob) == (0, 1)
        await ada.put(path, {"role": "viewer"})
        assert await totals(bob) == (1, 2)
        await ada.delete(path)
    assert await totals(bob) == (0, 1)


async def test_who_is_unassigned_loses_the_task_at_once(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    path = f"/tasks/{(await ada.task())['id']}/assign"

    for _ in range(20):
        await ada.post(path, {"assigned_to": bob.id})
        assert (await totals(bob))[0] == 1
        await ada.post(path, {"assigned_to": None})
        assert (await totals(bob))[0] == 0


async def test_a_deleted_project_is_gone_from_every_list_at_once(
    board: Board,
) -> None:
    ada, member, maker, doer = [await board.person() for _ in range(4)]
    root = await board.person(UserRole.ADMIN)
    project = (await ada.project())["id"]
    await ada.add(project, member, "viewer")
    await ada.add(project, maker, "member")
    await maker.task(project, assigned_to=doer.id)
    await ada.delete(f"/projects/{project}/members/{maker.id}")
    people = (ada, member, maker, doer, root)
    before = [await totals(person) for person in people]

    await ada.delete(f"/projects/{project}")

    assert before == [(1, 2), (1, 2), (1, 1), (1, 1), (1, 6)]
    after = [await totals(person) for person in people]
    assert after == [(0, 1), (0, 1), (0, 1), (0, 1), (0, 5)]


async def test_a_handover_moves_the_project_between_lists(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = (await ada.project())["id"]
    assert (await totals(ada), await totals(bob)) == ((0, 2), (0, 1))

    await ada.put(f"/projects/{project}", {"owner_id": bob.id})
    await bob.delete(f"/projects/{project}/members/{ada.id}")

    assert (await totals(ada), await totals(bob)) == ((0, 1), (0, 2))


async def test_a_new_account_shows_in_the_lists_of_admins_at_once(
    board: Board,
) -> None:
    root = await board.person(UserRole.ADMIN)
    assert await totals(root) == (0, 1)

    account = {"email": "e@example.com", "username": "eve", "password": "correct horse"}
    assert (await board.nobody.post("/auth/register", account)).status == 201

    assert await totals(root) == (0, 2)


async def test_many_questions_do_not_fill_the_memory(board: Board) -> None:
    ada = await board.person()
    lists = board.app[keys.LISTS]
    lists._limit_bytes, kept = 12_000, lists._kept

    for number in range(30):
        assert (await ada.get(f"/tasks?q=word{number}")).status == 200
    assert (await ada.get(f"/tasks?q={'%C3%A4' * 150}")).status == 200

    assert 5 <= len(kept) <= 11
    assert all(len(address) < 300 for _, _, address in kept)


QUERIES = (
    "/tasks",
    "/tasks?limit=2",
    "/tasks?limit=1&offset=1",
    "/tasks?status=completed",
    "/tasks?assigned_to=me",
    "/tasks?unassigned=true",
    "/tasks?overdue=true",
    "/tasks?q=b",
    "/tasks?sort=-updated_at&limit=2",
    "/tasks?sort=title&offset=1",
    "/projects",
    "/projects?status=archived",
)


async def step(chance: random.Random, people: Sequence[Person], things: Any) -> None:
    """Do something at random; most of it is refused, and all of it may be."""
    who, other = chance.choice(people), chance.choice(people)
    project, task = chance.choice(things["projects"]), chance.choice(things["tasks"])
    member = f"/projects/{project}/members/{other.id}"
    title, status = chance.choice("abc"), chance.choice(["pending", "completed"])
    made = {"title": title, "project_id": project, "assigned_to": other.id}
    asked: Any = chance.choice(
        [
            ("POST", "/tasks", made),
            ("POST", "/tasks", made),
            ("PUT", f"/tasks/{task}", {"title": title, "status": status}),
            ("PUT", f"/tasks/{task}", {"title": title, "status": status}),
            ("POST", f"/tasks/{task}/assign", {"assigned_to": other.id}),
            ("POST", f"/tasks/{task}/assign", {"assigned_to": None}),
            ("DELETE", f"/tasks/{task}", None),
            ("PUT", member, {"role": chance.choice(["viewer", "member"])}),
            ("DELETE", member, None),
            ("PUT", f"/projects/{project}", {"owner_id": other.id}),
            ("PUT", f"/projects/{project}", {"status": "archived"}),
            ("PUT", f"/projects/{project}", {"status": "active"}),
            ("DELETE", f"/projects/{project}", None),
            ("POST", "/projects", {"name": title}),
        ]
    )
    answer = await who.ask(*asked)
    if answer.status == 201:
        things[asked[1][1:]].append(answer.json["id"])


@pytest.mark.parametrize("seed", range(3))
async def test_a_304_is_right_whatever_happened(board: Board, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    people = [await board.person() for _ in range(4)]
    people.append(await board.person(UserRole.ADMIN))
    things = {
        "projects": [(await people[0].project())["id"] for _ in range(2)],
        "tasks": [(await people[0].task())["id"]],
    }
    seen: dict[tuple[int, str], Answer] = {}
    kept, fresh = board.app[keys.LISTS], Fresh(board)

    for _ in range(60):
        await step(chance, people, things)
        person = chance.choice(people)
        for path in chance.sample(QUERIES, 4):
            before = seen.get((person.id, path))
            tag = before.headers["ETag"] if before else '"none"'
            answer = await person.get(path, If_None_Match=tag)
            with fresh:
                truth = await person.get(path)
            assert answer.headers["ETag"] == truth.headers["ETag"], path
            if answer.status == 304:
                assert before is not None
                assert before.body == truth.body
            else:
                assert answer.body == truth.body != (before and before.body)
            seen[person.id, path] = truth
    assert kept is board.app[keys.LISTS]


class Fresh:
    """While it is entered, the application answers lists from SQL alone."""

    def __init__(self, board: Board):
        self._app = board.app
        self._kept = board.app[keys.LISTS]

    def __enter__(self) -> None:
        kept = self._kept
        sights = Sights(kept._store)
        self._set(Lists(kept._store, sights, kept._pages, kept_bytes=0))

    def __exit__(self, *error: object) -> None:
        self._set(self._kept)

    def _set(self, lists: Lists) -> None:
        self._app._state[keys.LISTS] = lists
