"""What may be done to projects and their members, and which events say so."""

from dataclasses import replace

import pytest

from actors.domain.commands import (
    Command,
    CreateProject,
    CreateTask,
    DeleteProject,
    PutMember,
    RemoveMember,
    UpdateProject,
    UpdateTask,
)
from actors.domain.decide import decide
from actors.domain.errors import (
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
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    ProjectCreated,
    ProjectDeleted,
    ProjectUpdated,
)
from actors.domain.model import (
    Member,
    MemberRole,
    ProjectId,
    ProjectStatus,
    UserRole,
)
from actors.domain.state import ProjectState
from tests.factories import (
    ADA,
    AT,
    BOB,
    CYD,
    LATER,
    PROJECT,
    apply_all,
    make_caller,
    make_command,
    make_member,
    make_project,
    make_state,
    make_task,
)

ARCHIVED = ProjectStatus.ARCHIVED
MAINTAINER = MemberRole.MAINTAINER


def test_a_new_project_is_what_was_asked_for() -> None:
    command = make_command(CreateProject, name="Apollo", owner_id=BOB)

    (event,) = decide(ProjectState(project_id=PROJECT), command)

    expected = make_project(owner_id=BOB, created_at=LATER, updated_at=LATER)
    assert isinstance(event, ProjectCreated)
    assert event.project == expected
    assert (event.version, event.by) == (1, ADA)


def test_a_project_is_made_once() -> None:
    with pytest.raises(ProjectNotFound):
        decide(make_state(), make_command(CreateProject))


def test_a_deleted_project_is_not_made_again() -> None:
    state = make_state()
    apply_all(state, decide(state, make_command(DeleteProject)))

    with pytest.raises(ProjectNotFound):
        decide(state, make_command(CreateProject))


def test_a_change_of_the_project_names_what_changed() -> None:
    command = make_command(UpdateProject, name="Gemini", description=None)

    (event,) = decide(make_state(version=9), command)

    assert isinstance(event, ProjectUpdated)
    assert event.project == make_project(name="Gemini", updated_at=LATER, version=10)
    assert event.changes == {"name": Change(old="Apollo", new="Gemini")}


@pytest.mark.parametrize(
    "fields", [{}, {"name": "Apollo"}, {"owner_id": ADA}, {"status": "active"}]
)
def test_what_changes_nothing_makes_no_event(fields: dict[str, object]) -> None:
    assert decide(make_state(), make_command(UpdateProject, **fields)) == ()


@pytest.mark.parametrize(
    "command",
    [
        make_command(UpdateProject, name="x"),
        make_command(UpdateProject, owner_id=BOB),
        make_command(UpdateProject, name="x", status=ARCHIVED),
        make_command(PutMember),
        make_command(PutMember, user_id=CYD),
        make_command(RemoveMember),
        make_command(RemoveMember, caller=make_caller(BOB)),
    ],
)
def test_an_archived_project_is_read_only(command: Command) -> None:
    archived = make_project(status=ARCHIVED)
    state = make_state(project=archived, members=[make_member(BOB)])

    with pytest.raises(ProjectArchived):
        decide(state, command)


def test_an_archived_project_can_be_made_active_and_changed_at_once() -> None:
    state = make_state(project=make_project(status=ARCHIVED))
    command = make_command(UpdateProject, status=ProjectStatus.ACTIVE, name="x")

    (event,) = decide(state, command)

    assert set(event.changes) == {"status", "name"}


def test_an_archived_project_can_be_deleted() -> None:
    state = make_state(project=make_project(status=ARCHIVED))

    (event,) = decide(state, make_command(DeleteProject))

    assert isinstance(event, ProjectDeleted)


def test_an_archived_project_takes_a_change_that_is_none() -> None:
    state = make_state(project=make_project(status=ARCHIVED))

    assert decide(state, make_command(UpdateProject, status=ARCHIVED)) == ()


@pytest.mark.parametrize(
    ("command", "version"),
    [
        (make_command(UpdateProject, name="x", if_match=(4,)), 3),
        (make_command(DeleteProject, if_match=(4,)), 3),
        (make_command(PutMember, if_match=(4,)), 5),
        (make_command(RemoveMember, if_match=(4,)), 5),
    ],
)
def test_what_moved_on_is_not_changed(command: Command, version: int) -> None:
    members = [make_member(BOB, version=5)]
    state = make_state(project=make_project(version=3), members=members)

    with pytest.raises(VersionMismatch) as refusal:
        decide(state, command)
    assert refusal.value.current == version


def test_a_handed_over_project_keeps_its_old_owner_as_maintainer() -> None:
    state = make_state(version=9)

    events = decide(state, make_command(UpdateProject, owner_id=BOB, name="x"))

    updated, added = events
    assert isinstance(updated, ProjectUpdated)
    assert set(updated.changes) == {"name", "owner_id"}
    assert isinstance(added, MemberAdded)
    apply_all(state, events)
    assert state.project is not None
    assert state.project.owner_id == BOB
    assert state.members == {
        ADA: Member(user_id=ADA, role=MAINTAINER, created_at=LATER, version=11)
    }


