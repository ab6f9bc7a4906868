"""The pool, and the names that the driver's errors get."""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from actors.domain.errors import (
    EmailTaken,
    KeyAlreadyUsed,
    OutcomeUnknown,
    StoreUnavailable,
    UsernameTaken,
    UserNotFound,
)
from sql.database import _CONSTRAINTS, PLANNED_EACH_TIME, Database, translated
from tests.factories import insert_users


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=2, timeout_seconds=5)
    yield database
    await database.close()


MAKE_USER = (
    "INSERT INTO users (id, email, username, password_hash)"
    " VALUES (1, 'a@b', 'abc', '')"
)
END_ME = "SELECT pg_terminate_backend(pg_backend_pid())"


async def count_users(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM users"))


async def server_pid(database: Database) -> int:
    async with database.connection() as connection:
        return int(connection.get_server_pid())


async def run(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        await connection.execute(sql)


async def run_in_transaction(
    database: Database,
    *statements: str,
    then: BaseException | None = None,
    readonly: bool = False,
) -> None:
    async with database.transaction(readonly=readonly) as connection:
        for sql in statements:
            await connection.execute(sql)
        if then is not None:
            raise then


async def lose_connection_before_commit(database: Database) -> None:
    async with database.transaction() as connection:
        pid = connection.get_server_pid()
        async with database.connection() as other:
            await other.execute("SELECT pg_terminate_backend($1, 1000)", pid)


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
async def test_what_is_interrupted_in_a_transaction_leaves_nothing(
    database: Database, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        await run_in_transaction(database, MAKE_USER, then=error)

    assert await count_users(database) == 0


async def test_a_transaction_that_ends_well_is_kept(database: Database) -> None:
    await run_in_transaction(database, MAKE_USER)

    assert await count_users(database) == 1


async def test_a_read_only_transaction_writes_nothing(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await run_in_transaction(database, MAKE_USER, readonly=True)

    assert await count_users(database) == 0


async def test_when_no_connection_is_free_in_time_the_store_is_unavailable(
    database: Database,
) -> None:
    async with database.connection(), database.connection():
        assert (database.size, database.idle) == (2, 0)
        with pytest.raises(StoreUnavailable):
            await count_users(Database(database._pool, timeout_seconds=0.01))

    assert await count_users(database) == 0


@pytest.mark.parametrize("is_in_transaction", [True, False])
async def test_a_connection_that_is_lost_is_replaced(
    database: Database,
    is_in_transaction: bool,  # a parameter of the case
) -> None:
    use = run_in_transaction if is_in_transaction else run

    with pytest.raises(StoreUnavailable):
        await use(database, END_ME)

    assert await count_users(database) == 0


async def test_the_outcome_of_a_commit_that_was_not_answered_is_unknown(
    database: Database,
) -> None:
    with pytest.raises(OutcomeUnknown):
        await lose_connection_before_commit(database)


async def test_a_constraint_that_is_checked_at_commit_keeps_its_name(
    database: Database,
) -> None:
    await insert_users(database, 1)
    await run(
        database,
        "ALTER TABLE tasks ALTER CONSTRAINT tasks_assignee_fkey"
        " DEFERRABLE INITIALLY DEFERRED",
    )

    with pytest.raises(UserNotFound):
        await run_in_transaction(
            database,
            "INSERT INTO projects VALUES"
            " (1, 'p', NULL, 1, 'active', false, now(), now(), 1)",
            "INSERT INTO tasks (id, project_id, title, status, priority,"
            " created_by, assigned_to, created_at, updated_at, version) VALUES"
            " (1, 1, 't', 'pending', 'low', 1, 99, now(), now(), 1)",
        )


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await Database.open("postgresql://nobody@127.0.0.1:1/none", timeout_seconds=1)


async def test_a_database_that_was_never_made_is_not_called_an_outage(
    database_url: str,
) -> None:
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await Database.open(re.sub(r"/\w+(?=\?|$)", "/never_made", database_url))


async def test_closing_waits_no_longer_than_its_limit(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await Database.open(database_url)
    async with database._pool.acquire():
        monkeypatch.setattr(asyncio, "wait_for", _out_of_time)

        await database.close()

        monkeypatch.undo()
        with pytest.raises(StoreUnavailable):
            await count_users(database)


async def _out_of_time(waiting: "asyncio.Future[None]", seconds: float) -> None:
    waiting.close()  # type: ignore[attr-defined]  # a coroutine: nobody awaits it
    raise TimeoutError


def violation(constraint: str) -> asyncpg.IntegrityConstraintViolationError:
    error = asyncpg.UniqueViolationError("refused")
    error.constraint_name = constraint
    return error


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("users_email_key", EmailTaken),
        ("users_username_key", UsernameTaken),
        ("idempotency_keys_pkey", KeyAlreadyUsed),
        ("tasks_assignee_fkey", UserNotFound),
        ("projects_owner_fkey", UserNotFound),
        ("members_user_fkey", UserNotFound),
    ],
)
def test_a_constraint_has_a_name_that_callers_know(
    constraint: str, expected: type[Exception]
) -> None:
    assert isinstance(translated(violation(constraint)), expected)


@pytest.mark.parametrize("constraint", ["tasks_title_length", ""])
def test_a_constraint_that_nobody_should_meet_is_a_defect(constraint: str) -> None:
    error = violation(constraint)

    assert translated(error) is error


async def test_every_constraint_that_has_a_name_is_there(database: Database) -> None:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT conname AS name FROM pg_constraint"
            " UNION SELECT indexname FROM pg_indexes"
        )

    assert set(_CONSTRAINTS) <= {row["name"] for row in rows}


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("another operation (2) is in progress"),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.AdminShutdownError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.QueryCanceledError(),
        asyncpg.TooManyConnectionsError(),
        asyncpg.DiskFullError(),
        asyncpg.DeadlockDetectedError(),
        asyncpg.SerializationError(),
        asyncpg.LockNotAvailableError(),
        asyncpg.ReadOnlySQLTransactionError(),
        asyncpg.IdleInTransactionSessionTimeoutError(),
        asyncpg.PostgresIOError(),
    ],
)
def test_a_database_in_trouble_is_unavailable(error: Exception) -> None:
    assert isinstance(translated(error), StoreUnavailable)


