"""Projects, tasks and comments in PostgreSQL: one typed method a query."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.domain.errors import ProjectNotFound, StoreUnavailable
from actors.domain.events import Batch
from actors.domain.model import (
    Project,
    ProjectId,
    Task,
    TaskId,
    UserId,
)
from actors.domain.state import ProjectState
from sql.database import Connection, Database, delete_all, load_queries
from sql.journal import (
    append_at_once,
    append_held,
    append_on,
    is_plain,
)
from sql.lists import Page, ProjectFilter, Sight, TaskFilter, params
from sql.receipts import Receipt, Remembered, keep, remembered, remembered_of_address
from sql.values import by_task, comment_of, member_of, project_of, task_of

_T = TypeVar("_T")

_HEADS = load_queries("project_heads")
_PROJECTS = load_queries("projects")
_MEMBERS = load_queries("members")
_TASKS = load_queries("tasks")
_TASK_LISTS = load_queries("task_lists")
_COMMENTS = load_queries("comments")
_EVENTS = load_queries("project_events")
_KEYS = load_queries("idempotency_keys")
_SEQUENCES = load_queries("sequences")

_LOAD_SECONDS = 8.0  # a project may have very many tasks
_SLICE = 500  # tasks of a project that is read, at a time: 1 to 2 ms
_FORGOTTEN_KEYS = 10_000  # in one statement, which has 2 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """An event of a log, as it was written, and its version."""

    version: int
    body: bytes


class Store:
    """The projects of one database; see `actors.ports.Store` for what is promised.

    `lists` is the database that plans each query for its values; only lists gain by
    it. `at_once` may be turned off to compare: a transaction statement by statement.
    """

    def __init__(
        self,
        database: Database,
        *,
        lists: Database | None = None,
        at_once: bool = True,
    ):
        self._database = database
        self._lists = lists or database
        self._at_once = at_once
        # The rest of the connections is for projects that nobody fights over.
        self._holding = asyncio.Semaphore(max(1, database.most // 2))

    async def load(self, project_id: ProjectId) -> ProjectState | None:
        """Read a project, its members, its tasks and comments at one version.

        What are many rows becomes values in slices, so that others have their turn.
        """
        async with self._database.transaction(
            timeout_seconds=_LOAD_SECONDS, isolation="repeatable_read", readonly=True
        ) as connection:
            row = await connection.fetchrow(_PROJECTS.get_project.sql, project_id)
            if row is None:
                return None
            members = await connection.fetch(_MEMBERS.list_members.sql, project_id)
            tasks = await connection.fetch(
                _TASKS.list_tasks_of_project.sql, project_id, timeout=_LOAD_SECONDS
            )
            comments = await connection.fetch(
                _COMMENTS.list_comments_of_project.sql,
                project_id,
                timeout=_LOAD_SECONDS,
            )
        return ProjectState(
            project_id=project_id,
            version=row["head"],
            project=project_of(row),
            members={UserId(row["user_id"]): member_of(row) for row in members},
            tasks={task.id: task for task in await _in_slices(tasks, task_of)},
            comments=by_task(await _in_slices(comments, comment_of)),
            tip=(row["tip"] or "").encode(),
        )

    async def append(self, batches: Sequence[Batch]) -> frozenset[ProjectId]:
        """Commit in one transaction those whose project is where they expect."""
        if self._at_once and all(is_plain(batch) for batch in batches):
            async with self._database.statement() as connection:
                return await append_at_once(connection, batches)
        async with self._database.transaction() as connection:
            return await append_on(connection, batches)

    async def events_since(
        self, project_id: ProjectId, version: int, limit: int
    ) -> list[bytes]:
        """Read the log after `version`, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _EVENTS.list_events_since.sql, project_id, version, limit
            )
        return [row["body"].encode() for row in rows]

    async def log(
        self, project_id: ProjectId, since: int, limit: int
    ) -> tuple[int, list[Logged]]:
        """Read a project's head, and its log after `since`, as of the same moment."""
        params = {"project_id": project_id, "since": since, "limit": limit}
        async with self._database.connection() as connection:
            rows = [row async for row in _EVENTS.list_log(connection, **params)]
        return (rows[0]["head"] if rows else 0), _logged(rows)

    async def history(
        self, task_id: TaskId, after_version: int, page: Page
    ) -> tuple[int, list[Logged]]:
        """Count the events of a task, and read those after a version, oldest first."""
        params = {
            "task_id": task_id,
            "after_version": after_version,
            "limit": page.limit,
            "offset": page.offset,
        }
        async with self._database.connection() as connection:
            rows = [row async for row in _EVENTS.list_history(connection, **params)]
        return rows[0]["total"], _logged(rows)

    @asynccontextmanager
    async def exclusive(self, project_id: ProjectId) -> AsyncIterator["HeldProject"]:
        """Lock a project's head for a transaction that commits at the end.

        Raises ProjectNotFound if it has no head. Who cannot have it soon, because other
        nodes hold so many, gets StoreUnavailable.
        """
        async with self._holder(), self._database.transaction() as connection:
            version = await _HEADS.lock_head(connection, project_id=project_id)
            if version is None:
                raise ProjectNotFound
            yield HeldProject(connection, project_id, version)

    @asynccontextmanager
    async def _holder(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._database.timeout_seconds / 2):
                await self._holding.acquire()
        except TimeoutError:
            raise StoreUnavailable from None
        try:
            yield
        finally:
            self._holding.release()

    async def project_of(self, task_id: TaskId) -> ProjectId | None:
        """Say which project a task is in."""
        async with self._database.connection() as connection:
            found = await connection.fetchval(_TASKS.get_project_id.sql, task_id)
        return None if found is None else ProjectId(found)

    async def inbox_of(self, user_id: UserId) -> ProjectId:
        """Find the user's inbox; raises ProjectNotFound for who has none."""
        async with self._database.connection() as connection:
            found = await _PROJECTS.get_inbox_id(connection, user_id=user_id)
        if found is None:
            raise ProjectNotFound
        return ProjectId(found)

    async def visible_ids(self, user_id: UserId) -> tuple[ProjectId, ...]:
        """List the projects that a user owns or is a member of, by id."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_PROJECTS.list_visible_ids.sql, user_id)
        return tuple(ProjectId(row["id"]) for row in rows)

    async def list_tasks(
        self, sight: Sight, wanted: TaskFilter, page: Page
    ) -> tuple[list[Task], int]:
        """Give a page of what the user may see, and the whole list's length."""
        given = sight.params() | params(wanted) | params(page)
        async with self._lists.connection() as connection:
            rows = [row async for row in _TASK_LISTS.list_tasks(connection, **given)]
        return [task_of(row) for row in rows if row["id"] is not None], rows[0]["total"]

    async def list_projects(
        self, sight: Sight, wanted: ProjectFilter, page: Page
    ) -> tuple[list[Project], int]:
        """Give a page of what the user may see, and the whole list's length."""
        given = sight.params() | params(wanted) | params(page)
        async with self._lists.connection() as connection:
            rows = [row async for row in _PROJECTS.list_projects(connection, **given)]
        found = [project_of(row) for row in rows if row["id"] is not None]
        return found, rows[0]["total"]

    async def count_projects(self) -> int:
        """How many projects were ever made."""
        async with self._database.connection() as connection:
            return int(await _PROJECTS.count_projects(connection))

    async def has_described_project(self, name: str) -> bool:
        """Say whether there ever was a project of this name with a description."""
        async with self._database.connection() as connection:
            return bool(await _PROJECTS.get_described(connection, name=name))

    async def remembered(self, user_id: UserId, key: str) -> Remembered | None:
        """How an idempotency key was answered, if it was used in the last 24 hours."""
        async with self._database.connection() as connection:
            return await remembered(connection, user_id, key)

    async def remembered_of_address(self, email: str, key: str) -> Remembered | None:
        """How a key was answered to whose address this is."""
        async with self._database.connection() as connection:
            return await remembered_of_address(connection, email, key)

    async def keep(self, receipt: Receipt) -> None:
        """Remember a key whose effect is not in the database; KeyAlreadyUsed."""
        async with self._database.transaction() as connection:
            await keep(connection, receipt)

    async def event(self, project_id: ProjectId, version: int) -> bytes | None:
        """One event of a project's log."""
        async with self._database.connection() as connection:
            body = await _EVENTS.get_event(
                connection, project_id=project_id, version=version
            )
        return None if body is None else str(body).encode()

    async def forget_keys(self) -> None:
        """Delete the idempotency keys that are older than 24 hours."""
        await delete_all(self._database, _KEYS.delete_expired_keys, _FORGOTTEN_KEYS)

    async def ping(self) -> None:
        """Have the database answer."""
        async with self._database.connection() as connection:
            await _SEQUENCES.get_pulse(connection)

    async def identity(self) -> str:
        """Name this database; one restored from a dump has another name.

        A copy of its files has the same: it must not share the Redis.
        """
        async with self._database.connection() as connection:
            return str(await _SEQUENCES.get_identity(connection))

    async def next_ids(self, kind: str, count: int) -> list[int]:
        """Take ids for new things of a kind: "task", "comment", "project" or "user"."""
        query = getattr(_SEQUENCES, f"list_next_{kind}_ids")
        async with self._database.connection() as connection:
            rows = await connection.fetch(query.sql, count)
        return [row["id"] for row in rows]


class HeldProject:
    """A project whose head row is locked until the end of the transaction."""

    def __init__(self, connection: Connection, project_id: ProjectId, version: int):
        self._connection = connection
        self._project_id = project_id
        self.version = version

    async def events_since(self, version: int) -> list[bytes]:
        """Everything after `version`, oldest first."""
        rows = await self._connection.fetch(
            _EVENTS.list_events_since.sql, self._project_id, version, None
        )
        return [row["body"].encode() for row in rows]

    async def append(self, batch: Batch) -> None:
        """Write the batch and move the head."""
        await append_held(self._connection, batch)


async def _in_slices(
    rows: Sequence[Mapping[str, Any]], make: Callable[[Mapping[str, Any]], _T]
) -> list[_T]:
    made: list[_T] = []
    for start in range(0, len(rows), _SLICE):
        if start:
            await asyncio.sleep(0)
        made += map(make, rows[start : start + _SLICE])
    return made


def _logged(rows: Sequence[Mapping[str, Any]]) -> list[Logged]:
    return [
        Logged(version=row["version"], body=row["body"].encode())
        for row in rows
        if row["version"] is not None
    ]
