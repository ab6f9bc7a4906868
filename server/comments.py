"""Handlers of comments: they parse, ask and dump; the rules are in `actors.domain`."""

from functools import partial

from aiohttp import web

from actors.domain.commands import AddComment, DeleteComment, UpdateComment
from actors.domain.errors import CommentNotFound
from actors.domain.events import CommentEvent, Event
from actors.domain.model import Comment, CommentId
from actors.project import ProjectActor
from server import keys
from server.idempotency import once
from server.representations import encode_comment
from server.requests import Stamp, answer, stamp_of, task_id_of, with_version
from server.tasks import actor_of_task, visible_task
from server.timelines import Place, answer_page, place_before


async def list_comments(request: web.Request) -> web.StreamResponse:
    """Answer with a page of the comments on a task, from memory."""
    task_id, query = task_id_of(request), request[keys.QUERY]
    actor = await actor_of_task(request, task_id)
    visible_task(request, actor, task_id)
    known = actor.state.comments.get(task_id, {}).values()
    after, offset = place_before(request), query["offset"]
    later = sorted((one for one in known if _place(one) > after), key=_place)
    shown = later[offset : offset + query["limit"] + 1]
    found = [(_place(comment), encode_comment(comment)) for comment in shown]
    return answer_page(request, "comments", found, len(known))


async def add_comment(request: web.Request) -> web.StreamResponse:
    """Say something of a task."""
    return await once(request, partial(_add, request), 201)


async def _add(request: web.Request, stamp: Stamp) -> web.Response:
    task_id = task_id_of(request)
    actor = await actor_of_task(request, task_id)
    visible_task(request, actor, task_id)  # strangers use up no id
    comment_id, body = await request.app[keys.IDS].comment(), request[keys.BODY]
    command = AddComment(task_id=task_id, comment_id=comment_id, **body, **stamp)
    done = await actor.ask(command)
    comment = _comment_of(done.events[-1])
    location = f"/tasks/{task_id}/comments/{comment.id}"
    made = answer(request, encode_comment(comment), comment.version, location=location)
    return with_version(made, actor.project_id, done.version)


async def get_comment(request: web.Request) -> web.StreamResponse:
    """Show a comment, from memory."""
    return _show(request, await actor_of_task(request, task_id_of(request)))


async def update_comment(request: web.Request) -> web.StreamResponse:
    """Put a comment in other words."""
    return await once(request, partial(_update, request), 200)


async def _update(request: web.Request, stamp: Stamp) -> web.Response:
    task_id, comment_id = task_id_of(request), _comment_id_of(request)
    actor = await actor_of_task(request, task_id)
    body = request[keys.BODY]
    command = UpdateComment(task_id=task_id, comment_id=comment_id, **body, **stamp)
    done = await actor.ask(command)
    if not done.events:
        return with_version(_show(request, actor), actor.project_id, done.version)
    comment = _comment_of(done.events[-1])
    changed = answer(request, encode_comment(comment), comment.version)
    return with_version(changed, actor.project_id, done.version)


async def delete_comment(request: web.Request) -> web.StreamResponse:
    """Delete a comment."""
    task_id, comment_id = task_id_of(request), _comment_id_of(request)
    actor = await actor_of_task(request, task_id)
    command = DeleteComment(task_id=task_id, comment_id=comment_id, **stamp_of(request))
    done = await actor.ask(command)
    return with_version(web.Response(status=204), actor.project_id, done.version)


def _show(request: web.Request, actor: ProjectActor) -> web.Response:
    task_id = task_id_of(request)
    visible_task(request, actor, task_id)
    comment = actor.state.comment(task_id, _comment_id_of(request))
    if comment is None:
        raise CommentNotFound
    return answer(request, encode_comment(comment), comment.version)


def _place(comment: Comment) -> Place:
    """Order comments by time: ids come in blocks, another for each node."""
    return comment.created_at, comment.id


def _comment_id_of(request: web.Request) -> CommentId:
    return CommentId(request[keys.PATH_IDS]["comment_id"])


def _comment_of(event: Event) -> Comment:
    if not isinstance(event, CommentEvent):
        raise TypeError(event.type)
    return event.comment
