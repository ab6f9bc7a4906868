"""Handlers of the log: what happened in a project, and to a task.

The answers are the very bytes that were committed, joined. The log may be ahead of the
project's actor, and tell who may no longer see it: whoever asks is looked at again when
the actor has come as far as what was read.
"""

from aiohttp import web

from server import keys
from server.pages import ListAnswer, digest_tag, next_link
from server.problems import Problem
from server.projects import actor_of_project, visible_project
from server.requests import answer_list, project_id_of, task_id_of
from server.tasks import actor_of_task, visible_task
from server.timelines import NO_TIME, answer_page, place_before
from sql.lists import Page
from sql.store import Logged


async def list_events(request: web.Request) -> web.StreamResponse:
    """Answer with a project's events after a version; none is left out."""
    actor = await actor_of_project(request)
    visible_project(request, actor)
    project_id, query = project_id_of(request), request[keys.QUERY]
    since, limit = query["since"], query["limit"]
    head, events = await request.app[keys.STORE].log(project_id, since, limit)
    await actor.reach(head)
    visible_project(request, actor)
    if since < head and (not events or events[0].version != since + 1):
        raise _gone(project_id, head)
    body = b'{"events":[%b],"version":%d,"since":%d,"limit":%d}' % (
        b",".join([event.body for event in events]),
        head,
        since,
        limit,
    )
    link = _link(request, events, head)
    return answer_list(request, ListAnswer(body=body, etag=digest_tag(body), link=link))


async def list_history(request: web.Request) -> web.StreamResponse:
    """Answer with a page of a task's own events."""
    task_id = task_id_of(request)
    actor = await actor_of_task(request, task_id)
    visible_task(request, actor, task_id)
    query = request[keys.QUERY]
    page = Page(limit=query["limit"] + 1, offset=query["offset"])
    _, version = place_before(request)
    store = request.app[keys.STORE]
    total, events = await store.history(task_id, version, page)
    if events:
        await actor.reach(events[-1].version)
        visible_task(request, actor, task_id)
    found = [((NO_TIME, event.version), event.body) for event in events]
    return answer_page(request, "history", found, total)


def _link(request: web.Request, events: list[Logged], head: int) -> str | None:
    if not events or events[-1].version >= head:
        return None
    return next_link(request.rel_url, since=events[-1].version)


def _gone(project_id: int, head: int) -> Problem:
    place = f"/tasks?project_id={project_id}"
    return Problem(
        410,
        "events_gone",
        f"These events are no longer kept: read {place}, then go on from {head}.",
        headers={"Link": f'<{place}>; rel="alternate"'},
        members={"current_version": head},
    )
