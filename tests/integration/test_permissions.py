"""Who may do what, route by route: the table of the contract, asked over HTTP."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from actors.domain.model import UserRole
from tests.running_app import Board, Person

WHO = (
    "anonymous",
    "stranger",
    "viewer",
    "member",
    "maintainer",
    "owner",
    "creator",
    "assignee",
    "manager",
    "admin",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One project; `creator` and `assignee` have no part in it but their task."""

    people: Mapping[str, Person]
    project: Any
    task: Any
    comment: Any

    def path(self, template: str) -> str:
        ids = {
            "project": self.project["id"],
            "task": self.task["id"],
            "comment": self.comment["id"],
            "viewer": self.people["viewer"].id,
            "stranger": self.people["stranger"].id,
        }
        return re.sub(r"{(\w+)}", lambda found: str(ids[found[1]]), template)


async def make_scene(board: Board) -> Scene:
    people = {"anonymous": board.nobody}
    for who in WHO[1:]:
        special = {"manager": UserRole.MANAGER, "admin": UserRole.ADMIN}
        people[who] = await board.person(special.get(who, UserRole.USER))
    owner = people["owner"]
    project = await owner.project()
    for role in ("viewer", "member", "maintainer"):
        await owner.add(project["id"], people[role], role)
    await owner.add(project["id"], people["creator"], "member")
    task = await people["creator"].task(
        project["id"], assigned_to=people["assignee"].id
    )
    await owner.delete(f"/projects/{project['id']}/members/{people['creator'].id}")
    said = await people["assignee"].post(
        f"/tasks/{task['id']}/comments", {"comment": "The assignee's own"}
    )
    return Scene(people, project, task, said.json)


def row(method: str, path: str, body: Any, *statuses: int) -> Any:
    expected = dict(zip(WHO, statuses, strict=True))
    name = f"{method} {path} {'' if body is None else body}"
    return pytest.param(method, path, body, expected, id=name)


# Callers in the order of WHO.
TABLE = [
    row("GET", "/tasks/{task}", None, 401, 404, *[200] * 8),
    row("PUT", "/tasks/{task}", {"title": "x"}, 401, 404, 403, *[200] * 7),
    row("PATCH", "/tasks/{task}", {"title": "x"}, 401, 404, 403, *[200] * 7),
    row("POST", "/tasks/{task}/assign", {"assigned_to": None},
        401, 404, 403, *[200] * 7),
    row("DELETE", "/tasks/{task}", None,
        401, 404, 403, 403, 204, 204, 204, 403, 204, 204),
    row("POST", "/tasks", {"title": "x", "project_id": "{project}"},
        401, 404, 403, 201, 201, 201, 404, 404, 201, 201),
    row("POST", "/tasks", {"title": "into the inbox"}, 401, *[201] * 9),
    row("POST", "/projects", {"name": "x"}, 401, *[201] * 9),
    row("GET", "/projects/{project}", None,
        401, 404, 200, 200, 200, 200, 404, 404, 200, 200),
    row("GET", "/tasks/{task}/comments", None, 401, 404, *[200] * 8),
    row("POST", "/tasks/{task}/comments", {"comment": "x"},
        401, 404, 403, *[201] * 7),
    row("GET", "/tasks/{task}/comments/{comment}", None, 401, 404, *[200] * 8),
    row("PATCH", "/tasks/{task}/comments/{comment}", {"comment": "x"},
        401, 404, 403, 403, 403, 403, 403, 200, 403, 403),
    row("DELETE", "/tasks/{task}/comments/{comment}", None,
        401, 404, 403, 403, 204, 204, 403, 204, 204, 204),
    row("GET", "/tasks/{task}/history", None, 401, 404, *[200] * 8),
    row("GET", "/projects/{project}/events", None,
        401, 404, 200, 200, 200, 200, 404, 404, 200, 200),
    row("GET", "/projects/{project}/members", None,
        401, 404, 200, 200, 200, 200, 404, 404, 200, 200),
    row("PUT", "/projects/{project}", {"name": "x"},
        401, 404, 403, 403, 200, 200, 404, 404, 403, 200),
    row("PUT", "/projects/{project}", {"status": "archived"},
        401, 404, 403, 403, 200, 200, 404, 404, 403, 200),
    row("PUT", "/projects/{project}", {"owner_id": "{stranger}"},
        401, 404, 403, 403, 403, 200, 404, 404, 403, 200),
    row("PATCH", "/projects/{project}", {"name": "x"},
        401, 404, 403, 403, 200, 200, 404, 404, 403, 200),
    row("DELETE", "/projects/{project}", None,
        401, 404, 403, 403, 403, 204, 404, 404, 403, 204),
    row("PUT", "/projects/{project}/members/{viewer}", {"role": "maintainer"},
        401, 404, 403, 403, 200, 200, 404, 404, 200, 200),
    row("PUT", "/projects/{project}/members/{stranger}", {"role": "viewer"},
        401, 404, 403, 403, 200, 200, 404, 404, 200, 200),
    row("DELETE", "/projects/{project}/members/{viewer}", None,
        401, 404, 204, 403, 204, 204, 404, 404, 204, 204),
    row("GET", "/users/me", None, 401, *[200] * 9),
    row("PATCH", "/users/me", {"first_name": "x"}, 401, *[200] * 9),
    row("PATCH", "/users/me", {"role": "admin"}, 401, *[422] * 9),
    row("GET", "/users", None, 401, *[403] * 7, 200, 200),
    row("GET", "/users/{viewer}", None,
        401, 404, 200, 404, 404, 404, 404, 404, 200, 200),
    row("PATCH", "/users/{viewer}", {"role": "manager"},
        401, 404, 403, 404, 404, 404, 404, 404, 403, 200),
    row("PATCH", "/users/{viewer}", {"is_active": False},
        401, 404, 403, 404, 404, 404, 404, 404, 403, 200),
    row("GET", "/tasks", None, 401, *[200] * 9),
    row("GET", "/projects", None, 401, *[200] * 9),
]  # fmt: skip


