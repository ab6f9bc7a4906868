"""The log of a project and the history of a task: all that happened, as committed."""

import json
from typing import Any

import pytest

from actors.domain.model import UserRole
from tests.running_app import Board, Nodes, Person


async def make_busy_project(ada: Person, tasks: int = 3) -> Any:
    """A project at version 1 + 2 * tasks."""
    project = await ada.project()
    for number in range(tasks):
        task = await ada.task(project["id"], title=f"T{number}")
        await ada.put(f"/tasks/{task['id']}", {"status": "in_progress"})
    return project


async def test_the_log_has_every_version_as_sockets_heard_it(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()
    project = await make_busy_project(ada)

    answer = await ada.get(f"/projects/{project['id']}/events?limit=100")

    heard = await listener.events()
    assert answer.json == {"events": heard, "version": 7, "since": 0, "limit": 100}
    assert [event["version"] for event in heard] == list(range(1, 8))
    assert "Link" not in answer.headers


async def test_the_log_is_read_on_from_where_one_is(board: Board) -> None:
    ada = await board.person()
    project = await make_busy_project(ada)
    path: str | None = f"/projects/{project['id']}/events?since=1&limit=4"

    pages = []
    while path is not None:
        answer = await ada.get(path)
        pages.append([event["version"] for event in answer.json["events"]])
        link = answer.headers.get("Link")
        path = link[1 : link.index(">")] if link else None

    assert pages == [[2, 3, 4, 5], [6, 7]]


@pytest.mark.parametrize("since", [7, 8, 2**63 - 1])
async def test_beyond_the_head_there_is_nothing_yet(board: Board, since: int) -> None:
    ada = await board.person()
    project = await make_busy_project(ada)

    answer = await ada.get(f"/projects/{project['id']}/events?since={since}")

    assert (answer.status, answer.json["events"], answer.json["version"]) == (
        200,
        [],
        7,
    )


@pytest.mark.parametrize(("since", "status"), [(0, 410), (2, 410), (3, 200), (4, 200)])
async def test_what_is_no_longer_kept_is_said_to_be_gone(
    board: Board, since: int, status: int
) -> None:
    ada = await board.person()
    project = await make_busy_project(ada)
    await board.execute(
        "DELETE FROM project_events WHERE project_id = $1 AND version <= 3",
        project["id"],
    )

    answer = await ada.get(f"/projects/{project['id']}/events?since={since}")

    assert answer.status == status
    if status == 410:
        assert answer.code == "events_gone"
        assert answer.json["current_version"] == 7
        link = answer.headers["Link"]
        snapshot = await ada.get(link[1 : link.index(">")])
        assert snapshot.json["total"] == 3


async def test_a_log_that_has_not_moved_is_not_sent_again(board: Board) -> None:
    ada = await board.person()
    project = await make_busy_project(ada)
    path = f"/projects/{project['id']}/events"
    first = await ada.get(path)

    same = await ada.get(path, If_None_Match=first.headers["ETag"])
    await ada.task(project["id"])
    moved = await ada.get(path, If_None_Match=first.headers["ETag"])

    assert (same.status, same.body) == (304, b"")
    assert (moved.status, moved.json["version"]) == (200, 8)


@pytest.mark.parametrize(
    "query", ["since=-1", "since=x", "limit=0", "limit=101", "q=1"]
)
async def test_a_log_is_asked_for_properly(board: Board, query: str) -> None:
    ada = await board.person()
    project = await ada.project()

    answer = await ada.get(f"/projects/{project['id']}/events?{query}")

    assert (answer.status, answer.code) == (422, "invalid_request")


async def test_a_history_says_who_changed_what_when_before_and_after(
    board: Board,
) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    task = await ada.task(project["id"], assigned_to=bob.id)
    await ada.task(project["id"], title="Another")
    path = f"/tasks/{task['id']}"
    changed = (await bob.put(path, {"status": "completed", "title": "Done"})).json

    answer = await bob.get(f"{path}/history")

    created, updated, completed = answer.json["history"]
    assert (answer.json["total"], answer.json["next_cursor"]) == (3, None)
    assert (created["type"], created["by"], created["task"]) == (
        "task_created",
        ada.id,
        task,
    )
    assert (updated["by"], updated["at"]) == (bob.id, changed["updated_at"])
    assert updated["changes"] == {"title": {"old": "Write it", "new": "Done"}}
    assert completed["changes"]["status"] == {"old": "pending", "new": "completed"}
    assert completed["task"] == changed


async def test_a_history_has_the_bytes_that_were_committed(board: Board) -> None:
    ada = await board.person()
    task = await ada.task(title="Zoë ☃")

    answer = await ada.get(f"/tasks/{task['id']}/history")

    body = await board.value(
        "SELECT body::text FROM project_events WHERE task_id = $1", task["id"]
    )
    assert answer.body.startswith(b'{"history":[' + body.encode() + b"]")


async def test_a_history_comes_in_pages(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    path = f"/tasks/{task['id']}"
    for number in range(6):
        await ada.put(path, {"title": f"T{number}"})

    offset = await ada.get(f"{path}/history?limit=3&offset=5")
    first = await ada.get(f"{path}/history?limit=3")
    await ada.put(path, {"title": "Later"})  # behind what comes
    link = first.headers["Link"]
    second = await ada.get(link[1 : link.index(">")])
    cursor = second.json["next_cursor"]
    third = await ada.get(f"{path}/history?limit=3&cursor={cursor}")

    def versions(answer: Any) -> list[int]:
        return [event["version"] for event in answer.json["history"]]

    assert [versions(page) for page in (first, second, third, offset)] == [
        [2, 3, 4],
        [5, 6, 7],
        [8, 9],
        [7, 8],
    ]
    assert [page.json["total"] for page in (first, third)] == [7, 8]
    assert (third.json["next_cursor"], "Link" in third.headers) == (None, False)


async def test_a_cursor_is_for_one_caller_and_one_history(board: Board) -> None:
    ada, root = await board.person(), await board.person(UserRole.ADMIN)
    one, other = await ada.task(), await ada.task()
    await ada.put(f"/tasks/{one['id']}", {"title": "x"})
    first = await ada.get(f"/tasks/{one['id']}/history?limit=1")
    query = f"history?limit=1&cursor={first.json['next_cursor']}"

    refused = [
        await ada.get(f"/tasks/{other['id']}/{query}"),
        await root.get(f"/tasks/{one['id']}/{query}"),
    ]

    assert [answer.refusal for answer in refused] == [(400, "invalid_cursor")] * 2


async def test_a_deleted_task_has_no_history_but_its_project_knows(
    board: Board,
) -> None:
    ada = await board.person()
    project = await ada.project()
    task = await ada.task(project["id"])
    await ada.delete(f"/tasks/{task['id']}")

    history = await ada.get(f"/tasks/{task['id']}/history")
    log = await ada.get(f"/projects/{project['id']}/events?since=2")

    assert history.refusal == (404, "task_not_found")
    assert json.loads(log.body)["events"][0]["type"] == "task_deleted"


@pytest.mark.parametrize("path", ["/projects/{0}/events", "/tasks/{1}/history"])
async def test_who_was_removed_elsewhere_reads_nothing_that_came_later(
    nodes: Nodes, path: str
) -> None:
    ada, _ = await nodes.person()
    bob, bob_there = await nodes.person()
    project = await ada.project()
    task = await ada.task(project["id"])
    path = path.format(project["id"], task["id"])
    await ada.add(project["id"], bob, "viewer")
    before = await bob_there.get(path)

    await ada.delete(f"/projects/{project['id']}/members/{bob.id}")
    await ada.put(f"/tasks/{task['id']}", {"title": "Secret"})
    after = await bob_there.get(path)

    assert (before.status, after.status) == (200, 404)
