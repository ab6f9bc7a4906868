"""One hot project: writers on one node alone, then as many on two nodes together.

Both are processes on one PostgreSQL and Valkey, on the cores of this machine with them.
Exits with 1 where a goal is missed.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Iterable, Mapping

import aiohttp
import uvloop

from loadtests.generator import Result, http_request, run
from loadtests.goals import Goal, report
from loadtests.servers import Server, boardcast, boardcast_beside, scratch
from server.embedded import Embedded

_WRITERS = 64
_SECRETS = {"JWT_SECRET_KEY": "a" * 40, "JWT_REFRESH_SECRET_KEY": "b" * 40}
_COUNTERS = (
    "conflicts",
    "retried_commands",
    "catch_ups",
    "caught_up_events",
    "exclusive_turns",
)


async def _write(server: Server, name: str, writers: int, seconds: float) -> Result:
    ids = server.task_ids

    def update(number: int) -> bytes:
        body = json.dumps({"title": f"{name} {number}"}).encode()
        path = f"/tasks/{ids[number % len(ids)]}"
        return http_request("PUT", path, token=server.token, body=body)

    result = await run(
        "127.0.0.1", server.port, update, connections=writers, seconds=seconds
    )
    if result.errors:
        sys.exit(f"errors under load: {result.statuses}: {result.body[:300]!r}")
    return result


async def _counters(servers: Iterable[Server]) -> Mapping[str, float]:
    """Add up what the servers counted so far."""
    totals = dict.fromkeys(_COUNTERS, 0.0)
    async with aiohttp.ClientSession(raise_for_status=True) as client:
        for server in servers:
            url = f"http://127.0.0.1:{server.port}/metrics"
            lines = (await (await client.get(url)).text()).splitlines()
            values = dict(line.rsplit(" ", 1) for line in lines if line[:1] != "#")
            for name in _COUNTERS:
                totals[name] += float(values[f"boardcast_{name}_total"])
    return totals


async def _round(
    writers: Mapping[Server, int], number: int, seconds: float
) -> tuple[float, float]:
    """Have so many writers at each server; gives rate and slowest / mean."""
    before = await _counters(writers)
    results = await asyncio.gather(
        *(
            _write(server, f"{number} {server.port}", count, seconds)
            for server, count in writers.items()
        )
    )
    after = await _counters(writers)
    rate = sum(result.rate for result in results)
    answers = [count for result in results for count in result.by_connection]
    slowest = min(answers) / statistics.mean(answers)
    counted = ", ".join(f"{name} {after[name] - before[name]:.0f}" for name in after)
    by_node = " + ".join(f"{result.rate:.0f}" for result in results)
    print(f"{by_node} = {rate:.0f} writes/s, slowest / mean {slowest:.2f}; {counted}")
    return rate, slowest


async def measure(
    *, seconds: float = 10.0, rounds: int = 3, other: int = _WRITERS // 2
) -> list[Goal]:
    """Compare them in some rounds of two parts; so many write on the other node."""
    with scratch() as root:
        async with Embedded(root / "stores") as stores:
            settings = _SECRETS | {
                "DATABASE_URL": stores.database_url or "",
                "REDIS_URL": stores.redis_url or "",
            }
            async with (
                boardcast(root / "one", **settings) as one,
                boardcast_beside(one, root / "other", **settings) as other_node,
            ):
                split = {one: _WRITERS - other, other_node: other}
                return await _compare(split, one, seconds, rounds)


async def _compare(
    split: Mapping[Server, int], one: Server, seconds: float, rounds: int
) -> list[Goal]:
    ratios, shares = [], []
    for number in range(rounds):
        alone, _ = await _round({one: _WRITERS}, number, seconds)
        together, slowest = await _round(split, number, seconds)
        ratios.append(together / alone)
        shares.append(slowest)
    return [
        Goal("two nodes, of what one writes", statistics.median(ratios), 0.6),
        Goal("slowest writer on two nodes, of the mean", min(shares), 0.5),
    ]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part")
    parser.add_argument("--rounds", type=int, default=3, help="of both parts")
    parser.add_argument(
        "--other", type=int, default=_WRITERS // 2, help="writers on the other node"
    )
    sys.exit(report(uvloop.run(measure(**vars(parser.parse_args())))))


if __name__ == "__main__":
    main()
