"""Tasks."""

from actors.domain.permissions import Action
from server import answers, log, queries, schemas, tasks
from server.route import DONE, FRESH, UNCHANGED, WRITE, Reply, Route

_TASK = Reply(description="The task.", schema=answers.Task, headers=("ETag",))

ROWS: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/tasks",
        handler=tasks.list_tasks,
        actions=(Action.LIST_VISIBLE,),
        summary="List the tasks that you may see",
        tag="tasks",
        query=queries.TaskListQuery,
        request_headers=FRESH,
        replies={
            200: Reply(
                description="A page of tasks.",
                schema=answers.TaskList,
                headers=("ETag", "Link"),
            ),
            304: UNCHANGED,
        },
        problems=(400,),
    ),
    Route(
        method="POST",
        path="/tasks",
        handler=tasks.create_task,
        actions=(Action.CREATE_TASK,),
        summary="Create a task; `If-Match` names versions of its project",
        tag="tasks",
        body=schemas.TaskCreate,
        example={"title": "Write the announcement", "priority": "high"},
        request_headers=WRITE,
        replies={
            201: Reply(
                description="The new task.",
                schema=answers.Task,
                headers=("ETag", "Location"),
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
        query=queries.FreshQuery,
        request_headers=FRESH,
        replies={200: _TASK, 304: UNCHANGED},
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
        request_headers=WRITE,
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
        request_headers=WRITE,
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
        replies={204: DONE},
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
        request_headers=WRITE,
        replies={200: _TASK},
        problems=(403, 409),
    ),
    Route(
        method="GET",
        path="/tasks/{task_id}/history",
        handler=log.list_history,
        actions=(Action.SEE_TASK,),
        summary="Tell who changed what of a task, and when, the oldest first",
        tag="tasks",
        query=queries.FreshPageQuery,
        request_headers=FRESH,
        replies={
            200: Reply(
                description="A page of the task's events.",
                schema=answers.History,
                headers=("ETag", "Link"),
            ),
            304: UNCHANGED,
        },
        problems=(400,),
    ),
)