@pytest.mark.parametrize("error", [asyncpg.UndefinedTableError(), ValueError()])
def test_a_defect_is_seen_as_one(error: Exception) -> None:
    assert translated(error) is error


async def test_a_statement_that_was_cut_off_may_have_happened(
    database: Database,
) -> None:
    with pytest.raises(OutcomeUnknown):
        async with database.statement() as connection:
            await connection.execute(END_ME)


async def test_a_statement_that_was_undone_did_not_happen(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        async with database.statement() as connection:
            await connection.execute("SET LOCAL statement_timeout = 1; " + LONG)

    with pytest.raises(EmailTaken):
        async with database.statement() as connection:
            await connection.execute(f"{MAKE_USER}; {MAKE_USER}".replace("1,", "2,", 1))


LONG = "SELECT pg_sleep(5)"


async def test_settings_are_those_of_every_connection(database_url: str) -> None:
    database = await Database.open(database_url, size=1, settings=PLANNED_EACH_TIME)

    async with database.connection() as connection:
        assert await connection.fetchval("SHOW plan_cache_mode") == "force_custom_plan"
        assert await connection.fetchval("SHOW lock_timeout") == "1500ms"
    await database.close()


FULL = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON users EXECUTE FUNCTION refuse();
"""


async def test_a_full_disk_is_told_as_such_and_nothing_is_kept(
    database: Database,
) -> None:
    await run(database, FULL)

    with pytest.raises(StoreUnavailable):
        async with database.statement() as connection:
            await connection.execute(MAKE_USER)
    with pytest.raises(StoreUnavailable):
        await run_in_transaction(database, MAKE_USER)

    assert await count_users(database) == 0


async def test_who_is_idle_in_a_transaction_loses_what_is_locked(
    database_url: str,
) -> None:
    """A node that was frozen holds up nobody for longer than they wait."""
    database = await Database.open(database_url, size=2, timeout_seconds=1)
    await insert_users(database, 1)
    lock = "SELECT id FROM users WHERE id = 1 FOR UPDATE"

    async def fall_asleep() -> None:
        async with database.transaction() as connection:
            await connection.execute(lock)
            locked.set()
            await asyncio.sleep(0.9)
            await connection.execute("SELECT 1")

    locked = asyncio.Event()
    asleep = asyncio.create_task(fall_asleep())
    await locked.wait()
    await run(database, lock)

    with pytest.raises(StoreUnavailable):
        await asleep
    await database.close()


async def test_a_slow_statement_ends_with_a_clear_answer(database_url: str) -> None:
    """The server is done with it before this side gives up."""
    database = await Database.open(database_url, size=1, timeout_seconds=0.5)
    pid = await server_pid(database)

    with pytest.raises(StoreUnavailable):
        async with database.statement() as connection:
            await connection.execute(LONG)

    assert await server_pid(database) == pid
    await database.close()


async def test_what_may_take_longer_does(database_url: str) -> None:
    database = await Database.open(database_url, size=1, timeout_seconds=0.2)

    async with database.transaction(timeout_seconds=5) as connection:
        await connection.execute("SELECT pg_sleep(0.5)", timeout=5)

    async with database.connection() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "180ms"
    await database.close()


async def test_who_leaves_costs_one_connection_and_not_all(database: Database) -> None:
    async with database.connection() as other:
        kept = other.get_server_pid()
        asked = asyncio.ensure_future(run(database, "SELECT pg_sleep(4)"))
        await asyncio.sleep(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    assert await server_pid(database) == kept
