"""Child programs: start them so that they cannot outlive us, watch them, stop them."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import structlog

from server import launch
from server.datadir import give_to_owner

Process = asyncio.subprocess.Process

_log = structlog.get_logger(__name__)

_LOG_BYTES = 10 * 1024 * 1024
_LOG_CHECK_SECONDS = 60.0
_POLL_SECONDS = 0.02
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 2.0
_STABLE_SECONDS = 10.0  # who lived that long is started again without a delay


class StartFailed(Exception):
    """A program ended before it was ready; the message has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user that a program runs as."""

    uid: int
    gid: int

    @classmethod
    def own(cls) -> "Account":
        """Who we are."""
        return cls(uid=os.geteuid(), gid=os.getegid())

    @classmethod
    def named(cls, *names: str) -> "Account":
        """Find the first of these users that exists; raises KeyError if none does."""
        for name in names:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(uid=entry.pw_uid, gid=entry.pw_gid)
        raise KeyError(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, as whom, and the signal it gets if we die."""

    argv: Sequence[str]
    account: Account
    death_signal: signal.Signals
    directory: Path
    log_file: Path


class Service(Protocol):
    """A program that is kept running."""

    @property
    def name(self) -> str:
        """The word in log lines and error messages."""

    @property
    def log_file(self) -> Path | None:
        """Where its output goes; None if that is nobody's to keep small."""

    async def start(self) -> Process:
        """Answer when it is ready; raises StartFailed and leaves nothing behind."""

    async def stop(self, process: Process) -> None:
        """Stop it in order, or by force after a while."""


async def spawn(program: Program) -> Process:
    """Start a program in a session of its own: no terminal's Ctrl-C reaches it.

    Call it on the main thread: on Linux the program is told to end when the *thread*
    that started it does.
    """
    with _opened(program.log_file) as output:
        return await asyncio.create_subprocess_exec(
            *tied(program.argv, program.account, program.death_signal),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=program.directory,
            env=_environment(),
            start_new_session=True,
        )


def tied(
    argv: Sequence[str], account: Account, death_signal: signal.Signals
) -> tuple[str, ...]:
    """Put before a command what makes it end with us, and be somebody else's."""
    return (
        # -I -S: nothing of the surroundings is read, and it starts in 20 ms.
        *(sys.executable, "-I", "-S", launch.__file__),
        *(str(os.getpid()), str(int(death_signal))),
        *(str(account.uid), str(account.gid), *argv),
    )


async def stop(process: Process, *signals: tuple[signal.Signals, float]) -> None:
    """Send signals in turn, each with the seconds it gets to work, at last SIGKILL."""
    for number, seconds in signals:
        if process.returncode is not None:
            return
        send(process.pid, number)
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            continue
    if process.returncode is None:
        send(process.pid, signal.SIGKILL)
        await process.wait()


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def find(program: str, mark: str) -> list[int]:
    """List this program's processes with the mark in their command line or title."""
    commands = _commands()
    return [pid for pid, line in commands.items() if _matches(line, program, mark)]


async def gone(program: str, mark: str, timeout_seconds: float) -> bool:
    """Wait until there is no such process; False if one is left after the timeout."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while find(program, mark):
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def last_words(log_file: Path) -> str:
    """Show the last line of a log, for an error message."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


class Supervised:
    """A service that is started again whenever it dies, until it is stopped.

    The log tells of it as `<place>.<name>_died`, with these fields.
    """

    def __init__(self, service: Service, place: str = "embedded", **fields: object):
        self._service = service
        self._event = f"{place}.{service.name}"
        self._log = _log.bind(**fields)
        self._process: Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and the watch over it; raises StartFailed."""
        self._process = await self._service.start()
        self._begin_watch()

    async def replace(self) -> Process | None:
        """Start a successor beside it; answer whose place it took.

        That one is the caller's to stop. None if it was not running: it is being
        started again as it is. Raises StartFailed, and then nothing has changed.
        """
        if self._process is None or self._process.returncode is not None:
            return None
        await self._end_watch()
        try:
            successor = await self._service.start()
            former, self._process = self._process, successor
        finally:
            self._begin_watch()
        return former

    async def stop(self) -> None:
        """End the watch, then the service."""
        await self._end_watch()
        if self._process is not None:
            await self._service.stop(self._process)

    def _begin_watch(self) -> None:
        self._watcher = asyncio.create_task(self._watch(), name=f"watch-{self._event}")

    async def _end_watch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def _watch(self) -> None:
        delay_seconds = 0.0
        while self._process is not None:
            started = asyncio.get_running_loop().time()
            status = await self._ended(self._process)
            self._log.error(f"{self._event}_died", status=status)
            if asyncio.get_running_loop().time() - started > _STABLE_SECONDS:
                delay_seconds = 0.0
            self._process = await self._start_again(delay_seconds)
            delay_seconds = _longer(delay_seconds)
            self._log.warning(f"{self._event}_restarted", pid=self._process.pid)

    async def _ended(self, process: Process) -> int:
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=_LOG_CHECK_SECONDS)
                if self._service.log_file is not None:
                    trim(self._service.log_file)
        finally:
            ended.cancel()
        return ended.result()

    async def _start_again(self, delay_seconds: float) -> Process:
        while True:
            await asyncio.sleep(delay_seconds)
            try:
                return await self._service.start()
            except (StartFailed, OSError) as error:
                delay_seconds = _longer(delay_seconds)
                self._log.warning(f"{self._event}_not_started", error=str(error))


def trim(log_file: Path) -> None:
    """Keep a log from growing for ever: one full file is kept beside it.

    The program goes on writing at the end of the emptied file, which it has opened
    for appending.
    """
    if log_file.exists() and log_file.stat().st_size > _LOG_BYTES:
        shutil.copyfile(log_file, log_file.with_suffix(".log.1"))
        os.truncate(log_file, 0)


def _longer(delay_seconds: float) -> float:
    return min(max(_FIRST_DELAY_SECONDS, 2 * delay_seconds), _LONGEST_DELAY_SECONDS)


def _opened(log_file: Path) -> BinaryIO:
    trim(log_file)
    file = log_file.open("ab")
    give_to_owner(log_file)
    return file


def _environment() -> Mapping[str, str]:
    # Not ours: it holds secrets, and PG* variables that would change the servers.
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "LC_ALL": "C", "TZ": "UTC"}


def _matches(line: str, program: str, mark: str) -> bool:
    # A title is "postgres: mark: checkpointer", a command "/path/postgres\0-D\0...".
    first = line.replace("\0", " ").split(" ", 1)[0].rstrip(":")
    return Path(first).name == program and mark in line


def _commands() -> dict[int, str]:
    if not Path("/proc/self/cmdline").exists():
        return _commands_of_ps()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found[int(entry.name)] = (entry / "cmdline").read_text(errors="replace")
            except OSError:
                continue  # it has ended in the meantime
    return found


def _commands_of_ps() -> dict[int, str]:
    lines = subprocess.run(
        ["/bin/ps", "-axo", "pid=,command="], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    words = (line.strip().partition(" ") for line in lines)
    return {int(pid): command.strip() for pid, _, command in words}
