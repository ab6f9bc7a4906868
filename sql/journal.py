"""How batches of events become rows: one statement where it can be, else a few.

One statement is one round trip: the event loop, busy with requests, has to come round
once a commit and not five times.
"""

from collections.abc import Sequence
from datetime import datetime

from actors.domain.events import (
    Batch,
    CommentDeleted,
    CommentEvent,
    Entry,
    Event,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    ProjectCreated,
    ProjectDeleted,
    ProjectUpdated,
    TaskDeleted,
    TaskEvent,
)
from actors.domain.model import Comment, CommentId, ProjectId, Task, TaskId
from sql.database import Connection, load_queries

_BATCHES = load_queries("batches")
_HEADS = load_queries("project_heads")
_PROJECTS = load_queries("projects")
_MEMBERS = load_queries("members")
_TASKS = load_queries("tasks")
_COMMENTS = load_queries("comments")
_EVENTS = load_queries("project_events")
_KEYS = load_queries("idempotency_keys")


async def append_on(
    connection: Connection, batches: Sequence[Batch]
) -> frozenset[ProjectId]:
    """Write, inside the caller's transaction, the batches whose project is next.

    Answers with the projects that were where their batch expects them; of the others
    nothing is written. Raises the driver's errors, a constraint's among them.
    """
    await _insert_projects(connection, [b for b in batches if b.expected == 0])
    rows = await connection.fetch(
        _HEADS.move_heads.sql,
        [batch.project_id for batch in batches],
        [batch.expected for batch in batches],
        [batch.version for batch in batches],
    )
    matched = frozenset(ProjectId(row["project_id"]) for row in rows)
    await _append_rows(connection, [b for b in batches if b.project_id in matched])
    return matched


async def append_held(connection: Connection, batch: Batch) -> None:
    """Write a batch whose head the caller has locked; ValueError if it is not next.

    In as few round trips as can be: others wait for the lock meanwhile.
    """
    append = append_at_once if is_plain(batch) else append_on
    if not await append(connection, [batch]):
        raise ValueError(f"project {batch.project_id} is not at {batch.expected}")


async def _append_rows(connection: Connection, batches: Sequence[Batch]) -> None:
    entries = [entry for batch in batches for entry in batch.entries]
    await _put_tasks(connection, entries)
    await _put_comments(connection, entries)
    for entry in entries:
        await _put_rest(connection, entry.event)
    await _insert_events(connection, entries)
    await _insert_keys(connection, batches)


async def _insert_projects(connection: Connection, batches: Sequence[Batch]) -> None:
    for batch in batches:
        event = batch.entries[0].event
        if isinstance(event, ProjectCreated):
            project = event.project
            await _PROJECTS.insert_project(
                connection,
                id=project.id,
                name=project.name,
                description=project.description,
                owner_id=project.owner_id,
                is_inbox=project.is_inbox,
                created_at=project.created_at,
            )
    if batches:
        await _HEADS.insert_heads(
            connection, project_ids=[batch.project_id for batch in batches]
        )


async def append_at_once(
    connection: Connection, batches: Sequence[Batch]
) -> frozenset[ProjectId]:
    """Write batches that `is_plain` in one statement: one round trip, one commit.

    PostgreSQL takes the tasks out of the events: to send each of their columns again
    costs this process more than all its other work for the write. Answers like
    `append_on`; outside of a transaction it commits by itself.
    """
    bodies = b",".join([entry.body for batch in batches for entry in batch.entries])
    rows = await connection.fetch(
        _BATCHES.list_appended.sql,
        [batch.project_id for batch in batches],
        [batch.expected for batch in batches],
        [batch.version for batch in batches],
        f"[{bodies.decode()}]",
    )
    return frozenset(ProjectId(row["project_id"]) for row in rows)


def is_plain(batch: Batch) -> bool:
    """Whether a batch changes tasks only, for nobody who may repeat it."""
    return not batch.receipts and all(
        isinstance(entry.event, TaskEvent) for entry in batch.entries
    )


