"""The kinds of callers, and a fresh thing for each of them to ask about."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.domain.model import UserRole
from server import keys
from tests.running_app import Board, Person

_PASSWORD = "correct horse battery"
_ROLES = ("viewer", "member", "maintainer")
_SPECIAL = {"manager": UserRole.MANAGER, "admin": UserRole.ADMIN}
_USERS = ("stranger", *_ROLES, "owner", "assignee", *_SPECIAL, "disabled")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Cast:
    """Those who call, and a colleague who made what is not theirs."""

    board: Board
    people: Mapping[str, Person]
    colleague: Person

    def maker(self, who: str) -> Person:
        """Who made what is the caller's own; some of them cannot have."""
        is_out = who in {"anonymous", "disabled"}
        return self.colleague if is_out else self.people[who]


@dataclass(frozen=True, slots=True)
class Scene:
    """What one caller finds; `ids` stand for it in paths and bodies."""

    caller: Person
    ids: Mapping[str, object]

    def filled(self, text: str) -> str:
        """Put the ids where the text names them."""
        return re.sub(r"{(\w+)}", lambda name: str(self.ids[name[1]]), text)


async def make_cast(board: Board) -> Cast:
    """Make an account for each, named like its kind, with the same password."""
    people = {"anonymous": board.nobody}
    for who in _USERS:
        people[who] = await board.person(_SPECIAL.get(who, UserRole.USER), who)
    cast = Cast(board, people, await board.person())
    password_hash = await board.app[keys.PASSWORDS].hash(_PASSWORD)
    await board.execute("UPDATE users SET password_hash = $1", password_hash)
    path = f"/users/{people['disabled'].id}"
    assert (await people["admin"].patch(path, {"is_active": False})).status == 200
    return cast


async def make_scene(cast: Cast, who: str, words: set[str], needs: set[str]) -> Scene:
    """Make what the words say, for one who calls; `needs` are the ids asked for.

    Unless they say otherwise there is a project of the owner's, with the viewer, the
    member, the maintainer and the colleague. In it is a task that the colleague made
    for the assignee, and said something of.
    """
    caller = cast.people[who]
    if "own session" in words and cast.maker(who) is caller:
        caller = await cast.board.session(caller.caller)
    ids = {
        "number": next(_numbers),
        "name": "init.js",
        "username": who,
        "password": _PASSWORD,
        "refresh_token": caller.refresh_token or "none",
    }
    if needs & {"user_id", "newcomer", "session_id"}:
        ids |= await _user_ids(cast, who, words, caller)
    if needs & {"project_id", "task_id"}:
        ids |= await _task_ids(cast, who, words, has_comment="comment_id" in needs)
    return Scene(caller, ids)


async def _user_ids(
    cast: Cast, who: str, words: set[str], caller: Person
) -> dict[str, object]:
    newcomer = await cast.board.person()
    of_session = caller if "own session" in words else newcomer
    targets = {
        "own account": cast.maker(who),
        "the caller": cast.maker(who),
        "a member": cast.colleague,
        "the owner": cast.people["owner"],
    }
    target = next((targets[word] for word in words & targets.keys()), newcomer)
    newest = "SELECT max(id) FROM sessions WHERE user_id = $1"
    return {
        "newcomer": newcomer.id,
        "user_id": target.id,
        "session_id": await cast.board.value(newest, of_session.id),
    }


async def _task_ids(
    cast: Cast, who: str, words: set[str], *, has_comment: bool
) -> dict[str, object]:
    maker, admin = cast.maker(who), cast.people["admin"]
    if words & {"own inbox", "another's inbox"}:
        owner = maker if "own inbox" in words else cast.colleague
        task = await owner.task(assigned_to=cast.people["assignee"].id)
    else:
        task = await _shared_task(
            cast, maker if "own task" in words else cast.colleague
        )
    ids = {"project_id": task["project_id"], "task_id": task["id"]}
    if has_comment:
        author = maker if "own comment" in words else cast.colleague
        ids["comment_id"] = (await _comment(cast, author, task))["id"]
    if "archived" in words:
        await admin.patch(f"/projects/{ids['project_id']}", {"status": "archived"})
    if "deleted" in words:
        await admin.delete(f"/tasks/{ids['task_id']}")
    return ids


async def _shared_task(cast: Cast, maker: Person) -> Any:
    """Have a task made by one who may have no part in its project any more."""
    people, owner = cast.people, cast.people["owner"]
    project_id = (await owner.project())["id"]
    if maker is not owner:
        await owner.add(project_id, maker, "member")
    task = await maker.task(project_id, assigned_to=people["assignee"].id)
    if maker is not owner:
        await owner.delete(f"/projects/{project_id}/members/{maker.id}")
    for role in _ROLES:
        await owner.add(project_id, people[role], role)
    await owner.add(project_id, cast.colleague, "member")
    return task


async def _comment(cast: Cast, author: Person, task: Any) -> Any:
    """Have something said by one who may have no part in the task any more."""
    admin, path = cast.people["admin"], f"/tasks/{task['id']}"
    await admin.post(f"{path}/assign", {"assigned_to": author.id})
    said = await author.post(f"{path}/comments", {"comment": "Said"})
    await admin.post(f"{path}/assign", {"assigned_to": task["assigned_to"]})
    assert said.status == 201, said
    return said.json
