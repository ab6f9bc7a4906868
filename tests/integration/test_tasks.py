"""Tasks over HTTP: what a demanding caller, or a hostile one, gets."""

import asyncio
from typing import Any

from server import answers
from tests.running_app import Board, Person

TASK = answers.Task()


async def test_a_task_is_made_in_the_inbox_and_found_where_location_says(
    board: Board,
) -> None:
    ada = await board.person()

    made = await ada.post("/tasks", {"title": "Write it"})
    shown = await ada.get(made.headers["Location"])
    project = await ada.get(f"/projects/{made.json['project_id']}")

    assert made.status == 201
    assert made.headers["ETag"] == shown.headers["ETag"] == '"2"'
    assert made.body == shown.body
    TASK.load(made.json)
    assert project.json["is_inbox"] is True
    assert project.json["owner_id"] == ada.id


async def test_a_task_keeps_what_it_was_given(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    given = {
        "title": "a/b \U0001f600 \u202e'); DROP TABLE tasks; --",
        "description": "<script>\\u0000</script>\n" * 3,
        "status": "completed",
        "priority": "urgent",
        "project_id": project["id"],
        "assigned_to": bob.id,
        "due_date": "2026-02-28T23:59:59.123456+02:00",
    }

    task = (await ada.post("/tasks", given)).json

    due = {"due_date": "2026-02-28T21:59:59.123456Z"}
    assert {name: task[name] for name in given} == given | due
    assert task["created_by"] == ada.id
    assert task["completed_at"] == task["created_at"] == task["updated_at"]


async def test_a_change_touches_only_the_fields_that_are_named(board: Board) -> None:
    ada = await board.person()
    old = await ada.task(description="Long", priority="low")

    answer = await ada.put(f"/tasks/{old['id']}", {"priority": "high"})
    new = answer.json

    assert answer.status == 200
    assert answer.headers["ETag"] == f'"{new["version"]}"'
    assert new["version"] == old["version"] + 1
    changed = {name for name in new if new[name] != old[name]}
    assert changed == {"priority", "updated_at", "version"}


async def test_completing_sets_the_time_and_reopening_clears_it(board: Board) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"

    done = (await ada.put(path, {"status": "completed"})).json
    still = (await ada.put(path, {"status": "completed"})).json
    again = (await ada.put(path, {"status": "in_progress"})).json

    assert done["completed_at"] == done["updated_at"]
    assert still == done
    assert again["completed_at"] is None


async def test_a_write_that_changes_nothing_makes_no_version(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    path = f"/tasks/{task['id']}"

    same: tuple[dict[str, Any], ...] = (
        {},
        {"title": "Write it"},
        {"assigned_to": None},
    )
    for body in same:
        answer = await ada.put(path, body)
        assert (answer.status, answer.json) == (200, task)


async def test_an_assignment_is_made_and_taken_back(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    path = f"/tasks/{(await ada.task())['id']}"

    given = await ada.post(f"{path}/assign", {"assigned_to": bob.id})
    seen = await bob.get(path)
    taken = await ada.post(f"{path}/assign", {"assigned_to": None})
    gone = await bob.get(path)

    assert (given.status, given.json["assigned_to"]) == (200, bob.id)
    assert seen.status == 200
    assert (taken.status, taken.json["assigned_to"]) == (200, None)
    assert gone.refusal == (404, "task_not_found")


async def test_a_deleted_task_is_gone_and_leaves_a_tombstone(board: Board) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"

    answer = await ada.delete(path)

    assert (answer.status, answer.body) == (204, b"")
    for method in ("GET", "PUT", "DELETE"):
        body: dict[str, Any] | None = {} if method == "PUT" else None
        assert (await ada.ask(method, path, body)).refusal == (404, "task_not_found")
    assert await board.value("SELECT count(*) FROM tasks WHERE deleted_at IS NOT NULL")


INVALID: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["/title"]),
    ({"title": ""}, ["/title"]),
    ({"title": " \t"}, ["/title"]),
    ({"title": "x" * 201}, ["/title"]),
    ({"title": "a\0b"}, ["/title"]),
    ({"title": None}, ["/title"]),
    ({"title": 5}, ["/title"]),
    ({"title": "x", "description": "x" * 20_001}, ["/description"]),
    ({"title": "x", "status": "done"}, ["/status"]),
    ({"title": "x", "status": None}, ["/status"]),
    ({"title": "x", "priority": ["low"]}, ["/priority"]),
    ({"title": "x", "assigned_to": "1"}, ["/assigned_to"]),
    ({"title": "x", "assigned_to": 0}, ["/assigned_to"]),
    ({"title": "x", "assigned_to": True}, ["/assigned_to"]),
    ({"title": "x", "assigned_to": 1.5}, ["/assigned_to"]),
    ({"title": "x", "assigned_to": 2**63}, ["/assigned_to"]),
    ({"title": "x", "assigned_to": 10**30}, ["/assigned_to"]),
    ({"title": "x", "assigned_to": 2**63 - 1}, ["/assigned_to"]),
    ({"title": "x", "due_date": "2026-02-30"}, ["/due_date"]),
    ({"title": "x", "due_date": "2026-01-01T00:00:00"}, ["/due_date"]),
    ({"title": "x", "due_date": "0001-01-01T00:00:00+14:00"}, ["/due_date"]),
    ({"title": "x", "due_date": 5}, ["/due_date"]),
    ({"title": "x", "project_id": None}, ["/project_id"]),
    ({"title": "x", "version": 1, "id": 2}, ["/version", "/id"]),
]


async def test_a_task_that_is_not_valid_is_refused_and_the_place_is_named(
    board: Board,
) -> None:
    ada = await board.person()
    for fields, pointers in INVALID:
        answer = await ada.post("/tasks", fields)

        assert answer.status == 422, fields
        assert sorted(answer.pointers) == sorted(pointers)
    assert await board.value("SELECT count(*) FROM tasks") == 0


async def test_a_plain_date_is_its_midnight(board: Board) -> None:
    ada = await board.person()
    for due in ("0001-01-01", "9999-12-31", "2024-02-29"):
        task = await ada.task(due_date=due)

        assert task["due_date"] == f"{due}T00:00:00Z"
        assert (await ada.get(f"/tasks/{task['id']}")).json == task


async def test_a_project_that_is_not_there_or_not_visible_is_the_same(
    board: Board,
) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()

    answers = [
        await bob.post("/tasks", {"title": "x", "project_id": number})
        for number in (project["id"], 2**63 - 1)
    ]

    for answer in answers:
        assert answer.refusal == (404, "project_not_found")
        assert answer.pointers == ["/project_id"]


async def test_a_stranger_learns_nothing_from_naming_nobody(board: Board) -> None:
    ada, eve = await board.person(), await board.person()
    task = await ada.task()
    body = {"assigned_to": 2**62}

    hidden = await eve.put(f"/tasks/{task['id']}", body)
    missing = await eve.put(f"/tasks/{2**62}", body)

    assert hidden.refusal == missing.refusal == (404, "task_not_found")


async def test_an_archived_project_takes_no_change(board: Board) -> None:
    ada = await board.person()
    project = await ada.project()
    task = await ada.task(project["id"])
    await ada.put(f"/projects/{project['id']}", {"status": "archived"})

    path = f"/tasks/{task['id']}"
    refused = [
        await ada.post("/tasks", {"title": "x", "project_id": project["id"]}),
        await ada.put(path, {"title": "y"}),
        await ada.post(f"{path}/assign", {"assigned_to": ada.id}),
        await ada.delete(path),
    ]

    assert [answer.refusal for answer in refused] == [(409, "project_archived")] * 4
    assert (await ada.get(path)).json == task


async def test_an_id_that_is_none_is_not_found(board: Board) -> None:
    ada = await board.person()
    names = ("0", "-1", "abc", "1.0", "01", "%00", "1%2f2", str(2**63), "9" * 400, "٣")
    for name in names:
        for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
            answer = await ada.ask(method, f"/tasks/{name}", body)
            assert answer.refusal == (404, "not_found"), name
        assert (await ada.post(f"/tasks/{name}/assign", {})).status == 404


async def test_a_task_may_be_as_large_as_the_limits_say(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()

    task = await ada.task(title="\U0001f600" * 200, description="\U0001f600" * 20_000)
    more = {"description": "\U0001f601" * 20_000}
    changed = await ada.put(f"/tasks/{task['id']}", more)

    assert changed.status == 200
    events = [await listener.next(), await listener.next()]
    assert [event["type"] for event in events] == ["task_created", "task_updated"]


async def act_at_once(ada: Person, *, number: int) -> list[int]:
    """Create, change and delete in one batch."""
    task = await ada.task()
    path = f"/tasks/{task['id']}"
    done = await asyncio.gather(
        *(ada.put(path, {"title": f"t{n}"}) for n in range(number)),
        ada.delete(path),
        *(ada.put(path, {"title": f"u{n}"}) for n in range(number)),
    )
    return [answer.status for answer in done]


async def test_changes_that_race_a_delete_are_made_or_not_found(board: Board) -> None:
    ada = await board.person()

    statuses = await act_at_once(ada, number=10)

    assert statuses.count(204) == 1
    assert set(statuses) <= {200, 204, 404}
    changes = "SELECT count(*) FROM project_events WHERE type = 'task_updated'"
    assert await board.value(changes) == statuses.count(200)
