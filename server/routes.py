"""The one table of routes: it feeds the router, the guard and the OpenAPI document."""

import re
from collections.abc import Iterable

from aiohttp import web

from actors.domain.permissions import Action
from server import (
    answers,
    auth,
    comments,
    docs,
    health,
    log,
    metrics,
    openapi,
    projects,
    schemas,
    tasks,
    users,
    websocket,
)
from server.keys import DOCUMENT, ENDPOINTS
from server.middlewares import Endpoint, complete, identify
from server.problems import Problem, problem_response
from server.route import Reply, Route
from server.validation import JSON, MERGE_PATCH, BodyReader, QueryReader

_READ = ("If-None-Match",)
_WRITE = ("If-Match", "Idempotency-Key", "Prefer")
_CREATE = ("Idempotency-Key", "Prefer")
_VISIT = (Action.VISIT,)
_OWN = (Action.USE_OWN_ACCOUNT,)

_UNCHANGED = Reply(description="It still has that tag.", headers=("ETag",))
_DONE = Reply(description="Done; there is nothing to say.")
_PAIR = Reply(
    description="Two tokens.", schema=answers.TokenPair, headers=("Cache-Control",)
)
_TASK = Reply(description="The task.", schema=answers.Task, headers=("ETag",))
_COMMENT = Reply(description="The comment.", schema=answers.Comment, headers=("ETag",))
_PROJECT = Reply(description="The project.", schema=answers.Project, headers=("ETag",))

AUTH = (
    Route(
        method="POST",
        path="/auth/register",
        handler=auth.register,
        actions=_VISIT,
        summary="Make an account",
        tag="auth",
        body=schemas.Register,
        example={
            "email": "ada@example.com",
            "username": "ada",
            "password": "correct horse battery",
            "first_name": "Ada",
        },
        replies={
            201: Reply(
                description="The account, with an inbox project of its own.",
                schema=answers.User,
                headers=("Location",),
            )
        },
        problems=(409,),
    ),
    Route(
        method="POST",
        path="/auth/login",
        handler=auth.login,
        actions=_VISIT,
        summary="Log in",
        tag="auth",
        body=schemas.Login,
        example={"email": "ada@example.com", "password": "correct horse battery"},
        replies={200: _PAIR},
        problems=(401,),
    ),
    Route(
        method="POST",
        path="/auth/refresh",
        handler=auth.refresh,
        actions=_VISIT,
        summary="Get a new pair for a refresh token, in the body or as Bearer",
        tag="auth",
        body=schemas.Refresh,
        is_body_required=False,
        example={"refresh_token": "q9Jm3…"},
        replies={200: _PAIR},
        problems=(401,),
    ),
    Route(
        method="POST",
        path="/auth/logout",
        handler=auth.logout,
        actions=_OWN,
        summary="End this session",
        tag="auth",
        replies={204: _DONE},
    ),
    Route(
        method="GET",
        path="/auth/sessions",
        handler=auth.list_sessions,
        actions=_OWN,
        summary="List your sessions",
        tag="auth",
        query=schemas.OffsetQuery,
        replies={200: Reply(description="A page of them.", schema=answers.SessionList)},
    ),
    Route(
        method="DELETE",
        path="/auth/sessions/{session_id}",
        handler=auth.end_session,
        actions=_OWN,
        summary="End one of your sessions",
        tag="auth",
        replies={204: _DONE},
    ),
)

_USER = Reply(description="The user.", schema=answers.User, headers=("ETag",))

