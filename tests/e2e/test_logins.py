"""Logging in: it tells nothing about who has an account, and a flood harms nobody.

Short by default. `BOARDCAST_LOGIN_SAMPLES=2000` and `BOARDCAST_FLOOD_SECONDS=10` make
it the measurement that the figures in ARCHITECTURE.md come from (run it with `-s`).
"""

import asyncio
import itertools
import math
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.clients import Api
from tests.e2e.servers import Served, scratch_server

_SAMPLES = int(os.environ.get("BOARDCAST_LOGIN_SAMPLES", "40"))
_FLOOD_SECONDS = float(os.environ.get("BOARDCAST_FLOOD_SECONDS", "2"))
_IS_MEASURED = "BOARDCAST_LOGIN_SAMPLES" in os.environ
_IS_FLOOD_MEASURED = "BOARDCAST_FLOOD_SECONDS" in os.environ
_LOGINS_A_SECOND = 200
_PROBES_A_SECOND = 50
_MEGABYTE = 2**20
_OFF = {
    "BOARDCAST_LOGIN_LIMIT_PER_MINUTE": "0",
    "BOARDCAST_ACCESS_LOG": "off",
}
_ON = {**_OFF, "BOARDCAST_LOGIN_LIMIT_PER_MINUTE": "10"}
# By chance alone once in 1000 measurements, and hardly ever with a few samples; without
# a hash for who does not exist it is 100.
_MOST_T = 3.3 if _IS_MEASURED else 6.0
# In the short form others may have the machine: it was seen to wait 6 s of 9 for it.
_MOST_P95_SECONDS = 0.2 if _IS_FLOOD_MEASURED else 10.0


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with scratch_server(request.param) as server:
        yield server
        assert server.stop() == 0


@pytest.mark.parametrize("served", [_OFF], indirect=True)
@pytest.mark.timeout(60 + _SAMPLES)
async def test_the_time_of_a_log_in_does_not_tell_who_has_an_account(
    served: Served,
) -> None:
    await served.start()
    async with Api.open(served, "ada"), aiohttp.ClientSession(served.url) as client:
        times: dict[str, list[float]] = {"ada": [], "eve": []}
        for number in range(-5, _SAMPLES):
            # The order is turned round each time: neither profits from being second.
            for name in sorted(times, reverse=number % 2 == 0):
                seconds = await _wrong_log_in(client, name)
                if number >= 0:  # the first few warm up
                    times[name].append(seconds)

    t = _welch(times["ada"], times["eve"])
    means = {name: statistics.fmean(each) * 1000 for name, each in times.items()}
    p = math.erfc(abs(t) / math.sqrt(2))
    _tell(f"{_SAMPLES} samples each: {means} ms, Welch's t {t:.2f}, p {p:.3f}")
    assert abs(t) < _MOST_T


@pytest.mark.parametrize(
    ("served", "refused"),
    [
        pytest.param(_OFF, {401, 503}, id="without-limits"),
        pytest.param(_ON, {401, 429}, id="with-limits"),
    ],
    indirect=["served"],
)
@pytest.mark.timeout(60 + _FLOOD_SECONDS * 3)
async def test_a_flood_of_log_ins_leaves_the_others_alone(
    served: Served, refused: set[int]
) -> None:
    await served.start()
    async with Api.open(served, "ada") as ada:
        task = await ada.call("POST", "/tasks", {"title": "Stay calm"})
        async with _probes(served, ada.headers, f"/tasks/{task['id']}") as calm:
            await asyncio.sleep(_FLOOD_SECONDS)
        before = _resident_bytes(served)
        async with _probes(served, ada.headers, f"/tasks/{task['id']}") as probes:
            statuses = await _flood(served)
        after = _resident_bytes(served)

    grown = (after - before) / _MEGABYTE
    _tell(
        f"{dict(statuses)}; p95 {calm.p95 * 1000:.1f} ms before, "
        f"{probes.p95 * 1000:.1f} ms meanwhile; {before / _MEGABYTE:.0f} MB before, "
        f"{grown:+.0f} MB"
    )
    assert set(statuses) == refused
    assert probes.statuses == {200: len(probes.seconds)}
    assert probes.p95 < _MOST_P95_SECONDS
    assert grown < 100


@dataclass(slots=True)
class _Probes:
    """What somebody else's requests took, and came to."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def p95(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.95)]


@asynccontextmanager
async def _probes(
    served: Served, headers: Mapping[str, str], path: str
) -> AsyncIterator[_Probes]:
    """Ask steadily, never waiting for the answer before the next request."""
    probes = _Probes()
    async with (
        aiohttp.ClientSession(served.url, headers=headers) as client,
        asyncio.TaskGroup() as group,
    ):
        asking = group.create_task(_ask_steadily(client, path, probes, group))
        try:
            yield probes
        finally:
            asking.cancel()


async def _ask_steadily(
    client: aiohttp.ClientSession,
    path: str,
    probes: _Probes,
    group: asyncio.TaskGroup,
) -> None:
    paths = itertools.cycle((path, "/users/me", "/tasks?limit=20"))
    async for _ in _ticks(_PROBES_A_SECOND):
        group.create_task(_probe(client, next(paths), probes))


async def _probe(client: aiohttp.ClientSession, path: str, probes: _Probes) -> None:
    started = time.perf_counter()
    async with client.get(path) as answer:
        await answer.read()
    probes.seconds.append(time.perf_counter() - started)
    probes.statuses[answer.status] += 1


async def _flood(served: Served) -> Counter[int]:
    """Log in with wrong passwords, as one account and as nobody in turn."""
    statuses: Counter[int] = Counter()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(served.url, connector=connector) as client,
        asyncio.TaskGroup() as group,
    ):
        names = itertools.cycle(("ada", "eve"))
        left = int(_FLOOD_SECONDS * _LOGINS_A_SECOND)
        async for _ in _ticks(_LOGINS_A_SECOND):
            group.create_task(_refused_log_in(client, next(names), statuses))
            left -= 1
            if left <= 0:
                break
    return statuses


async def _refused_log_in(
    client: aiohttp.ClientSession, name: str, statuses: Counter[int]
) -> None:
    body = {"username": name, "password": "not the right one"}
    async with client.post("/auth/login", json=body) as answer:
        await answer.read()
    statuses[answer.status] += 1
    if answer.status in {429, 503}:
        assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Cache-Control"] == "no-store"


async def _wrong_log_in(client: aiohttp.ClientSession, name: str) -> float:
    body = {"username": name, "password": "not the right one"}
    started = time.perf_counter()
    async with client.post("/auth/login", json=body) as answer:
        await answer.read()
    assert answer.status == 401
    return time.perf_counter() - started


async def _ticks(a_second: int) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in itertools.count():
        await asyncio.sleep(started + number / a_second - loop.time())
        yield number


def _tell(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")


def _welch(first: list[float], second: list[float]) -> float:
    """Welch's t: how many standard errors the means are apart."""
    error = sum(statistics.variance(each) / len(each) for each in (first, second))
    return (statistics.fmean(first) - statistics.fmean(second)) / math.sqrt(error)


def _resident_bytes(served: Served) -> int:
    assert served.process is not None
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) * 1024
