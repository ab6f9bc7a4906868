"""What becomes of commands about comments."""

import pytest

from actors.domain.commands import AddComment, Command, DeleteComment, UpdateComment
from actors.domain.decide import decide
from actors.domain.errors import (
    CommentNotFound,
    DomainError,
    ProjectArchived,
    TaskNotFound,
    VersionMismatch,
)
from actors.domain.events import (
    Change,
    CommentCreated,
    CommentDeleted,
    CommentUpdated,
)
from actors.domain.model import CommentId, ProjectStatus, TaskId
from actors.domain.state import ProjectState
from tests.factories import (
    ADA,
    AT,
    BOB,
    LATER,
    PROJECT,
    make_caller,
    make_command,
    make_comment,
    make_member,
    make_project,
    make_state,
    make_task,
)

ON_COMMENT = [
    make_command(UpdateComment, comment="x"),
    make_command(DeleteComment),
]
ALL = [make_command(AddComment, comment_id=CommentId(2)), *ON_COMMENT]


def make_scene(**fields: object) -> ProjectState:
    given = {"tasks": [make_task()], "comments": [make_comment()], **fields}
    return make_state(**given)  # type: ignore[arg-type]  # what the test names


def refusal(state: ProjectState, command: Command) -> type[DomainError]:
    with pytest.raises(DomainError) as caught:
        decide(state, command)
    return type(caught.value)


def test_a_comment_is_its_callers_and_has_the_projects_next_version() -> None:
    state = make_scene(members=[make_member(BOB)], comments=[])

    (event,) = decide(state, make_command(AddComment, caller=make_caller(BOB)))

    assert event == CommentCreated(
        comment=make_comment(
            user_id=BOB, created_at=LATER, updated_at=LATER, version=10
        ),
        project_id=PROJECT,
        version=10,
        by=BOB,
        at=LATER,
        request_id="r-1",
    )


def test_a_comment_leaves_its_task_as_it_is() -> None:
    state = make_scene(comments=[])

    state.apply(*decide(state, make_command(AddComment)))

    assert state.tasks == {1: make_task()}
    assert list(state.comments[TaskId(1)]) == [1]


def test_an_author_puts_it_in_other_words() -> None:
    (event,) = decide(make_scene(), make_command(UpdateComment, comment="Better"))

    assert isinstance(event, CommentUpdated)
    assert event.comment == make_comment(
        comment="Better", created_at=AT, updated_at=LATER, version=10
    )
    assert event.changes == {"comment": Change(old="Well done", new="Better")}


@pytest.mark.parametrize(
    "command",
    [make_command(UpdateComment), make_command(UpdateComment, comment="Well done")],
)
def test_the_same_words_change_nothing(command: UpdateComment) -> None:
    assert decide(make_scene(), command) == ()


def test_what_is_deleted_is_told_as_it_was() -> None:
    (event,) = decide(make_scene(), make_command(DeleteComment))

    assert isinstance(event, CommentDeleted)
    assert event.comment == make_comment(version=10)


@pytest.mark.parametrize("command", ALL, ids=lambda command: type(command).__name__)
def test_nothing_is_said_in_an_archived_project(command: Command) -> None:
    state = make_scene(project=make_project(status=ProjectStatus.ARCHIVED))

    assert refusal(state, command) is ProjectArchived


@pytest.mark.parametrize("command", ALL, ids=lambda command: type(command).__name__)
def test_nothing_is_said_of_a_task_that_is_not_there(command: Command) -> None:
    assert refusal(make_state(), command) is TaskNotFound


@pytest.mark.parametrize(
    "command", ON_COMMENT, ids=lambda command: type(command).__name__
)
def test_a_comment_is_found_on_its_own_task_only(command: Command) -> None:
    other = make_task(id=TaskId(2))
    state = make_scene(tasks=[make_task(), other], comments=[])
    elsewhere = make_comment(task_id=TaskId(2))
    state.comments[TaskId(2)] = {elsewhere.id: elsewhere}

    assert refusal(state, command) is CommentNotFound


@pytest.mark.parametrize(
    ("kind", "version"), [(AddComment, 2), (UpdateComment, 3), (DeleteComment, 3)]
)
def test_conditions_name_the_comment_or_else_its_task(
    kind: type[Command], version: int
) -> None:
    state = make_scene()
    new = {"comment_id": CommentId(2)} if kind is AddComment else {}
    held = make_command(kind, if_match=(version,), **new)
    broken = make_command(kind, if_match=(version + 5,), **new)

    decide(state, held)
    with pytest.raises(VersionMismatch) as caught:
        decide(state, broken)

    assert caught.value.current == version


def test_the_owner_may_delete_but_not_change_what_others_said() -> None:
    state = make_scene(comments=[make_comment(user_id=BOB)])

    decide(state, make_command(DeleteComment, caller=make_caller(ADA)))
    with pytest.raises(DomainError, match="may see this, but not change"):
        decide(state, make_command(UpdateComment, comment="x"))
