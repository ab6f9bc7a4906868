"""Idempotency-Key: whatever a client repeats, the effect is one."""

import asyncio

from tests.running_app import Answer, Board, Person, running

TASK = {"title": "Write it"}


def same(first: Answer, second: Answer) -> bool:
    return (first.status, first.body, first.headers["ETag"]) == (
        second.status,
        second.body,
        second.headers["ETag"],
    )


async def until_told(ada: Person, path: str, body: object, key: str) -> Answer:
    """Ask as a client does: again while the first is under way, or there is no room."""
    while True:
        answer = await ada.post(path, body, Idempotency_Key=key)
        if answer.status not in (409, 503):
            return answer
        assert answer.code in ("idempotency_key_in_flight", "database_unavailable")


async def test_a_hundred_at_once_make_one_task_and_get_one_answer(board: Board) -> None:
    ada = await board.person()
    project = await ada.project()
    body = TASK | {"project_id": project["id"]}

    answers = await asyncio.gather(
        *(until_told(ada, "/tasks", body, "k") for _ in range(100))
    )

    assert all(answer.status == 201 for answer in answers)
    assert all(same(answer, answers[0]) for answer in answers)
    assert len({answer.headers["Location"] for answer in answers}) == 1
    replayed = ["Idempotency-Replayed" in answer.headers for answer in answers]
    assert replayed.count(False) == 1
    assert await board.value("SELECT count(*) FROM tasks") == 1
    assert await board.value("SELECT count(*) FROM idempotency_keys") == 1


async def test_a_repeat_after_a_restart_gets_the_first_answer(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url) as board:
        ada = await board.person()
        task = await ada.post("/tasks", TASK, Idempotency_Key="task")
        path = task.headers["Location"]
        project = await ada.post("/projects", {"name": "A"}, Idempotency_Key="project")
        put = await ada.put(path, {"title": "y"}, Idempotency_Key="put")
        await ada.put(path, {"title": "z"})

    async with running(database_url, redis_url) as board:
        ada.board = board
        again = [
            await ada.post("/tasks", TASK, Idempotency_Key="task"),
            await ada.post("/projects", {"name": "A"}, Idempotency_Key='"project"'),
            await ada.put(path, {"title": "y"}, Idempotency_Key="put"),
        ]

        for first, second in zip((task, project, put), again, strict=True):
            assert same(first, second)
            assert second.headers["Idempotency-Replayed"] == "true"
            assert first.headers.get("Location") == second.headers.get("Location")
        assert (await ada.get(path)).json["title"] == "z"


async def test_a_key_holds_for_one_request_only(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    made = await ada.post("/tasks", TASK, Idempotency_Key="k")
    path = made.headers["Location"]
    member = f"/projects/{project['id']}/members/{bob.id}"

    others = [
        await ada.post("/tasks", {"title": "Other"}, Idempotency_Key="k"),
        await ada.put(path, TASK, Idempotency_Key="k"),
        await ada.post(f"{path}/assign", {"assigned_to": None}, Idempotency_Key="k"),
        await ada.post("/projects", {"name": "x"}, Idempotency_Key="k"),
        await ada.put(member, {"role": "viewer"}, Idempotency_Key="k"),
    ]

    refusal = (422, "idempotency_key_reused")
    assert [answer.refusal for answer in others] == [refusal] * 5
    assert await board.value("SELECT count(*) FROM tasks") == 1


async def test_the_same_key_of_another_user_is_another_key(board: Board) -> None:
    ada, bob = await board.person(), await board.person()

    first = await ada.post("/tasks", TASK, Idempotency_Key="k")
    second = await bob.post("/tasks", TASK, Idempotency_Key="k")

    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]


async def test_a_key_that_is_none_is_refused(board: Board) -> None:
    ada = await board.person()
    for key in ("", '""', "a b", "x" * 256, "ä", 'a"b', "a\tb", "\\"):
        answer = await ada.post("/tasks", TASK, Idempotency_Key=key)

        assert answer.refusal == (400, "invalid_idempotency_key"), key
    assert await board.value("SELECT count(*) FROM tasks") == 0


async def test_any_visible_ascii_is_a_key(board: Board) -> None:
    ada = await board.person()
    for key in ("x" * 255, "!", "a,b;c='1'", "'OR/**/1=1--"):
        first = await ada.post("/tasks", TASK, Idempotency_Key=key)
        second = await ada.post("/tasks", TASK, Idempotency_Key=key)

        assert same(first, second), key


async def test_what_was_refused_may_be_tried_again_with_its_key(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    body = TASK | {"project_id": project["id"]}

    refused = await bob.post("/tasks", body, Idempotency_Key="k")
    await ada.add(project["id"], bob, "member")
    made = await bob.post("/tasks", body, Idempotency_Key="k")

    assert refused.status == 404
    assert made.status == 201
    assert "Idempotency-Replayed" not in made.headers


async def test_members_and_assignments_repeat_too(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    task = await ada.task(project["id"])
    member = f"/projects/{project['id']}/members/{bob.id}"
    assign = f"/tasks/{task['id']}/assign"

    firsts = [
        await ada.put(member, {"role": "viewer"}, Idempotency_Key="m"),
        await ada.post(assign, {"assigned_to": bob.id}, Idempotency_Key="a"),
    ]
    await ada.put(member, {"role": "member"})
    await ada.post(assign, {"assigned_to": None})
    seconds = [
        await ada.put(member, {"role": "viewer"}, Idempotency_Key="m"),
        await ada.post(assign, {"assigned_to": bob.id}, Idempotency_Key="a"),
    ]

    assert all(map(same, firsts, seconds))
    assert (await ada.get(f"/tasks/{task['id']}")).json["assigned_to"] is None


async def test_a_repeat_of_a_conditional_write_is_no_conflict(board: Board) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"
    headers = {"Idempotency-Key": "k", "If-Match": '"2"'}

    first = await ada.ask("PUT", path, {"title": "x"}, headers)
    second = await ada.ask("PUT", path, {"title": "x"}, headers)

    assert (first.status, second.status) == (200, 200)
    assert same(first, second)


async def test_keys_are_forgotten_after_a_day(board: Board) -> None:
    ada = await board.person()
    first = await ada.post("/tasks", TASK, Idempotency_Key="k")
    await board.execute(
        "UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"
    )

    second = await ada.post("/tasks", TASK, Idempotency_Key="k")

    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]


async def test_a_key_that_another_node_was_faster_with_gets_its_answer(
    database_url: str, redis_url: str
) -> None:
    async with (
        running(database_url, redis_url) as here,
        running(database_url, redis_url) as there,
    ):
        ada = await here.person()
        twin = Person(there, ada.caller, {"access": ada.access_token})
        project = await ada.project()
        body = TASK | {"project_id": project["id"]}

        answers = await asyncio.gather(
            *(
                until_told(person, "/tasks", body, "k")
                for _ in range(10)
                for person in (ada, twin)
            )
        )

        assert all(same(answer, answers[0]) for answer in answers)
        assert await here.value("SELECT count(*) FROM tasks") == 1