USERS = (
    Route(
        method="GET",
        path="/users/me",
        handler=users.get_me,
        actions=_OWN,
        summary="Show your account",
        tag="users",
        request_headers=_READ,
        replies={200: _USER, 304: _UNCHANGED},
    ),
    Route(
        method="PATCH",
        path="/users/me",
        handler=users.update_me,
        actions=_OWN,
        summary="Change your names or your address",
        tag="users",
        body=schemas.MeUpdate,
        example={"first_name": "Ada", "last_name": "Lovelace"},
        request_headers=("If-Match", "Prefer"),
        replies={200: _USER},
        problems=(409,),
    ),
    Route(
        method="POST",
        path="/users/me/password",
        handler=users.change_password,
        actions=_OWN,
        summary="Change your password, and end your other sessions",
        tag="users",
        body=schemas.PasswordChange,
        example={
            "old_password": "correct horse battery",
            "new_password": "another horse, another battery",
        },
        replies={204: _DONE},
        problems=(409,),
    ),
    Route(
        method="GET",
        path="/users",
        handler=users.list_users,
        actions=(Action.LIST_USERS,),
        summary="List the users, the newest first",
        tag="users",
        query=schemas.UserListQuery,
        request_headers=_READ,
        replies={
            200: Reply(
                description="A page of users.",
                schema=answers.UserList,
                headers=("ETag", "Link"),
            ),
            304: _UNCHANGED,
        },
        problems=(400, 403),
    ),
    Route(
        method="GET",
        path="/users/{user_id}",
        handler=users.get_user,
        actions=(Action.SEE_USER,),
        summary="Show a user",
        tag="users",
        request_headers=_READ,
        replies={200: _USER, 304: _UNCHANGED},
    ),
    Route(
        method="PATCH",
        path="/users/{user_id}",
        handler=users.update_user,
        actions=(Action.CHANGE_USER,),
        summary="Change a user's role, names, or whether they may log in",
        tag="users",
        body=schemas.UserUpdate,
        example={"role": "manager"},
        request_headers=("If-Match", "Prefer"),
        replies={200: _USER},
        problems=(403, 409),
    ),
)

TASKS = (
    Route(
        method="GET",
        path="/tasks",
        handler=tasks.list_tasks,
        actions=(Action.LIST_VISIBLE,),
        summary="List the tasks that you may see, the newest first",
        tag="tasks",
        query=schemas.TaskListQuery,
        request_headers=_READ,
        replies={
            200: Reply(
                description="A page of tasks.",
                schema=answers.TaskList,
                headers=("ETag", "Link"),
            ),
            304: _UNCHANGED,
        },
        problems=(400,),
    ),
    Route(
        method="POST",
        path="/tasks",
        handler=tasks.create_task,
        actions=(Action.CREATE_TASK,),
        summary="Create a task",
        tag="tasks",
        body=schemas.TaskCreate,
        example={"title": "Write the announcement", "priority": "high"},
        request_headers=_CREATE,
        replies={
            201: Reply(
                description="The new task.",
                schema=answers.Task,
                headers=("ETag", "Location", "Idempotency-Replayed"),
            )
        },
        problems=(403, 404, 409),
    ),
    Route(
        method="GET",
        path="/tasks/{task_id}",
        handler=tasks.get_task,
        actions=(Action.SEE_TASK,),
        summary="Show a task",
        tag="tasks",
        request_headers=_READ,
        replies={200: _TASK, 304: _UNCHANGED},
    ),
    Route(
        method="PUT",
        path="/tasks/{task_id}",
        handler=tasks.update_task,
        actions=(Action.CHANGE_TASK,),
        summary="Change the fields of a task that you name",
        tag="tasks",
        body=schemas.TaskUpdate,
        example={"status": "completed"},
        request_headers=_WRITE,
        replies={200: _TASK},
        problems=(403, 409),
    ),
    Route(
        method="PATCH",
        path="/tasks/{task_id}",
        handler=tasks.update_task,
        name="patch_task",
        actions=(Action.CHANGE_TASK,),
        summary="Merge a patch into a task: null clears a field",
        tag="tasks",
        body=schemas.TaskUpdate,
        example={"status": "completed", "due_date": None},
        request_headers=_WRITE,
        replies={200: _TASK},
        problems=(403, 409),
    ),
    Route(
        method="DELETE",
        path="/tasks/{task_id}",
        handler=tasks.delete_task,
        actions=(Action.DELETE_TASK,),
        summary="Delete a task",
        tag="tasks",
        request_headers=("If-Match",),
        replies={204: _DONE},
        problems=(403, 409),
    ),
    Route(
        method="POST",
        path="/tasks/{task_id}/assign",
        handler=tasks.assign_task,
        actions=(Action.CHANGE_TASK,),
        summary="Give a task to somebody, or to nobody",
        tag="tasks",
        body=schemas.TaskAssign,
        example={"assigned_to": 7},
        request_headers=_WRITE,
        replies={200: _TASK},
        problems=(403, 409),
    ),
)

