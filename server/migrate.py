"""The schema's migrations: yoyo, through pg8000, under an advisory lock.

pg8000, because both versions of psycopg are LGPL, which the licence list refuses. The
advisory lock, because yoyo's own is a row in a table, which a killed migration leaves
behind. It is polled: whoever waits in a blocking call holds a snapshot that CREATE
INDEX CONCURRENTLY waits for, and both wait for ever.
"""

import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from uuid import uuid4

import pg8000.dbapi
import yoyo.migrations
from yoyo.backends.base import DatabaseBackend
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.connections import DatabaseURI, parse_uri

from server import ROOT

MIGRATIONS = ROOT / "migrations"

_LOCK_KEY = 0x626F617264  # "board"
_LOCK_SECONDS = 60.0
_POLL_SECONDS = 0.1
_CONNECT_SECONDS = 10
_TABLE = yoyo.migrations.default_migration_table
_SCHEMES = ("postgresql", "postgres")


class MigrationFailed(Exception):
    """The database cannot be migrated; the message says why in one line."""


class Pg8000Backend(PostgresqlBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's backend for PostgreSQL, for URLs that begin with `postgresql+pg8000`."""

    driver_module = "pg8000.dbapi"

    def connect(self, dburi: DatabaseURI) -> Any:
        """Open a connection that begins no transaction by itself."""
        return connect(str(dburi))

    def init_connection(self, connection: Any) -> None:
        """Let no migration wait long for a lock that requests hold."""
        connection.cursor().execute("SET lock_timeout = '10s'")

    def begin(self) -> None:
        """Begin a transaction; the parent's way asks psycopg for its state."""
        DatabaseBackend.begin(self)

    def copy(self) -> AbstractContextManager["Pg8000Backend"]:
        """Lend this same connection: see apply_one."""
        return nullcontext(self)

    def apply_one(self, migration: Any, force: bool = False, mark: bool = True) -> None:  # noqa: FBT001, FBT002 (yoyo's signature)
        """Apply a migration and note that it was in one transaction.

        yoyo takes two, on two connections: killed between them, it would try the same
        migration again for ever.
        """
        self.ensure_internal_schema_updated()
        with self._whole(migration):
            super().apply_one(migration, force, mark)

    def rollback_one(self, migration: Any, force: bool = False) -> None:  # noqa: FBT001, FBT002 (yoyo's signature)
        """Undo a migration and forget it in one transaction."""
        self.ensure_internal_schema_updated()
        with self._whole(migration):
            super().rollback_one(migration, force)

    def get_log_data(
        self, migration: Any = None, operation: str = "apply"
    ) -> Mapping[str, Any]:
        """Describe an operation, where the user has no name and the host no DNS too."""
        return {
            "id": str(uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": str(os.geteuid()),
            "hostname": socket.gethostname(),
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }

    def _whole(self, migration: Any) -> AbstractContextManager[Any]:
        migration.load()
        if migration.use_transactions:
            return self.transaction()  # type: ignore[no-any-return]  # untyped yoyo
        return nullcontext()


def names() -> list[str]:
    """List all migrations, in order."""
    return [migration.id for migration in _read()]


def pending(url: str) -> list[str]:
    """List the migrations that this database lacks, and change nothing.

    Waits for the database: call it in a thread. Raises MigrationFailed.
    """
    with _named_errors(), closing(connect(url)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT to_regclass('{_TABLE}') IS NOT NULL")
        applied = set()
        if cursor.fetchone()[0]:
            cursor.execute(f"SELECT migration_id FROM {_TABLE}")  # noqa: S608 (a constant)
            applied = {row[0] for row in cursor.fetchall()}
    return [name for name in names() if name not in applied]


def migrate(url: str) -> list[str]:
    """Apply what is missing and list it; any number of processes may do so at once.

    Each migration is applied whole or not at all. Waits for the database: call it in a
    thread. Raises MigrationFailed.
    """
    with _backend(url) as backend:
        missing = backend.to_apply(_read())
        backend.apply_migrations(missing)
        return [migration.id for migration in missing]


def roll_back(url: str) -> list[str]:
    """Undo all migrations, the last first, and list them; for tests. Loses all data."""
    with _backend(url) as backend:
        present = backend.to_rollback(_read())
        backend.rollback_migrations(present)
        return [migration.id for migration in present]


def connect(url: str) -> Any:
    """Open a plain pg8000 connection in autocommit mode from a URL as asyncpg takes it.

    Raises MigrationFailed for a URL that it does not understand, and pg8000's errors.
    """
    arguments = _arguments(url)
    try:
        connection = pg8000.dbapi.connect(**arguments)
    except Exception:
        arguments["sock"].close()
        raise
    # From here on a statement may take as long as it has to. (With TLS it is another
    # socket than ours, and pg8000 has no public name for it.)
    connection._usock.settimeout(None)  # noqa: SLF001
    connection.autocommit = True
    return connection


def _read() -> Any:
    return yoyo.migrations.read_migrations(str(MIGRATIONS))


@contextmanager
def _backend(url: str) -> Iterator[Any]:
    with _named_errors(), closing(connect(url)) as guard:
        _lock(guard)
        parsed = urlsplit(url)._replace(scheme="postgresql+pg8000").geturl()
        with Pg8000Backend(parse_uri(parsed), _TABLE) as backend:
            backend.init_database()
            backend.break_lock()  # a leftover: nobody else has the advisory lock
            with backend.lock():
                yield backend


def _lock(connection: Any) -> None:
    cursor = connection.cursor()
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        cursor.execute(f"SELECT pg_try_advisory_lock({_LOCK_KEY})")
        if cursor.fetchone()[0]:
            return
        if time.monotonic() > deadline:
            raise MigrationFailed("another process has been migrating for a minute")
        time.sleep(_POLL_SECONDS)


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, pg8000.dbapi.Error) as error:
        refusal = _refusal(error)
        if refusal is None:
            raise MigrationFailed(f"the database does not answer: {error}") from error
        raise MigrationFailed(f"the database refused: {refusal}") from error


def _refusal(error: BaseException | None) -> str | None:
    # When the server refuses a connection and hangs up, pg8000 raises what went wrong
    # as it said goodbye; the reason is what it was handling then.
    while error is not None and not isinstance(error, pg8000.dbapi.DatabaseError):
        error = error.__context__
    fields = error.args[0] if error is not None and error.args else None
    # PostgreSQL's fields by their letters: M is the message.
    return str(fields.get("M")) if isinstance(fields, dict) else None


def _arguments(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme.partition("+")[0] not in _SCHEMES:
        raise MigrationFailed("the database's URL does not begin with postgresql://")
    query = dict(parse_qsl(parts.query))
    host = query.get("host") or unquote(parts.hostname or "localhost")
    port = _port(query, parts)
    return {
        "user": unquote(parts.username or query.get("user", "")) or "postgres",
        "password": unquote(parts.password or query.get("password", "")) or None,
        "database": unquote(parts.path[1:]) or None,
        "application_name": "boardcast migrate",
        "host": host,
        "sock": _socket(host, port),
        "ssl_context": False if host.startswith("/") else _tls(query),
    }


def _port(query: Mapping[str, str], parts: SplitResult) -> int:
    try:
        return int(query.get("port") or parts.port or 5432)
    except ValueError as error:
        raise MigrationFailed("the port in the database's URL is no number") from error


def _socket(host: str, port: int) -> socket.socket:
    # Not pg8000's own: its time limit would hold for each statement as well.
    if host.startswith("/"):
        connected = _unix_socket(f"{host}/.s.PGSQL.{port}")
    else:
        connected = socket.create_connection((host, port), _CONNECT_SECONDS)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connected


def _unix_socket(path: str) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.settimeout(_CONNECT_SECONDS)
    try:
        connected.connect(path)
    except OSError:
        connected.close()
        raise
    return connected


def _tls(query: Mapping[str, str]) -> ssl.SSLContext | bool | None:
    mode = query.get("sslmode", "prefer")
    if mode in ("disable", "allow"):
        return False
    if mode == "prefer":
        return None  # pg8000 asks, and goes on without
    context = ssl.create_default_context(cafile=query.get("sslrootcert"))
    if mode != "verify-full":
        context.check_hostname = False
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context