async def _put_tasks(connection: Connection, entries: Sequence[Entry]) -> None:
    last: dict[TaskId, tuple[Task, datetime | None]] = {}
    for entry in entries:
        if isinstance(entry.event, TaskEvent):
            is_gone = isinstance(entry.event, TaskDeleted)
            task = entry.event.task
            last[task.id] = (task, entry.event.at if is_gone else None)
    if not last:
        return
    tasks = [task for task, _ in last.values()]
    await connection.execute(
        _TASKS.put_tasks.sql,
        [task.id for task in tasks],
        [task.project_id for task in tasks],
        [task.title for task in tasks],
        [task.description for task in tasks],
        [task.status for task in tasks],
        [task.priority for task in tasks],
        [task.created_by for task in tasks],
        [task.assigned_to for task in tasks],
        [task.due_date for task in tasks],
        [task.completed_at for task in tasks],
        [task.created_at for task in tasks],
        [task.updated_at for task in tasks],
        [task.version for task in tasks],
        [deleted_at for _, deleted_at in last.values()],
    )


async def _put_comments(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write comments, after the tasks that they are on."""
    last: dict[CommentId, tuple[Comment, datetime | None]] = {}
    for entry in entries:
        if isinstance(entry.event, CommentEvent):
            is_gone = isinstance(entry.event, CommentDeleted)
            comment = entry.event.comment
            last[comment.id] = (comment, entry.event.at if is_gone else None)
    if not last:
        return
    comments = [comment for comment, _ in last.values()]
    await _COMMENTS.put_comments(
        connection,
        ids=[comment.id for comment in comments],
        task_ids=[comment.task_id for comment in comments],
        authors=[comment.user_id for comment in comments],
        texts=[comment.comment for comment in comments],
        created=[comment.created_at for comment in comments],
        updated=[comment.updated_at for comment in comments],
        versions=[comment.version for comment in comments],
        deleted=[deleted_at for _, deleted_at in last.values()],
    )


async def _put_rest(connection: Connection, event: Event) -> None:
    """Write a rare change, of a project or its members, row by row."""
    match event:
        case ProjectUpdated(project=project):
            await _PROJECTS.update_project(
                connection,
                id=project.id,
                name=project.name,
                description=project.description,
                owner_id=project.owner_id,
                status=project.status,
                updated_at=project.updated_at,
                version=project.version,
            )
        case ProjectDeleted(project_id=project_id):
            await _delete_project(connection, event)
        case MemberAdded(member=member) | MemberUpdated(member=member):
            await _MEMBERS.put_member(
                connection,
                project_id=event.project_id,
                user_id=member.user_id,
                role=member.role,
                created_at=member.created_at,
                version=member.version,
            )
        case MemberRemoved(project_id=project_id, member=member):
            await _MEMBERS.remove_member(
                connection, project_id=project_id, user_id=member.user_id
            )
        case _:
            return  # tasks and comments go together, and new projects went before


async def _delete_project(connection: Connection, event: ProjectDeleted) -> None:
    project_id, at = event.project_id, event.at
    await _TASKS.delete_tasks_of_project(
        connection, project_id=project_id, deleted_at=at
    )
    await _MEMBERS.remove_all_members(connection, project_id=project_id)
    await _PROJECTS.delete_project(
        connection, id=project_id, deleted_at=at, version=event.version
    )


async def _insert_events(connection: Connection, entries: Sequence[Entry]) -> None:
    if not entries:
        return  # a repeatable request that changed nothing leaves its key only
    events = [entry.event for entry in entries]
    await connection.execute(
        _EVENTS.insert_events.sql,
        [event.project_id for event in events],
        [event.version for event in events],
        [event.type for event in events],
        [event.task.id if isinstance(event, TaskEvent) else None for event in events],
        [event.at for event in events],
        [entry.body.decode() for entry in entries],
    )


async def _insert_keys(connection: Connection, batches: Sequence[Batch]) -> None:
    rows = [(batch, receipt) for batch in batches for receipt in batch.receipts]
    if not rows:
        return
    users = [receipt.key.user_id for _, receipt in rows]
    keys = [receipt.key.key for _, receipt in rows]
    await _KEYS.delete_stale_keys(connection, user_ids=users, keys=keys)
    await _KEYS.insert_keys(
        connection,
        user_ids=users,
        keys=keys,
        fingerprints=[receipt.key.fingerprint for _, receipt in rows],
        statuses=[receipt.key.status for _, receipt in rows],
        project_ids=[batch.project_id for batch, _ in rows],
        versions=[receipt.version for _, receipt in rows],
    )
