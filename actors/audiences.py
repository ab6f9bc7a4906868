"""Who is to hear of an event, and who may see the project no more because of it."""

from collections.abc import Collection

from actors.domain.events import (
    Event,
    MemberAdded,
    MemberEvent,
    ProjectDeleted,
    ProjectEvent,
    ProjectUpdated,
)
from actors.domain.model import Caller, Task, UserId
from actors.domain.permissions import parties, sees_everywhere
from actors.domain.state import ProjectState
from actors.ports import Audience


def hears(audience: Audience, caller: Caller) -> bool:
    """Say whether an event is for this user."""
    return (
        caller.id in audience.members
        or caller.id in audience.others
        or sees_everywhere(caller.role, is_inbox=audience.is_inbox)
    )


def oversees(audience: Audience, caller: Caller) -> bool:
    """Say whether this user sees all of the project, and so each of its versions."""
    return (
        caller.id in audience.members
        or caller.id == audience.owner_id
        or sees_everywhere(caller.role, is_inbox=audience.is_inbox)
    )


def audience_of_task(
    state: ProjectState, task: Task, members: Collection[UserId]
) -> Audience:
    """Tell who is to hear of a change that leads to this task, as of before it."""
    users = set(parties(task))
    before, project = state.tasks.get(task.id), state.project
    if before is not None and before.assigned_to is not None:
        users.add(before.assigned_to)
    if project is not None:
        users.add(project.owner_id)
    return Audience(
        members=members,
        others=frozenset(users),
        is_inbox=project is not None and project.is_inbox,
        owner_id=None if project is None else project.owner_id,
    )


def take_rare(
    state: ProjectState, event: ProjectEvent | MemberEvent, following: Event | None
) -> Audience:
    """Apply a change of the project or its members; tell who is to hear of it.

    `following` is the next event of the same commit: a project is handed over in
    several, and who is let in again by the very next one has not been shut out.
    """
    members, owner_id = state.members, _owner_id(state)
    others, is_inbox = _others(state, event), _is_inbox(state, event)
    bystanders = _bystanders(state, event)
    state.members = {**members}  # audiences of before keep what was
    state.apply(event)
    named = {event.member.user_id} if isinstance(event, MemberEvent) else {owner_id}
    if isinstance(event, ProjectDeleted):
        named.update(members)
    lost = {
        user_id
        for user_id in named
        if user_id is not None
        and user_id not in state.members
        and user_id != _owner_id(state)
        and not _lets_in(following, user_id)
    }
    return Audience(
        members=members,
        others=others | _others(state, event),
        is_inbox=is_inbox,
        owner_id=_owner_id(state),
        bystanders=bystanders,
        lost=frozenset(lost),
    )


def _lets_in(event: Event | None, user_id: UserId) -> bool:
    if isinstance(event, MemberAdded):
        return event.member.user_id == user_id
    return isinstance(event, ProjectUpdated) and event.project.owner_id == user_id


def _owner_id(state: ProjectState) -> UserId | None:
    return None if state.project is None else state.project.owner_id


def _others(
    state: ProjectState, event: ProjectEvent | MemberEvent
) -> frozenset[UserId]:
    """Who has a part in the event's thing without being a member, as of `state`."""
    users = set() if state.project is None else {state.project.owner_id}
    if isinstance(event, MemberEvent):
        users.add(event.member.user_id)
    else:
        users.add(event.project.owner_id)
    return frozenset(users)


def _bystanders(
    state: ProjectState, event: ProjectEvent | MemberEvent
) -> frozenset[UserId]:
    if not isinstance(event, ProjectDeleted):
        return frozenset()
    return frozenset().union(*(parties(task) for task in state.tasks.values()))


def _is_inbox(state: ProjectState, event: ProjectEvent | MemberEvent) -> bool:
    project = state.project
    if project is None and isinstance(event, ProjectEvent):
        project = event.project
    return project is not None and project.is_inbox
