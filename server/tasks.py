"""Handlers of tasks: they parse, ask and dump; the rules are in `actors.domain`."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from actors.domain.commands import UNSET, CreateTask, DeleteTask, UpdateTask
from actors.domain.errors import ProjectNotFound, TaskNotFound
from actors.domain.events import Event, TaskEvent
from actors.domain.model import ProjectId, Task, TaskId
from actors.project import ProjectActor
from server import keys
from server.representations import encode_task
from server.requests import (
    Stamp,
    answer,
    answer_list,
    caller_of,
    once,
    stamp_of,
    task_id_of,
)


async def list_tasks(request: web.Request) -> web.StreamResponse:
    """Answer with a page of the tasks that the caller may see."""
    listed = await request.app[keys.LISTS].tasks(
        caller_of(request), request[keys.QUERY], request.rel_url
    )
    return answer_list(request, listed)


async def create_task(request: web.Request) -> web.StreamResponse:
    """Make a task, in the caller's inbox if no project is named."""
    named: Mapping[str, Any] = request[keys.BODY]
    body = dict(named)
    project_id = body.pop("project_id", None)
    if project_id is None:
        project_id = await request.app[keys.PEOPLE].inbox(caller_of(request).id)
    await request.app[keys.PEOPLE].require(body.get("assigned_to"), "/assigned_to")
    task_id = await request.app[keys.IDS].task()

    async def act(stamp: Stamp) -> web.Response:
        command = CreateTask(task_id=task_id, **body, **stamp)
        registry = request.app[keys.REGISTRY]
        try:
            done = await registry.ask(ProjectId(project_id), command)
        except ProjectNotFound:
            raise ProjectNotFound(pointer="/project_id") from None
        task = _task_of(done.events[-1])
        location = f"/tasks/{task.id}"
        return answer(request, encode_task(task), task.version, location=location)

    return await once(request, act, 201)


async def get_task(request: web.Request) -> web.StreamResponse:
    """Show a task, from memory."""
    task_id = task_id_of(request)
    actor = await _actor_of(request, task_id)
    return _show(request, actor, task_id)


async def update_task(request: web.Request) -> web.StreamResponse:
    """Change the fields that the body names."""
    body = request[keys.BODY]
    return await _update(request, dict(body))


async def assign_task(request: web.Request) -> web.StreamResponse:
    """Give a task to somebody, or to nobody."""
    return await _update(request, {"assigned_to": request[keys.BODY]["assigned_to"]})


async def delete_task(request: web.Request) -> web.StreamResponse:
    """Delete a task."""
    task_id = task_id_of(request)
    actor = await _actor_of(request, task_id)
    await actor.ask(DeleteTask(task_id=task_id, **stamp_of(request)))
    return web.Response(status=204)


async def _update(request: web.Request, fields: dict[str, object]) -> web.Response:
    task_id = task_id_of(request)
    actor = await _actor_of(request, task_id)
    _visible(request, actor, task_id)  # strangers learn nothing from what follows
    await request.app[keys.PEOPLE].require(
        fields.get("assigned_to", UNSET), "/assigned_to"
    )

    async def act(stamp: Stamp) -> web.Response:
        command = UpdateTask(task_id=task_id, **fields, **stamp)  # type: ignore[arg-type]  # the schema has checked them
        done = await actor.ask(command)
        if not done.events:
            return _show(request, actor, task_id)
        task = _task_of(done.events[-1])
        return answer(request, encode_task(task), task.version)

    return await once(request, act, 200)


async def _actor_of(request: web.Request, task_id: TaskId) -> ProjectActor:
    registry = request.app[keys.REGISTRY]
    try:
        return await registry.get(await registry.locate(task_id))
    except ProjectNotFound:
        raise TaskNotFound from None


def _show(request: web.Request, actor: ProjectActor, task_id: TaskId) -> web.Response:
    task = _visible(request, actor, task_id)
    return answer(request, encode_task(task), task.version)


def _visible(request: web.Request, actor: ProjectActor, task_id: TaskId) -> Task:
    task = actor.state.visible_task(caller_of(request), task_id)
    if task is None:
        raise TaskNotFound
    return task


def _task_of(event: Event) -> Task:
    if not isinstance(event, TaskEvent):
        raise TypeError(event.type)
    return event.task
