"""`make bench`: what the server does beside a bare aiohttp application, in one run.

Every ratio is taken between neighbours in time: the two sides run in turn, several
rounds, and the medians are compared. Exits with 1 where a goal is missed.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import uvloop

from loadtests import contention, memory, workers
from loadtests.generator import Result, http_request, run
from loadtests.goals import Goal, report
from loadtests.live import FULL, QUICK, Live, Scale
from loadtests.servers import Server, bare, boardcast, scratch

_READ_CONNECTIONS = 32
_WRITE_CONNECTIONS = 64

_PARTS = ("rest", "live", "contention", "workers", "memory")

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
            async with bare(sample.body) as rival:
                (mine, theirs), ratio = await self._in_turn(
                    kind, _READ_CONNECTIONS, ours, rival
                )
            print(f"{path}: {mine:.0f}/s, bare aiohttp {theirs:.0f}/s")
            self.goals.append(Goal(f"{path}, of bare aiohttp", ratio, 0.3))

    async def writes(self, ours: Server) -> None:
        """Compare durable writes into one project with bare aiohttp's echo."""
        for path, kind in (("POST /tasks", _create), ("PUT /tasks/{id}", _update)):
            sample = await self._measure(ours, kind(ours), 1)
            async with bare(sample.body) as rival:
                (mine, theirs), ratio = await self._in_turn(
                    kind, _WRITE_CONNECTIONS, ours, rival
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


async def _rest(options: argparse.Namespace) -> list[Goal]:
    bench = Bench(seconds=options.seconds, rounds=options.rounds)
    with scratch() as root:
        async with boardcast(root / "grouped") as ours:
            await bench.reads(ours)
            await bench.writes(ours)
            async with boardcast(
                root / "single", BOARDCAST_GROUP_COMMIT="false"
            ) as single:
                await bench.grouping(ours, single)
    return bench.goals


async def _main(options: argparse.Namespace) -> int:
    parts: Mapping[str, Callable[[], Awaitable[list[Goal]]]] = {
        "rest": lambda: _rest(options),
        "live": lambda: Live.measure(_scale(options)),
        "contention": contention.measure,
        "workers": workers.measure,
        "memory": memory.measure,
    }
    goals: list[Goal] = []
    for name in (options.only,) if options.only else _PARTS:
        goals += await parts[name]()
    return report(goals)


def _scale(options: argparse.Namespace) -> Scale:
    scale = QUICK if options.quick else FULL
    return replace(scale, sockets=options.sockets or scale.sockets)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=_PARTS, help="a part")
    parser.add_argument("--seconds", type=float, default=3.0, help="of REST, each time")
    parser.add_argument("--rounds", type=int, default=5, help="of REST comparisons")
    parser.add_argument("--sockets", type=int, help="that see one event")
    parser.add_argument("--quick", action="store_true", help="a small form of live")
    sys.exit(uvloop.run(_main(parser.parse_args())))


if __name__ == "__main__":
    main()
