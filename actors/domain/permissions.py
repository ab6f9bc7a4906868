"""Who may do what: one table, asked by `decide`, by readers and by the fan-out.

A caller's standings towards a thing are facts (owner, member, assignee, ...); an
action is allowed when any of them is listed for it.
"""

from collections.abc import Mapping

from actors.domain.model import (
    Caller,
    Comment,
    MemberRole,
    Project,
    Task,
    UserId,
    UserRole,
    Word,
)


class Standing(Word):
    """How a caller stands to a task, a comment or a project."""

    CREATOR = "creator"
    ASSIGNEE = "assignee"
    AUTHOR = "author"
    VIEWER = "viewer"
    MEMBER = "member"
    MAINTAINER = "maintainer"
    OWNER = "owner"
    MANAGER = "manager"
    ADMIN = "admin"
    SELF = "self"
    USER = "user"
    ANYONE = "anyone"


class Action(Word):
    """What can be allowed or refused; every route names one."""

    SEE_TASK = "see_task"
    CREATE_TASK = "create_task"
    CHANGE_TASK = "change_task"
    DELETE_TASK = "delete_task"
    ADD_COMMENT = "add_comment"
    CHANGE_COMMENT = "change_comment"
    DELETE_COMMENT = "delete_comment"
    SEE_PROJECT = "see_project"
    CREATE_PROJECT = "create_project"
    CHANGE_PROJECT = "change_project"
    DELETE_PROJECT = "delete_project"
    HAND_OVER_PROJECT = "hand_over_project"
    MANAGE_MEMBERS = "manage_members"
    LEAVE_PROJECT = "leave_project"
    USE_OWN_ACCOUNT = "use_own_account"
    LIST_USERS = "list_users"
    SEE_USER = "see_user"
    CHANGE_USER = "change_user"
    LIST_VISIBLE = "list_visible"
    VISIT = "visit"


_S = Standing
_READERS = {_S.VIEWER, _S.MEMBER, _S.MAINTAINER, _S.OWNER, _S.MANAGER, _S.ADMIN}
_WRITERS = _READERS - {_S.VIEWER}
_PARTIES = {_S.CREATOR, _S.ASSIGNEE}
_STEWARDS = {_S.MAINTAINER, _S.OWNER, _S.ADMIN}

ALLOWED: Mapping[Action, frozenset[Standing]] = {
    Action.SEE_TASK: frozenset(_READERS | _PARTIES),
    Action.CREATE_TASK: frozenset(_WRITERS),
    Action.CHANGE_TASK: frozenset(_WRITERS | _PARTIES),
    Action.DELETE_TASK: frozenset(_STEWARDS | {_S.MANAGER, _S.CREATOR}),
    Action.ADD_COMMENT: frozenset(_WRITERS | _PARTIES),
    Action.CHANGE_COMMENT: frozenset({_S.AUTHOR}),
    Action.DELETE_COMMENT: frozenset(_STEWARDS | {_S.MANAGER, _S.AUTHOR}),
    Action.SEE_PROJECT: frozenset(_READERS),
    Action.CREATE_PROJECT: frozenset({_S.USER}),
    Action.CHANGE_PROJECT: frozenset(_STEWARDS),
    Action.DELETE_PROJECT: frozenset({_S.OWNER, _S.ADMIN}),
    Action.HAND_OVER_PROJECT: frozenset({_S.OWNER, _S.ADMIN}),
    Action.MANAGE_MEMBERS: frozenset(_STEWARDS | {_S.MANAGER}),
    Action.LEAVE_PROJECT: frozenset({_S.SELF}),
    Action.USE_OWN_ACCOUNT: frozenset({_S.USER}),
    Action.LIST_USERS: frozenset({_S.MANAGER, _S.ADMIN}),
    Action.SEE_USER: frozenset({_S.SELF, _S.MANAGER, _S.ADMIN}),
    Action.CHANGE_USER: frozenset({_S.ADMIN}),
    Action.LIST_VISIBLE: frozenset({_S.USER}),
    Action.VISIT: frozenset({_S.ANYONE, _S.USER}),
}

_BY_MEMBER_ROLE = {
    MemberRole.VIEWER: Standing.VIEWER,
    MemberRole.MEMBER: Standing.MEMBER,
    MemberRole.MAINTAINER: Standing.MAINTAINER,
}


def project_standings(
    caller: Caller, project: Project, role: MemberRole | None
) -> frozenset[Standing]:
    """Tell how the caller stands to a project in which they have `role`, if any.

    Managers have no standing in the inboxes of others.
    """
    standings = {Standing.USER}
    if caller.id == project.owner_id:
        standings.add(Standing.OWNER)
    if role is not None:
        standings.add(_BY_MEMBER_ROLE[role])
    if caller.role is UserRole.ADMIN:
        standings.add(Standing.ADMIN)
    if caller.role is UserRole.MANAGER and not project.is_inbox:
        standings.add(Standing.MANAGER)
    return frozenset(standings)


def task_standings(caller: Caller, task: Task) -> frozenset[Standing]:
    """Tell how the caller stands to the task itself, its project apart."""
    standings = set()
    if caller.id == task.created_by:
        standings.add(Standing.CREATOR)
    if caller.id == task.assigned_to:
        standings.add(Standing.ASSIGNEE)
    return frozenset(standings)


def user_standings(caller: Caller, user_id: UserId | None) -> frozenset[Standing]:
    """Tell how the caller stands to a user, or to all of them if none is named."""
    standings = {Standing.USER}
    if caller.id == user_id:
        standings.add(Standing.SELF)
    if caller.role is UserRole.MANAGER:
        standings.add(Standing.MANAGER)
    if caller.role is UserRole.ADMIN:
        standings.add(Standing.ADMIN)
    return frozenset(standings)


def comment_standings(caller: Caller, comment: Comment) -> frozenset[Standing]:
    """Tell how the caller stands to the comment itself, its task apart."""
    return frozenset({Standing.AUTHOR} if caller.id == comment.user_id else ())


def is_allowed(action: Action, standings: frozenset[Standing]) -> bool:
    """Ask the table."""
    return not ALLOWED[action].isdisjoint(standings)


def sees_everywhere(role: UserRole, *, is_inbox: bool) -> bool:
    """Tell whether users of this role see projects that they have no part in."""
    return role is UserRole.ADMIN or (role is UserRole.MANAGER and not is_inbox)


def parties(task: Task) -> frozenset[UserId]:
    """Name the users who see a task whatever their part in its project."""
    if task.assigned_to is None:
        return frozenset((task.created_by,))
    return frozenset((task.created_by, task.assigned_to))