def filled(scene: Scene, body: Any) -> Any:
    if body is None:
        return None
    return {
        name: int(scene.path(value)) if "{" in str(value) else value
        for name, value in body.items()
    }


@pytest.mark.parametrize(("method", "path", "body", "expected"), TABLE)
async def test_the_table(
    board: Board, method: str, path: str, body: Any, expected: Mapping[str, int]
) -> None:
    found = {}
    scene = await make_scene(board)
    is_read = method == "GET"
    for who in WHO:
        person = scene.people[who]
        answer = await person.ask(method, scene.path(path), filled(scene, body))
        found[who] = answer.status
        if not is_read and answer.status < 300:
            scene = await make_scene(board)  # it was used up

    assert found == expected


async def test_lists_show_what_each_may_see_and_no_more(board: Board) -> None:
    scene = await make_scene(board)
    sees_project = {"viewer", "member", "maintainer", "owner", "manager", "admin"}
    sees_task = sees_project | {"creator", "assignee"}

    for who in WHO[1:]:
        person = scene.people[who]
        tasks = (await person.get("/tasks")).json["tasks"]
        listed = (await person.get("/projects?limit=100")).json["projects"]
        shown = {project["id"] for project in listed}
        inboxes = {p["owner_id"] for p in listed if p["is_inbox"]}
        assert [task["id"] for task in tasks] == (
            [scene.task["id"]] if who in sees_task else []
        )
        assert (scene.project["id"] in shown) == (who in sees_project)
        everybody = {person.id for person in scene.people.values()} - {0}
        assert inboxes == (everybody if who == "admin" else {person.id})


async def test_managers_do_not_see_the_inboxes_of_others(board: Board) -> None:
    ada = await board.person()
    boss, admin = [await board.person(UserRole(r)) for r in ("manager", "admin")]
    task = await ada.task(title="Private")
    inbox, path = f"/projects/{task['project_id']}", f"/tasks/{task['id']}"

    hidden = [
        await boss.get(path),
        await boss.put(path, {"title": "x"}),
        await boss.delete(path),
        await boss.get(inbox),
        await boss.get(f"{inbox}/members"),
        await boss.post("/tasks", {"title": "x", "project_id": task["project_id"]}),
    ]

    assert [answer.status for answer in hidden] == [404] * 6
    assert (await boss.get("/tasks")).json["total"] == 0
    assert (await boss.get("/tasks?q=private")).json["total"] == 0
    assert (await boss.get(f"/tasks?project_id={task['project_id']}")).json[
        "total"
    ] == 0
    assert (await admin.get(path)).json == task
    assert (await admin.get("/tasks")).json["tasks"] == [task]


async def test_a_manager_sees_a_task_of_an_inbox_that_is_theirs_to_do(
    board: Board,
) -> None:
    ada, boss = await board.person(), await board.person(UserRole.MANAGER)
    task = await ada.task(assigned_to=boss.id)

    assert (await boss.get(f"/tasks/{task['id']}")).status == 200
    assert (await boss.get("/tasks")).json["tasks"] == [task]
    assert (await boss.get(f"/projects/{task['project_id']}")).status == 404


async def test_a_manager_has_an_inbox_like_everybody(board: Board) -> None:
    boss = await board.person(UserRole.MANAGER)

    task = await boss.task()

    assert (await boss.get("/tasks")).json["tasks"] == [task]
    listed = (await boss.get("/projects")).json["projects"]
    assert [project["id"] for project in listed] == [task["project_id"]]


async def test_nobody_ends_the_session_of_another(board: Board) -> None:
    ada, eve = await board.person(), await board.person(UserRole.ADMIN)
    listed = (await ada.get("/auth/sessions")).json["sessions"]

    answer = await eve.delete(f"/auth/sessions/{listed[0]['id']}")

    assert answer.refusal == (404, "session_not_found")
    assert (await ada.get("/users/me")).status == 200


async def test_a_task_does_not_move_to_another_project(board: Board) -> None:
    ada = await board.person()
    task, project = await ada.task(), await ada.project()

    moved = await ada.put(f"/tasks/{task['id']}", {"project_id": project["id"]})

    assert (moved.status, moved.pointers) == (422, ["/project_id"])
