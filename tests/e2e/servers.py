"""A `boardcast serve` of one's own: start it, find its processes, kill it, end it."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from server import processes
from server.postgres import Postgres
from server.valkey import Valkey

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 30.0

_POLL_SECONDS = 0.01
_READY = "Boardcast is ready: "
_OURS = ("BOARDCAST_", "DATABASE_URL", "REDIS_URL", "JWT_", "MONITORING_", "VAULT_")


class Served:
    """The server of a data directory; it may be started again after its end.

    `environ` comes on top of this process's variables, of which none is a setting;
    `prefix` is a command that runs the server in other surroundings. It belongs to no
    event loop, so a fixture may keep it for several tests.
    """

    def __init__(
        self,
        data_dir: Path,
        environ: Mapping[str, str] | None = None,
        *,
        prefix: Sequence[str] = (),
    ):
        self.data_dir = data_dir
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._environ = surroundings() | dict(environ or {})
        self._prefix = prefix
        self._out = data_dir.with_name(f"{data_dir.name}.out")
        self._log = data_dir.with_name(f"{data_dir.name}.log")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def output(self) -> str:
        """What it printed since it was started last."""
        return self._out.read_text()

    @property
    def log(self) -> str:
        """What it logged since the first start."""
        return self._log.read_text()

    async def start(self, *options: str, port: int = 0) -> None:
        """Run `boardcast serve`; answers when it is ready."""
        self.launch(*options, port=port)
        await until(self._is_ready, "the server is ready", seconds=START_SECONDS)

    def launch(self, *options: str, port: int = 0) -> None:
        """Begin to start, in a session of its own: no terminal reaches it."""
        command = (sys.executable, "-m", "server", "serve", "--port", str(port))
        command = (*self._prefix, *command)
        with self._out.open("wb") as out, self._log.open("ab") as log:
            self.process = subprocess.Popen(
                (*command, "--data-dir", str(self.data_dir), *options),
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End this one process at once, and wait for that; its children are left."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Ask it to end; answers with its exit status, None if it did not run."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def postmaster(self) -> int:
        """Find the process of its PostgreSQL that started all others."""
        file = self.data_dir / "postgres" / "data" / "postmaster.pid"
        return int(file.read_text().split("\n", 1)[0])

    def valkey(self) -> int:
        """Find the process of its Valkey."""
        return int((self.data_dir / "valkey" / "valkey.pid").read_text())

    def left(self) -> list[int]:
        """List the processes of its PostgreSQL and Valkey."""
        if not self.data_dir.exists():
            return []
        mark = Postgres.at(self.data_dir)._mark
        socket = str(Valkey.at(self.data_dir).socket)
        return [
            *processes.find("postgres", mark),
            *processes.find("valkey-server", socket),
        ]

    def clear(self) -> None:
        """End whatever is left, by force: for the end of a test that failed."""
        if self.is_running:
            self.kill()
        deadline = time.monotonic() + STOP_SECONDS
        while left := self.left():
            for pid in left:
                processes.send(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"{left} do not end"
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        if not self.is_running:
            raise AssertionError(f"the server ended: {self.log[-2000:]}")
        for line in self.output.splitlines(keepends=True):
            if line.startswith(_READY) and line.endswith("\n"):
                self.url = line.removeprefix(_READY).strip()
                return True
        return False


@contextmanager
def scratch_server(environ: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Lend a server that is not started, on a new directory; nothing outlives it.

    pytest's own tmp_path will not do for root: PostgreSQL's account cannot get into
    it, and a long TMPDIR would not do for sockets.
    """
    place = Path(tempfile.mkdtemp(prefix="boardcast-test-"))
    if os.geteuid() == 0:
        place.chmod(0o711)
    served = Served(place / "data", environ)
    try:
        yield served
    finally:
        served.clear()
        shutil.rmtree(place)


async def until(
    is_so: Callable[[], object], what: str, *, seconds: float = 10.0
) -> None:
    """Wait for a condition; fails, naming it, when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(_POLL_SECONDS)


def surroundings() -> dict[str, str]:
    """This process's variables, without those that are settings or only for tests.

    With limits for a test's few users, who ask more often than people do.
    """
    limits = {
        "BOARDCAST_RATE_LIMIT_PER_MINUTE": "1000000",
        "BOARDCAST_LOGIN_LIMIT_PER_MINUTE": "100000",
    }
    return limits | {
        name: value for name, value in os.environ.items() if not name.startswith(_OURS)
    }
