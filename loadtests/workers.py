"""Two workers against one, and twenty thousand sockets on two.

All is on the cores of this machine: the workers, PostgreSQL, Valkey and who asks.
Exits with 1 where a goal is missed.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import uvloop

from loadtests.crowd import Crowd
from loadtests.generator import Client, Result, http_request, run
from loadtests.goals import Goal, report
from loadtests.servers import (
    Server,
    boardcast,
    cpu_seconds,
    hire,
    resident_bytes,
    scratch,
)
from loadtests.sides import sample
from server.embedded import Embedded

_HOST = "127.0.0.1"
_CONNECTIONS = 64
_PEOPLE, _PROJECTS, _TASKS = 50, 4, 10
_SOCKETS_A_USER = 200
_CROWDS = 2
_SETTLE_SECONDS = 3.0
_IDLE_SECONDS = 15.0
_EVENTS = 20
# Of fifty requests: what people do who mostly look.
_MIX = ("one",) * 30 + ("list",) * 18 + ("update", "create")

_COUNT = """
import time
end, n = time.perf_counter() + 3, 0
while time.perf_counter() < end:
    for _ in range(1000): n += 1
print(n)
"""


class Person(NamedTuple):
    """A user: projects with the tasks in them."""

    token: str
    projects: list[tuple[int, list[int]]]


@asynccontextmanager
async def _running(workers: int) -> AsyncIterator[Server]:
    """Run so many workers on stores of their own."""
    with scratch() as root:
        async with (
            Embedded(root / "stores") as stores,
            boardcast(
                root / "data",
                BOARDCAST_WORKERS=str(workers),
                BOARDCAST_LOGIN_LIMIT_PER_MINUTE="0",
                BOARDCAST_SOCKETS_PER_USER="20000",
                DATABASE_URL=stores.database_url or "",
                REDIS_URL=stores.redis_url or "",
            ) as server,
        ):
            yield server


def _members(pid: int) -> list[int]:
    """List the processes that serve: the workers, or the one that there is (Linux)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] or [pid]


async def _people(server: Server) -> list[Person]:
    """Make people, each with projects of their own, and tasks in these."""
    tokens = await hire(server, _PEOPLE)
    async with Client.open(_HOST, server.port) as client:
        return [await _person(client, token) for token in tokens]


async def _person(client: Client, token: str) -> Person:
    async def post(path: str, body: object) -> int:
        data = json.dumps(body).encode()
        request = http_request("POST", path, token=token, body=data)
        return int(json.loads(await client.ask(request))["id"])

    projects = []
    for number in range(_PROJECTS):
        project_id = await post("/projects", {"name": f"Project {number}"})
        tasks = [
            await post("/tasks", {"title": f"Task {n}", "project_id": project_id})
            for n in range(_TASKS)
        ]
        projects.append((project_id, tasks))
    return Person(token, projects)


async def _mixed(server: Server, people: list[Person], seconds: float) -> Result:
    chosen = random.Random(1)

    def make(number: int) -> bytes:
        person = chosen.choice(people)
        project_id, tasks = chosen.choice(person.projects)
        kind, body = chosen.choice(_MIX), b""
        method, path = "GET", f"/tasks/{chosen.choice(tasks)}"
        if kind == "list":
            path = "/tasks?limit=20"
        elif kind == "update":
            method, body = "PUT", json.dumps({"title": f"Changed {number}"}).encode()
        elif kind == "create":
            method, path = "POST", "/tasks"
            task = {"title": f"Made {number}", "project_id": project_id}
            body = json.dumps(task).encode()
        return http_request(method, path, token=person.token, body=body)

    result = await run(
        _HOST, server.port, make, connections=_CONNECTIONS, seconds=seconds
    )
    if result.errors:
        sys.exit(f"errors under load: {result.statuses}: {result.refusal[:300]!r}")
    return result


async def _throughput(seconds: float, rounds: int) -> list[Goal]:
    print(f"two processes that only count do {_two_loops():.2f} times what one does")
    ratios = []
    for _ in range(rounds):
        rates = []
        for workers in (1, 2):
            async with _running(workers) as server:
                rates.append(await _rate(server, seconds))
        ratios.append(rates[1] / rates[0])
    return [Goal("two workers, times one", statistics.median(ratios), 1.4)]


def _two_loops() -> float:
    """Tell how much two processes do here that only count, times one."""
    alone = _counted(1)
    return _counted(2) / alone


def _counted(processes: int) -> int:
    command = (sys.executable, "-c", _COUNT)
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  # our own words
        for _ in range(processes)
    ]
    return sum(int(each.communicate()[0]) for each in running)


