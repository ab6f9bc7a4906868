"""Handlers of tasks: the parts of an answer, and what each refusal looks like."""

from server import answers
from tests.running_app import Board


async def test_a_created_task_says_where_it_is(board: Board) -> None:
    ada = await board.person()

    made = await ada.post("/tasks", {"title": "x"})

    answers.Task().load(made.json)
    assert made.headers["Location"] == f"/tasks/{made.json['id']}"
    assert made.headers["ETag"] == f'"{made.json["version"]}"'


async def test_a_project_that_is_not_there_is_pointed_at(board: Board) -> None:
    ada = await board.person()

    refused = await ada.post("/tasks", {"title": "x", "project_id": 999})

    assert refused.refusal == (404, "project_not_found")
    assert refused.pointers == ["/project_id"]


async def test_an_assignee_that_is_not_there_is_pointed_at(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    nobody = {"assigned_to": 999}

    refused = [
        await ada.post("/tasks", {"title": "x", **nobody}),
        await ada.put(f"/tasks/{task['id']}", nobody),
        await ada.post(f"/tasks/{task['id']}/assign", nobody),
    ]

    for answer in refused:
        assert answer.refusal == (422, "user_not_found")
        assert answer.pointers == ["/assigned_to"]


async def test_an_update_answers_with_the_last_of_its_events(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    body = {"title": "y", "status": "completed", "assigned_to": ada.id}

    changed = await ada.put(f"/tasks/{task['id']}", body)

    assert changed.headers["ETag"] == '"5"'
    assert {name: changed.json[name] for name in body} == body
    shown = await ada.get(f"/tasks/{task['id']}")
    assert shown.body == changed.body


async def test_an_update_of_nothing_shows_what_is_there(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()

    same = await ada.put(f"/tasks/{task['id']}", {})

    assert (same.json, same.headers["ETag"]) == (task, '"2"')


async def test_who_has_no_inbox_is_told(board: Board) -> None:
    ada = await board.person()
    await board.execute("UPDATE projects SET is_inbox = false")

    assert (await ada.post("/tasks", {"title": "x"})).code == "project_not_found"


async def test_a_task_of_a_project_that_went_is_not_found(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    task = await ada.task(project["id"], assigned_to=bob.id)
    path = f"/tasks/{task['id']}"

    await ada.delete(path)
    gone = [await ada.get(path), await ada.put(path, {}), await ada.delete(path)]
    hidden = await bob.get(path)

    refusals = [answer.refusal for answer in (*gone, hidden)]
    assert refusals == [(404, "task_not_found")] * 4


async def test_a_page_has_its_tag_and_the_link_to_the_next(board: Board) -> None:
    ada = await board.person()
    for _ in range(2):
        await ada.task()

    page = await ada.get("/tasks?limit=1&status=pending")
    link = page.headers["Link"]
    after = await ada.get(link[1:].partition(">")[0])
    known = await ada.get("/tasks?limit=1&status=pending", If_None_Match="*")

    assert link.endswith('; rel="next"')
    assert "status=pending" in link
    assert len(after.json["tasks"]) == 1
    assert "Link" not in after.headers
    assert (known.status, known.headers["ETag"]) == (304, page.headers["ETag"])


async def test_a_repeat_is_answered_like_the_first(board: Board) -> None:
    ada = await board.person()

    first = await ada.post("/tasks", {"title": "x"}, Idempotency_Key="k")
    again = await ada.post("/tasks", {"title": "x"}, Idempotency_Key="k")
    other = await ada.post("/tasks", {"title": "y"}, Idempotency_Key="k")

    assert (again.status, again.body) == (201, first.body)
    for name in ("ETag", "Location"):
        assert again.headers[name] == first.headers[name]
    assert other.refusal == (422, "idempotency_key_reused")
