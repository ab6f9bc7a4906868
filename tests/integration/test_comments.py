"""Comments: what people say of a task, and who hears it."""

from typing import Any

import pytest

from actors.domain.model import UserRole
from server import keys
from tests.running_app import Board, Person, running

TEXT = {"comment": "Well done"}


async def say(person: Person, task: Any, comment: str = "Well done") -> Any:
    answer = await person.post(f"/tasks/{task['id']}/comments", {"comment": comment})
    assert answer.status == 201, answer
    return answer.json


def place_of(comment: Any) -> str:
    return f"/tasks/{comment['task_id']}/comments/{comment['id']}"


async def test_a_comment_is_where_it_says_it_is(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()

    made = await ada.post(f"/tasks/{task['id']}/comments", TEXT)

    comment = made.json
    assert (made.status, made.headers["ETag"]) == (201, f'"{comment["version"]}"')
    assert (comment["task_id"], comment["user_id"], comment["comment"]) == (
        task["id"],
        ada.id,
        "Well done",
    )
    assert comment["version"] == task["version"] + 1
    assert made.headers["Location"] == place_of(comment)
    found = await ada.get(place_of(comment))
    assert (found.body, found.headers["ETag"]) == (made.body, made.headers["ETag"])
    again = await ada.get(place_of(comment), If_None_Match=made.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


async def test_a_comment_changes_and_goes(board: Board) -> None:
    ada = await board.person()
    comment = await say(ada, await ada.task())
    path = place_of(comment)
    merge = {"Content-Type": "application/merge-patch+json"}

    changed = await ada.ask("PATCH", path, {"comment": "Better"}, merge)
    same = await ada.ask("PATCH", path, {})
    stale = await ada.ask("PATCH", path, TEXT, {"If-Match": '"3"'})
    not_gone = await ada.delete(path, If_Match='"3"')
    gone = await ada.delete(path, If_Match=changed.headers["ETag"])

    assert changed.json == comment | {
        "comment": "Better",
        "updated_at": changed.json["updated_at"],
        "version": 4,
    }
    assert (same.status, same.body) == (200, changed.body)
    assert [a.refusal for a in (stale, not_gone)] == [(412, "version_mismatch")] * 2
    assert stale.json["current_version"] == 4
    assert gone.status == 204
    assert (await ada.get(path)).refusal == (404, "comment_not_found")
    assert await board.value("SELECT count(deleted_at) FROM comments") == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/comment"),
        ({"comment": ""}, "/comment"),
        ({"comment": " \n"}, "/comment"),
        ({"comment": None}, "/comment"),
        ({"comment": "x" * 10_001}, "/comment"),
        ({**TEXT, "user_id": 1}, "/user_id"),
    ],
)
async def test_a_comment_has_to_say_something(
    board: Board, body: object, pointer: str
) -> None:
    ada = await board.person()
    task = await ada.task()

    answer = await ada.post(f"/tasks/{task['id']}/comments", body)

    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_comments_are_listed_oldest_first_page_by_page(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    said = [await say(ada, task, f"C{number}") for number in range(7)]
    await say(ada, await ada.task(), "elsewhere")
    path = f"/tasks/{task['id']}/comments"

    first = await ada.get(f"{path}?limit=3")
    await ada.delete(place_of(said[0]))  # before what comes
    late = await say(ada, task, "late")
    link = first.headers["Link"]
    second = await ada.get(link[1 : link.index(">")])
    cursor = second.json["next_cursor"]
    third = await ada.get(f"{path}?limit=3&cursor={cursor}")
    offset = await ada.get(f"{path}?offset=5")

    pages = [page.json["comments"] for page in (first, second, third, offset)]
    assert pages == [said[:3], said[3:6], [said[6], late], [said[6], late]]
    assert first.json["total"] == third.json["total"] == 7
    assert third.json["next_cursor"] is None
    same = await ada.get(f"{path}?offset=5", If_None_Match=offset.headers["ETag"])
    assert same.status == 304


async def test_comments_of_other_nodes_are_listed_by_time_not_by_id(
    board: Board,
) -> None:
    ada = await board.person()
    task = await ada.task()
    said = [await say(ada, task)]
    board.app[keys.IDS]._left["comment"].reverse()  # ids of an older block
    said += [await say(ada, task) for _ in range(2)]

    path: str | None = f"/tasks/{task['id']}/comments?limit=1"
    listed = []
    while path is not None:
        answer = await ada.get(path)
        listed += answer.json["comments"]
        link = answer.headers.get("Link")
        path = link[1 : link.index(">")] if link else None

    assert said[1]["id"] > said[2]["id"]
    assert listed == said


async def test_who_sees_the_task_hears_what_is_said_of_it(board: Board) -> None:
    ada, bob, cyd, eve = [await board.person() for _ in range(4)]
    root = await board.person(UserRole.ADMIN)
    project = await ada.project()
    await ada.add(project["id"], bob, "viewer")
    task = await ada.task(project["id"], assigned_to=cyd.id)
    listeners = [await person.listen() for person in (ada, bob, cyd, root, eve)]

    comment = await say(cyd, task)
    changed = await cyd.ask("PATCH", place_of(comment), {"comment": "Better"})
    await ada.delete(place_of(comment))

    heard = [await listener.events() for listener in listeners]
    assert heard[0] == heard[1] == heard[2] == heard[3]
    assert heard[4] == []
    created, updated, deleted = heard[0]
    assert created == {
        "type": "comment_created",
        "project_id": project["id"],
        "version": comment["version"],
        "by": cyd.id,
        "at": comment["created_at"],
        "request_id": created["request_id"],
        "comment": comment,
        "changes": {},
    }
    assert (updated["type"], updated["comment"]) == ("comment_updated", changed.json)
    assert updated["changes"] == {"comment": {"old": "Well done", "new": "Better"}}
    assert (deleted["type"], deleted["by"]) == ("comment_deleted", ada.id)
    assert deleted["comment"]["comment"] == "Better"


async def test_comments_stand_in_the_log_but_not_in_the_tasks_history(
    board: Board,
) -> None:
    ada = await board.person()
    task = await ada.task()
    await say(ada, task)

    log = await ada.get(f"/projects/{task['project_id']}/events?since=2")
    history = await ada.get(f"/tasks/{task['id']}/history")

    assert [event["type"] for event in log.json["events"]] == ["comment_created"]
    assert [event["type"] for event in history.json["history"]] == ["task_created"]


async def test_comments_go_with_their_task(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    comment = await say(ada, task)

    await ada.delete(f"/tasks/{task['id']}")

    assert (await ada.get(place_of(comment))).refusal == (404, "task_not_found")
    answer = await ada.post(f"/tasks/{task['id']}/comments", TEXT)
    assert answer.refusal == (404, "task_not_found")


async def test_what_strangers_ask_says_nothing_of_what_is_there(board: Board) -> None:
    ada, eve = await board.person(), await board.person()
    comment = await say(ada, await ada.task())
    path = place_of(comment)

    answers = [
        await eve.get(path),
        await eve.ask("PATCH", path, TEXT),
        await eve.delete(path),
        await eve.get(path + "0"),
    ]

    assert [a.refusal for a in answers] == [(404, "task_not_found")] * 4


async def test_an_archived_project_is_read_but_not_spoken_in(board: Board) -> None:
    ada = await board.person()
    project = await ada.project()
    comment = await say(ada, await ada.task(project["id"]))
    await ada.put(f"/projects/{project['id']}", {"status": "archived"})
    path = place_of(comment)

    answers = [
        await ada.post(path.rpartition("/")[0], TEXT),
        await ada.ask("PATCH", path, {"comment": "x"}),
        await ada.delete(path),
    ]

    assert [a.refusal for a in answers] == [(409, "project_archived")] * 3
    assert (await ada.get(path)).json == comment


async def test_a_repeat_says_it_once_even_after_a_restart(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url) as board:
        ada = await board.person()
        task = await ada.task()
        path = f"/tasks/{task['id']}/comments"
        made = await ada.post(path, TEXT, Idempotency_Key="add")
        place, patch = made.headers["Location"], {"comment": "Better"}
        key = {"Idempotency-Key": "patch"}
        changed = await ada.ask("PATCH", place, patch, key)
        await ada.ask("PATCH", place, {"comment": "Best"})

    async with running(database_url, redis_url) as board:
        ada.board = board
        again = await ada.post(path, TEXT, Idempotency_Key="add")
        changed_again = await ada.ask("PATCH", place, patch, key)

        for first, second in ((made, again), (changed, changed_again)):
            assert (first.status, first.body) == (second.status, second.body)
            assert first.headers["ETag"] == second.headers["ETag"]
            assert first.headers.get("Location") == second.headers.get("Location")
            assert second.headers["Idempotency-Replayed"] == "true"
        listed = (await ada.get(path)).json["comments"]
        assert [comment["comment"] for comment in listed] == ["Best"]


async def test_a_comment_makes_no_list_of_tasks_again(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    first = await ada.get("/tasks")

    await say(ada, task)

    assert (await ada.get("/tasks")).body == first.body
    hit = 'boardcast_cache_requests_total{cache="lists",result="hit"} 1.0'
    assert hit in (await ada.get("/metrics")).body.decode()
