"""Handlers of projects and their members: they parse, ask and dump."""

from functools import partial

from aiohttp import web

from actors.domain.commands import (
    CreateProject,
    DeleteProject,
    PutMember,
    RemoveMember,
    UpdateProject,
)
from actors.domain.errors import MemberNotFound, ProjectNotFound, UserNotFound
from actors.domain.events import Event, MemberEvent, ProjectEvent
from actors.domain.model import Project, UserId
from actors.project import ProjectActor
from server import keys
from server.idempotency import once
from server.problems import Problem
from server.representations import encode_member, encode_project
from server.requests import (
    Stamp,
    answer,
    answer_list,
    caller_of,
    project_id_of,
    stamp_of,
    with_version,
)
from server.timelines import NO_TIME, answer_page, place_before


async def list_projects(request: web.Request) -> web.StreamResponse:
    """Answer with a page of the projects that the caller may see."""
    listed = await request.app[keys.LISTS].projects(
        caller_of(request), request[keys.QUERY], request.rel_url
    )
    return answer_list(request, listed)


async def create_project(request: web.Request) -> web.StreamResponse:
    """Make a project that belongs to the caller."""
    return await once(request, partial(_create, request), 201)


async def _create(request: web.Request, stamp: Stamp) -> web.Response:
    command = CreateProject(
        project_id=await request.app[keys.IDS].project(),
        owner_id=stamp["caller"].id,
        **request[keys.BODY],
        **stamp,
    )
    done = await request.app[keys.REGISTRY].create(command)
    project = _project_after(done.events)
    body, location = encode_project(project), f"/projects/{project.id}"
    made = answer(request, body, project.version, location=location)
    return with_version(made, project.id, done.version)


async def get_project(request: web.Request) -> web.StreamResponse:
    """Show a project, from memory."""
    return _show(request, await actor_of_project(request))


async def update_project(request: web.Request) -> web.StreamResponse:
    """Change the fields that the body names; an owner_id hands the project over."""
    return await once(request, partial(_update, request), 200)


async def _update(request: web.Request, stamp: Stamp) -> web.Response:
    actor, fields = await actor_of_project(request), request[keys.BODY]
    visible_project(request, actor)  # strangers learn nothing from what follows
    command = UpdateProject(**fields, **stamp)
    people, heir = request.app[keys.PEOPLE], fields.get("owner_id")
    await people.require(heir, "/owner_id", actor.state, command)
    done = await actor.ask(command)
    if not done.events:
        return with_version(_show(request, actor), actor.project_id, done.version)
    project = _project_after(done.events)
    changed = answer(request, encode_project(project), project.version)
    return with_version(changed, project.id, done.version)


async def delete_project(request: web.Request) -> web.StreamResponse:
    """Delete a project with everything in it."""
    actor = await actor_of_project(request)
    done = await actor.ask(DeleteProject(**stamp_of(request)))
    return with_version(web.Response(status=204), actor.project_id, done.version)


async def list_members(request: web.Request) -> web.StreamResponse:
    """Answer with a page of the members; the owner stands in the project."""
    actor = await actor_of_project(request)
    visible_project(request, actor)
    members, query = actor.state.members, request[keys.QUERY]
    _, last = place_before(request)
    later = sorted(user_id for user_id in members if user_id > last)[query["offset"] :]
    shown = later[: query["limit"] + 1]
    found = [((NO_TIME, user_id), encode_member(members[user_id])) for user_id in shown]
    return answer_page(request, "members", found, len(members))


async def put_member(request: web.Request) -> web.StreamResponse:
    """Add a member, or change the role of one."""
    return await once(request, partial(_put_member, request), 200)


async def _put_member(request: web.Request, stamp: Stamp) -> web.Response:
    actor = await actor_of_project(request)
    visible_project(request, actor)
    user_id = UserId(request[keys.PATH_IDS]["user_id"])
    command = PutMember(user_id=user_id, role=request[keys.BODY]["role"], **stamp)
    try:
        await request.app[keys.PEOPLE].require(user_id, "", actor.state, command)
    except UserNotFound as error:  # in the path, so there is nothing at this address
        raise Problem(404, error.code, error.detail) from None
    done = await actor.ask(command)
    member = actor.state.members.get(user_id)
    for event in done.events:
        if isinstance(event, MemberEvent):
            member = event.member
    if member is None:
        raise MemberNotFound
    put = answer(request, encode_member(member), member.version)
    return with_version(put, actor.project_id, done.version)


async def remove_member(request: web.Request) -> web.StreamResponse:
    """Take a member out of a project."""
    actor = await actor_of_project(request)
    user_id = UserId(request[keys.PATH_IDS]["user_id"])
    done = await actor.ask(RemoveMember(user_id=user_id, **stamp_of(request)))
    return with_version(web.Response(status=204), actor.project_id, done.version)


async def actor_of_project(request: web.Request) -> ProjectActor:
    """Find the actor of the project in the path; raises ProjectNotFound."""
    return await request.app[keys.REGISTRY].get(project_id_of(request))


def _show(request: web.Request, actor: ProjectActor) -> web.Response:
    project = visible_project(request, actor)
    return answer(request, encode_project(project), project.version)


def visible_project(request: web.Request, actor: ProjectActor) -> Project:
    """Give the project; raises ProjectNotFound for who may not see it."""
    project = actor.state.visible_project(caller_of(request))
    if project is None:
        raise ProjectNotFound
    return project


def _project_after(events: tuple[Event, ...]) -> Project:
    changed = [event for event in events if isinstance(event, ProjectEvent)]
    return changed[-1].project
