"""Who may do what: the table of the contract, route by route, asked over HTTP."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from server.routes import ROUTES
from tests.running_app import running
from tests.scenes import Cast, Scene, make_cast, make_scene

# A request, and below it what it is about. Without another word that is something of
# a colleague's, in a project that is neither archived nor anybody's inbox. What a
# caller may not see is 404, what they may see but not do is 403, and 401 is for those
# who are nobody. The status of a WebSocket is 101, or the code it is closed with.
TABLE = """
                               anonymous stranger viewer member maintainer owner assignee manager admin disabled

POST /auth/register {"email": "{number}@example.org", "username": "number{number}", "password": "{password}"}
  a new account                   201      201     201    201      201     201     201      201    201    201
POST /auth/login {"username": "{username}", "password": "{password}"}
  own account                     401      200     200    200      200     200     200      200    200    401
POST /auth/refresh {"refresh_token": "{refresh_token}"}
  own session                     401      200     200    200      200     200     200      200    200    401
POST /auth/logout
  own session                     401      204     204    204      204     204     204      204    204    401
GET /auth/sessions
  own account                     401      200     200    200      200     200     200      200    200    401
DELETE /auth/sessions/{session_id}
  own session                     401      204     204    204      204     204     204      204    204    401
  another's session               401      404     404    404      404     404     404      404    404    401

                               anonymous stranger viewer member maintainer owner assignee manager admin disabled

GET /users
  everybody                       401      403     403    403      403     403     403      200    200    401
GET /users/me
  own account                     401      200     200    200      200     200     200      200    200    401
PATCH /users/me {"first_name": "x"}
  own account                     401      200     200    200      200     200     200      200    200    401
PATCH /users/me {"role": "admin"}
  own account                     401      422     422    422      422     422     422      422    422    401
POST /users/me/password {"old_password": "{password}", "new_password": "{password}, another"}
  own account                     401      204     204    204      204     204     204      204    204    401
GET /users/{user_id}
  own account                     401      200     200    200      200     200     200      200    200    401
  another's account               401      404     404    404      404     404     404      200    200    401
PATCH /users/{user_id} {"first_name": "x"}
  own account                     401      403     403    403      403     403     403      403    200    401
  another's account               401      404     404    404      404     404     404      403    200    401
PATCH /users/{user_id} {"role": "manager"}
  another's account               401      404     404    404      404     404     404      403    200    401
PATCH /users/{user_id} {"is_active": false}
  another's account               401      404     404    404      404     404     404      403    200    401

                               anonymous stranger viewer member maintainer owner assignee manager admin disabled

GET /tasks
  those that one sees             401      200     200    200      200     200     200      200    200    401
POST /tasks {"title": "x"}
  own inbox                       401      201     201    201      201     201     201      201    201    401
POST /tasks {"title": "x", "project_id": {project_id}}
  a project                       401      404     403    201      201     201     404      201    201    401
  a project, archived             401      404     403    409      409     409     404      409    409    401
  a project, own task             401      404     403    201      201     201     404      201    201    401
  another's inbox                 401      404     404    404      404     404     404      404    201    401
GET /tasks/{task_id}
  a task                          401      404     200    200      200     200     200      200    200    401
  a task, archived                401      404     200    200      200     200     200      200    200    401
  a task, deleted                 401      404     404    404      404     404     404      404    404    401
  own task                        401      200     200    200      200     200     200      200    200    401
  own task, own inbox             401      200     200    200      200     200     200      200    200    401
  a task, another's inbox         401      404     404    404      404     404     200      404    200    401
PUT /tasks/{task_id} {"title": "x"}
  a task                          401      404     403    200      200     200     200      200    200    401
  a task, archived                401      404     403    409      409     409     409      409    409    401
  a task, deleted                 401      404     404    404      404     404     404      404    404    401
  own task                        401      200     200    200      200     200     200      200    200    401
  own task, archived              401      409     409    409      409     409     409      409    409    401
  own task, own inbox             401      200     200    200      200     200     200      200    200    401
  a task, another's inbox         401      404     404    404      404     404     200      404    200    401
PATCH /tasks/{task_id} {"status": "completed"}
  a task                          401      404     403    200      200     200     200      200    200    401
  a task, archived                401      404     403    409      409     409     409      409    409    401
  own task                        401      200     200    200      200     200     200      200    200    401
  a task, another's inbox         401      404     404    404      404     404     200      404    200    401
POST /tasks/{task_id}/assign {"assigned_to": {newcomer}}
  a task                          401      404     403    200      200     200     200      200    200    401
  a task, archived                401      404     403    409      409     409     409      409    409    401
  own task                        401      200     200    200      200     200     200      200    200    401
  a task, another's inbox         401      404     404    404      404     404     200      404    200    401
