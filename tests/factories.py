"""Things for tests: each has what a test does not care about filled in."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from actors.domain.commands import (
    AddComment,
    Command,
    CreateProject,
    CreateTask,
    DeleteComment,
    DeleteTask,
    IdempotencyKey,
    PutMember,
    RemoveMember,
    UpdateComment,
    UpdateTask,
)
from actors.domain.decide import decide
from actors.domain.events import Batch, Entry, Event, Receipt
from actors.domain.model import (
    Caller,
    Comment,
    CommentId,
    Member,
    MemberRole,
    Project,
    ProjectId,
    ProjectStatus,
    Task,
    TaskId,
    TaskPriority,
    TaskStatus,
    UserId,
    UserRole,
)
from actors.domain.state import ProjectState
from server.representations import encode_event
from sql.database import Database

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)
PROJECT = ProjectId(7)
TASK = TaskId(1)
COMMENT = CommentId(1)
ADA, BOB, CYD, DAN = UserId(1), UserId(2), UserId(3), UserId(4)

_C = TypeVar("_C", bound=Command)

_COMMAND_DEFAULTS: Mapping[type, Mapping[str, object]] = {
    CreateProject: {"project_id": PROJECT, "owner_id": ADA, "name": "Apollo"},
    CreateTask: {"task_id": TASK, "title": "Write it"},
    UpdateTask: {"task_id": TASK},
    DeleteTask: {"task_id": TASK},
    AddComment: {"task_id": TASK, "comment_id": COMMENT, "comment": "Well done"},
    UpdateComment: {"task_id": TASK, "comment_id": COMMENT},
    DeleteComment: {"task_id": TASK, "comment_id": COMMENT},
    PutMember: {"user_id": BOB, "role": MemberRole.MEMBER},
    RemoveMember: {"user_id": BOB},
}


def make_caller(user_id: int = ADA, role: UserRole = UserRole.USER) -> Caller:
    return Caller(id=UserId(user_id), role=role)


def make_command(kind: type[_C], **fields: object) -> _C:
    """A command of Ada's, who owns the projects made here."""
    given = {"caller": make_caller(), "at": LATER, "request_id": "r-1"}
    given |= dict(_COMMAND_DEFAULTS.get(kind, {}))
    return kind(**(given | fields))  # type: ignore[arg-type]  # what the test names


def make_key(key: str = "k-1", *, user_id: int = ADA) -> IdempotencyKey:
    return IdempotencyKey(
        user_id=UserId(user_id), key=key, fingerprint=b"digest", status=201
    )


def make_task(**fields: object) -> Task:
    given: dict[str, object] = {
        "id": TASK,
        "title": "Write it",
        "description": None,
        "status": TaskStatus.PENDING,
        "priority": TaskPriority.MEDIUM,
        "project_id": PROJECT,
        "created_by": ADA,
        "assigned_to": None,
        "due_date": None,
        "completed_at": None,
        "created_at": AT,
        "updated_at": AT,
        "version": 2,
    }
    return Task(**(given | fields))  # type: ignore[arg-type]  # what the test names


def make_comment(**fields: object) -> Comment:
    given: dict[str, object] = {
        "id": COMMENT,
        "task_id": TASK,
        "user_id": ADA,
        "comment": "Well done",
        "created_at": AT,
        "updated_at": AT,
        "version": 3,
    }
    return Comment(**(given | fields))  # type: ignore[arg-type]  # what the test names


def make_project(**fields: object) -> Project:
    given: dict[str, object] = {
        "id": PROJECT,
        "name": "Apollo",
        "description": None,
        "owner_id": ADA,
        "status": ProjectStatus.ACTIVE,
        "is_inbox": False,
        "created_at": AT,
        "updated_at": AT,
        "version": 1,
    }
    return Project(**(given | fields))  # type: ignore[arg-type]  # what the test names


def make_member(
    user_id: int = BOB, role: MemberRole = MemberRole.MEMBER, version: int = 2
) -> Member:
    return Member(user_id=UserId(user_id), role=role, created_at=AT, version=version)


def make_state(
    *,
    project: Project | None = None,
    members: Iterable[Member] = (),
    tasks: Iterable[Task] = (),
    comments: Iterable[Comment] = (),
    version: int = 9,
) -> ProjectState:
    """A project of Ada's that has been through `version` changes."""
    project = project or make_project()
    said: dict[TaskId, dict[CommentId, Comment]] = {}
    for comment in comments:
        said.setdefault(comment.task_id, {})[comment.id] = comment
    return ProjectState(
        project_id=project.id,
        version=version,
        project=project,
        members={member.user_id: member for member in members},
        tasks={task.id: task for task in tasks},
        comments={**said},
    )


def make_new_state(
    *commands: Command, project_id: int = PROJECT, owner_id: int = ADA
) -> ProjectState:
    """A project as it is after it was created and these commands were carried out."""
    state = ProjectState(project_id=ProjectId(project_id))
    creation = make_command(
        CreateProject,
        project_id=project_id,
        owner_id=owner_id,
        caller=make_caller(owner_id),
    )
    for command in (creation, *commands):
        apply_all(state, decide(state, command))
    return state


def apply_all(state: ProjectState, events: Iterable[Event]) -> ProjectState:
    for event in events:
        state.apply(event)
    return state


def make_entry(event: Event) -> Entry:
    return Entry(event=event, body=encode_event(event))


def make_batch(state: ProjectState, *commands: Command) -> Batch:
    """What an actor would commit for these commands; `state` is moved along."""
    expected, entries, receipts = state.version, [], []
    for command in commands:
        events = decide(state, command)
        apply_all(state, events)
        entries += [make_entry(event) for event in events]
        if command.key is not None:
            receipts.append(Receipt(key=command.key, version=state.version))
    return Batch(
        project_id=state.project_id,
        expected=expected,
        entries=tuple(entries),
        receipts=tuple(receipts),
    )


async def insert_users(
    database: Database, *user_ids: int, role: UserRole = UserRole.USER
) -> None:
    """Put users into the database, without the inboxes that they would have."""
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO users (id, email, username, password_hash, role)"
            " SELECT i, 'u' || i || '@example.com', 'user' || i, '', $2"
            " FROM unnest($1::bigint[]) AS i",
            user_ids,
            role,
        )
