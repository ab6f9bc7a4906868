"""Handlers of tasks: they parse, ask and dump; the rules are in `actors.domain`."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import web

from actors.domain.commands import CreateTask, DeleteTask, UpdateTask
from actors.domain.errors import ProjectNotFound, TaskNotFound
from actors.domain.events import Event, TaskEvent
from actors.domain.model import ProjectId, Task, TaskId
from actors.domain.state import ProjectState
from actors.project import ProjectActor
from server import keys
from server.idempotency import once
from server.representations import encode_task
from server.requests import (
    Stamp,
    answer,
    answer_list,
    caller_of,
    stamp_of,
    task_id_of,
    with_version,
)


async def list_tasks(request: web.Request) -> web.StreamResponse:
    """Answer with a page of the tasks that the caller may see."""
    listed = await request.app[keys.LISTS].tasks(
        caller_of(request), request[keys.QUERY], request.rel_url
    )
    return answer_list(request, listed)


async def create_task(request: web.Request) -> web.StreamResponse:
    """Make a task, in the caller's inbox if no project is named."""
    return await once(request, partial(_create, request), 201)


async def _create(request: web.Request, stamp: Stamp) -> web.Response:
    named: Mapping[str, Any] = request[keys.BODY]
    fields, people = dict(named), request.app[keys.PEOPLE]
    project_id = fields.pop("project_id", None)
    if project_id is None:
        project_id = await people.inbox(stamp["caller"].id)
    state = await _visible_state(request, ProjectId(project_id))
    task_id = await request.app[keys.IDS].task()
    command = CreateTask(task_id=task_id, **fields, **stamp)
    await people.require(fields.get("assigned_to"), "/assigned_to", state, command)
    done = await request.app[keys.REGISTRY].ask(ProjectId(project_id), command)
    task = _task_of(done.events[-1])
    location = f"/tasks/{task.id}"
    made = answer(request, encode_task(task), task.version, location=location)
    return with_version(made, task.project_id, done.version)


async def _visible_state(request: web.Request, project_id: ProjectId) -> ProjectState:
    """Refuse a project that the caller may not see: they learn nothing else of it."""
    try:
        state = (await request.app[keys.REGISTRY].get(project_id)).state
        visible = state.visible_project(caller_of(request))
    except ProjectNotFound:
        visible = None
    if visible is None:
        raise ProjectNotFound(pointer="/project_id")
    return state


async def get_task(request: web.Request) -> web.StreamResponse:
    """Show a task, from memory."""
    task_id = task_id_of(request)
    actor = await actor_of_task(request, task_id)
    return _show(request, actor, task_id)


async def update_task(request: web.Request) -> web.StreamResponse:
    """Change the fields that the body names."""
    return await once(request, partial(_update, request), 200)


async def assign_task(request: web.Request) -> web.StreamResponse:
    """Give a task to somebody, or to nobody."""
    return await once(request, partial(_update, request), 200)


async def delete_task(request: web.Request) -> web.StreamResponse:
    """Delete a task."""
    task_id = task_id_of(request)
    actor = await actor_of_task(request, task_id)
    done = await actor.ask(DeleteTask(task_id=task_id, **stamp_of(request)))
    return with_version(web.Response(status=204), actor.project_id, done.version)


async def _update(request: web.Request, stamp: Stamp) -> web.Response:
    task_id, fields = task_id_of(request), request[keys.BODY]
    actor = await actor_of_task(request, task_id)
    visible_task(request, actor, task_id)  # strangers learn nothing from what follows
    command = UpdateTask(task_id=task_id, **fields, **stamp)
    people, assignee = request.app[keys.PEOPLE], fields.get("assigned_to")
    await people.require(assignee, "/assigned_to", actor.state, command)
    done = await actor.ask(command)
    if not done.events:
        same = _show(request, actor, task_id)
        return with_version(same, actor.project_id, done.version)
    task = _task_of(done.events[-1])
    changed = answer(request, encode_task(task), task.version)
    return with_version(changed, task.project_id, done.version)


async def actor_of_task(request: web.Request, task_id: TaskId) -> ProjectActor:
    """Find the actor of the task's project; raises TaskNotFound."""
    registry = request.app[keys.REGISTRY]
    try:
        return await registry.get(await registry.locate(task_id))
    except ProjectNotFound:
        raise TaskNotFound from None


def _show(request: web.Request, actor: ProjectActor, task_id: TaskId) -> web.Response:
    task = visible_task(request, actor, task_id)
    return answer(request, encode_task(task), task.version)


def visible_task(request: web.Request, actor: ProjectActor, task_id: TaskId) -> Task:
    """Find the task; raises TaskNotFound for who may not see it, too."""
    task = actor.state.visible_task(caller_of(request), task_id)
    if task is None:
        raise TaskNotFound
    return task


def _task_of(event: Event) -> Task:
    if not isinstance(event, TaskEvent):
        raise TypeError(event.type)
    return event.task