def test_a_member_who_becomes_owner_is_a_member_no_more() -> None:
    heir = make_member(BOB, MemberRole.VIEWER)
    state = make_state(members=[heir, make_member(CYD)], version=9)

    events = decide(state, make_command(UpdateProject, owner_id=BOB))

    assert [type(event) for event in events] == [
        MemberRemoved,
        ProjectUpdated,
        MemberAdded,
    ]
    assert [event.version for event in events] == [10, 11, 12]
    assert isinstance(events[0], MemberRemoved)
    assert events[0].member == replace(heir, version=10)
    assert set(apply_all(state, events).members) == {ADA, CYD}


def test_a_decision_leaves_the_state_alone() -> None:
    state = make_state(members=[make_member(BOB)], version=9)

    decide(state, make_command(UpdateProject, owner_id=BOB))

    assert state == make_state(members=[make_member(BOB)], version=9)


def test_a_deleted_project_takes_everything_with_it() -> None:
    state = make_state(members=[make_member()], tasks=[make_task()], version=9)

    (event,) = decide(state, make_command(DeleteProject))

    assert isinstance(event, ProjectDeleted)
    assert event.project == make_project(version=10)
    apply_all(state, [event])
    assert (state.project, state.members, state.tasks) == (None, {}, {})


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (make_command(UpdateProject, name="x"), ProjectNotFound),
        (make_command(CreateTask), ProjectNotFound),
        (make_command(UpdateTask), TaskNotFound),
    ],
)
def test_nothing_is_left_to_change_in_a_deleted_project(
    command: Command, error: type[Exception]
) -> None:
    state = make_state(tasks=[make_task()])
    apply_all(state, decide(state, make_command(DeleteProject)))

    with pytest.raises(error):
        decide(state, command)


@pytest.mark.parametrize(
    "command",
    [
        make_command(UpdateProject, status=ARCHIVED),
        make_command(UpdateProject, owner_id=BOB, name="x"),
        make_command(DeleteProject),
        make_command(PutMember),
    ],
)
@pytest.mark.parametrize("role", [UserRole.USER, UserRole.ADMIN])
def test_an_inbox_stays_what_it_is(command: Command, role: UserRole) -> None:
    state = make_state(project=make_project(is_inbox=True))

    with pytest.raises(InboxIsPermanent):
        decide(state, replace(command, caller=make_caller(ADA, role)))


def test_an_inbox_may_have_another_name() -> None:
    state = make_state(project=make_project(is_inbox=True))

    (event,) = decide(state, make_command(UpdateProject, name="Mine"))

    assert isinstance(event, ProjectUpdated)
    assert event.project.is_inbox


@pytest.mark.parametrize(
    "command",
    [
        make_command(CreateTask),
        make_command(UpdateProject, name="x"),
        make_command(PutMember),
    ],
)
def test_the_inbox_of_another_is_hidden_from_managers(command: Command) -> None:
    state = make_state(project=make_project(is_inbox=True))
    manager = make_caller(CYD, UserRole.MANAGER)

    with pytest.raises(ProjectNotFound):
        decide(state, replace(command, caller=manager))


def test_a_manager_may_use_their_own_inbox() -> None:
    state = make_state(project=make_project(is_inbox=True, owner_id=CYD))
    manager = make_caller(CYD, UserRole.MANAGER)

    assert decide(state, make_command(CreateTask, caller=manager))


def test_a_new_member_has_the_role_that_was_given() -> None:
    (event,) = decide(make_state(version=9), make_command(PutMember, role=MAINTAINER))

    assert isinstance(event, MemberAdded)
    assert event.member == Member(
        user_id=BOB, role=MAINTAINER, created_at=LATER, version=10
    )


def test_a_member_with_another_role_has_been_there_all_along() -> None:
    state = make_state(members=[make_member(BOB, MemberRole.VIEWER)])

    (event,) = decide(state, make_command(PutMember, role=MAINTAINER))

    assert isinstance(event, MemberUpdated)
    assert event.member.created_at == AT
    assert event.changes == {"role": Change(old="viewer", new="maintainer")}


def test_a_member_with_the_role_they_have_makes_no_event() -> None:
    state = make_state(members=[make_member(BOB, MAINTAINER)])

    assert decide(state, make_command(PutMember, role=MAINTAINER)) == ()


@pytest.mark.parametrize("kind", [PutMember, RemoveMember])
def test_the_owner_is_neither_demoted_nor_removed(kind: type[Command]) -> None:
    with pytest.raises(OwnerIsPermanent):
        decide(make_state(), make_command(kind, user_id=ADA))


def test_a_removed_member_is_told_as_they_were() -> None:
    member = make_member(BOB, MAINTAINER)
    state = make_state(members=[member], version=9)

    (event,) = decide(state, make_command(RemoveMember))

    assert isinstance(event, MemberRemoved)
    assert event.member == replace(member, version=10)


def test_who_is_no_member_cannot_be_removed() -> None:
    with pytest.raises(MemberNotFound):
        decide(make_state(), make_command(RemoveMember, user_id=CYD))


def test_another_projects_number_is_kept_in_its_events() -> None:
    state = make_state(project=make_project(id=ProjectId(12)))

    (event,) = decide(state, make_command(CreateTask))

    assert event.project_id == 12
