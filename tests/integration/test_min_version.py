"""min_version: on any node, a read has what its caller knows to be written.

`BOARDCAST_READ_ROUNDS` is the number of rounds of each long promise.
"""

import asyncio
import os
from typing import Any

import pytest

from actors.domain.model import ProjectId, UserRole
from server import keys
from server.route import Route
from server.routes import ROUTES
from tests.running_app import Answer, Board, Nodes

_ROUNDS = int(os.environ.get("BOARDCAST_READ_ROUNDS", "100"))

pytestmark = pytest.mark.timeout(20 + _ROUNDS / 10)


def version(answer: Answer) -> dict[str, str]:
    """What a read names to have this write."""
    assert answer.status < 300, answer
    return {"X_Min_Version": answer.headers["X-Version"]}


def titles(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [task["title"] for task in answer.json["tasks"]]


FRESH = [row for row in ROUTES if "X-Min-Version" in row.request_headers]


def test_everything_that_is_read_of_projects_takes_a_version() -> None:
    read = {
        row.path
        for row in ROUTES
        if row.method == "GET" and row.tag in {"tasks", "comments", "projects"}
    }

    assert {row.path for row in FRESH} == read
    assert all("min_version" in row.query().fields for row in FRESH)


@pytest.mark.parametrize("row", FRESH, ids=lambda row: row.operation_id)
@pytest.mark.parametrize("is_header", [False, True], ids=["query", "header"])
async def test_a_read_elsewhere_has_what_was_just_written(
    nodes: Nodes, row: Route, *, is_header: bool
) -> None:
    ada, ada_there = await nodes.person()
    bob = await nodes.here.person()
    project = await ada.project()
    task = await ada.task(project["id"])
    comments = f"/tasks/{task['id']}/comments"
    comment = (await ada.post(comments, {"comment": "a"})).json
    ids = {**project, **task, "comment_id": comment["id"]}
    path = row.path.format(**ids, task_id=task["id"])
    before = await ada_there.get(path)
    await ada.patch(f"/projects/{project['id']}", {"name": "New"})
    await ada.patch(f"/tasks/{task['id']}", {"title": "New"})
    await ada.patch(f"{comments}/{comment['id']}", {"comment": "New"})
    member = f"/projects/{project['id']}/members/{bob.id}"
    last = (await ada.put(member, {"role": "viewer"})).headers["X-Version"]

    if is_header:
        after = await ada_there.get(path, X_Min_Version=last)
    else:
        after = await ada_there.get(f"{path}?min_version={last}")

    assert (before.status, after.status) == (200, 200)
    expected = "member_added" if row.path.endswith("events") else '"New"'
    expected = f'"user_id":{bob.id}' if row.path.endswith("members") else expected
    assert expected in after.body.decode()
    assert after.body == (await ada.get(path)).body


async def test_a_list_that_was_kept_before_the_actor_came_is_made_anew(
    nodes: Nodes,
) -> None:
    ada, ada_there = await nodes.person()
    task = await ada.task(title="Old")
    for _ in range(2):  # kept, and nothing there hears of its project
        assert titles(await ada_there.get("/tasks")) == ["Old"]
    written = await ada.patch(f"/tasks/{task['id']}", {"title": "New"})
    assert (await ada_there.get(f"/tasks/{task['id']}")).json["title"] == "New"

    listed = await ada_there.get("/tasks", **version(written))

    assert titles(listed) == ["New"]
    assert titles(await ada_there.get("/tasks")) == ["New"]


async def test_a_version_that_was_asked_for_before_is_answered_from_the_cache(
    nodes: Nodes,
) -> None:
    ada, ada_there = await nodes.person()
    written = await ada.post("/tasks", {"title": "a"})
    await ada_there.get("/tasks", **version(written))
    lists = nodes.there.app[keys.LISTS]
    outcomes: list[str] = []
    lists._count = outcomes.append

    await ada_there.get("/tasks", **version(written))
    await ada_there.get(f"/tasks?min_version={version(written)['X_Min_Version']}")
    await ada_there.get("/tasks")

    assert outcomes == ["hit"] * 3


async def test_pages_and_cursors_do_not_know_of_versions(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    for title in "abc":
        written = await ada.post("/tasks", {"title": title})
    last = written.headers["X-Version"]

    first = await ada_there.get(f"/tasks?limit=2&min_version={last}")
    cursor = first.json["next_cursor"]
    plain = await ada_there.get(f"/tasks?limit=2&cursor={cursor}")
    fresh = await ada_there.get(f"/tasks?limit=2&cursor={cursor}&min_version={last}")

    assert titles(first) == ["c", "b"]
    assert titles(plain) == titles(fresh) == ["a"]
    assert "min_version" not in first.headers["Link"]
    assert first.headers["ETag"] == (await ada.get("/tasks?limit=2")).headers["ETag"]


async def test_a_bare_version_is_of_the_project_that_is_listed(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    project = await ada.project()
    path = f"/tasks?project_id={project['id']}"
    await ada_there.get(path)
    await ada.task(project["id"])

    assert len((await ada_there.get(f"{path}&min_version=2")).json["tasks"]) == 1
    refused = await ada_there.get(f"{path}&min_version=3")
    assert refused.refusal == (409, "version_not_reached")
    assert refused.json["current_version"] == 2


async def test_without_a_project_a_list_is_made_anew(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    await ada_there.get("/tasks")
    await ada.task()

    assert len((await ada_there.get("/tasks?min_version=2")).json["tasks"]) == 1


@pytest.mark.parametrize("role", [UserRole.USER, UserRole.MANAGER, UserRole.ADMIN])
async def test_everybody_s_lists_are_made_anew(nodes: Nodes, role: UserRole) -> None:
    ada, _ = await nodes.person()
    bob, bob_there = await nodes.person(role)
    project = await ada.project()
    await ada.add(project["id"], bob, "viewer")
    await bob_there.get("/tasks")
    written = await ada.post("/tasks", {"title": "a", "project_id": project["id"]})

    assert titles(await bob_there.get("/tasks", **version(written))) == ["a"]


async def test_a_new_member_lists_at_once_and_a_removed_one_no_more(
    nodes: Nodes,
) -> None:
    ada, _ = await nodes.person()
    bob, bob_there = await nodes.person()
    project = await ada.project()
    await ada.task(project["id"])
    member = f"/projects/{project['id']}/members/{bob.id}"
    paths = ["/tasks", "/projects"]
    for path in paths:
        await bob_there.get(path)

    added = await ada.put(member, {"role": "viewer"})
    seen = [await bob_there.get(path, **version(added)) for path in paths]
    shown = await bob_there.get(f"/projects/{project['id']}", **version(added))
    removed = await ada.delete(member)
    gone = [await bob_there.get(path, **version(removed)) for path in paths]
    hidden = await bob_there.get(f"/projects/{project['id']}", **version(removed))

    assert [answer.json["total"] for answer in seen] == [1, 2]
    assert shown.status == 200
    assert [answer.json["total"] for answer in gone] == [0, 1]
    assert hidden.status == 404


async def test_what_was_deleted_is_gone(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    task = await ada.task()
    path = f"/tasks/{task['id']}"
    await ada_there.get(path)
    await ada_there.get("/tasks")

    deleted = await ada.delete(path)

    assert (await ada_there.get(path, **version(deleted))).status == 404
    assert titles(await ada_there.get("/tasks", **version(deleted))) == []


async def test_a_version_that_there_is_not_is_told_to_who_may_see_the_project(
    nodes: Nodes,
) -> None:
    ada, _ = await nodes.person()
    eve = await nodes.here.person()
    project = await ada.project()
    path, far = f"/projects/{project['id']}", f"{project['id']}:99"

    told = [
        await ada.get(path, X_Min_Version="99"),
        await ada.get(f"{path}?min_version=99"),
        await ada.get("/tasks", X_Min_Version=far),
        await ada.get("/projects", X_Min_Version=far),
    ]
    hidden = await eve.get(path, X_Min_Version="99")
    nothing = await eve.get("/projects/999999", X_Min_Version="99")
    lists = [
        await eve.get("/tasks", X_Min_Version=far),
        await eve.get("/tasks", X_Min_Version="999999:99"),
    ]

    for answer in told:
        assert answer.refusal == (409, "version_not_reached")
        assert answer.json["current_version"] == 1
    assert hidden.refusal == nothing.refusal == (404, "project_not_found")
    assert [answer.status for answer in lists] == [200, 200]
    assert lists[0].body == lists[1].body


async def test_a_version_ahead_of_what_a_stranger_sees_is_not_remembered(
    nodes: Nodes,
) -> None:
    ada, _ = await nodes.person()
    bob, bob_there = await nodes.person()
    project = await ada.project()
    await bob_there.get("/tasks", X_Min_Version=f"{project['id']}:3")
    await bob_there.get("/tasks")

    await ada.add(project["id"], bob, "viewer")
    written = await ada.post("/tasks", {"title": "a", "project_id": project["id"]})

    assert titles(await bob_there.get("/tasks", **version(written))) == ["a"]


@pytest.mark.parametrize(
    "text", ["", "0", "x", "-1", "7:", ":7", "1,", "7:0", "1 2", ",".join("1" * 21)]
)
async def test_what_is_no_version_is_refused(board: Board, text: str) -> None:
    ada = await board.person()

    by_query = await ada.ask("GET", "/tasks", params={"min_version": text})
    by_header = await ada.get("/tasks", X_Min_Version=text)

    assert by_query.refusal == by_header.refusal == (422, "invalid_request")
    assert by_query.pointers == ["?min_version"]
    assert by_header.pointers == ["X-Min-Version"]


async def test_no_list_is_ever_behind_what_was_written_elsewhere(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    people = [(ada, ada_there), (ada_there, ada)]
    project = await ada.project()
    task = await ada.task(project["id"], title="0")
    path = f"/tasks?project_id={project['id']}"

    stale = []
    for number in range(1, _ROUNDS + 1):
        writer, reader = people[number % 2]
        asked: dict[str, Any] = {"title": str(number)}
        written = await writer.patch(f"/tasks/{task['id']}", asked)
        listed, shown = await asyncio.gather(
            reader.get(path, **version(written)),
            reader.get(f"/tasks/{task['id']}", **version(written)),
        )
        if titles(listed) != [str(number)] or shown.json["title"] != str(number):
            stale.append(number)

    assert stale == []


async def test_on_one_node_no_list_is_ever_behind(board: Board) -> None:
    ada = await board.person()
    project = await ada.project()
    task = await ada.task(project["id"], title="0")

    stale = []
    for number in range(1, _ROUNDS + 1):
        await ada.patch(f"/tasks/{task['id']}", {"title": str(number)})
        if titles(await ada.get("/tasks")) != [str(number)]:
            stale.append(number)

    assert stale == []


async def test_reading_what_is_here_asks_nobody(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    actor = await board.app[keys.REGISTRY].get(ProjectId(task["project_id"]))
    actor._around = None  # it would have to ask through this

    shown = await ada.get(f"/tasks/{task['id']}", X_Min_Version="2")

    assert shown.status == 200
