"""What may be done to projects and their members, and what happens then."""

from dataclasses import replace

from actors.domain.changes import Fields, changes_of, named_changes, stamp_of
from actors.domain.commands import (
    Command,
    CreateProject,
    DeleteProject,
    PutMember,
    RemoveMember,
    UpdateProject,
)
from actors.domain.errors import (
    InboxIsPermanent,
    MemberNotFound,
    OwnerIsPermanent,
    ProjectNotFound,
)
from actors.domain.events import (
    Event,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    ProjectCreated,
    ProjectDeleted,
    ProjectUpdated,
)
from actors.domain.model import Member, MemberRole, Project, ProjectStatus
from actors.domain.permissions import Action, Standing, is_allowed
from actors.domain.preconditions import (
    allow,
    match_version,
    refuse_archived,
    writable_project,
)
from actors.domain.state import Draft, ProjectState


def create_project(state: ProjectState, command: CreateProject) -> tuple[Event, ...]:
    """Make the project, whose log begins here."""
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
    return (ProjectCreated(project=project, **stamp_of(state, command)),)


def update_project(state: ProjectState, command: UpdateProject) -> tuple[Event, ...]:
    """Change the fields that are named; who hands over has to own it."""
    project = _project(state, command)
    fields = named_changes(command, project)
    standings = state.standings(command.caller)
    allow(Action.CHANGE_PROJECT, standings)
    if "owner_id" in fields:
        allow(Action.HAND_OVER_PROJECT, standings)
    match_version(command, project.version)
    if project.is_inbox and not fields.keys().isdisjoint({"status", "owner_id"}):
        raise InboxIsPermanent
    if not fields:
        return ()
    if "status" not in fields:
        refuse_archived(state)
    if "owner_id" in fields:
        return _hand_over(state, command, project, fields)
    return (_project_updated(state, command, project, fields),)


def _project_updated(
    state: ProjectState,
    command: UpdateProject,
    project: Project,
    fields: Fields,
) -> ProjectUpdated:
    stamp = stamp_of(state, command)
    changed = replace(
        project, **fields, updated_at=command.at, version=stamp["version"]
    )
    return ProjectUpdated(project=changed, changes=changes_of(project, fields), **stamp)


def _hand_over(
    state: ProjectState,
    command: UpdateProject,
    project: Project,
    fields: Fields,
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
        take(MemberRemoved(member=gone, **stamp_of(draft, command)))
    take(_project_updated(draft, command, project, fields))
    member = Member(
        user_id=project.owner_id,
        role=MemberRole.MAINTAINER,
        created_at=command.at,
        version=draft.version + 1,
    )
    take(MemberAdded(member=member, **stamp_of(draft, command)))
    return tuple(events)


def delete_project(state: ProjectState, command: DeleteProject) -> tuple[Event, ...]:
    """Delete the project, and with it all that is in it."""
    project = _project(state, command)
    allow(Action.DELETE_PROJECT, state.standings(command.caller))
    match_version(command, project.version)
    if project.is_inbox:
        raise InboxIsPermanent
    gone = replace(project, version=state.version + 1)
    return (ProjectDeleted(project=gone, **stamp_of(state, command)),)


def put_member(state: ProjectState, command: PutMember) -> tuple[Event, ...]:
    """Add a member, or give one another role."""
    project = writable_project(state, command, Action.MANAGE_MEMBERS)
    if project.is_inbox:
        raise InboxIsPermanent
    if command.user_id == project.owner_id:
        raise OwnerIsPermanent
    old = state.members.get(command.user_id)
    stamp = stamp_of(state, command)
    member = Member(
        user_id=command.user_id,
        role=command.role,
        created_at=old.created_at if old else command.at,
        version=state.version + 1,
    )
    match_version(command, old.version if old else 0)
    if old is None:
        return (MemberAdded(member=member, **stamp),)
    if old.role is command.role:
        return ()
    changes = changes_of(old, {"role": command.role})
    return (MemberUpdated(member=member, changes=changes, **stamp),)


def remove_member(state: ProjectState, command: RemoveMember) -> tuple[Event, ...]:
    """Take a member out, or let one leave."""
    project = _project(state, command)
    standings = state.standings(command.caller)
    if command.user_id == command.caller.id:
        standings |= {Standing.SELF}
    if not is_allowed(Action.LEAVE_PROJECT, standings):
        allow(Action.MANAGE_MEMBERS, standings)
    refuse_archived(state)
    if command.user_id == project.owner_id:
        raise OwnerIsPermanent
    member = state.members.get(command.user_id)
    if member is None:
        raise MemberNotFound
    match_version(command, member.version)
    gone = replace(member, version=state.version + 1)
    return (MemberRemoved(member=gone, **stamp_of(state, command)),)


def _project(state: ProjectState, command: Command) -> Project:
    project = state.visible_project(command.caller)
    if project is None:
        raise ProjectNotFound
    return project
