"""A subscriber that is cut off anywhere, and comes back with `since`, misses nothing.

`BOARDCAST_RESUME_CUTS` is how often; `BOARDCAST_CHAOS_SEED` repeats where. The server
is killed or restarted 30 times in a thousand.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from tests.dashboards import Dashboard
from tests.e2e.clients import Api
from tests.e2e.history import History
from tests.e2e.proxy import Cutting
from tests.e2e.servers import Served, scratch_server, until
from tests.e2e.writers import Writer

_CUTS = int(os.environ.get("BOARDCAST_RESUME_CUTS", "40"))
_RESTARTS = max(2, _CUTS * 30 // 1000)
_SEED = int(os.environ.get("BOARDCAST_CHAOS_SEED") or secrets.randbelow(10**9))
_WRITERS = 6
# Of a connection: in the handshake, in the first events, or in the middle of many.
_MOST_BYTES = (1_000, 8_000, 80_000)
_PAUSE_SECONDS = 0.02
_LONGEST_SECONDS = 60 + _CUTS

pytestmark = pytest.mark.timeout(_LONGEST_SECONDS + 30)


@pytest.fixture
def served() -> Iterator[Served]:
    quiet = {"BOARDCAST_ACCESS_LOG": "off", "BOARDCAST_LOG_LEVEL": "warning"}
    with scratch_server(quiet) as server:
        yield server
        assert server.stop() == 0


class Subscriber:
    """Follows a project through a proxy, from its first event on.

    `cuts` counts the open sockets that it lost, by the proxy or with the server.
    """

    def __init__(self, proxy: Cutting, dashboard: Dashboard):
        self.dashboard = dashboard
        self.cuts = 0
        self._proxy = proxy
        name = "together" if dashboard.is_together else "apart"
        self._random = random.Random(f"{name} {_SEED}")  # noqa: S311
        dashboard.version = 0

    async def run(self, restarted: asyncio.Event) -> None:
        """Be cut off so many times, until the last restart, and come back once more."""
        while self.cuts < _CUTS or not restarted.is_set():
            most = self._random.choice(_MOST_BYTES)
            self._proxy.most_bytes = self._random.randrange(most)
            if await self._is_connected():
                await self.dashboard.reading
                self.cuts += 1
            assert self.dashboard.problems == []
        self._proxy.most_bytes = None
        while not await self._is_connected():
            pass

    async def _is_connected(self) -> bool:
        try:
            await self.dashboard.connect()
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(_PAUSE_SECONDS)
            return False
        return True


async def test_a_stream_of_many_connections_is_the_log(served: Served) -> None:
    started = time.monotonic()
    await served.start()
    async with Api.open(served, "ada") as ada, AsyncExitStack() as stack:
        project_id = (await ada.call("POST", "/projects", {"name": "Apollo"}))["id"]
        subscribers = [
            Subscriber(proxy, Dashboard(ada.at(proxy), project_id, is_together=each))
            for each in (False, True)
            for proxy in [await stack.enter_async_context(Cutting.open(served.port))]
        ]
        async with _writing(ada, project_id), asyncio.TaskGroup() as group:
            restarted = asyncio.Event()
            for subscriber in subscribers:
                group.create_task(subscriber.run(restarted))
            await _restart(served, subscribers)
            restarted.set()
        log = await ada.log(project_id)
        for subscriber in subscribers:
            await subscriber.dashboard.reach(len(log))
            await subscriber.dashboard.close()

    print(  # noqa: T201
        f"seed {_SEED}: {[each.cuts for each in subscribers]} cuts, "
        f"{_RESTARTS} restarts, "
        f"{len(log)} events, {time.monotonic() - started:.0f} s"
    )
    assert [event["version"] for event in log] == list(range(1, len(log) + 1))
    for dashboard in (subscriber.dashboard for subscriber in subscribers):
        assert dashboard.problems == []
        assert dashboard.snapshots == 0
        assert dashboard.log == log


@asynccontextmanager
async def _writing(api: Api, project_id: int) -> AsyncIterator[None]:
    """Have writers at work, who repeat what they were not answered."""
    stopping, history = asyncio.Event(), History()
    async with asyncio.TaskGroup() as group:
        for number in range(_WRITERS):
            writer = Writer(f"{number}", api, project_id, str(_SEED), history)
            group.create_task(writer.run(stopping))
        try:
            yield
        finally:
            stopping.set()


async def _restart(served: Served, subscribers: list[Subscriber]) -> None:
    """Kill the server or ask it to end, in turn, wherever the streams are."""
    for number in range(1, _RESTARTS + 1):
        cuts = _CUTS * number // (_RESTARTS + 1)
        await until(
            lambda cuts=cuts: min(each.cuts for each in subscribers) >= cuts,
            f"{cuts} cuts",
            seconds=_LONGEST_SECONDS,
        )
        await asyncio.to_thread(served.kill if number % 2 else served.stop)
        await served.start(port=served.port)
