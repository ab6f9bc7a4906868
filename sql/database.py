"""The pool of connections to PostgreSQL, and the border where its errors are named."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosql
import asyncpg

from actors.domain.errors import (
    DomainError,
    EmailTaken,
    KeyAlreadyUsed,
    OutcomeUnknown,
    StoreUnavailable,
    UsernameTaken,
    UserNotFound,
)

Connection = Any  # a pooled connection; asyncpg's proxy has no useful type

_CONSTRAINTS: Mapping[str, type[DomainError]] = {
    "users_email_key": EmailTaken,
    "users_username_key": UsernameTaken,
    "idempotency_keys_pkey": KeyAlreadyUsed,
    "tasks_assignee_fkey": UserNotFound,
    "projects_owner_fkey": UserNotFound,
    "members_user_fkey": UserNotFound,
}

# What asyncpg raises when the server is away, going down, or out of something.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the idle connection has just been told of the end
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
)


# What PostgreSQL says after it has undone the statement.
_ABORTED = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
)

_USUAL: Mapping[str, str] = {}

# For queries that are one of many by their values: planned each time for those. To
# compile a plan takes longer than to run it.
PLANNED_EACH_TIME: Mapping[str, str] = {
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
}


def load_queries(name: str) -> Any:
    """Load `sql/<name>.sql`: a query an attribute, with its `$n` text in `.sql`."""
    return aiosql.from_path(Path(__file__).parent / f"{name}.sql", "asyncpg")


def translated(error: Exception) -> Exception:
    """Name a driver's error: by constraint, or as the database being away.

    Anything else comes back as it is: it is a defect, and has to be seen as one.
    """
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        known = _CONSTRAINTS.get(error.constraint_name or "")
        return known() if known else error
    if isinstance(error, _AWAY):
        return StoreUnavailable()
    return error


class Database:
    """A bounded pool; every wait in it has a limit.

    Connections are handed back without a reset (one round trip less), so nothing here
    may SET, LISTEN or take a session's advisory lock on a pooled connection.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, timeout_seconds: float):
        self._pool = pool
        self._timeout_seconds = timeout_seconds

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        size: int = 10,
        timeout_seconds: float = 2.0,
        settings: Mapping[str, str] = _USUAL,
    ) -> "Database":
        """Connect; raises StoreUnavailable if the server does not answer in time.

        `settings` are PostgreSQL's own, for these connections.
        """
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=size,
                timeout=timeout_seconds,
                command_timeout=timeout_seconds,
                reset=_no_reset,
                server_settings={
                    "application_name": "boardcast",
                    "idle_in_transaction_session_timeout": "15s",
                    "statement_timeout": "10s",
                    "lock_timeout": "5s",
                    **settings,
                },
            )
        except Exception as error:
            raise translated(error) from error
        return cls(pool, timeout_seconds=timeout_seconds)

    async def close(self) -> None:
        """Close every connection, by force after five seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @property
    def idle(self) -> int:
        """Connections that nobody uses right now."""
        return int(self._pool.get_idle_size())

    @property
    def size(self) -> int:
        """Connections that are open."""
        return int(self._pool.get_size())

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; errors of the driver come out named.

        Waits at most `timeout_seconds` for a free one, then raises StoreUnavailable.
        """
        try:
            async with self._pool.acquire(timeout=self._timeout_seconds) as connection:
                yield connection
        except Exception as error:
            named = translated(error)
            if named is error:
                raise
            raise named from error

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Connection]:
        """Lend a connection for one writing statement, which commits by itself.

        Raises OutcomeUnknown when it cannot be told whether it did.
        """
        async with self.connection() as connection:
            try:
                yield connection
            except _ABORTED:
                raise
            except _AWAY as error:
                raise OutcomeUnknown from error

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that commits at the end.

        Raises OutcomeUnknown when the connection was lost while it committed.
        """
        async with self.connection() as connection:
            transaction = connection.transaction(**options)
            await transaction.start()
            try:
                yield connection
            except BaseException:
                await _roll_back(transaction)
                raise
            await _commit(transaction)


def row_count(status: str) -> int:
    """Read the number of rows in what PostgreSQL says, as in `UPDATE 1`."""
    return int(status.rsplit(" ", 1)[1])


async def delete_all(
    database: Database, delete: Callable[..., Awaitable[str]], at_once: int
) -> None:
    """Delete in statements of so many rows: what has piled up fits into no other."""
    async with database.connection() as connection:
        while row_count(await delete(connection, limit=at_once)) == at_once:
            pass


async def _commit(transaction: Any) -> None:
    try:
        await transaction.commit()
    except (
        asyncpg.IntegrityConstraintViolationError,
        asyncpg.TransactionRollbackError,
    ):
        raise
    except Exception as error:
        raise OutcomeUnknown from error


async def _roll_back(transaction: Any) -> None:
    try:
        await transaction.rollback()
    except _AWAY:
        return  # the connection is gone, and the transaction with it


async def _no_reset(connection: Any) -> None:
    """Save the round trip that asyncpg's own reset takes at every release."""