async def _rate(server: Server, seconds: float) -> float:
    people = await _people(server)
    await _mixed(server, people, 2.0)
    members = _members(server.pid)
    worked = [cpu_seconds(pid) for pid in members]
    mine, began = cpu_seconds_of_this(), perf_counter()
    result = await _mixed(server, people, seconds)
    took = perf_counter() - began
    shares = [
        (cpu_seconds(pid) - before) / took
        for pid, before in zip(members, worked, strict=True)
    ]
    asked = (cpu_seconds_of_this() - mine) / took
    busy = ", ".join(f"{share:.0%}" for share in shares)
    print(
        f"{len(members)} serving: {result.rate:.0f} requests/s;"
        f" of a core: {busy}; who asks {asked:.0%}"
    )
    return result.rate


def cpu_seconds_of_this() -> float:
    """Tell how much this process has worked so far."""
    return cpu_seconds(int(Path("/proc/self").readlink().name))


async def _sockets(sockets: int) -> list[Goal]:
    async with _running(2) as server:
        tokens = await hire(server, sockets // _SOCKETS_A_USER)
        before = sum(resident_bytes(pid) for pid in _members(server.pid))
        async with _gathered(server, tokens) as crowds:
            return await _watched(server, crowds, before, sockets)


@asynccontextmanager
async def _gathered(server: Server, tokens: list[str]) -> AsyncIterator[list[Crowd]]:
    async with (
        Crowd.gather(server.port, tokens, server.project_id) as first,
        Crowd.gather(server.port, tokens, server.project_id) as second,
    ):
        yield [first, second]


async def _watched(
    server: Server, crowds: list[Crowd], before: int, sockets: int
) -> list[Goal]:
    head = (await sample(server))["version"]
    for crowd in crowds:
        opened = await crowd.ask("open", count=sockets // _CROWDS, last=head)
        print(f"{sockets // _CROWDS} sockets in {opened['seconds']:.1f} s")
    await asyncio.sleep(_SETTLE_SECONDS)
    members = _members(server.pid)
    grown = sum(resident_bytes(pid) for pid in members) - before
    worked = sum(cpu_seconds(pid) for pid in members)
    await asyncio.sleep(_IDLE_SECONDS)
    idle = (sum(cpu_seconds(pid) for pid in members) - worked) / _IDLE_SECONDS
    worked = sum(cpu_seconds(pid) for pid in members)
    delays = await _events(server, crowds, head)
    each = (sum(cpu_seconds(pid) for pid in members) - worked) / _EVENTS / sockets
    print(f"a delivery takes {each * 1e6:.1f} µs of a worker's CPU")
    reports = [await crowd.ask("report") for crowd in crowds]
    problems = sum(report["problem_count"] for report in reports)
    print(f"an event to {sockets} sockets: median {statistics.median(delays):.3f} s")
    return [
        Goal("a socket on two workers, KB of memory", grown / sockets / 1000, most=22),
        Goal("idle, % of a core for all sockets", idle * 100, most=16),
        Goal("an event to all sockets, worst, s", max(delays), most=2),
        Goal("sockets that saw something wrong", problems, most=0),
    ]


async def _events(server: Server, crowds: list[Crowd], head: int) -> list[float]:
    """Write events one by one; gives the time until the last socket had each."""
    delays = []
    async with Client.open(_HOST, server.port) as client:
        for number in range(1, _EVENTS + 1):
            began = perf_counter()
            await client.ask(_change(server, number))
            had = [await crowd.ask("had", version=head + number) for crowd in crowds]
            delays.append(max(had) - began)
    return delays


def _change(server: Server, number: int) -> bytes:
    body = json.dumps({"title": f"{perf_counter():.7f}"}).encode()
    path = f"/tasks/{server.task_ids[number]}"
    return http_request("PUT", path, token=server.token, body=body)


async def measure(
    *,
    only: str | None = None,
    seconds: float = 8.0,
    rounds: int = 3,
    sockets: int = 20_000,
) -> list[Goal]:
    """Measure rates and sockets, or only one of them."""
    goals: list[Goal] = []
    if only != "sockets":
        goals += await _throughput(seconds, rounds)
    if only != "rates":
        goals += await _sockets(sockets)
    return goals


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("rates", "sockets"), help="a part")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=3, help="of both loads")
    parser.add_argument("--sockets", type=int, default=20_000, help="on two workers")
    sys.exit(report(uvloop.run(measure(**vars(parser.parse_args())))))


if __name__ == "__main__":
    main()
