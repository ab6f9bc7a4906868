"""`make bench`: what the server does beside a bare aiohttp application, in one run.

Every ratio is taken between neighbours in time: the two sides run in turn, several
rounds, and the medians are compared. Exits with 1 where a goal is missed.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop

from loadtests.generator import Result, http_request, run

_HERE = Path(__file__).parent
_READ_CONNECTIONS = 32
_WRITE_CONNECTIONS = 64
_TASKS = 200
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, and the least that it has to be."""

    what: str
    value: float
    least: float

    @property
    def is_met(self) -> bool:
        """Whether it is enough."""
        return self.value >= self.least

    def __str__(self) -> str:
        verdict = "ok" if self.is_met else "MISSED"
        return f"{self.what:<64} {self.value:>9.2f} {self.least:>9.2f} {verdict}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server to measure, and what its requests need."""

    port: int
    token: str = ""
    project_id: int = 0
    task_ids: tuple[int, ...] = ()


@asynccontextmanager
async def _process(
    *command: str, ready: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """Run a server until the block ends; gives the line that contains `ready`."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115  # the log: closed with the process
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **(env or {})},
        cwd=_HERE.parent,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            while ready not in (line := (await process.stdout.readline()).decode()):
                if not line:
                    sys.exit(f"{command[1]} ended before it was ready")
        yield line
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()
        errors.close()


@asynccontextmanager
async def boardcast(data_dir: Path, **settings: str) -> AsyncIterator[Server]:
    """Run a server on its own data directory, with a user, a project and tasks."""
    env = {
        "BOARDCAST_LOG_FORMAT": "json",  # the default off a terminal
        # Counted and announced like any other, but never reached.
        "BOARDCAST_RATE_LIMIT_PER_MINUTE": "10000000",
        **settings,
    }
    command = (sys.executable, "-m", "server", "serve", "--port", "0")
    async with _process(
        *command, "--data-dir", str(data_dir), ready="http://", env=env
    ) as line:
        base = "http://" + line.split("http://", 1)[1].split()[0].rstrip("/")
        yield await _furnish(base)


async def _furnish(base: str) -> Server:
    account = {
        "email": "bench@example.com",
        "username": "bench",
        "password": "a-password-for-the-bench",
    }
    async with aiohttp.ClientSession(base, raise_for_status=True) as client:
        await client.post("/auth/register", json=account)
        del account["email"]
        login = await client.post("/auth/login", json=account)
        token = (await login.json())["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        project = await (await client.post("/projects", json={"name": "Hot"})).json()
        task_ids = []
        for number in range(_TASKS):
            task = {"title": f"Task {number}", "project_id": project["id"]}
            made = await client.post("/tasks", json=task)
            task_ids.append((await made.json())["id"])
    port = int(base.rsplit(":", 1)[1])
    return Server(port, token, project["id"], tuple(task_ids))


@asynccontextmanager
async def _bare(body: bytes) -> AsyncIterator[Server]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        port = _free_port()
        command = (sys.executable, "-m", "loadtests.bare", str(port), file.name)
        async with _process(*command, ready="ready"):
            yield Server(port, token="x" * 300)  # as long as a real one


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Request = Callable[[int], bytes]


def _list(server: Server) -> Request:
    request = http_request("GET", "/tasks?limit=20", token=server.token)
    return lambda number: request


def _one(server: Server) -> Request:
    task_id = server.task_ids[0] if server.task_ids else 1
    request = http_request("GET", f"/tasks/{task_id}", token=server.token)
    return lambda number: request


def _create(server: Server) -> Request:
    def make(number: int) -> bytes:
        task = {"title": f"Written {number}", "project_id": server.project_id or 1}
        body = json.dumps(task).encode()
        return http_request("POST", "/tasks", token=server.token, body=body)

    return make


def _update(server: Server) -> Request:
    ids = server.task_ids or (1,)

    def make(number: int) -> bytes:
        body = json.dumps({"title": f"Changed {number}"}).encode()
        path = f"/tasks/{ids[number % len(ids)]}"
        return http_request("PUT", path, token=server.token, body=body)

    return make


class Bench:
    """Runs the comparisons and keeps what they gave."""

    def __init__(self, *, seconds: float, rounds: int):
        self._seconds = seconds
        self._rounds = rounds
        self.goals: list[Goal] = []

    async def _measure(self, server: Server, make: Request, connections: int) -> Result:
        result = await run(
            "127.0.0.1",
            server.port,
            make,
            connections=connections,
            seconds=self._seconds,
        )
        if result.errors:
            sys.exit(f"errors under load: {result.statuses}: {result.body[:300]!r}")
        return result

    async def _in_turn(
        self, kind: Callable[[Server], Request], connections: int, *servers: Server
    ) -> tuple[list[float], float]:
        """Give each server's median rate, and the median of the rounds' ratios.

        They run in turn, one warm-up apart: a round's ratio is between neighbours.
        """
        rates: list[list[float]] = [[] for _ in servers]
        for round_number in range(self._rounds + 1):
            for server, kept in zip(servers, rates, strict=True):
                result = await self._measure(server, kind(server), connections)
                if round_number > 0:
                    kept.append(result.rate)
        ratio = statistics.median(
            first / last for first, last in zip(rates[0], rates[-1], strict=True)
        )
        return [statistics.median(kept) for kept in rates], ratio

    async def reads(self, ours: Server) -> None:
        """Compare reads with bare aiohttp returning the same bytes."""
        for path, kind in (("GET /tasks?limit=20", _list), ("GET /tasks/{id}", _one)):
            sample = await self._measure(ours, kind(ours), 1)
            async with _bare(sample.body) as bare:
                (mine, theirs), ratio = await self._in_turn(
                    kind, _READ_CONNECTIONS, ours, bare
                )
            print(f"{path}: {mine:.0f}/s, bare aiohttp {theirs:.0f}/s")
            self.goals.append(Goal(f"{path}, of bare aiohttp", ratio, 0.3))

    async def writes(self, ours: Server) -> None:
        """Compare durable writes into one project with bare aiohttp's echo."""
        for path, kind in (("POST /tasks", _create), ("PUT /tasks/{id}", _update)):
            sample = await self._measure(ours, kind(ours), 1)
            async with _bare(sample.body) as bare:
                (mine, theirs), ratio = await self._in_turn(
                    kind, _WRITE_CONNECTIONS, ours, bare
                )
            print(f"{path}: {mine:.0f}/s, bare aiohttp {theirs:.0f}/s")
            self.goals += (
                Goal(f"{path}, one project, fsync on, a second", mine, 2000),
                Goal(f"{path}, of bare aiohttp", ratio, 0.2),
            )

    async def grouping(self, ours: Server, one_by_one: Server) -> None:
        """Compare group commit with one transaction a request."""
        (many, single), ratio = await self._in_turn(
            _create, _WRITE_CONNECTIONS, ours, one_by_one
        )
        print(f"POST /tasks: {many:.0f}/s, one commit each {single:.0f}/s")
        self.goals.append(
            Goal("group commit, times one transaction a request", ratio, 10)
        )


@contextmanager
def scratch() -> Iterator[Path]:
    """Lend a directory that PostgreSQL's user can pass through."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        yield root


async def _main(options: argparse.Namespace) -> int:
    bench = Bench(seconds=options.seconds, rounds=options.rounds)
    with scratch() as root:
        async with boardcast(root / "grouped") as ours:
            await bench.reads(ours)
            await bench.writes(ours)
            async with boardcast(
                root / "single", BOARDCAST_GROUP_COMMIT="false"
            ) as single:
                await bench.grouping(ours, single)
    print(f"\n{'what':<64} {'measured':>9} {'goal':>9}")
    for goal in bench.goals:
        print(goal)
    return 0 if all(goal.is_met for goal in bench.goals) else 1


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="a measurement")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison")
    sys.exit(uvloop.run(_main(parser.parse_args())))


if __name__ == "__main__":
    main()
