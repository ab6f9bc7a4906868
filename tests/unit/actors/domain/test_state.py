"""How events change a project in memory, and drafts that leave it alone."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from actors.domain.model import CommentId, MemberRole, TaskId, TaskStatus, UserId
from actors.domain.state import Draft, ProjectState
from tests.factories import (
    ADA,
    BOB,
    CYD,
    PROJECT,
    TASK,
    apply_all,
    make_caller,
    make_command,
    make_comment,
    make_member,
    make_new_state,
    make_state,
    make_task,
)

TASKS = st.integers(1, 4).map(TaskId)
USERS = st.integers(1, 4).map(UserId)
COMMENTS = st.integers(1, 3).map(CommentId)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(lambda i: make_command(CreateTask, task_id=i), TASKS),
    st.builds(lambda i: make_command(DeleteTask, task_id=i), TASKS),
    st.builds(
        lambda i, title, status, user: make_command(
            UpdateTask, task_id=i, title=title, status=status, assigned_to=user
        ),
        TASKS,
        st.sampled_from("ab"),
        st.sampled_from(TaskStatus),
        st.none() | USERS,
    ),
    st.builds(
        lambda user, role: make_command(PutMember, user_id=user, role=role),
        USERS,
        st.sampled_from(MemberRole),
    ),
    st.builds(lambda user: make_command(RemoveMember, user_id=user), USERS),
    st.builds(lambda user: make_command(UpdateProject, owner_id=user), USERS),
    st.builds(
        lambda task, i: make_command(AddComment, task_id=task, comment_id=i),
        TASKS,
        COMMENTS,
    ),
    st.builds(
        lambda task, i, text: make_command(
            UpdateComment, task_id=task, comment_id=i, comment=text
        ),
        TASKS,
        COMMENTS,
        st.sampled_from("ab"),
    ),
    st.builds(
        lambda task, i: make_command(DeleteComment, task_id=task, comment_id=i),
        TASKS,
        COMMENTS,
    ),
    st.just(make_command(DeleteProject)),
)


def try_all(state: ProjectState, commands: list[Command]) -> None:
    for command in commands:
        try:
            events = decide(state, command)
        except DomainError:
            continue
        apply_all(state, events)


@given(st.lists(COMMANDS, max_size=6), st.lists(COMMANDS, max_size=12))
def test_a_draft_becomes_what_the_state_would_and_leaves_it_alone(
    before: list[Command], batch: list[Command]
) -> None:
    base = make_new_state()
    try_all(base, before)
    untouched, twin = deepcopy(base), deepcopy(base)
    draft = Draft(base)

    try_all(draft, batch)
    try_all(twin, batch)

    assert base == untouched
    assert draft.version == twin.version
    assert draft.project == twin.project
    assert dict(draft.members) == twin.members
    assert dict(draft.tasks) == twin.tasks
    assert dict(draft.comments) == twin.comments
    assert (len(draft.members), len(draft.tasks)) == (
        len(twin.members),
        len(twin.tasks),
    )


def test_what_was_taken_out_of_a_draft_is_not_there() -> None:
    draft = Draft(make_state(tasks=[make_task()]))

    del draft.tasks[TASK]

    assert TASK not in draft.tasks
    assert len(draft.tasks) == 0
    with pytest.raises(KeyError):
        del draft.tasks[TASK]


def test_what_was_taken_out_of_a_draft_can_come_back() -> None:
    draft = Draft(make_state(tasks=[make_task()]))
    del draft.tasks[TASK]

    draft.tasks[TASK] = make_task(title="Again")

    assert [task.title for task in draft.tasks.values()] == ["Again"]


def test_what_is_changed_in_a_draft_is_there_once() -> None:
    draft = Draft(make_state(tasks=[make_task(), make_task(id=TaskId(2))]))

    draft.tasks[TASK] = make_task(title="Changed")

    assert sorted(draft.tasks) == [1, 2]


@pytest.mark.parametrize("version", [8, 9, 11])
def test_only_the_next_event_is_taken(version: int) -> None:
    state = make_state(version=9)
    (event,) = decide(make_state(version=version - 1), make_command(CreateTask))

    with pytest.raises(ValueError, match=f"{version} does not follow version 9"):
        state.apply(event)
    assert state == make_state(version=9)


def test_an_event_for_a_task_that_is_gone_leaves_it_gone() -> None:
    (event,) = decide(make_state(tasks=[make_task()]), make_command(DeleteTask))
    state = make_state()

    state.apply(event)

    assert state.tasks == {}


def test_comments_go_with_their_task() -> None:
    tasks = [make_task(), make_task(id=TaskId(2))]
    comments = [make_comment(), make_comment(id=CommentId(2), task_id=TaskId(2))]
    state = make_state(tasks=tasks, comments=comments)

    apply_all(state, decide(state, make_command(DeleteTask)))

    assert state.comments == {2: {2: comments[1]}}


def test_comments_go_with_their_project() -> None:
    state = make_state(tasks=[make_task()], comments=[make_comment()])

    apply_all(state, decide(state, make_command(DeleteProject)))

    assert state.comments == {}


def test_a_task_without_comments_takes_no_room_for_them() -> None:
    state = make_state(tasks=[make_task()], comments=[make_comment()])

    apply_all(state, decide(state, make_command(DeleteComment)))

    assert state.comments == {}


def test_roles_are_those_of_members() -> None:
    state = make_state(members=[make_member(BOB, MemberRole.VIEWER)])

    assert state.role_of(BOB) is MemberRole.VIEWER
    assert state.role_of(CYD) is None
    assert state.role_of(ADA) is None


def test_nobody_sees_a_project_that_is_not_there() -> None:
    state = ProjectState(project_id=PROJECT)

    assert state.visible_project(make_caller()) is None
    assert state.visible_task(make_caller(), TASK) is None


def test_without_a_project_only_the_parties_of_a_task_stand_to_it() -> None:
    state = ProjectState(project_id=PROJECT)

    assert state.standings(make_caller(ADA), make_task(created_by=ADA)) == {"creator"}
    assert state.standings(make_caller(ADA)) == frozenset()