COMMENTS = (
    Route(
        method="GET",
        path="/tasks/{task_id}/comments",
        handler=comments.list_comments,
        actions=(Action.SEE_TASK,),
        summary="List the comments on a task, the oldest first",
        tag="comments",
        query=schemas.PageQuery,
        request_headers=_READ,
        replies={
            200: Reply(
                description="A page of comments.",
                schema=answers.CommentList,
                headers=("ETag", "Link"),
            ),
            304: _UNCHANGED,
        },
        problems=(400,),
    ),
    Route(
        method="POST",
        path="/tasks/{task_id}/comments",
        handler=comments.add_comment,
        actions=(Action.ADD_COMMENT,),
        summary="Comment on a task; `If-Match` names versions of the task",
        tag="comments",
        body=schemas.CommentAdd,
        example={"comment": "The draft is in the shared folder."},
        request_headers=_WRITE,
        replies={
            201: Reply(
                description="The new comment.",
                schema=answers.Comment,
                headers=("ETag", "Location", "Idempotency-Replayed"),
            )
        },
        problems=(403, 409),
    ),
    Route(
        method="GET",
        path="/tasks/{task_id}/comments/{comment_id}",
        handler=comments.get_comment,
        actions=(Action.SEE_TASK,),
        summary="Show a comment",
        tag="comments",
        request_headers=_READ,
        replies={200: _COMMENT, 304: _UNCHANGED},
    ),
    Route(
        method="PATCH",
        path="/tasks/{task_id}/comments/{comment_id}",
        handler=comments.update_comment,
        actions=(Action.CHANGE_COMMENT,),
        summary="Put your own comment in other words",
        tag="comments",
        body=schemas.CommentUpdate,
        example={"comment": "The second draft is in the shared folder."},
        request_headers=_WRITE,
        replies={200: _COMMENT},
        problems=(403, 409),
    ),
    Route(
        method="DELETE",
        path="/tasks/{task_id}/comments/{comment_id}",
        handler=comments.delete_comment,
        actions=(Action.DELETE_COMMENT,),
        summary="Delete a comment: your own, or as a maintainer any",
        tag="comments",
        request_headers=("If-Match",),
        replies={204: _DONE},
        problems=(403, 409),
    ),
)

LOGS = (
    Route(
        method="GET",
        path="/projects/{project_id}/events",
        handler=log.list_events,
        actions=(Action.SEE_PROJECT,),
        summary="Read what happened in a project after a version, the oldest first",
        tag="projects",
        query=schemas.LogQuery,
        request_headers=_READ,
        replies={
            200: Reply(
                description="Events of consecutive versions.",
                schema=answers.EventLog,
                headers=("ETag", "Link"),
            ),
            304: _UNCHANGED,
        },
        problems=(410,),
    ),
    Route(
        method="GET",
        path="/tasks/{task_id}/history",
        handler=log.list_history,
        actions=(Action.SEE_TASK,),
        summary="Tell who changed what of a task, and when, the oldest first",
        tag="tasks",
        query=schemas.PageQuery,
        request_headers=_READ,
        replies={
            200: Reply(
                description="A page of the task's events.",
                schema=answers.History,
                headers=("ETag", "Link"),
            ),
            304: _UNCHANGED,
        },
        problems=(400,),
    ),
)

