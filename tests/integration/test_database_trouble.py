"""A database in trouble: come again, nothing is lost, and all is well by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from server import keys
from tests.running_app import Answer, Board, Person

_BACKENDS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_BREAK = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '{}'; END $$;
    CREATE TRIGGER trouble BEFORE INSERT ON project_events EXECUTE FUNCTION refuse();
"""
_REPAIR = "DROP FUNCTION refuse CASCADE"
_TITLES = "SELECT title FROM tasks WHERE project_id = $1"
_ROUNDS = 20
_RECOVERY_SECONDS = 5


@pytest.fixture
async def admin(database_url: str) -> "AsyncIterator[asyncpg.Connection]":
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def assert_is_temporary(answer: Answer) -> None:
    assert answer.status == 503, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "sqlstate",
    [
        "53100",  # disk full
        "53200",  # out of memory
        "53300",  # too many connections
        "58030",  # input or output error
        "25006",  # a replica
        "55P03",  # a lock is not available
        "40P01",  # deadlock
    ],
)
async def test_a_write_fails_for_now_and_reads_are_served(
    board: Board, admin: "asyncpg.Connection", sqlstate: str
) -> None:
    ada = await board.person()
    task = await ada.task()
    await admin.execute(_BREAK.format(sqlstate))

    refused = await ada.put(f"/tasks/{task['id']}", {"title": "New"})
    shown = await ada.get(f"/tasks/{task['id']}")
    await admin.execute(_REPAIR)
    repeated = await ada.put(f"/tasks/{task['id']}", {"title": "New"})

    assert_is_temporary(refused)
    assert refused.code == "database_unavailable"
    assert shown.json == task
    assert repeated.status == 200


async def test_a_database_that_has_become_a_replica_is_looked_for_anew(
    board: Board, admin: "asyncpg.Connection"
) -> None:
    ada = await board.person()
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await board.app[keys.DATABASE]._pool.expire_connections()
    refused = await ada.post("/tasks", {"title": "Lost"})

    await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    assert_is_temporary(refused)
    async with asyncio.timeout(_RECOVERY_SECONDS):
        while (await ada.post("/tasks", {"title": "Made"})).status != 201:
            pass


async def test_backends_that_are_terminated_lose_no_write(
    board: Board, admin: "asyncpg.Connection"
) -> None:
    ada = await board.person()
    project = await ada.project()

    async with writing(ada, project["id"]) as told:
        for _ in range(_ROUNDS):
            await asyncio.sleep(0.03)
            await admin.execute(_BACKENDS)
    async with asyncio.timeout(_RECOVERY_SECONDS):
        while (await ada.get(f"/projects/{project['id']}")).status != 200:
            pass
    titles = [row["title"] for row in await admin.fetch(_TITLES, project["id"])]

    assert len(set(titles)) == len(titles)
    for title, answer in told.items():
        if answer.status == 201:
            assert title in titles
        else:
            assert_is_temporary(answer)
            assert answer.code == "outcome_unknown" or title not in titles
    assert {answer.status for answer in told.values()} == {201, 503}


@asynccontextmanager
async def writing(person: Person, project_id: int) -> AsyncIterator[dict[str, Answer]]:
    """Have somebody write all the time; gives what each title was answered."""
    told: dict[str, Answer] = {}
    is_over = asyncio.Event()

    async def write(writer: int) -> None:
        while not is_over.is_set():
            title = f"{writer}-{len(told)}"
            body = {"title": title, "project_id": project_id}
            told[title] = await person.post("/tasks", body)

    async with asyncio.TaskGroup() as writers:
        for writer in range(4):
            writers.create_task(write(writer))
        yield told
        is_over.set()
