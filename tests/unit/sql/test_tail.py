"""The end of all logs: everything that was committed once, whoever was late."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.domain.commands import (
    CreateProject,
    CreateTask,
    DeleteProject,
    PutMember,
    RemoveMember,
)
from actors.domain.errors import StateAhead
from actors.domain.events import Batch
from actors.domain.model import ProjectId, Roster, TaskId
from actors.domain.state import ProjectState
from sql.database import Database, load_queries
from sql.store import Store
from sql.tail import Tail
from tests.factories import (
    ADA,
    BOB,
    CYD,
    PROJECT,
    insert_users,
    make_batch,
    make_command,
)

ELSEWHERE = ProjectId(8)
MOST = 1000


class Logs:
    """Writes batches, each after the other of its project."""

    def __init__(self, database: Database):
        self.database = database
        self.store = Store(database)
        self.states: dict[ProjectId, ProjectState] = {}

    def batch(self, command: Any, project_id: ProjectId = PROJECT) -> Batch:
        state = self.states.setdefault(project_id, ProjectState(project_id=project_id))
        return make_batch(state, command)

    async def write(self, *commands: Any, project_id: ProjectId = PROJECT) -> None:
        for command in commands:
            assert await self.store.append([self.batch(command, project_id)])


@pytest.fixture
async def logs(database_url: str) -> AsyncIterator[Logs]:
    database = await Database.open(database_url, size=4, timeout_seconds=10)
    await insert_users(database, ADA, BOB, CYD)
    logs = Logs(database)
    await logs.write(make_command(CreateProject))
    creation = make_command(CreateProject, project_id=ELSEWHERE)
    await logs.write(creation, project_id=ELSEWHERE)
    yield logs
    await database.close()


@pytest.fixture
def tail(logs: Logs) -> Tail:
    return Tail(logs.database)


async def look(tail: Tail, seen: str | None) -> tuple[str, dict[ProjectId, Any]]:
    news = await tail.news(seen, MOST)
    assert news is not None
    return news.seen, dict(news.changed)


async def test_nothing_is_new_to_who_looks_first(tail: Tail) -> None:
    _, changed = await look(tail, None)

    assert changed == {}


async def test_what_is_new_is_told_once(tail: Tail, logs: Logs) -> None:
    seen, _ = await look(tail, None)
    await logs.write(*(make_command(CreateTask, task_id=n) for n in (1, 2)))
    await logs.write(make_command(CreateTask, task_id=3), project_id=ELSEWHERE)

    seen, changed = await look(tail, seen)
    _, again = await look(tail, seen)

    assert changed == {PROJECT: (2, 3), ELSEWHERE: (2, 2)}
    assert again == {}


async def test_who_began_early_and_committed_late_is_not_missed(
    tail: Tail, logs: Logs
) -> None:
    """Its transaction has a lower number than what was seen before it."""
    seen, _ = await look(tail, None)
    late = logs.batch(make_command(CreateTask, task_id=1))
    async with logs.database.transaction() as connection:
        await connection.execute("SELECT pg_current_xact_id()")
        for number in (2, 3):
            task = make_command(CreateTask, task_id=number)
            await logs.write(task, project_id=ELSEWHERE)
        seen, meanwhile = await look(tail, seen)
        seen, idle = await look(tail, seen)
        await append(connection, late)
    seen, changed = await look(tail, seen)
    _, again = await look(tail, seen)

    assert meanwhile == {ELSEWHERE: (2, 3)}
    assert idle == again == {}
    assert changed == {PROJECT: (2, 2)}


async def append(connection: Any, batch: Batch) -> None:
    """Write it inside of a transaction that has begun some time ago."""
    queries = load_queries("project_heads")
    await connection.fetch(
        queries.move_heads.sql, [batch.project_id], [batch.expected], [batch.version]
    )
    for entry in batch.entries:
        await connection.execute(
            "INSERT INTO project_events (project_id, version, type, at, body)"
            " VALUES ($1, $2, $3, now(), $4)",
            batch.project_id,
            entry.event.version,
            entry.event.type,
            entry.body.decode(),
        )


async def test_what_was_rolled_back_is_no_news(tail: Tail, logs: Logs) -> None:
    seen, _ = await look(tail, None)
    transaction = logs.database.transaction()
    connection = await transaction.__aenter__()
    await append(connection, logs.batch(make_command(CreateTask, task_id=1)))
    seen, _ = await look(tail, seen)
    await transaction.__aexit__(ValueError, ValueError(), None)

    assert (await look(tail, seen))[1] == {}


async def test_too_much_news_is_none(tail: Tail, logs: Logs) -> None:
    seen, _ = await look(tail, None)
    await logs.write(*(make_command(CreateTask, task_id=n) for n in (1, 2, 3)))

    assert await tail.news(seen, 2) is None
    news = await tail.news(seen, 3)
    assert news is not None
    assert news.changed == {PROJECT: (2, 4)}


async def test_a_database_that_is_older_than_what_was_seen_is_recognised(
    tail: Tail,
) -> None:
    with pytest.raises(StateAhead):
        await tail.news("900000000:900000000:", MOST)


@pytest.mark.parametrize("ahead", [2, 900_000_000])
async def test_what_was_written_in_another_cluster_is_no_news(
    tail: Tail, logs: Logs, ahead: int
) -> None:
    """A restored dump has numbers of transactions that are yet to come here."""
    async with logs.database.connection() as connection:
        await connection.execute(
            "UPDATE project_events SET written_by ="
            " (pg_current_xact_id()::text::bigint + $1)::text::xid8",
            ahead,
        )
    seen, _ = await look(tail, None)
    for number in (1, 2, 3):
        await logs.write(make_command(CreateTask, task_id=number))

    assert (await look(tail, seen))[1] == {PROJECT: (2, 4)}


async def test_the_logs_of_several_projects_are_read_together(
    tail: Tail, logs: Logs
) -> None:
    await logs.write(*(make_command(CreateTask, task_id=n) for n in (1, 2, 3)))

    read = await tail.events_after({PROJECT: 1, ELSEWHERE: 0}, 2)

    assert [(key, json.loads(body)["version"]) for key, body in read] == [
        (PROJECT, 2),
        (PROJECT, 3),
        (ELSEWHERE, 1),
    ]


async def test_rosters_say_who_belongs_or_did_at_the_end(
    tail: Tail, logs: Logs
) -> None:
    for project_id in (PROJECT, ELSEWHERE):
        await logs.write(
            make_command(PutMember, user_id=BOB),
            make_command(PutMember, user_id=CYD),
            make_command(RemoveMember, user_id=CYD),
            project_id=project_id,
        )
    await logs.write(make_command(DeleteProject), project_id=ELSEWHERE)

    rosters = await tail.rosters([PROJECT, ELSEWHERE])

    roster = Roster(owner_id=ADA, is_inbox=False, members=frozenset({BOB}))
    assert rosters == {PROJECT: roster, ELSEWHERE: roster}


async def test_parties_and_heads(tail: Tail, logs: Logs) -> None:
    await logs.write(make_command(PutMember, user_id=BOB))
    await logs.write(make_command(CreateTask, task_id=1, assigned_to=BOB))
    await logs.write(make_command(CreateTask, task_id=2))

    assert await tail.parties([TaskId(1), TaskId(2), TaskId(9)]) == {
        1: {ADA, BOB},
        2: {ADA},
    }
    assert await tail.parties([]) == {}
    assert await tail.heads([PROJECT, ELSEWHERE]) == {PROJECT: 4, ELSEWHERE: 1}


async def test_news_do_not_read_the_whole_log(tail: Tail, logs: Logs) -> None:
    """Also while an old transaction is open, from anywhere in the cluster."""
    query = load_queries("tail").get_news.sql
    async with logs.database.transaction() as old:
        await old.execute("SELECT pg_current_xact_id()")
        await fill_log(logs.database, 20_000)
        seen, _ = await look(tail, None)
        await logs.write(make_command(CreateTask, task_id=1))
        async with logs.database.connection() as connection:
            await connection.execute("ANALYZE project_events")
            (row,) = await connection.fetch(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", seen, MOST
            )
    plan = json.loads(row["QUERY PLAN"])[0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 60
    assert '"Seq Scan"' not in row["QUERY PLAN"]


async def test_who_belonged_to_a_deleted_project_is_found_in_a_long_log(
    tail: Tail, logs: Logs
) -> None:
    """All nodes wait for it: none tells news or loads a project meanwhile."""
    await logs.write(make_command(PutMember, user_id=BOB), project_id=ELSEWHERE)
    await logs.write(make_command(DeleteProject), project_id=ELSEWHERE)
    await fill_log(logs.database, 20_000)
    query = load_queries("tail").list_rosters.sql

    async with logs.database.connection() as connection:
        await connection.execute("ANALYZE project_events")
        (row,) = await connection.fetch(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", [ELSEWHERE]
        )
    plan = json.loads(row["QUERY PLAN"])[0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 30


async def fill_log(database: Database, count: int) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO project_events (project_id, version, type, at, body)"
            " SELECT $1, n, 'task_updated', now(), '{}'"
            " FROM generate_series(1000, 999 + $2::integer) n",
            int(ELSEWHERE),
            count,
        )