PROJECTS = (
    Route(
        method="GET",
        path="/projects",
        handler=projects.list_projects,
        actions=(Action.LIST_VISIBLE,),
        summary="List the projects that you may see, the newest first",
        tag="projects",
        query=schemas.ProjectListQuery,
        request_headers=_READ,
        replies={
            200: Reply(
                description="A page of projects.",
                schema=answers.ProjectList,
                headers=("ETag", "Link"),
            ),
            304: _UNCHANGED,
        },
        problems=(400,),
    ),
    Route(
        method="POST",
        path="/projects",
        handler=projects.create_project,
        actions=(Action.CREATE_PROJECT,),
        summary="Create a project",
        tag="projects",
        body=schemas.ProjectCreate,
        example={"name": "Launch", "description": "Everything until the first of May"},
        request_headers=_CREATE,
        replies={
            201: Reply(
                description="The new project; it is yours.",
                schema=answers.Project,
                headers=("ETag", "Location", "Idempotency-Replayed"),
            )
        },
    ),
    Route(
        method="GET",
        path="/projects/{project_id}",
        handler=projects.get_project,
        actions=(Action.SEE_PROJECT,),
        summary="Show a project",
        tag="projects",
        request_headers=_READ,
        replies={200: _PROJECT, 304: _UNCHANGED},
    ),
    Route(
        method="PUT",
        path="/projects/{project_id}",
        handler=projects.update_project,
        actions=(Action.CHANGE_PROJECT, Action.HAND_OVER_PROJECT),
        summary="Change the fields of a project that you name, its owner included",
        tag="projects",
        body=schemas.ProjectUpdate,
        example={"status": "archived"},
        request_headers=_WRITE,
        replies={200: _PROJECT},
        problems=(403, 409),
    ),
    Route(
        method="PATCH",
        path="/projects/{project_id}",
        handler=projects.update_project,
        name="patch_project",
        actions=(Action.CHANGE_PROJECT, Action.HAND_OVER_PROJECT),
        summary="Merge a patch into a project: null clears a field",
        tag="projects",
        body=schemas.ProjectUpdate,
        example={"name": "Launch", "description": None},
        request_headers=_WRITE,
        replies={200: _PROJECT},
        problems=(403, 409),
    ),
    Route(
        method="DELETE",
        path="/projects/{project_id}",
        handler=projects.delete_project,
        actions=(Action.DELETE_PROJECT,),
        summary="Delete a project and all of its tasks",
        tag="projects",
        request_headers=("If-Match",),
        replies={204: _DONE},
        problems=(403, 409),
    ),
)

MEMBERS = (
    Route(
        method="GET",
        path="/projects/{project_id}/members",
        handler=projects.list_members,
        actions=(Action.SEE_PROJECT,),
        summary="List the members of a project",
        tag="projects",
        replies={
            200: Reply(description="All of them.", schema=answers.MemberList),
        },
    ),
    Route(
        method="PUT",
        path="/projects/{project_id}/members/{user_id}",
        handler=projects.put_member,
        actions=(Action.MANAGE_MEMBERS,),
        summary="Add a member, or change the role of one",
        tag="projects",
        body=schemas.MemberPut,
        example={"role": "maintainer"},
        request_headers=_WRITE,
        replies={
            200: Reply(
                description="The member.", schema=answers.Member, headers=("ETag",)
            )
        },
        problems=(403, 409),
    ),
    Route(
        method="DELETE",
        path="/projects/{project_id}/members/{user_id}",
        handler=projects.remove_member,
        actions=(Action.MANAGE_MEMBERS, Action.LEAVE_PROJECT),
        summary="Remove a member, or leave",
        tag="projects",
        request_headers=("If-Match",),
        replies={204: _DONE},
        problems=(403, 409),
    ),
)

LIVE = (
    Route(
        method="POST",
        path="/ws/tickets",
        handler=auth.create_ticket,
        actions=_OWN,
        summary="Get a ticket that opens one WebSocket",
        tag="live",
        replies={
            201: Reply(
                description="The ticket.",
                schema=answers.Ticket,
                headers=("Cache-Control",),
            )
        },
    ),
    Route(
        method="GET",
        path="/ws",
        handler=websocket.connect,
        actions=_VISIT,
        summary="Open a WebSocket for the events that you may see",
        tag="live",
        query=schemas.WebSocketQuery,
        replies={101: Reply(description="It is a WebSocket from here on.")},
        problems=(400, 403, 503),
        upgrades=True,
    ),
)

_HEALTH = Reply(description="It can serve.", schema=answers.Health)
_SICK = Reply(
    description="It cannot serve.", schema=answers.Health, headers=("Retry-After",)
)

