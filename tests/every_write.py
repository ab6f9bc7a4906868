"""A thing of each kind, and what every POST, PUT and PATCH of the table is asked."""

import re
from dataclasses import dataclass
from typing import Any

from server.route import Route
from tests.running_app import Board, Person

PASSWORD = "correct horse battery"
OTHER = "another horse battery"


@dataclass(frozen=True, kw_only=True)
class World:
    """An administrator with a password and two sessions, and a thing of each kind."""

    board: Board
    ada: Person
    twin: Person
    ids: dict[str, int]

    def path(self, row: Route) -> str:
        return re.sub(r"{(\w+)}", lambda name: str(self.ids[name[1]]), row.path)


async def make_world(board: Board) -> World:
    account = {"email": "ada@example.com", "username": "ada", "password": PASSWORD}
    await board.nobody.post("/auth/register", account)
    await board.execute("UPDATE users SET role = 'admin'")
    ada, twin = await log_in(board), await log_in(board)
    project, bob = await ada.project(), await board.person()
    task = await ada.task(project["id"])
    comment = await ada.post(f"/tasks/{task['id']}/comments", {"comment": "a"})
    ids = {
        "project_id": project["id"],
        "task_id": task["id"],
        "user_id": bob.id,
        "comment_id": comment.json["id"],
    }
    await ada.add(project["id"], bob, "viewer")
    sessions = (await ada.get("/auth/sessions")).json["sessions"]
    (ids["session_id"],) = {s["id"] for s in sessions if not s["is_current"]}
    return World(board=board, ada=ada, twin=twin, ids=ids)


async def log_in(board: Board) -> Person:
    body = {"username": "ada", "password": PASSWORD}
    pair = (await board.nobody.post("/auth/login", body)).json
    tokens = {"access": pair["access_token"], "refresh": pair["refresh_token"]}
    return Person(board, board.nobody.caller, tokens)


def name_of(row: Route) -> str:
    """Name a row as this file does: by what handles it."""
    return row.name or row.handler.__name__


def bodies(world: World) -> dict[str, tuple[Any, Any]]:
    """What each operation is asked, and what else with the same key."""
    new = {"email": "eve@example.com", "username": "eve", "password": PASSWORD}
    by_name = {"username": "ada", "password": PASSWORD}
    by_email = {"email": "ada@example.com", "password": PASSWORD}
    password = {"old_password": PASSWORD, "new_password": OTHER}
    return {
        "register": (new, new | {"password": OTHER}),
        "login": (by_name, by_email),
        "refresh": tuple(
            {"refresh_token": person.refresh_token}
            for person in (world.ada, world.twin)
        ),
        "logout": (None, None),
        "create_ticket": (None, None),
        "update_me": ({"first_name": "Ada"}, {"first_name": "Eve"}),
        "update_user": ({"first_name": "Bob"}, {"first_name": "Eve"}),
        "change_password": (password, password | {"new_password": OTHER * 2}),
        "assign_task": ({"assigned_to": world.ids["user_id"]}, {"assigned_to": None}),
        "put_member": ({"role": "maintainer"}, {"role": "member"}),
        "create_project": ({"name": "a"}, {"name": "b"}),
        "update_project": ({"name": "a"}, {"name": "b"}),
        "patch_project": ({"name": "a"}, {"name": "b"}),
        "create_task": ({"title": "a"}, {"title": "b"}),
        "update_task": ({"title": "a"}, {"title": "b"}),
        "patch_task": ({"title": "a"}, {"title": "b"}),
        "add_comment": ({"comment": "b"}, {"comment": "c"}),
        "update_comment": ({"comment": "b"}, {"comment": "c"}),
    }
