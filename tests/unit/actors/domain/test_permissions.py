"""Who may do what: the contract's table, row by row, and as `decide` carries it out."""

from dataclasses import replace

import pytest

from actors.domain.commands import (
    AddComment,
    Command,
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
from actors.domain.decide import decide
from actors.domain.errors import DomainError
from actors.domain.model import MemberRole, UserId, UserRole
from actors.domain.permissions import (
    ALLOWED,
    Action,
    Standing,
    is_allowed,
    parties,
    sees_everywhere,
    user_standings,
)
from tests.factories import (
    ADA,
    make_caller,
    make_command,
    make_comment,
    make_member,
    make_project,
    make_state,
    make_task,
)

STRANGER, CREATOR, ASSIGNEE, VIEWER, MEMBER, MAINTAINER, OTHER = range(11, 18)

CALLERS = {
    "stranger": make_caller(STRANGER),
    "creator": make_caller(CREATOR),
    "assignee": make_caller(ASSIGNEE),
    "viewer": make_caller(VIEWER),
    "member": make_caller(MEMBER),
    "maintainer": make_caller(MAINTAINER),
    "owner": make_caller(ADA),
    "manager": make_caller(21, UserRole.MANAGER),
    "admin": make_caller(22, UserRole.ADMIN),
}

COMMANDS: dict[str, Command] = {
    "create_task": make_command(CreateTask, task_id=99),
    "change_task": make_command(UpdateTask, title="x"),
    "assign_task": make_command(UpdateTask, assigned_to=OTHER),
    "delete_task": make_command(DeleteTask),
    "add_comment": make_command(AddComment),
    "change_comment": make_command(UpdateComment, comment="x"),
    "delete_comment": make_command(DeleteComment),
    "change_project": make_command(UpdateProject, name="x"),
    "hand_over": make_command(UpdateProject, owner_id=MEMBER),
    "delete_project": make_command(DeleteProject),
    "put_member": make_command(PutMember, user_id=OTHER),
    "remove_member": make_command(RemoveMember, user_id=OTHER),
}

# not_found: may not even see it; forbidden: sees it, but may not.
TABLE = """
               stranger  creator   assignee  viewer    member    maintainer owner manager   admin
create_task    not_found not_found not_found forbidden ok        ok         ok    ok        ok
change_task    not_found ok        ok        forbidden ok        ok         ok    ok        ok
assign_task    not_found ok        ok        forbidden ok        ok         ok    ok        ok
delete_task    not_found ok        forbidden forbidden forbidden ok         ok    ok        ok
add_comment    not_found ok        ok        forbidden ok        ok         ok    ok        ok
change_comment not_found forbidden forbidden forbidden forbidden forbidden  forbidden forbidden forbidden
delete_comment not_found forbidden forbidden forbidden forbidden ok         ok    ok        ok
change_project not_found not_found not_found forbidden forbidden ok         ok    forbidden ok
hand_over      not_found not_found not_found forbidden forbidden forbidden  ok    forbidden ok
delete_project not_found not_found not_found forbidden forbidden forbidden  ok    forbidden ok
put_member     not_found not_found not_found forbidden forbidden ok         ok    ok        ok
remove_member  not_found not_found not_found forbidden forbidden ok         ok    ok        ok
"""  # noqa: E501  # a table is read as one

SEEN = """
             stranger creator assignee viewer member maintainer owner manager admin
see_task     no       yes     yes      yes    yes    yes        yes   yes     yes
see_project  no       no      no       yes    yes    yes        yes   yes     yes
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    head, *rows = [line.split() for line in table.strip().splitlines()]
    return [
        (name, caller, value)
        for name, *values in rows
        for caller, value in zip(head, values, strict=True)
    ]


def outcome(
    command: Command, caller: str, *, is_inbox: bool = False, author: int = OTHER
) -> str:
    members = {
        VIEWER: MemberRole.VIEWER,
        MEMBER: MemberRole.MEMBER,
        MAINTAINER: MemberRole.MAINTAINER,
        OTHER: MemberRole.VIEWER,
    }
    state = make_state(
        project=make_project(is_inbox=is_inbox),
        members=[make_member(user, role) for user, role in members.items()],
        tasks=[make_task(created_by=CREATOR, assigned_to=ASSIGNEE)],
        comments=[make_comment(user_id=author)],
    )
    try:
        decide(state, replace(command, caller=CALLERS[caller]))
    except DomainError as error:
        return error.kind.value
    return "ok"


@pytest.mark.parametrize(("command", "caller", "expected"), cells(TABLE))
def test_everyone_may_do_what_the_table_says(
    command: str, caller: str, expected: str
) -> None:
    assert outcome(COMMANDS[command], caller) == expected


@pytest.mark.parametrize(("action", "caller", "expected"), cells(SEEN))
def test_everyone_sees_what_the_table_says(
    action: str, caller: str, expected: str
) -> None:
    task = make_task(created_by=CREATOR, assigned_to=ASSIGNEE)
    members = [
        make_member(VIEWER, MemberRole.VIEWER),
        make_member(MEMBER, MemberRole.MEMBER),
        make_member(MAINTAINER, MemberRole.MAINTAINER),
    ]
    state = make_state(members=members, tasks=[task])
    see = {
        "see_task": state.visible_task(CALLERS[caller], task.id),
        "see_project": state.visible_project(CALLERS[caller]),
    }

    assert (see[action] is not None) == (expected == "yes")


@pytest.mark.parametrize(
    ("caller", "expected"),
    [("owner", "ok"), ("admin", "ok"), ("manager", "not_found")],
)
def test_only_admins_reach_into_the_inboxes_of_others(
    caller: str, expected: str
) -> None:
    assert outcome(COMMANDS["change_task"], caller, is_inbox=True) == expected


@pytest.mark.parametrize("command", ["change_comment", "delete_comment"])
@pytest.mark.parametrize("caller", [name for name in CALLERS if name != "stranger"])
def test_authors_do_as_they_like_with_what_they_said(command: str, caller: str) -> None:
    author = CALLERS[caller].id

    assert outcome(COMMANDS[command], caller, author=author) == "ok"


def test_an_author_who_sees_the_task_no_more_is_a_stranger() -> None:
    outcomes = [
        outcome(COMMANDS[name], "stranger", author=STRANGER)
        for name in ("change_comment", "delete_comment")
    ]

    assert outcomes == ["not_found"] * 2


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [(VIEWER, "ok"), (MEMBER, "ok"), (MAINTAINER, "ok")],
)
def test_every_member_may_leave(user_id: int, expected: str) -> None:
    names = {VIEWER: "viewer", MEMBER: "member", MAINTAINER: "maintainer"}

    assert (
        outcome(make_command(RemoveMember, user_id=user_id), names[user_id]) == expected
    )


@pytest.mark.parametrize("caller", ["manager", "admin"])
def test_who_is_no_member_cannot_leave(caller: str) -> None:
    command = make_command(RemoveMember, user_id=CALLERS[caller].id)

    assert outcome(command, caller) == "not_found"


def test_every_action_is_in_the_table() -> None:
    assert set(ALLOWED) == set(Action)


@pytest.mark.parametrize("action", [Action.VISIT, Action.LIST_VISIBLE])
def test_users_may_do_what_is_open_to_all_users(action: Action) -> None:
    assert is_allowed(action, frozenset({Standing.USER}))


def test_only_visits_are_open_to_anyone() -> None:
    anyone = frozenset({Standing.ANYONE})

    assert [action for action in Action if is_allowed(action, anyone)] == [Action.VISIT]


@pytest.mark.parametrize(
    ("role", "projects", "inboxes"),
    [
        (UserRole.USER, False, False),
        (UserRole.MANAGER, True, False),
        (UserRole.ADMIN, True, True),
    ],
)
def test_managers_see_all_projects_and_admins_all_inboxes_too(
    role: UserRole,
    projects: bool,
    inboxes: bool,  # a table's columns
) -> None:
    assert sees_everywhere(role, is_inbox=False) is projects
    assert sees_everywhere(role, is_inbox=True) is inboxes


def test_the_parties_of_a_task_are_its_creator_and_its_assignee() -> None:
    assert parties(make_task(created_by=CREATOR)) == {CREATOR}
    assert parties(make_task(created_by=CREATOR, assigned_to=OTHER)) == {CREATOR, OTHER}


USERS_TABLE = """
             self other manager admin
list_users   no   no    yes     yes
see_user     yes  no    yes     yes
change_user  no   no    no      yes
"""


@pytest.mark.parametrize(("action", "who", "expected"), cells(USERS_TABLE))
def test_everyone_may_do_to_users_what_the_table_says(
    action: str, who: str, expected: str
) -> None:
    caller = {"self": make_caller(OTHER), "other": CALLERS["stranger"]} | CALLERS

    allowed = is_allowed(Action(action), user_standings(caller[who], UserId(OTHER)))

    assert allowed == (expected == "yes")
