"""Comments."""

from actors.domain.permissions import Action
from server import answers, comments, queries, schemas
from server.route import DONE, FRESH, UNCHANGED, WRITE, Reply, Route

_COMMENT = Reply(description="The comment.", schema=answers.Comment, headers=("ETag",))

ROWS: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/tasks/{task_id}/comments",
        handler=comments.list_comments,
        actions=(Action.SEE_TASK,),
        summary="List the comments on a task, the oldest first",
        tag="comments",
        query=queries.FreshPageQuery,
        request_headers=FRESH,
        replies={
            200: Reply(
                description="A page of comments.",
                schema=answers.CommentList,
                headers=("ETag", "Link"),
            ),
            304: UNCHANGED,
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
        request_headers=WRITE,
        replies={
            201: Reply(
                description="The new comment.",
                schema=answers.Comment,
                headers=("ETag", "Location"),
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
        query=queries.FreshQuery,
        request_headers=FRESH,
        replies={200: _COMMENT, 304: UNCHANGED},
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
        request_headers=WRITE,
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
        replies={204: DONE},
        problems=(403, 409),
    ),
)
