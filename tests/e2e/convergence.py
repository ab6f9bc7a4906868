"""Whether all servers show the very same in the end, which is what the log says."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp

from actors.domain.model import ProjectId
from server.representations import (
    encode_comment,
    encode_member,
    encode_project,
    encode_task,
)
from sql.database import Database
from sql.store import Store
from tests.e2e.clients import Api
from tests.e2e.history import Log
from tests.e2e.judge_watches import differences

_PAUSE_SECONDS = 0.05
_WAIT_SECONDS = 5.0


async def shown_by_now(
    apis: list[Api], heads: dict[int, int], deadline: float
) -> list[str]:
    """Wait until all servers show these versions by REST and in a new snapshot.

    Names those that do not at the deadline, of the loop's clock.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_behind(api, project_id, version, deadline))
            for api in apis
            for project_id, version in heads.items()
        ]
    return [problem for task in tasks for problem in task.result()]


async def differences_of_all(
    apis: list[Api], database_url: str, log: Log, projects: list[int]
) -> AsyncIterator[str]:
    """Hold tables, snapshots, lists and tasks at each server to the log."""
    for project_id in projects:
        async for what in _differences_of_tables(database_url, log, project_id):
            yield f"the tables of {project_id}: {what}"
        for api in apis:
            async for what in _differences_at(api, log, project_id):
                yield f"{project_id} at {api.node}: {what}"


async def _behind(
    api: Api, project_id: int, version: int, deadline: float
) -> list[str]:
    loop, found = asyncio.get_running_loop(), ["nothing"]
    while found:
        found = [text async for text in _older(api, project_id, version)]
        if found and loop.time() > deadline:
            return [f"{project_id} at {api.node} is not converged: {found}"]
        await asyncio.sleep(_PAUSE_SECONDS)
    return []


async def _older(api: Api, project_id: int, version: int) -> AsyncIterator[str]:
    listed = await api.get(f"/tasks?project_id={project_id}&sort=-updated_at", "last")
    if listed is None or listed[0] != 200 or listed[1]["tasks"][0]["version"] < version:
        yield "the list"
    snapshot = await _snapshot(api, project_id)
    if snapshot is None or snapshot["version"] < version:
        yield f"a snapshot at {snapshot and snapshot['version']}"


async def _snapshot(api: Api, project_id: int) -> Any:
    query = f"?project_id={project_id}&snapshot=true"
    try:
        async with (
            asyncio.timeout(_WAIT_SECONDS),
            await api.open_socket(query) as socket,
        ):
            return await socket.receive_json()
    except (aiohttp.ClientError, OSError, TimeoutError, TypeError):
        return None


async def _differences_of_tables(
    database_url: str, log: Log, project_id: int
) -> AsyncIterator[str]:
    database = await Database.open(database_url, size=2)
    try:
        state = await Store(database).load(ProjectId(project_id))
    finally:
        await database.close()
    if state is None or state.project is None:
        yield "there is no such project"
        return
    comments = [one for found in state.comments.values() for one in found.values()]
    rows = {
        "project_id": project_id,
        "version": state.version,
        "project": json.loads(encode_project(state.project)),
        "members": [json.loads(encode_member(m)) for m in state.members.values()],
        "tasks": [json.loads(encode_task(t)) for t in state.tasks.values()],
        "comments": [json.loads(encode_comment(c)) for c in comments],
    }
    for what in _differences(rows, log):
        yield what


async def _differences_at(api: Api, log: Log, project_id: int) -> AsyncIterator[str]:
    snapshot = await _snapshot(api, project_id)
    if snapshot is None:
        yield "no snapshot"
        return
    for what in _differences(snapshot, log):
        yield f"a snapshot, {what}"
    wanted = log.tasks(project_id)
    if {task["id"]: task for task in await api.tasks(project_id)} != wanted:
        yield "the list of tasks"
    for task_id in log.pasts[project_id].task_ids:
        answer = await api.get(f"/tasks/{task_id}", "last")
        shown = answer[1] if answer is not None and answer[0] == 200 else None
        if shown != wanted.get(task_id):
            yield f"task {task_id}"


def _differences(snapshot: Any, log: Log) -> Iterator[str]:
    if snapshot["version"] != log.heads[snapshot["project_id"]]:
        yield f"at {snapshot['version']}"
    yield from differences(snapshot, log)
