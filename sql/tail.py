"""What was committed since one last looked, by whichever node.

A snapshot of PostgreSQL's says which transactions it sees, so the events of those that
one sees and an older one did not are all that is new: none is missed because it took
its place early and was committed late, and none comes twice.

A row counts as written by the transaction that it names only if it is of that very
transaction: the rows of a restored dump name those of another cluster. So events may
not be written inside of a savepoint, which has a number of its own.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from actors.domain.errors import StateAhead
from actors.domain.model import ProjectId, Roster, TaskId, UserId
from sql.database import Database, load_queries

_TAIL = load_queries("tail")


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What was seen, to be given the next time; the first and last new versions."""

    seen: str
    changed: Mapping[ProjectId, tuple[int, int]]


class Tail:
    """The end of all logs together. Every method may wait; raises StoreUnavailable."""

    def __init__(self, database: Database):
        self._database = database

    async def news(self, seen: str | None, limit: int) -> News | None:
        """Say what is new since `seen`, nothing without it; None if it is too much.

        Raises StateAhead when the database is older than that: a failover, a backup.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_TAIL.get_news.sql, seen, limit)
        if row["is_older"]:
            raise StateAhead
        if row["is_cut"]:
            return None
        versions = zip(row["firsts"], row["lasts"], strict=True)
        changed = dict(zip(map(ProjectId, row["project_ids"]), versions, strict=True))
        return News(seen=row["snapshot"], changed=changed)

    async def events_after(
        self, versions: Mapping[ProjectId, int], limit: int
    ) -> list[tuple[ProjectId, bytes]]:
        """Read the logs of projects, `limit` events each, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _TAIL.list_events_after.sql,
                list(versions.keys()),
                list(versions.values()),
                limit,
            )
        return [(ProjectId(row["project_id"]), row["body"].encode()) for row in rows]

    async def rosters(
        self, project_ids: Sequence[ProjectId]
    ) -> dict[ProjectId, Roster]:
        """Say who belongs to projects at present, or did when they were deleted."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_TAIL.list_rosters.sql, project_ids)
        return {
            ProjectId(row["id"]): Roster(
                owner_id=UserId(row["owner_id"]),
                is_inbox=row["is_inbox"],
                members=frozenset(map(UserId, row["members"])),
            )
            for row in rows
        }

    async def parties(
        self, task_ids: Collection[TaskId]
    ) -> dict[TaskId, frozenset[UserId]]:
        """Say who sees tasks because they made them or are to do them."""
        if not task_ids:
            return {}
        async with self._database.connection() as connection:
            rows = await connection.fetch(_TAIL.list_parties.sql, list(task_ids))
        return {
            TaskId(row["id"]): frozenset(
                UserId(user_id)
                for user_id in (row["created_by"], row["assigned_to"])
                if user_id is not None
            )
            for row in rows
        }

    async def heads(self, project_ids: Sequence[ProjectId]) -> dict[ProjectId, int]:
        """Say which versions projects are at."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_TAIL.list_heads.sql, project_ids)
        return {ProjectId(row["project_id"]): row["version"] for row in rows}
