"""Read your writes on any node: a read that names a version is not answered without it.

A write answers with its project and version. Another node may not have heard of it, so
a read may say what it has to have: `min_version`, or X-Min-Version. Things of a project
are read from its actor, which catches up from the log. Lists come from the database,
which is the truth; what may be behind is what was kept of them, so it is left alone.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web
from marshmallow import ValidationError
from multidict import istr

from actors.domain.errors import ProjectNotFound, StoreUnavailable, TaskNotFound
from actors.domain.model import ProjectId, TaskId
from actors.project import ProjectActor
from server import keys
from server.problems import FieldError, Problem, invalid
from server.requests import caller_of
from server.versions import Wanted, read_versions

MIN_VERSION = istr("X-Min-Version")
PARAMETER = "min_version"

_WAIT_SECONDS = 2.0


def names_version(request: web.Request, query: Mapping[str, Any]) -> bool:
    """Say whether this read has to have something: two look-ups."""
    return PARAMETER in query or MIN_VERSION in request.headers


async def reached(request: web.Request) -> web.Request:
    """Wait until it can be answered with the versions that it names.

    Gives the request without them: pages and cursors are the same as without. Raises a
    409 problem for a version that there is not, of what the caller may see, and
    Unavailable. What they may not see is as if it were not named.
    """
    query = dict(request[keys.QUERY].items())
    wanted: Wanted = (*query.pop(PARAMETER, ()), *_named_by_header(request))
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            if keys.PATH_IDS in request:
                await _reach_thing(request, wanted)
            else:
                await _reach_lists(request, wanted, query.get("project_id"))
    except TimeoutError:
        raise StoreUnavailable from None
    if PARAMETER not in request[keys.QUERY]:
        return request
    plain = request.clone(rel_url=request.rel_url.without_query_params(PARAMETER))
    plain[keys.QUERY] = query
    return plain


def _named_by_header(request: web.Request) -> Wanted:
    try:
        lines = request.headers.getall(MIN_VERSION, ())
        return tuple(one for line in lines for one in read_versions(line.strip()))
    except ValidationError as error:
        sentence = " ".join(map(str, error.messages))
        raise invalid([FieldError("X-Min-Version", sentence)]) from None


async def _reach_thing(request: web.Request, wanted: Wanted) -> None:
    """Bring up to date the project that the address is about, or in."""
    try:
        project_id = await _project_of(request)
        version = max(
            (v for named, v in wanted if named in (None, project_id)), default=0
        )
        actor = await _reach(request, project_id, version)
    except (ProjectNotFound, TaskNotFound):
        return  # there is nothing: the handler says so
    if actor.state.version < version and _is_visible(request, actor):
        raise _not_reached(project_id, actor.state.version)


async def _project_of(request: web.Request) -> ProjectId:
    ids = request[keys.PATH_IDS]
    if "project_id" in ids:
        return ProjectId(ids["project_id"])
    return await request.app[keys.REGISTRY].locate(TaskId(ids["task_id"]))


async def _reach(
    request: web.Request, project_id: ProjectId, version: int
) -> ProjectActor:
    actor = await request.app[keys.REGISTRY].get(project_id)
    await actor.reach(version)
    return actor


def _is_visible(request: web.Request, actor: ProjectActor) -> bool:
    caller, task_id = caller_of(request), request[keys.PATH_IDS].get("task_id")
    if task_id is not None:
        return actor.state.visible_task(caller, TaskId(task_id)) is not None
    return actor.state.visible_project(caller) is not None


async def _reach_lists(
    request: web.Request, wanted: Wanted, listed: ProjectId | None
) -> None:
    """Have the caller's lists made anew, unless that was done for these versions."""
    sights, caller = request.app[keys.SIGHTS], caller_of(request)
    named = [(listed if key is None else key, version) for key, version in wanted]
    if all(
        key is not None and sights.has_renewed(caller, key, version)
        for key, version in named
    ):
        return
    reached = await _reach_projects(
        request, [(key, version) for key, version in named if key is not None]
    )
    sights.renew(caller, reached)


async def _reach_projects(
    request: web.Request, named: Iterable[tuple[ProjectId, int]]
) -> Mapping[ProjectId, int]:
    reached: dict[ProjectId, int] = {}
    for project_id, version in named:
        try:
            state = (await _reach(request, project_id, version)).state
        except ProjectNotFound:
            continue
        if state.version >= version:
            reached[project_id] = state.version
        elif state.visible_project(caller_of(request)) is not None:
            raise _not_reached(project_id, state.version)
    return reached


def _not_reached(project_id: ProjectId, version: int) -> Problem:
    sentence = f"Project {project_id} is at version {version} only."
    members = {"current_version": version}
    return Problem(409, "version_not_reached", sentence, members=members)
