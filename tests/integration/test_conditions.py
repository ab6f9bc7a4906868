"""If-Match and If-None-Match: nobody overwrites what they have not seen."""

import asyncio
from functools import partial

from tests.running_app import Board


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


async def test_thirty_clients_that_retry_lose_no_change(board: Board) -> None:
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

    tries = await asyncio.gather(*(increment() for _ in range(30)))

    last = (await ada.get(path)).json
    assert (last["description"], last["version"]) == ("30", 32)
    assert max(tries) > 1


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