DELETE /tasks/{task_id}
  a task                          401      404     403    403      204     204     403      204    204    401
  a task, archived                401      404     403    403      409     409     403      409    409    401
  own task                        401      204     204    204      204     204     204      204    204    401
  own task, archived              401      409     409    409      409     409     409      409    409    401
  own task, own inbox             401      204     204    204      204     204     204      204    204    401
  a task, another's inbox         401      404     404    404      404     404     403      404    204    401
GET /tasks/{task_id}/history
  a task                          401      404     200    200      200     200     200      200    200    401
  own task                        401      200     200    200      200     200     200      200    200    401
  a task, another's inbox         401      404     404    404      404     404     200      404    200    401

                               anonymous stranger viewer member maintainer owner assignee manager admin disabled

GET /tasks/{task_id}/comments
  a task                          401      404     200    200      200     200     200      200    200    401
  own task                        401      200     200    200      200     200     200      200    200    401
  a task, another's inbox         401      404     404    404      404     404     200      404    200    401
POST /tasks/{task_id}/comments {"comment": "x"}
  a task                          401      404     403    201      201     201     201      201    201    401
  a task, archived                401      404     403    409      409     409     409      409    409    401
  own task                        401      201     201    201      201     201     201      201    201    401
  a task, another's inbox         401      404     404    404      404     404     201      404    201    401
GET /tasks/{task_id}/comments/{comment_id}
  a comment                       401      404     200    200      200     200     200      200    200    401
  a comment, own task             401      200     200    200      200     200     200      200    200    401
  a comment, another's inbox      401      404     404    404      404     404     200      404    200    401
  own comment                     401      404     200    200      200     200     200      200    200    401
PATCH /tasks/{task_id}/comments/{comment_id} {"comment": "x"}
  a comment                       401      404     403    403      403     403     403      403    403    401
  a comment, own task             401      403     403    403      403     403     403      403    403    401
  a comment, another's inbox      401      404     404    404      404     404     403      404    403    401
  own comment                     401      404     200    200      200     200     200      200    200    401
  own comment, archived           401      404     409    409      409     409     409      409    409    401
DELETE /tasks/{task_id}/comments/{comment_id}
  a comment                       401      404     403    403      204     204     403      204    204    401
  a comment, archived             401      404     403    403      409     409     403      409    409    401
  a comment, own task             401      403     403    403      204     204     403      204    204    401
  a comment, another's inbox      401      404     404    404      404     404     403      404    204    401
  own comment                     401      404     204    204      204     204     204      204    204    401
  own comment, archived           401      404     409    409      409     409     409      409    409    401

                               anonymous stranger viewer member maintainer owner assignee manager admin disabled

GET /projects
  those that one sees             401      200     200    200      200     200     200      200    200    401
POST /projects {"name": "x"}
  a new project                   401      201     201    201      201     201     201      201    201    401
GET /projects/{project_id}
  a project                       401      404     200    200      200     200     404      200    200    401
  a project, archived             401      404     200    200      200     200     404      200    200    401
  a project, own task             401      404     200    200      200     200     404      200    200    401
  own inbox                       401      200     200    200      200     200     200      200    200    401
  another's inbox                 401      404     404    404      404     404     404      404    200    401
GET /projects/{project_id}/events
  a project                       401      404     200    200      200     200     404      200    200    401
  a project, own task             401      404     200    200      200     200     404      200    200    401
  another's inbox                 401      404     404    404      404     404     404      404    200    401
PUT /projects/{project_id} {"name": "x"}
  a project                       401      404     403    403      200     200     404      403    200    401
  a project, archived             401      404     403    403      409     409     404      403    409    401
  own inbox                       401      200     200    200      200     200     200      200    200    401
  another's inbox                 401      404     404    404      404     404     404      404    200    401
PUT /projects/{project_id} {"status": "archived"}
  a project                       401      404     403    403      200     200     404      403    200    401
  own inbox                       401      409     409    409      409     409     409      409    409    401
PUT /projects/{project_id} {"status": "active"}
  a project, archived             401      404     403    403      200     200     404      403    200    401
PUT /projects/{project_id} {"owner_id": {newcomer}}
  a project                       401      404     403    403      403     200     404      403    200    401
  a project, archived             401      404     403    403      403     409     404      403    409    401
  own inbox                       401      409     409    409      409     409     409      409    409    401
PATCH /projects/{project_id} {"name": "x"}
  a project                       401      404     403    403      200     200     404      403    200    401
  a project, archived             401      404     403    403      409     409     404      403    409    401
  own inbox                       401      200     200    200      200     200     200      200    200    401
  another's inbox                 401      404     404    404      404     404     404      404    200    401
PATCH /projects/{project_id} {"owner_id": {newcomer}}
  a project                       401      404     403    403      403     200     404      403    200    401
