"""Every rule of the product: a command and a state in, events or a refusal out.

Pure. What is allowed is decided on exactly the state that the events are applied to.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypedDict, assert_never

from actors.domain.commands import (
    UNSET,
    AddComment,
    Command,
    CreateProject,
    CreateTask,
    DeleteComment,
    DeleteProject,
    DeleteTask,
    PutMember,
    RemoveMember,
    UpdateComment,
    UpdateProject,
    UpdateTask,
)
from actors.domain.errors import (
    ActionForbidden,
    CommentNotFound,
    InboxIsPermanent,
    MemberNotFound,
    OwnerIsPermanent,
    ProjectArchived,
    ProjectNotFound,
    TaskNotFound,
    VersionMismatch,
)
from actors.domain.events import (
    Change,
    CommentCreated,
    CommentDeleted,
    CommentUpdated,
    Event,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    Plain,
    ProjectCreated,
    ProjectDeleted,
    ProjectUpdated,
    TaskAssigned,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskUpdated,
)
from actors.domain.model import (
    Comment,
    Member,
    MemberRole,
    Project,
    ProjectId,
    ProjectStatus,
    Task,
    TaskStatus,
    UserId,
)
from actors.domain.permissions import Action, Standing, comment_standings, is_allowed
from actors.domain.state import Draft, ProjectState

# What a command names and would really change; the dataclasses check the names, and
# the commands' types the values.
_Fields = dict[str, Any]


def decide(state: ProjectState, command: Command) -> tuple[Event, ...]:
    """Say what happens if `command` is carried out on `state`: perhaps nothing.

    Raises a DomainError where it may not be carried out.
    """
    match command:
        case CreateProject():
            return _create_project(state, command)
        case UpdateProject():
            return _update_project(state, command)
        case DeleteProject():
            return _delete_project(state, command)
        case PutMember():
            return _put_member(state, command)
        case RemoveMember():
            return _remove_member(state, command)
        case CreateTask():
            return _create_task(state, command)
        case UpdateTask():
            return _update_task(state, command)
        case DeleteTask():
            return _delete_task(state, command)
        case AddComment():
            return _add_comment(state, command)
        case UpdateComment():
            return _update_comment(state, command)
        case DeleteComment():
            return _delete_comment(state, command)
        case _:
            assert_never(command)


def _create_task(state: ProjectState, command: CreateTask) -> tuple[Event, ...]:
    project = _writable_project(state, command, Action.CREATE_TASK)
    _match(command, project.version)
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
    return (TaskCreated(task=task, **_stamp(state, command)),)


def _update_task(state: ProjectState, command: UpdateTask) -> tuple[Event, ...]:
    task = _task(state, command, Action.CHANGE_TASK)
    return _task_events(state, command, task, _named_changes(command, task))


def _task_events(
    state: ProjectState, command: UpdateTask, task: Task, fields: _Fields
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
        stamp = _stamp(state, command)
        stamp["version"] += len(events)
        changes = _changes(task, new)
        task = replace(task, **new, updated_at=command.at, version=stamp["version"])
        events.append(kind(task=task, changes=changes, **stamp))
    return tuple(events)


def _delete_task(state: ProjectState, command: DeleteTask) -> tuple[Event, ...]:
    task = _task(state, command, Action.DELETE_TASK)
    gone = replace(task, version=state.version + 1)
    return (TaskDeleted(task=gone, **_stamp(state, command)),)


def _add_comment(state: ProjectState, command: AddComment) -> tuple[Event, ...]:
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
    return (CommentCreated(comment=comment, **_stamp(state, command)),)


def _update_comment(state: ProjectState, command: UpdateComment) -> tuple[Event, ...]:
    comment = _comment(state, command, Action.CHANGE_COMMENT)
    fields = _named_changes(command, comment)
    if not fields:
        return ()
    stamp = _stamp(state, command)
    new = replace(comment, **fields, updated_at=command.at, version=stamp["version"])
    return (CommentUpdated(comment=new, changes=_changes(comment, fields), **stamp),)


def _delete_comment(state: ProjectState, command: DeleteComment) -> tuple[Event, ...]:
    comment = _comment(state, command, Action.DELETE_COMMENT)
    gone = replace(comment, version=state.version + 1)
    return (CommentDeleted(comment=gone, **_stamp(state, command)),)


def _create_project(state: ProjectState, command: CreateProject) -> tuple[Event, ...]:
    if state.version != 0:
        raise ProjectNotFound
    project = Project(
        id=command.project_id,
        name=command.name,
        description=command.description,
        owner_id=command.owner_id,
        status=ProjectStatus.ACTIVE,
        is_inbox=command.is_inbox,
        created_at=command.at,
        updated_at=command.at,
        version=1,
    )
    return (ProjectCreated(project=project, **_stamp(state, command)),)


def _update_project(state: ProjectState, command: UpdateProject) -> tuple[Event, ...]:
    project = _project(state, command)
    fields = _named_changes(command, project)
    standings = state.standings(command.caller)
    _allow(Action.CHANGE_PROJECT, standings)
    if "owner_id" in fields:
        _allow(Action.HAND_OVER_PROJECT, standings)
    _match(command, project.version)
    if project.is_inbox and not fields.keys().isdisjoint({"status", "owner_id"}):
        raise InboxIsPermanent
    if not fields:
        return ()
    if "status" not in fields:
        _refuse_archived(state)
    if "owner_id" in fields:
        return _hand_over(state, command, project, fields)
    return (_project_updated(state, command, project, fields),)


def _project_updated(
    state: ProjectState,
    command: UpdateProject,
    project: Project,
    fields: _Fields,
) -> ProjectUpdated:
    stamp = _stamp(state, command)
    changed = replace(
        project, **fields, updated_at=command.at, version=stamp["version"]
    )
    return ProjectUpdated(project=changed, changes=_changes(project, fields), **stamp)


def _hand_over(
    state: ProjectState,
    command: UpdateProject,
    project: Project,
    fields: _Fields,
) -> tuple[Event, ...]:
    """Let the new owner stop being a member, and the old one stay as a maintainer."""
    draft = Draft(state)
    events: list[Event] = []

    def take(event: Event) -> None:
        draft.apply(event)
        events.append(event)

    heir = state.members.get(fields["owner_id"])
    if heir is not None:
        gone = replace(heir, version=draft.version + 1)
        take(MemberRemoved(member=gone, **_stamp(draft, command)))
    take(_project_updated(draft, command, project, fields))
    member = Member(
        user_id=project.owner_id,
        role=MemberRole.MAINTAINER,
        created_at=command.at,
        version=draft.version + 1,
    )
    take(MemberAdded(member=member, **_stamp(draft, command)))
    return tuple(events)


def _delete_project(state: ProjectState, command: DeleteProject) -> tuple[Event, ...]:
    project = _project(state, command)
    _allow(Action.DELETE_PROJECT, state.standings(command.caller))
    _match(command, project.version)
    if project.is_inbox:
        raise InboxIsPermanent
    gone = replace(project, version=state.version + 1)
    return (ProjectDeleted(project=gone, **_stamp(state, command)),)


def _put_member(state: ProjectState, command: PutMember) -> tuple[Event, ...]:
    project = _writable_project(state, command, Action.MANAGE_MEMBERS)
    if project.is_inbox:
        raise InboxIsPermanent
    if command.user_id == project.owner_id:
        raise OwnerIsPermanent
    old = state.members.get(command.user_id)
    stamp = _stamp(state, command)
    member = Member(
        user_id=command.user_id,
        role=command.role,
        created_at=old.created_at if old else command.at,
        version=state.version + 1,
    )
    _match(command, old.version if old else 0)
    if old is None:
        return (MemberAdded(member=member, **stamp),)
    if old.role is command.role:
        return ()
    changes = _changes(old, {"role": command.role})
    return (MemberUpdated(member=member, changes=changes, **stamp),)


def _remove_member(state: ProjectState, command: RemoveMember) -> tuple[Event, ...]:
    project = _project(state, command)
    standings = state.standings(command.caller)
    if command.user_id == command.caller.id:
        standings |= {Standing.SELF}
    if not is_allowed(Action.LEAVE_PROJECT, standings):
        _allow(Action.MANAGE_MEMBERS, standings)
    _refuse_archived(state)
    if command.user_id == project.owner_id:
        raise OwnerIsPermanent
    member = state.members.get(command.user_id)
    if member is None:
        raise MemberNotFound
    _match(command, member.version)
    gone = replace(member, version=state.version + 1)
    return (MemberRemoved(member=gone, **_stamp(state, command)),)


def _project(state: ProjectState, command: Command) -> Project:
    project = state.visible_project(command.caller)
    if project is None:
        raise ProjectNotFound
    return project


def _writable_project(state: ProjectState, command: Command, action: Action) -> Project:
    standings = state.standings(command.caller)
    project = state.project
    if project is None or not is_allowed(Action.SEE_PROJECT, standings):
        raise ProjectNotFound
    _allow(action, standings)
    _refuse_archived(state)
    return project


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
    _allow(action, standings)
    _refuse_archived(state)
    _match(command, task.version)
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
    _allow(action, standings | comment_standings(command.caller, comment))
    _refuse_archived(state)
    _match(command, comment.version)
    return comment


def _allow(action: Action, standings: frozenset[Standing]) -> None:
    if not is_allowed(action, standings):
        raise ActionForbidden


def _refuse_archived(state: ProjectState) -> None:
    if state.project and state.project.status is ProjectStatus.ARCHIVED:
        raise ProjectArchived


def _match(command: Command, version: int) -> None:
    if command.if_match is not None and version not in command.if_match:
        raise VersionMismatch(version)


def _named_changes(
    command: UpdateTask | UpdateProject | UpdateComment,
    thing: Task | Project | Comment,
) -> _Fields:
    """Find the fields that the command names and that would really change."""
    return {
        name: value
        for name in _FIELDS[type(command)]
        if (value := getattr(command, name)) is not UNSET
        and value != getattr(thing, name)
    }


_FIELDS: dict[type, tuple[str, ...]] = {
    UpdateTask: (
        "title",
        "description",
        "status",
        "priority",
        "assigned_to",
        "due_date",
    ),
    UpdateProject: ("name", "description", "status", "owner_id"),
    UpdateComment: ("comment",),
}


def _changes(thing: object, fields: _Fields) -> dict[str, Change]:
    return {
        name: Change(old=_plain(getattr(thing, name)), new=_plain(new))
        for name, new in fields.items()
    }


def _plain(value: object) -> Plain:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, int):
        return value
    msg = f"no plain form for {type(value).__name__}"
    raise TypeError(msg)


class _Stamp(TypedDict):
    project_id: ProjectId
    version: int
    by: UserId
    at: datetime
    request_id: str


def _stamp(state: ProjectState, command: Command) -> _Stamp:
    return {
        "project_id": state.project_id,
        "version": state.version + 1,
        "by": command.caller.id,
        "at": command.at,
        "request_id": command.request_id,
    }
