"""The live feed, beside bare aiohttp that has `send_str` in a loop.

Sockets are in processes of their own, one for each server, because ten thousand of each
are open at once: events go to the one and the other in turn. Each write's title is the
time that it is sent at, by a clock that all processes share.
"""

import asyncio
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg

from loadtests.goals import Goal
from loadtests.servers import cpu_seconds, resident_bytes, scratch
from loadtests.sides import Side, bare_side, boardcast_side, sample
from server.postgres import Postgres

_MISSED_EVENTS = 20
_STALLED = 1000
_STALL_RATE, _STALL_SECONDS = 500, 1.0
_SETTLE_SECONDS = 3.0
# A backend of PostgreSQL that has nothing to do tells its counters after ten seconds.
_COUNTED_SECONDS = 11.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything."""

    sockets: int
    events: int
    idle_seconds: float
    watchers: int
    stalled: int
    storms: int
    storm_seconds: float
    storm_rate: int


FULL = Scale(
    sockets=10_000,
    events=200,
    idle_seconds=30,
    watchers=1000,
    stalled=100,
    storms=3,
    storm_seconds=10,
    storm_rate=1000,
)
QUICK = Scale(
    sockets=1000,
    events=30,
    idle_seconds=5,
    watchers=200,
    stalled=20,
    storms=1,
    storm_seconds=3,
    storm_rate=500,
)


class Live:
    """Runs the measurements and keeps what they gave."""

    def __init__(self, scale: Scale, ours: Side, rival: Side, data_dir: Path):
        self._scale = scale
        self._ours = ours
        self._rival = rival
        self._data_dir = data_dir
        self._goals: list[Goal] = []

    @classmethod
    async def measure(cls, scale: Scale) -> list[Goal]:
        """Measure everything."""
        with scratch() as root:
            async with boardcast_side(scale.sockets, root / "live") as ours:
                event = await sample(ours.server)
                ours.head = event["version"]
                async with bare_side(event) as rival:
                    live = cls(scale, ours, rival, root / "live")
                    await live.memory()
                    await live.idle()
                    await live.fan_out()
                    await live.reconnect()
                    await live.storms()
            async with boardcast_side(scale.stalled, root / "stalled") as ours:
                return [*live._goals, await stalled(ours)]

    async def memory(self) -> None:
        """Open all sockets of both, as after a restart: nobody is known yet."""
        before = await self._transactions()
        mine = await self._opened(self._ours)
        await self._opened(self._rival)
        await asyncio.sleep(_COUNTED_SECONDS)
        queries = await self._transactions() - before
        print(f"opened with {queries} transactions")
        self._goals += (
            Goal("an idle socket, KB of memory", mine, most=22),
            Goal(
                "open, all new: database transactions a client",
                queries / self._scale.sockets,
                most=0.05,
            ),
        )

    async def _opened(self, side: Side) -> float:
        """Open a side's sockets; gives the memory of each in KB."""
        before, sockets = resident_bytes(side.server.pid), self._scale.sockets
        opened = await side.crowd.ask("open", count=sockets, last=side.head)
        await asyncio.sleep(_SETTLE_SECONDS)
        each = (resident_bytes(side.server.pid) - before) / sockets / 1000
        print(f"{side.name}: {_opening(opened)}, {each:.1f} KB a socket")
        return each

    async def idle(self) -> None:
        """Let them all be idle."""
        pid, seconds = self._ours.server.pid, self._scale.idle_seconds
        before = cpu_seconds(pid), cpu_seconds(self._rival.server.pid)
        await asyncio.sleep(seconds)
        mine = (cpu_seconds(pid) - before[0]) / seconds * 100
        theirs = (cpu_seconds(self._rival.server.pid) - before[1]) / seconds * 100
        found = await self._ours.crowd.ask("report")
        ticks = found["others"].get("tick", 0)
        print(f"idle: {mine:.1f} % of a core, bare aiohttp {theirs:.1f} %")
        self._goals += (
            Goal("all sockets idle, % of a core", mine, most=8),
            Goal(
                "ticks a socket meanwhile", ticks / self._scale.sockets, seconds // 25
            ),
            _faults("idle", found),
        )

    async def fan_out(self) -> None:
        """Send single events to all sockets, of the one and the other in turn."""
        sides = (self._ours, self._rival)
        took: tuple[list[float], ...] = ([], [])
        reads: tuple[list[float], ...] = ([], [])
        async with sides[0].writers(2), sides[1].writers(2):
            for side in sides:
                await side.publish()
                await side.crowd.ask("report")
                await side.crowd.ask("settle")
            worked = [side.worked() for side in sides]
            for _ in range(self._scale.events):
                for number, side in enumerate(sides):
                    seconds, waits = await side.publish_to_readers()
                    took[number].append(seconds)
                    reads[number].extend(waits)
        for number, side in enumerate(sides):
            work, watching = (
                (after - before) / self._scale.events * 1000
                for after, before in zip(side.worked(), worked[number], strict=True)
            )
            print(
                f"{side.name}: an event to all {_milliseconds(took[number])}, "
                f"reads {_milliseconds(reads[number])}, "
                f"CPU {work:.1f} ms an event, of the watchers {watching:.1f} ms"
            )
        ratio = statistics.median(
            _percentile(took[0][part], 0.99) / _percentile(took[1][part], 0.99)
            for part in _parts(self._scale.events)
        )
        rest = _percentile(reads[0], 0.99) * 1000
        self._goals += (
            Goal("one event to all sockets, p99, of bare's", ratio, most=1.15),
            Goal("REST p99 meanwhile, ms", rest, most=60),
            _faults("fan-out", await self._ours.crowd.ask("report")),
        )

    async def reconnect(self) -> None:
        """Cut all sockets, write, and have them come back for what they missed."""
        ours, sockets = self._ours, self._scale.sockets
        await ours.crowd.ask("cut")
        await self._rival.crowd.ask("cut")
        since = ours.head
        async with ours.writers(1):
            for _ in range(_MISSED_EVENTS):
                await ours.write()
        await asyncio.sleep(_COUNTED_SECONDS)
        before = await self._transactions()
        begun = perf_counter()
        mine = await ours.crowd.ask("open", count=sockets, last=since, since=since)
        reached = await ours.crowd.ask("reach", version=ours.head)
        seconds = reached["at"] - begun
        await asyncio.sleep(_COUNTED_SECONDS)
        queries = await self._transactions() - before
        theirs = await self._rival.crowd.ask("open", count=sockets, last=0)
        print(
            f"resumed in {seconds:.1f} s with {queries} transactions: "
            f"{_opening(mine)}; bare aiohttp: {_opening(theirs)}"
        )
        self._goals += (
            Goal("all sockets resume, s", seconds, most=20),
            Goal(
                "resume: database transactions a client", queries / sockets, most=0.01
            ),
            Goal("clients that missed something", reached["behind"], most=0),
            _faults("resume", await ours.crowd.ask("report")),
        )
        await ours.crowd.ask("cut")
        await self._rival.crowd.ask("cut")
        await asyncio.sleep(_SETTLE_SECONDS)

    async def storms(self) -> None:
        """Storms of writes in turn: all watchers read, and some have stopped."""
        scale = self._scale
        found: tuple[list[dict[str, Any]], ...] = ([], [])
        for _ in range(scale.storms):
            for number, count in enumerate((0, scale.stalled)):
                found[number].append(await self._storm(count))
        every = [*found[0], *found[1]]
        missing = sum(self._due() - one["deliveries"] for one in every)
        rate = min(one["rate"] for one in every) / scale.storm_rate
        calm, beside = (statistics.median(one["p99"] for one in part) for part in found)
        self._goals += (
            Goal("storms: writes, of those due", rate, least=0.98),
            Goal("storms: deliveries missing", missing, most=0),
            *(_faults("storm", one) for one in every),
            Goal("storm: p99 from write to watcher, ms", calm * 1000, most=500),
            Goal("storm: p99 beside stalled, of without", beside / calm, most=1.05),
        )
        await self._bare_storm()

    def _due(self) -> int:
        scale = self._scale
        return scale.watchers * round(scale.storm_rate * scale.storm_seconds)

    async def _storm(self, stalled: int) -> dict[str, Any]:
        ours, scale = self._ours, self._scale
        await ours.crowd.ask("open", count=scale.watchers, last=ours.head)
        await ours.crowd.ask("open", count=stalled, last=ours.head, stalled=True)
        found = await ours.storm(scale.storm_rate, scale.storm_seconds)
        print(f"storm, {stalled} stalled: {_told(found)}")
        await ours.crowd.ask("cut")
        await asyncio.sleep(_SETTLE_SECONDS)
        return found

    async def _bare_storm(self) -> None:
        """Show what a frame an event comes to at a tenth of the rate."""
        rival, scale = self._rival, self._scale
        await rival.crowd.ask("report")  # of what was before
        await rival.crowd.ask("open", count=scale.watchers, last=rival.head)
        found = await rival.storm(scale.storm_rate // 10, scale.storm_seconds)
        print(f"bare aiohttp, a tenth of the writes: {_told(found)}")

    async def _transactions(self) -> int:
        """Count what PostgreSQL has done for the server so far."""
        connection = await asyncpg.connect(Postgres.at(self._data_dir).url)
        try:
            done = await connection.fetchval(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database"
                " WHERE datname = current_database()"
            )
        finally:
            await connection.close()
        return int(done)


async def stalled(ours: Side) -> Goal:
    """Tell what sockets cost that stop reading, at ten different places of a stream.

    By a server of its own: one that had ten thousand before has memory to give.
    """
    await ours.storm(_STALL_RATE, _STALL_SECONDS)
    before = resident_bytes(ours.server.pid)
    for _ in range(10):
        count = _STALLED // 10
        await ours.crowd.ask("open", count=count, last=ours.head, stalled=True)
        await ours.storm(_STALL_RATE, _STALL_SECONDS)
    each = (resident_bytes(ours.server.pid) - before) / _STALLED / 1024
    return Goal("a stalled socket with all it holds, KiB of memory", each, most=64)


def _opening(found: dict[str, float]) -> str:
    return f"open in {found['seconds']:.1f} s, {found['retries']} came twice"


def _faults(what: str, found: dict[str, Any]) -> Goal:
    faults = found["problem_count"] + found["lost"]
    if faults:
        print(f"{what}: {found['lost']} lost, {found['closed']}, {found['problems']}")
    return Goal(f"{what}: gaps, repeats, disorder, lost sockets", faults, most=0)


def _parts(count: int) -> list[slice]:
    """Part a series in five: one bad moment of the machine spoils one of them."""
    size = count // 5
    return [slice(start, start + size) for start in range(0, 5 * size, size)]


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[math.ceil(len(values) * share) - 1]


def _milliseconds(values: Sequence[float]) -> str:
    p50, p99 = (_percentile(values, share) * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} p99 {p99:.1f} ms"


def _told(found: dict[str, Any]) -> str:
    return (
        f"p50 {found['p50'] * 1000:.0f} p99 {found['p99'] * 1000:.0f} ms, "
        f"{found['rate']:.0f} writes/s, {found['deliveries']} deliveries, "
        f"{found['frames']} messages; CPU {found['worked'][0]:.1f} s, "
        f"of the watchers {found['worked'][1]:.1f} s"
    )
