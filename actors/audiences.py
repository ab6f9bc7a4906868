"""Who is to hear of an event, and who may see the project no more because of it."""

from collections.abc import Collection, Iterable

from actors.domain.events import (
    Entry,
    Event,
    MemberAdded,
    MemberEvent,
    MemberRemoved,
    ProjectDeleted,
    ProjectEvent,
    ProjectUpdated,
    TaskEvent,
)
from actors.domain.model import Caller, Roster, Task, UserId
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


def audience_of_late(
    roster: Roster, event: Event, parties_of_task: Collection[UserId]
) -> Audience:
    """Tell who is to hear of an event of some time ago, by what is so at present.

    `parties_of_task` are those of a comment's task; other events name them themselves.
    """
    others = {roster.owner_id, *parties_of_task}
    lost: set[UserId] = set()
    if isinstance(event, TaskEvent):
        others |= parties(event.task)
        others |= _former(event, "assigned_to")
    elif isinstance(event, MemberEvent):
        others.add(event.member.user_id)
        if isinstance(event, MemberRemoved):
            lost.add(event.member.user_id)
    elif isinstance(event, ProjectEvent):
        others.add(event.project.owner_id)
        lost |= _former(event, "owner_id")
        if isinstance(event, ProjectDeleted):
            lost |= {*roster.members, roster.owner_id}
    if not isinstance(event, ProjectDeleted):
        lost -= {*roster.members, roster.owner_id}
    return Audience(
        members=roster.members,
        others=frozenset(others | lost),
        is_inbox=roster.is_inbox,
        owner_id=roster.owner_id,
        lost=frozenset(lost),
    )


def joined(
    told: Iterable[tuple[Audience, Entry]],
) -> list[tuple[Audience, list[Entry]]]:
    """Join neighbours that are for the same users."""
    groups: list[tuple[Audience, list[Entry]]] = []
    for audience, entry in told:
        if groups and groups[-1][0].is_same(audience):
            groups[-1][1].append(entry)
        else:
            groups.append((audience, [entry]))
    return groups


def _former(event: TaskEvent | ProjectEvent, field: str) -> set[UserId]:
    change = event.changes.get(field)
    return {UserId(change.old)} if change and isinstance(change.old, int) else set()


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
