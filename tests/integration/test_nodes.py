"""Two whole nodes: what happens on one is so on the other, with hints and without."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from actors.domain.model import UserRole
from server import keys
from tests.running_app import Answer, Board, Listener, Nodes, Person, running

NOWHERE = "unix:///nowhere/valkey.sock"
REPAIRED_SECONDS = 5  # a busy machine's; what is promised is timed in tests/e2e


@pytest.fixture(params=["hints", "log"])
async def nodes(
    request: pytest.FixtureRequest, database_url: str, redis_url: str
) -> AsyncIterator[Nodes]:
    """Two that share a Redis, and two that have none and find all in the log."""
    url = redis_url if request.param == "hints" else NOWHERE
    async with running(database_url, url) as here, running(database_url, url) as there:
        yield Nodes(here, there)


async def soon(ask: Callable[[], Awaitable[Answer]], wanted: object) -> Answer:
    """Ask until the answer has this status or body."""
    async with asyncio.timeout(REPAIRED_SECONDS):
        while True:
            answer = await ask()
            if wanted in (answer.status, answer.body):
                return answer
            await asyncio.sleep(0.01)


async def quiet(board: Board) -> None:
    """Have a node tell its sockets all that was committed by now."""
    await board.app[keys.FOLLOWER].look()


async def listen(person: Person) -> Listener:
    await quiet(person.board)
    return await person.listen()


async def test_a_change_is_seen_there_without_naming_its_version(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    task = await ada.task()
    assert (await ada_there.get(f"/tasks/{task['id']}")).json == task

    changed = await ada.patch(f"/tasks/{task['id']}", {"status": "completed"})

    await soon(lambda: ada_there.get(f"/tasks/{task['id']}"), changed.body)


async def test_lists_that_are_kept_there_are_not_kept_too_long(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    bob, bob_there = await nodes.person()
    root, root_there = await nodes.person(UserRole.ADMIN)
    project = await ada.project()
    people = ((ada, ada_there), (bob, bob_there), (root, root_there))
    for path in ("/tasks", "/projects"):
        for _, person in people:
            assert (await person.get(path)).status == 200

    await ada.add(project["id"], bob, "viewer")
    await ada.task(project["id"])

    for here, there in people:
        for path in ("/tasks", "/projects"):
            wanted = (await here.get(path)).body
            await soon(lambda p=path, t=there: t.get(p), wanted)


async def test_who_is_assigned_sees_the_task_there(nodes: Nodes) -> None:
    ada, _ = await nodes.person()
    _, cyd_there = await nodes.person()
    assert (await cyd_there.get("/tasks")).json["total"] == 0

    task = await ada.task(assigned_to=cyd_there.id)

    async with asyncio.timeout(REPAIRED_SECONDS):
        while (await cyd_there.get("/tasks")).json["total"] != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await cyd_there.get(f"/tasks/{task['id']}")).status == 200


@pytest.mark.parametrize("is_in_memory", [True, False])
async def test_sockets_there_hear_of_it(nodes: Nodes, *, is_in_memory: bool) -> None:
    ada, ada_there = await nodes.person()
    bob, bob_there = await nodes.person()
    project = await ada.project()
    path = f"/projects/{project['id']}"
    await ada.add(project["id"], bob, "viewer")
    if is_in_memory:
        assert (await ada_there.get(path)).status == 200
    listeners = [await listen(ada_there), await listen(bob_there)]

    task = await ada.task(project["id"])
    await ada.put(f"/tasks/{task['id']}", {"title": "Read it", "status": "completed"})
    await ada.post(f"/tasks/{task['id']}/comments", {"comment": "Well done"})
    await ada.put(path, {"name": "Gemini"})

    for listener in listeners:
        told = [await listener.next() for _ in range(5)]
        assert [event["version"] for event in told] == [3, 4, 5, 6, 7]
        assert told[0]["task"] == task


async def test_a_subscriber_there_is_told_every_version(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    project = await ada.project()
    query = f"?project_id={project['id']}&since=0"
    listener = await nodes.there.connect(query, headers=ada_there.headers)
    assert (await listener.next())["version"] == 1
    assert (await listener.next())["type"] == "subscribed"

    for _ in range(10):
        await ada.task(project["id"])
        await ada_there.task(project["id"])

    told = [(await listener.next())["version"] for _ in range(20)]
    assert told == list(range(2, 22))


async def test_a_socket_that_is_ahead_of_its_new_node_is_given_events(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes over from a node that is further gets no snapshot for that."""
    ada, ada_there = await nodes.person()
    project = await ada.project()
    assert (await ada_there.get(f"/projects/{project['id']}")).status == 200
    monkeypatch.setattr(nodes.there.app[keys.FOLLOWER], "hear", lambda *_: None)
    await ada.task(project["id"])

    query = f"?project_id={project['id']}&since=2"
    listener = await nodes.there.connect(query, headers=ada_there.headers)

    message = await listener.next()
    assert (message["type"], message["version"]) == ("subscribed", 2)


async def test_who_is_removed_there_hears_no_later_event(nodes: Nodes) -> None:
    ada, _ = await nodes.person()
    bob, bob_there = await nodes.person()
    project = await ada.project()
    await ada.add(project["id"], bob, "member")
    query = f"?project_id={project['id']}"
    listener = await nodes.there.connect(query, headers=bob_there.headers)
    assert (await listener.next())["type"] == "subscribed"

    await ada.delete(f"/projects/{project['id']}/members/{bob.id}")
    await ada.task(project["id"])

    told = []
    while (message := await listener.receive()).type is aiohttp.WSMsgType.TEXT:
        told.append(message.json())
    assert [each["type"] for each in told] in (
        ["member_removed", "unsubscribed"],
        ["unsubscribed"],
    )
    assert message.data == 4403


async def test_a_session_that_ends_here_ends_there(nodes: Nodes) -> None:
    ada, ada_there = await nodes.person()
    assert (await ada_there.get("/users/me")).status == 200
    listener = await listen(ada_there)

    assert (await ada.post("/auth/logout")).status == 204

    assert (await listener.closing())[0] == 4001
    await soon(lambda: ada_there.get("/users/me"), 401)


async def test_a_new_role_is_had_there_as_well(nodes: Nodes) -> None:
    root, _ = await nodes.person(UserRole.ADMIN)
    ada, ada_there = await nodes.person()
    assert (await ada_there.get("/users")).status == 403

    await root.patch(f"/users/{ada.id}", {"role": "manager"})

    await soon(lambda: ada_there.get("/users"), 200)


async def test_a_new_users_inbox_is_announced_to_admins_there(nodes: Nodes) -> None:
    _, root_there = await nodes.person(UserRole.ADMIN)
    listener = await listen(root_there)
    body = {"email": "eve@example.com", "username": "eve", "password": "quite secret"}

    assert (await nodes.here.nobody.post("/auth/register", body)).status == 201

    event = await listener.next()
    assert event["type"] == "project_created"
    assert event["project"]["is_inbox"]
