"""Subscriptions over the wire: ops, answers, limits, renewal of tokens."""

from typing import Any

import pytest

from server import keys
from server.closing import TOO_MANY_SOCKETS
from tests.running_app import Board, Listener, Person, running, until


async def subscriber(person: Person, project_id: int, query: str = "") -> Listener:
    return await person.board.connect(
        f"?project_id={project_id}{query}", headers=person.headers
    )


async def types(listener: Listener) -> list[tuple[str, Any]]:
    return [(each["type"], each.get("version")) for each in await listener.events()]


async def test_a_snapshot_is_the_whole_project(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    await ada.add(project["id"], bob, "viewer")
    task = await ada.task(project["id"], description="é" * 15_000)
    path = f"/tasks/{task['id']}/comments"
    comment = (await ada.post(path, {"comment": "x"})).json
    listener = await subscriber(ada, project["id"], "&snapshot=true")

    snapshot, subscribed = await listener.next(), await listener.next()

    (member,) = snapshot.pop("members")
    assert member["user_id"] == bob.id
    assert snapshot == {
        "type": "snapshot",
        "project_id": project["id"],
        "version": 4,
        "project": (await ada.get(f"/projects/{project['id']}")).json,
        "tasks": [(await ada.get(f"/tasks/{task['id']}")).json],
        "comments": [comment],
    }
    assert subscribed == {
        "type": "subscribed",
        "project_id": project["id"],
        "version": 4,
    }


async def test_ops_subscribe_and_unsubscribe(board: Board) -> None:
    ada = await board.person()
    one, other = [(await ada.project())["id"] for _ in range(2)]
    listener = await ada.listen()

    await listener.ws.send_json({"op": "subscribe", "project_id": one, "since": 0})
    assert await types(listener) == [("project_created", 1), ("subscribed", 1)]
    await ada.task(other)
    await ada.task(one)
    assert await types(listener) == [("task_created", 2)]
    await listener.ws.send_json({"op": "subscribe", "project_id": other})
    await ada.task(other)
    assert await types(listener) == [("subscribed", 2), ("task_created", 3)]
    await listener.ws.send_json({"op": "unsubscribe", "project_id": one})
    await ada.task(one)
    (gone,) = await listener.events()

    assert gone == {"type": "unsubscribed", "project_id": one, "reason": "asked"}


async def test_a_project_of_others_is_not_there(board: Board) -> None:
    ada, eve = await board.person(), await board.person()
    project_id = (await ada.project())["id"]
    by_address = await subscriber(eve, project_id)
    by_op = await eve.listen()

    await by_op.ws.send_json({"op": "subscribe", "project_id": project_id})

    expected = {
        "type": "error",
        "code": "project_not_found",
        "detail": "There is no such project, or you may not see it.",
        "op": "subscribe",
        "project_id": project_id,
    }
    assert await by_op.next() == expected
    assert await by_address.next() == expected
    assert (await by_address.closing())[0] == 4403
    await eve.task()
    assert await by_op.types() == ["task_created"]


@pytest.mark.parametrize(
    "query", ["?since=1", "?snapshot=true", "?status=pending", "?project_id=0"]
)
async def test_an_address_that_makes_no_sense_is_refused(
    board: Board, query: str
) -> None:
    ada = await board.person()

    assert (await ada.get(f"/ws{query}")).status == 422


async def test_a_bad_filter_is_said_and_changes_nothing(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()
    task = await ada.task()
    await listener.next()

    deep: Any = "pending"
    for _ in range(900):  # less than what JSON may have
        deep = [deep]
    many = {f"x{number}": 1 for number in range(5000)}
    for wrong in ({"state": "x"}, {"status": "x"}, {"q": ""}, {"status": deep}, many):
        op = {"op": "subscribe", "project_id": task["project_id"], "filter": wrong}
        await listener.ws.send_json(op)
        error = await listener.next()
        assert error["code"] == "invalid_filter"
        assert len(error["detail"]) < 200
    await ada.task()
    assert await listener.types() == ["task_created"]


async def test_subscriptions_are_limited(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.dialogue.MOST_SUBSCRIPTIONS", 1)
    ada = await board.person()
    one, other = [(await ada.project())["id"] for _ in range(2)]
    listener = await subscriber(ada, one)
    await listener.next()

    await listener.ws.send_json({"op": "subscribe", "project_id": other})
    refused = await listener.next()
    await listener.ws.send_json({"op": "subscribe", "project_id": one})

    assert refused["code"] == "too_many_subscriptions"
    assert (await listener.next())["type"] == "subscribed"


async def test_sockets_of_a_user_are_limited(database_url: str, redis_url: str) -> None:
    async with running(database_url, redis_url, sockets_per_user=2) as board:
        ada, bob = await board.person(), await board.person()
        first, _ = await ada.listen(), await ada.listen()

        third = await board.connect(headers=ada.headers)
        assert (await third.closing())[0] == TOO_MANY_SOCKETS.code
        await bob.listen()
        await first.ws.close()
        await until(lambda: len(board.app[keys.SOCKETS]) <= 3)
        await ada.listen()


async def test_strangers_are_limited(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.websocket.MOST_UNKNOWN", 1)
    ada = await board.person()
    first = await board.connect()
    await until(lambda: board.app[keys.SOCKETS].unknown == 1)

    second = await board.connect()
    assert (await second.closing())[0] == 1013
    await first.ws.send_json({"op": "auth", "token": ada.access_token})
    assert await first.events() == []
    assert board.app[keys.SOCKETS].unknown == 0


async def test_a_newer_token_is_taken_on_the_open_socket(board: Board) -> None:
    ada, eve = await board.person(), await board.person()
    newer = await board.session(ada.caller)
    listener = await ada.listen()

    await listener.ws.send_json({"op": "auth", "token": newer.access_token})
    renewed = await listener.next()
    await listener.ws.send_json({"op": "auth", "token": eve.access_token})
    another = await listener.next()
    await ada.post("/auth/logout")
    await newer.task()

    assert renewed["type"] == "authenticated"
    assert 800 < renewed["expires_in"] <= 900
    assert another["code"] == "another_user"
    assert await listener.types() == ["task_created"]
    await newer.post("/auth/logout")
    assert (await listener.closing())[0] == 4001


async def test_a_bad_token_ends_an_open_socket_too(board: Board) -> None:
    listener = await (await board.person()).listen()

    await listener.ws.send_json({"op": "auth", "token": "x"})

    assert await listener.closing() == (4001, "Invalid token")


async def test_the_filter_may_stand_in_the_address(board: Board) -> None:
    ada = await board.person()
    project_id = (await ada.project())["id"]
    listener = await subscriber(ada, project_id, "&status=pending&assigned_to=me")

    await ada.task(project_id)
    await ada.task(project_id, assigned_to=ada.id)

    assert await types(listener) == [("subscribed", 1), ("task_created", 3)]


async def test_a_client_that_knows_the_protocol_gets_it(board: Board) -> None:
    ada = await board.person()
    listener = await board.connect(
        headers=ada.headers, protocols=("other", "boardcast.v1")
    )
    assert listener.ws.protocol == "boardcast.v1"
    assert await listener.events() == []

    await ada.task()

    message = await listener.next()
    assert (message["type"], message["from"], message["to"]) == ("events", 2, 2)


async def test_while_nobody_can_tell_who_may_see_it_one_comes_back(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actors.domain.errors import StoreUnavailable  # noqa: PLC0415

    ada = await board.person()
    project_id = (await ada.project())["id"]

    async def away(*asked: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(board.app[keys.REGISTRY], "get", away)
    listener = await subscriber(ada, project_id)

    assert (await listener.next())["code"] == "database_unavailable"
    assert (await listener.closing())[0] == 1013


async def test_a_filtered_snapshot_shows_what_matches(board: Board) -> None:
    ada = await board.person()
    project_id = (await ada.project())["id"]
    wanted = await ada.task(project_id, priority="high")
    other = await ada.task(project_id)
    for task in (wanted, other):
        await ada.post(f"/tasks/{task['id']}/comments", {"comment": "x"})

    listener = await subscriber(ada, project_id, "&snapshot=true&priority=high")

    snapshot = await listener.next()
    assert snapshot["tasks"] == [wanted]
    assert [each["task_id"] for each in snapshot["comments"]] == [wanted["id"]]
