"""The pool of connections to PostgreSQL, and the border where its errors are named."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
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
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
)

# What PostgreSQL says after it has undone the statement.
_ABORTED = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
)

_GOODBYE_SECONDS = 1.0
_ALLOW_LONGER = "SELECT set_config('statement_timeout', $1, true)"

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


class _Connection(asyncpg.Connection):
    """One that a server which does not answer cannot keep from closing."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as it is in asyncpg
        """Say goodbye, for a second at most, whatever the pool says."""
        with suppress(*_AWAY):
            await super().close(timeout=_GOODBYE_SECONDS)


class Database:
    """A bounded pool; every wait in it has a limit.

    A use of a connection, from asking for one to giving it back, has `timeout_seconds`
    in all. The server has less for a statement, so that one that is only slow ends with
    a clear answer; one that does not answer at all is cut off.

    Connections are handed back without a reset (one round trip less), so nothing here
    may SET, LISTEN or take a session's advisory lock on a pooled connection.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, timeout_seconds: float):
        self._pool = pool
        self.timeout_seconds = timeout_seconds

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
                min_size=0,  # else it tells with a stack of each try to have so many
                max_size=size,
                timeout=timeout_seconds,
                command_timeout=timeout_seconds,
                reset=_no_reset,
                connection_class=_Connection,
                server_settings={
                    "application_name": "boardcast",
                    **_server_limits(timeout_seconds),
                    **settings,
                },
            )
            async with pool.acquire(timeout=timeout_seconds):
                pass  # so that whoever starts hears of a server that does not answer
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
    def most(self) -> int:
        """Connections that there may be."""
        return int(self._pool.get_max_size())

    @property
    def size(self) -> int:
        """Connections that are open."""
        return int(self._pool.get_size())

    @asynccontextmanager
    async def connection(
        self, *, timeout_seconds: float | None = None
    ) -> AsyncIterator[Connection]:
        """Lend a connection; errors of the driver come out named.

        Raises StoreUnavailable if none is free within the time of the class, or if the
        use takes longer than that, or than `timeout_seconds`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (timeout_seconds or self.timeout_seconds)
        try:
            async with self._pool.acquire(timeout=self.timeout_seconds) as connection:
                # At the deadline the connection is cut off, not the query cancelled:
                # a server that does not answer would not hear of that either.
                cutting = loop.call_at(deadline, _cut, connection)
                try:
                    yield connection
                except BaseException as error:
                    await self._check(connection, error)
                    raise
                finally:
                    cutting.cancel()
        except Exception as error:
            named = translated(error)
            if named is error:
                raise
            raise named from error

    async def _check(self, connection: Connection, error: BaseException) -> None:
        """Cut off what is still at work; replace all where one is of no use any more.

        The others probably are like it, lost or to a server that has become a replica,
        and each would fail a request to find out. That a caller has left says nothing
        of them.
        """
        if isinstance(error, asyncio.CancelledError) and not _is_lost(connection):
            _cut(connection)
            return
        if isinstance(error, TimeoutError):
            _cut(connection)
        is_replica = isinstance(error, asyncpg.ReadOnlySQLTransactionError)
        if is_replica or _is_lost(connection):
            await self._pool.expire_connections()

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
    async def transaction(
        self, *, timeout_seconds: float | None = None, **options: Any
    ) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that commits at the end.

        Within `timeout_seconds`, if given, statements may take so long if they say so.
        Raises OutcomeUnknown when the connection was lost while it committed.
        """
        async with self.connection(timeout_seconds=timeout_seconds) as connection:
            transaction = connection.transaction(**options)
            await transaction.start()
            try:
                if timeout_seconds is not None:
                    limit = f"{timeout_seconds * 1000:.0f}ms"
                    await connection.execute(_ALLOW_LONGER, limit)
                yield connection
            except (asyncio.CancelledError, TimeoutError):
                raise  # the connection is cut off, and the transaction with it
            except BaseException:
                await _roll_back(transaction)
                raise
            await _commit(transaction)


def _server_limits(timeout_seconds: float) -> Mapping[str, str]:
    """Give PostgreSQL less time than us, so that it still answers.

    A node that is frozen, or gone behind a dead network, has what it locked taken away
    before those who wait for it give up.
    """
    limits = {
        "statement_timeout": 0.9,
        "lock_timeout": 0.75,
        "idle_in_transaction_session_timeout": 0.5,
    }
    return {
        **{name: f"{timeout_seconds * 1000 * of:.0f}ms" for name, of in limits.items()},
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "10000",
    }


def row_count(status: str) -> int:
    """Read the number of rows in what PostgreSQL says, as in `UPDATE 1`."""
    return int(status.rsplit(" ", 1)[1])


async def delete_all(
    database: Database, delete: Callable[..., Awaitable[str]], at_once: int
) -> None:
    """Delete in statements of so many rows: what has piled up fits into no other."""
    deleted = at_once
    while deleted == at_once:
        async with database.connection() as connection:
            deleted = row_count(await delete(connection, limit=at_once))


async def _commit(transaction: Any) -> None:
    try:
        await transaction.commit()
    except _ABORTED:
        raise
    except Exception as error:
        raise OutcomeUnknown from error


async def _roll_back(transaction: Any) -> None:
    try:
        await transaction.rollback()
    except _AWAY:
        return  # the connection is gone, and the transaction with it


def _cut(connection: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # the pool has taken it back already
        connection.terminate()


def _is_lost(connection: Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back already
        return True


async def _no_reset(connection: Any) -> None:
    """Save the round trip that asyncpg's own reset takes at every release."""
