"""On one worker a read shows every write before it, and a 304 is never a false one.

BOARDCAST_FRESH_ROUNDS says how often each is tried; many need a longer --timeout.
"""

import asyncio
import os
import time
from collections.abc import Mapping

from tests.running_app import Answer, Board, Person

ROUNDS = int(os.environ.get("BOARDCAST_FRESH_ROUNDS", "30"))


class Reader:
    """Somebody who asks only for what they do not have yet, as a browser does."""

    def __init__(self, person: Person):
        self._person = person
        self._known: dict[str, Answer] = {}
        self.spared = 0

    async def read(self, path: str) -> bytes:
        """What a conditional GET shows: its own body, or the one that was kept."""
        known = self._known.get(path)
        tag = {"If_None_Match": known.headers["ETag"]} if known else {}
        answer = await self._person.get(path, **tag)
        if answer.status == 304:
            assert known is not None
            assert answer.headers["ETag"] == known.headers["ETag"]
            self.spared += 1
            return known.body
        assert answer.status == 200, answer
        if known is not None:
            is_new = answer.headers["ETag"] != known.headers["ETag"]
            assert is_new == (answer.body != known.body)
        self._known[path] = answer
        return answer.body


async def truth(person: Person, paths: Mapping[str, str]) -> dict[str, bytes]:
    return {name: (await person.get(path)).body for name, path in paths.items()}


async def test_no_304_is_false_after_two_updates_at_once(board: Board) -> None:
    ada = await board.person()
    project = (await ada.project())["id"]
    task = (await ada.task(project))["id"]
    await ada.task(project)
    one, whole = f"/tasks/{task}", f"/projects/{project}"
    paths = {
        "task": one,
        "its project's": f"/tasks?project_id={project}",
        "by change": f"/tasks?project_id={project}&sort=-updated_at&limit=1",
        "all": "/tasks",
        "found": "/tasks?q=number",
        "projects": "/projects",
        "members": f"/projects/{project}/members",
    }
    reader, closest = Reader(ada), 1.0

    for number in range(ROUNDS):
        start = time.perf_counter()
        writes = asyncio.gather(
            ada.put(one, {"title": f"The number {number}"}),
            ada.put(one, {"title": f"The number -{number}", "priority": "high"}),
            ada.put(whole, {"name": f"Project {number % 5}"}),
        )
        among = [await reader.read(path) for path in paths.values()]
        assert {answer.status for answer in await writes} == {200}
        closest = min(closest, time.perf_counter() - start)
        shown = {name: await reader.read(path) for name, path in paths.items()}

        assert shown == await truth(ada, paths), number
        again = {name: await reader.read(path) for name, path in paths.items()}
        assert again == shown
        assert all(among)
    assert reader.spared >= ROUNDS * len(paths)


async def test_two_changes_in_one_turn_have_two_tags(board: Board) -> None:
    """The writes are sent together, so that they are committed together."""
    ada = await board.person()
    task = (await ada.task())["id"]
    path, lists = f"/tasks/{task}", "/tasks?sort=-updated_at"
    seen: dict[str, bytes] = {}

    for number in range(ROUNDS):
        answers = await asyncio.gather(
            *(ada.put(path, {"title": f"{number} {turn}"}) for turn in range(2))
        )
        tags = {answer.headers["ETag"]: answer.body for answer in answers}
        assert len(tags) == 2
        assert not tags.keys() & seen.keys()
        seen |= tags
        last = max(answers, key=lambda answer: answer.json["version"])
        for tag in tags:
            answer = await ada.get(path, If_None_Match=tag)
            assert (answer.status == 304) == (tag == last.headers["ETag"])
        assert (await ada.get(lists)).json["tasks"] == [last.json]


async def test_lists_show_what_was_just_written(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = (await ada.project())["id"]
    await ada.add(project, bob, "member")
    mine, all_of_bobs = f"/tasks?project_id={project}&limit=1", "/tasks?limit=1"

    for number in range(ROUNDS):
        task = await bob.task(project, title=f"word{number}")
        for person, path in ((ada, mine), (bob, all_of_bobs)):
            assert (await person.get(path)).json["tasks"] == [task]
        changed = await ada.put(f"/tasks/{task['id']}", {"title": f"other{number}"})
        path = f"{mine}&sort=-updated_at"
        assert (await bob.get(path)).json["tasks"] == [changed.json]
        found = [
            (await ada.get(f"/tasks?q={word}{number}")).json["total"]
            for word in ("other", "word")
        ]
        assert found == [1, 0]
        if number % 2:
            await bob.delete(f"/tasks/{task['id']}")
            assert (await ada.get(f"/tasks?q=other{number}")).json["tasks"] == []
            assert (await ada.get(mine)).json["total"] == number // 2 + 1