OPERATIONS = (
    Route(
        method="GET",
        path="/health",
        handler=health.get_health,
        actions=_VISIT,
        summary="Tell how the server and what it needs are",
        tag="operations",
        query=schemas.AnyQuery,
        replies={200: _HEALTH, 503: _SICK},
    ),
    Route(
        method="GET",
        path="/health/live",
        handler=health.get_liveness,
        actions=_VISIT,
        summary="Tell whether the process is alive",
        tag="operations",
        query=schemas.AnyQuery,
        replies={200: Reply(description="It is.", schema=answers.Liveness)},
    ),
    Route(
        method="GET",
        path="/health/ready",
        handler=health.get_readiness,
        actions=_VISIT,
        summary="Tell whether requests should be sent here",
        tag="operations",
        query=schemas.AnyQuery,
        replies={200: _HEALTH, 503: _SICK},
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=metrics.get_metrics,
        actions=_VISIT,
        summary="Show the numbers, to who has the monitoring token if there is one",
        tag="operations",
        query=schemas.AnyQuery,
        replies={200: Reply(description="The numbers.", media_type="text/plain")},
        problems=(401,),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=docs.get_document,
        actions=_VISIT,
        summary="Show this document",
        tag="operations",
        query=schemas.AnyQuery,
        request_headers=_READ,
        replies={
            200: Reply(
                description="OpenAPI 3.1.", schema=answers.Document, headers=("ETag",)
            ),
            304: _UNCHANGED,
        },
    ),
    Route(
        method="GET",
        path="/docs",
        handler=docs.get_page,
        actions=_VISIT,
        summary="Show this document as a page",
        tag="operations",
        query=schemas.AnyQuery,
        request_headers=_READ,
        replies={
            200: Reply(
                description="A page.", media_type="text/html", headers=("ETag",)
            ),
            304: _UNCHANGED,
        },
    ),
    Route(
        method="GET",
        path="/docs/{name}",
        path_choices=tuple(docs.ASSETS),
        handler=docs.get_asset,
        actions=_VISIT,
        summary="Give a file that the page needs",
        tag="operations",
        query=schemas.AnyQuery,
        request_headers=_READ,
        replies={
            200: Reply(description="The file.", media_type="*/*", headers=("ETag",)),
            304: _UNCHANGED,
        },
        problems=(404,),
    ),
)

ROUTES = (
    *AUTH,
    *USERS,
    *TASKS,
    *COMMENTS,
    *PROJECTS,
    *MEMBERS,
    *LOGS,
    *LIVE,
    *OPERATIONS,
)


def register(app: web.Application, routes: Iterable[Route] = ROUTES) -> None:
    """Add the routes, tell the middlewares about them, and keep their document.

    A GET answers HEAD as well. `app[ENDPOINTS]` is the mapping that the middlewares
    were made with.
    """
    routes = tuple(routes)
    resources: dict[str, web.Resource] = {}
    for route in routes:
        resource = resources.get(route.path)
        if resource is None:
            resource = resources[route.path] = app.router.add_resource(route.path)
        for method in _methods(route):
            added = resource.add_route(method, route.handler, expect_handler=_expect)
            app[ENDPOINTS][added] = _endpoint(route, method)
    app[DOCUMENT] = openapi.rendered(routes)


def _methods(route: Route) -> tuple[str, ...]:
    if route.method == "GET" and not route.upgrades:
        return ("GET", "HEAD")
    return (route.method,)


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Let a waiting client go on; aiohttp's own refusal would be no problem document.

    It runs before the middlewares.
    """
    if request.headers.get("Expect", "").lower() != "100-continue":
        sentence = "Only 100-continue can be expected."
        request_id = identify(request)
        problem = Problem(417, "expectation_failed", sentence)
        response = problem_response(request, problem)
        complete(response, request_id)
        return response
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # what counts is the answer's own beginning
    return None


def _endpoint(route: Route, method: str) -> Endpoint:
    return Endpoint(
        method=method,
        template=route.path,
        is_public=route.is_public,
        upgrades=route.upgrades,
        id_names=tuple(re.findall(r"{(\w+_id)}", route.path)),
        query=QueryReader(route.query()),
        body=_body_reader(route),
    )


def _body_reader(route: Route) -> BodyReader | None:
    if route.body is None:
        return None
    media_types = {JSON, MERGE_PATCH} if route.method == "PATCH" else {JSON}
    return BodyReader(
        schema=route.body(),
        media_types=frozenset(media_types),
        is_required=route.is_body_required,
    )