DELETE /projects/{project_id}
  a project                       401      404     403    403      403     204     404      403    204    401
  a project, archived             401      404     403    403      403     204     404      403    204    401
  own inbox                       401      409     409    409      409     409     409      409    409    401
  another's inbox                 401      404     404    404      404     404     404      404    409    401

                               anonymous stranger viewer member maintainer owner assignee manager admin disabled

GET /projects/{project_id}/members
  a project                       401      404     200    200      200     200     404      200    200    401
  a project, own task             401      404     200    200      200     200     404      200    200    401
  another's inbox                 401      404     404    404      404     404     404      404    200    401
PUT /projects/{project_id}/members/{user_id} {"role": "maintainer"}
  a newcomer                      401      404     403    403      200     200     404      200    200    401
  a newcomer, archived            401      404     403    403      409     409     404      409    409    401
  a newcomer, own inbox           401      409     409    409      409     409     409      409    409    401
  a newcomer, another's inbox     401      404     404    404      404     404     404      404    409    401
  a member                        401      404     403    403      200     200     404      200    200    401
  the caller                      401      404     403    403      200     409     404      200    200    401
  the owner                       401      404     403    403      409     409     404      409    409    401
DELETE /projects/{project_id}/members/{user_id}
  a newcomer                      401      404     403    403      404     404     404      404    404    401
  a member                        401      404     403    403      204     204     404      204    204    401
  a member, archived              401      404     403    403      409     409     404      409    409    401
  the caller                      401      404     204    204      204     409     404      404    404    401
  the owner                       401      404     403    403      409     409     404      409    409    401

                               anonymous stranger viewer member maintainer owner assignee manager admin disabled

POST /ws/tickets
  own session                     401      201     201    201      201     201     201      201    201    401
GET /ws
  own session                    4001      101     101    101      101     101     101      101    101   4001
GET /
  no account                      200      200     200    200      200     200     200      200    200    200
GET /health
  no account                      200      200     200    200      200     200     200      200    200    200
GET /health/live
  no account                      200      200     200    200      200     200     200      200    200    200
GET /health/ready
  no account                      200      200     200    200      200     200     200      200    200    200
GET /metrics
  no account                      200      200     200    200      200     200     200      200    200    200
GET /openapi.json
  no account                      200      200     200    200      200     200     200      200    200    200
GET /asyncapi.json
  no account                      200      200     200    200      200     200     200      200    200    200
GET /docs
  no account                      200      200     200    200      200     200     200      200    200    200
GET /docs/{name}
  no account                      200      200     200    200      200     200     200      200    200    200
"""  # noqa: E501 (a table)


class Row(NamedTuple):
    method: str
    path: str
    body: str
    about: str
    statuses: dict[str, int]


def rows() -> Iterator[Row]:
    heads, callers = [""], []
    for line in TABLE.splitlines():
        if line.lstrip().startswith("anonymous"):
            callers = line.split()
        elif not line.startswith(" "):
            heads = [*line.split(" ", 2), ""]
        else:
            about, *statuses = re.split(r" {2,}", line.strip())
            expected = dict(zip(callers, map(int, statuses), strict=True))
            yield Row(*heads[:3], about, expected)


ROWS = tuple(rows())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast(module_database_url: str, module_redis_url: str) -> AsyncIterator[Cast]:
    async with running(module_database_url, module_redis_url) as board:
        yield await make_cast(board)


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    routes = {f"{route.method} {route.path}" for route in ROUTES}

    assert {f"{row.method} {row.path}" for row in ROWS} == routes


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:4]))
async def test_the_table(cast: Cast, row: Row) -> None:
    words = set(row.about.split(", "))
    needs = set(re.findall(r"{(\w+)}", row.path + row.body))
    found = {}
    for who in row.statuses:
        scene = await make_scene(cast, who, words, needs)
        found[who] = await status(cast, scene, row)

    assert found == row.statuses


async def status(cast: Cast, scene: Scene, row: Row) -> int:
    path = scene.filled(row.path)
    if row.path == "/ws":
        return await status_of_socket(cast, scene)
    body = json.loads(scene.filled(row.body)) if row.body else None
    answer = await scene.caller.ask(row.method, path, body)
    if row.method == "GET":
        head = await scene.caller.ask("HEAD", path)
        assert (head.status, head.body) == (answer.status, b"")
    return answer.status


async def status_of_socket(cast: Cast, scene: Scene) -> int:
    """Tell how it ends to open a socket and say something."""
    listener = await cast.board.connect(headers=scene.caller.headers)
    await listener.ws.send_str("ping")
    received = await listener.ws.receive(timeout=5)
    await listener.ws.close()
    return 101 if received.type is aiohttp.WSMsgType.TEXT else received.data
