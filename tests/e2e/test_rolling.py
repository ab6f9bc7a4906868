"""All workers are replaced under load, and no client notices more than a 1012.

`BOARDCAST_ROLLING_RATE` is how many requests are sent a second, and
`BOARDCAST_ROLLING_SOCKETS` how many sockets are open meanwhile.
"""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from tests.dashboards import Dashboard
from tests.e2e.clients import Api
from tests.e2e.servers import Served, scratch_server, until

_RATE = int(os.environ.get("BOARDCAST_ROLLING_RATE", "100"))
_SOCKETS = int(os.environ.get("BOARDCAST_ROLLING_SOCKETS", "50"))
_BEFORE_SECONDS = 1.0
_ROLL_SECONDS = 60.0
_READS_A_WRITE = 24

pytestmark = pytest.mark.timeout(60 + _ROLL_SECONDS + _SOCKETS / 10)


@pytest.fixture
def served() -> Iterator[Served]:
    with scratch_server({"BOARDCAST_ACCESS_LOG": "off"}) as server:
        yield server
        assert server.stop() == 0
        assert server.left() == []


async def test_a_rolling_restart_fails_no_request_and_leaves_no_gap(
    served: Served,
) -> None:
    await served.start("--workers", "2")
    async with Api.open(served, "ada") as ada, AsyncExitStack() as stack:
        project_id = (await ada.call("POST", "/projects", {"name": "Apollo"}))["id"]
        kept, fresh = [
            await stack.enter_async_context(_session(ada, is_fresh=is_fresh))
            for is_fresh in (False, True)
        ]
        made = {"title": "0", "project_id": project_id}
        task = await ada.call("POST", "/tasks", made)
        load = Load(f"{served.url}/tasks/{task['id']}", kept, fresh)
        # Sockets open on connections that were used before, where there is one.
        plain = Api(kept, served)
        plain.headers = ada.headers
        subscribers = [Subscriber(plain, project_id) for _ in range(_SOCKETS)]
        async with asyncio.TaskGroup() as group:
            following = [group.create_task(each.follow()) for each in subscribers]
            await until(
                lambda: all(each.board.subscribed.is_set() for each in subscribers),
                "all open",
            )
            async with load.sent():
                started = time.monotonic()
                await asyncio.sleep(_BEFORE_SECONDS)
                seconds = await _roll(served)
                await asyncio.sleep(_BEFORE_SECONDS)
                rate = load.count / (time.monotonic() - started)
            log = await ada.log(project_id)
            await asyncio.gather(*(each.board.reach(len(log)) for each in subscribers))
            for task in following:
                task.cancel()

    cuts = sum(len(each.closed) for each in subscribers)
    print(  # noqa: T201
        f"{load.count} requests at {rate:.0f}/s, slowest {load.slowest:.2f} s; "
        f"{_SOCKETS} sockets, resumed {cuts} times; {len(log)} events; "
        f"rolled in {seconds:.1f} s"
    )
    assert load.failures == []
    assert len(log) > 2
    for each in subscribers:
        assert each.board.problems == []
        assert each.board.snapshots == 0
        assert each.board.log == log
        assert set(each.closed) == {1012}  # each was cut off, and for this alone


async def _roll(served: Served) -> float:
    """Have all workers be replaced; answer how long it took."""
    assert served.process is not None
    started = time.monotonic()
    served.process.send_signal(signal.SIGHUP)
    done = '"event":"supervisor.rolled"'
    await until(lambda: done in served.log, "all are new", seconds=_ROLL_SECONDS)
    assert "not_rolled" not in served.log
    return time.monotonic() - started


def _session(api: Api, *, is_fresh: bool = False) -> aiohttp.ClientSession:
    """Be the same user, who hides no failure by another try."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=is_fresh),
        headers=api.headers,
        timeout=aiohttp.ClientTimeout(total=_ROLL_SECONDS),
    )
    session._retry_connection = False
    return session


class Subscriber:
    """Follows a project from its first event on, and comes back when it is told to."""

    def __init__(self, api: Api, project_id: int):
        self.board = Dashboard(api, project_id, is_together=True)
        self.board.version = 0
        self.closed: list[int | None] = []

    async def follow(self) -> None:
        """Read, and connect again, for ever: no attempt may fail."""
        while True:
            await self.board.connect()
            await self.board.reading
            self.closed.append(self.board.close_code)


class Load:
    """Requests at a fixed rate, however long the answers take: none is repeated."""

    def __init__(
        self, url: str, kept: aiohttp.ClientSession, fresh: aiohttp.ClientSession
    ):
        self.failures: list[str] = []
        self.count = 0
        self.slowest = 0.0
        self._url = url
        self._sessions = (kept, fresh)

    @asynccontextmanager
    async def sent(self) -> AsyncIterator[None]:
        """Send for as long as the context lasts, and have all be answered."""
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(stopping))
            try:
                yield
            finally:
                stopping.set()

    async def _send(self, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                early = started + number / _RATE - loop.time()
                if early > 0:  # else it is late, and so may others be: all at once
                    await asyncio.sleep(early)
                if stopping.is_set():
                    return
                self.count += 1
                group.create_task(self._ask(number))

    async def _ask(self, number: int) -> None:
        session = self._sessions[number % 2]
        is_write = number % (_READS_A_WRITE + 1) == 0
        method, body = ("PATCH", {"title": str(number)}) if is_write else ("GET", None)
        started = time.monotonic()
        try:
            async with session.request(method, self._url, json=body) as answer:
                text = await answer.text()
                if not answer.ok:
                    self.failures.append(f"{number} {method}: {answer.status} {text}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failures.append(f"{number} {method}: {error!r}")
        self.slowest = max(self.slowest, time.monotonic() - started)
