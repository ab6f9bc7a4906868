"""What may be done to tasks and their comments, and what happens then."""

from dataclasses import replace

from actors.domain.changes import Fields, changes_of, named_changes, stamp_of
from actors.domain.commands import (
    AddComment,
    CreateTask,
    DeleteComment,
    DeleteTask,
    UpdateComment,
    UpdateTask,
)
from actors.domain.errors import CommentNotFound, TaskNotFound
from actors.domain.events import (
    CommentCreated,
    CommentDeleted,
    CommentUpdated,
    Event,
    TaskAssigned,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskUpdated,
)
from actors.domain.model import Comment, Task, TaskStatus
from actors.domain.permissions import Action, comment_standings, is_allowed
from actors.domain.preconditions import (
    allow,
    match_version,
    refuse_archived,
    writable_project,
)
from actors.domain.state import ProjectState


def create_task(state: ProjectState, command: CreateTask) -> tuple[Event, ...]:
    """Make a task in the project."""
    project = writable_project(state, command, Action.CREATE_TASK)
    match_version(command, project.version)
    is_done = command.status is TaskStatus.COMPLETED
    task = Task(
        id=command.task_id,
        title=command.title,
        description=command.description,
        status=command.status,
        priority=command.priority,
        project_id=state.project_id,
        created_by=command.caller.id,
        assigned_to=command.assigned_to,
        due_date=command.due_date,
        completed_at=command.at if is_done else None,
        created_at=command.at,
        updated_at=command.at,
        version=state.version + 1,
    )
    return (TaskCreated(task=task, **stamp_of(state, command)),)


def update_task(state: ProjectState, command: UpdateTask) -> tuple[Event, ...]:
    """Change the fields that are named: an event for each kind of change."""
    task = _task(state, command, Action.CHANGE_TASK)
    return _task_events(state, command, task, named_changes(command, task))


def _task_events(
    state: ProjectState, command: UpdateTask, task: Task, fields: Fields
) -> tuple[Event, ...]:
    """Make one event for each kind that matches, each over the one before."""
    assigned, completed = {"assigned_to"}, set[str]()
    if fields.get("status") is TaskStatus.COMPLETED:
        fields["completed_at"] = command.at
        completed = {"status", "completed_at"}
    elif "status" in fields and task.completed_at is not None:
        fields["completed_at"] = None
    kinds = (
        (TaskUpdated, fields.keys() - assigned - completed),
        (TaskAssigned, fields.keys() & assigned),
        (TaskCompleted, fields.keys() & completed),
    )
    events: list[Event] = []
    for kind, names in kinds:
        if not names:
            continue
        new = {name: value for name, value in fields.items() if name in names}
        stamp = stamp_of(state, command)
        stamp["version"] += len(events)
        changes = changes_of(task, new)
        task = replace(task, **new, updated_at=command.at, version=stamp["version"])
        events.append(kind(task=task, changes=changes, **stamp))
    return tuple(events)


def delete_task(state: ProjectState, command: DeleteTask) -> tuple[Event, ...]:
    """Delete a task; its last event keeps it whole."""
    task = _task(state, command, Action.DELETE_TASK)
    gone = replace(task, version=state.version + 1)
    return (TaskDeleted(task=gone, **stamp_of(state, command)),)


def add_comment(state: ProjectState, command: AddComment) -> tuple[Event, ...]:
    """Add a comment to a task that the caller may see and work on."""
    _task(state, command, Action.ADD_COMMENT)
    comment = Comment(
        id=command.comment_id,
        task_id=command.task_id,
        user_id=command.caller.id,
        comment=command.comment,
        created_at=command.at,
        updated_at=command.at,
        version=state.version + 1,
    )
    return (CommentCreated(comment=comment, **stamp_of(state, command)),)


def update_comment(state: ProjectState, command: UpdateComment) -> tuple[Event, ...]:
    """Put a comment in other words."""
    comment = _comment(state, command, Action.CHANGE_COMMENT)
    fields = named_changes(command, comment)
    if not fields:
        return ()
    stamp = stamp_of(state, command)
    new = replace(comment, **fields, updated_at=command.at, version=stamp["version"])
    return (CommentUpdated(comment=new, changes=changes_of(comment, fields), **stamp),)


def delete_comment(state: ProjectState, command: DeleteComment) -> tuple[Event, ...]:
    """Delete a comment."""
    comment = _comment(state, command, Action.DELETE_COMMENT)
    gone = replace(comment, version=state.version + 1)
    return (CommentDeleted(comment=gone, **stamp_of(state, command)),)


def _task(
    state: ProjectState, command: UpdateTask | DeleteTask | AddComment, action: Action
) -> Task:
    """Find the task, if the caller may do this to it as it is now."""
    task = state.tasks.get(command.task_id)
    if task is None:
        raise TaskNotFound
    standings = state.standings(command.caller, task)
    if not is_allowed(Action.SEE_TASK, standings):
        raise TaskNotFound
    allow(action, standings)
    refuse_archived(state)
    match_version(command, task.version)
    return task


def _comment(
    state: ProjectState, command: UpdateComment | DeleteComment, action: Action
) -> Comment:
    """Find the comment, if the caller may do this to it as it is now."""
    task = state.visible_task(command.caller, command.task_id)
    if task is None:
        raise TaskNotFound
    comment = state.comment(command.task_id, command.comment_id)
    if comment is None:
        raise CommentNotFound
    standings = state.standings(command.caller, task)
    allow(action, standings | comment_standings(command.caller, comment))
    refuse_archived(state)
    match_version(command, comment.version)
    return comment
