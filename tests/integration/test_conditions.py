"""If-Match and If-None-Match: nobody overwrites what they have not seen."""

import asyncio
from functools import partial

import pytest

from server.route import Route
from server.routes import ROUTES
from tests.every_write import World, bodies, make_world, name_of
from tests.running_app import Answer, Board

WRITES = [pytest.param(row, id=name_of(row)) for row in ROUTES if row.method != "GET"]


async def test_a_known_task_is_not_sent_again(board: Board) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"

    for known in ('"2"', 'W/"2"', '"1", "2"', "*"):
        for method in ("GET", "HEAD"):
            answer = await ada.ask(method, path, headers={"If-None-Match": known})
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["ETag"] == '"2"'
    for unknown in ('"1"', '"22"', "2", ""):
        assert (await ada.get(path, If_None_Match=unknown)).status == 200


OTHER_VERSIONS = (
    '"1"', 'W/"2"', '"02"', "2", "x", '"x"', f'"{"9" * 5000}"', '"\u0662"',
)  # fmt: skip


async def test_a_write_on_another_version_is_refused_with_the_current_one(
    board: Board,
) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"
    for other in OTHER_VERSIONS:
        refused = [
            await ada.put(path, {"title": "x"}, If_Match=other),
            await ada.post(f"{path}/assign", {"assigned_to": ada.id}, If_Match=other),
            await ada.delete(path, If_Match=other),
        ]

        for answer in refused:
            assert answer.refusal == (412, "version_mismatch"), other
            assert answer.json["current_version"] == 2
            assert answer.headers["ETag"] == '"2"'


async def test_a_write_on_the_current_version_is_made(board: Board) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"
    for number, current in enumerate(('"%d"', "*", '"1", "%d"', ' "%d" '), start=2):
        condition = current.replace("%d", str(number))
        answer = await ada.put(path, {"title": condition}, If_Match=condition)

        assert (answer.status, answer.headers["ETag"]) == (200, f'"{number + 1}"')


async def test_fifty_clients_that_retry_lose_no_change(board: Board) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task(description='0'))['id']}"

    async def increment() -> int:
        tries = 0
        while True:
            tries += 1
            seen = await ada.get(path)
            more = {"description": str(int(seen.json["description"]) + 1)}
            answer = await ada.put(path, more, If_Match=seen.headers["ETag"])
            if answer.status == 200:
                return tries
            assert answer.status == 412

    tries = await asyncio.gather(*(increment() for _ in range(50)))

    last = (await ada.get(path)).json
    assert (last["description"], last["version"]) == ("50", 52)
    assert max(tries) > 1


async def written(world: World, row: Route, if_match: str) -> Answer:
    body = bodies(world).get(name_of(row), (None, None))[0]
    who = world.board.nobody if row.is_public else world.ada
    headers = {"If-Match": if_match}
    return await who.ask(row.method, world.path(row), body, headers)


@pytest.mark.parametrize("row", WRITES)
async def test_every_write_refuses_a_version_that_is_not_the_current_one(
    board: Board, row: Route
) -> None:
    world = await make_world(board)
    head = "SELECT sum(version) FROM project_heads"
    before = await board.value(head)

    refused = await written(world, row, '"999"')

    assert refused.refusal == (412, "version_mismatch")
    assert ("current_version" in refused.json) == row.is_versioned
    if row.is_versioned:
        current = refused.json["current_version"]
        assert refused.headers["ETag"] == f'"{current}"'
        assert await board.value(head) == before
        assert (await written(world, row, f'"{current}"')).status < 300


@pytest.mark.parametrize("row", WRITES)
async def test_every_write_is_made_on_whatever_is_there(
    board: Board, row: Route
) -> None:
    world = await make_world(board)

    assert (await written(world, row, "*")).status < 300


async def test_a_member_who_is_not_there_yet_matches_nothing(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    path = f"/projects/{(await ada.project())['id']}/members/{bob.id}"

    for condition in ("*", '"1"'):
        refused = await ada.put(path, {"role": "viewer"}, If_Match=condition)
        assert refused.refusal == (412, "version_mismatch"), condition


def test_every_write_says_that_it_heeds_conditions() -> None:
    assert all("If-Match" in row.values[0].request_headers for row in WRITES)


async def test_members_and_sessions_have_a_tag_that_moves_with_them(
    board: Board,
) -> None:
    ada, bob = await board.person(), await board.person()
    project = (await ada.project())["id"]
    members = f"/projects/{project}/members"

    async def end_the_other_session() -> None:
        sessions = (await bob.get("/auth/sessions")).json["sessions"]
        other = next(one for one in sessions if not one["is_current"])
        assert (await bob.delete(f"/auth/sessions/{other['id']}")).status == 204

    await board.session(bob.caller)
    for person, path, change in (
        (ada, members, partial(ada.add, project, bob, "viewer")),
        (ada, members, partial(ada.add, project, bob, "member")),
        (bob, "/auth/sessions", end_the_other_session),
    ):
        first = await person.get(path)
        known = await person.get(path, If_None_Match=first.headers["ETag"])
        await change()
        changed = await person.get(path, If_None_Match=first.headers["ETag"])

        assert (known.status, known.body) == (304, b"")
        assert known.headers["ETag"] == first.headers["ETag"]
        assert changed.status == 200
        assert changed.headers["ETag"] != first.headers["ETag"]
        assert changed.headers.get("Cache-Control") == known.headers.get(
            "Cache-Control"
        )
