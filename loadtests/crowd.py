"""A process of watchers: it does what it is asked on its standard input.

A question and its answer are a line of JSON each. The clock is one for all processes.
"""

import asyncio
import gc
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from loadtests.watchers import Ledger, Watcher, handshake
from server.descriptors import raise_file_limit

_ADDRESS = "127.0.0.1"
_OPEN_SECONDS = 60.0
_REACH_SECONDS = 60.0
_POLL_SECONDS = 0.005
_SMALL_BUFFER_BYTES = 4096
_LINE_BYTES = 1024 * 1024


class Crowd:
    """The other end of a crowd's input and output."""

    def __init__(self, process: asyncio.subprocess.Process):
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self.pid = process.pid

    @classmethod
    @asynccontextmanager
    async def gather(
        cls, port: int, tokens: list[str], project_id: int
    ) -> AsyncIterator["Crowd"]:
        """Run a crowd for one server; its sockets are the users' in turn."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtests.crowd"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        crowd = cls(process)
        try:
            await crowd.ask("meet", port=port, tokens=tokens, project_id=project_id)
            yield crowd
        finally:
            crowd._in.close()
            await process.wait()

    async def ask(self, do: str, **what: Any) -> Any:
        """Have it do something; answers when that is done."""
        self._in.write(json.dumps({"do": do, **what}).encode() + b"\n")
        line = await self._out.readline()
        if not line:
            sys.exit(f"the watchers failed to {do}")
        return json.loads(line)


class _Watchers:
    """Every method but the last answers to a line of its name."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._reading: list[Watcher] = []
        self._stalled: list[Watcher] = []

    async def meet(self, port: int, tokens: list[str], project_id: int) -> None:
        self._port, self._tokens = port, tokens
        self._project_id = project_id  # 0 is no project: a socket gets everything

    async def open(
        self, count: int, last: int, since: int | None = None, *, stalled: bool = False
    ) -> dict[str, float]:
        """Open sockets of who has `last`, all at once; tells how long it took.

        Who finds no room comes back within a second, as clients do.
        """
        started, self._retries = time.perf_counter(), 0

        async def one(number: int) -> Watcher:
            while True:
                try:
                    return await self._connect(number, last, since, stalled=stalled)
                except OSError:
                    self._retries += 1
                    await asyncio.sleep(random.random())

        async with asyncio.timeout(_OPEN_SECONDS):
            opened = await asyncio.gather(*(one(number) for number in range(count)))
        (self._stalled if stalled else self._reading).extend(opened)
        return {"seconds": time.perf_counter() - started, "retries": self._retries}

    async def cut(self) -> None:
        """Break all connections, without a goodbye."""
        for watcher in (*self._reading, *self._stalled):
            if watcher.transport is not None:
                watcher.transport.abort()
        self._reading, self._stalled = [], []
        gc.unfreeze()

    async def settle(self) -> None:
        """Get ready to measure: collections need not look at ten thousand sockets."""
        gc.collect()
        gc.freeze()

    async def had(self, version: int) -> float:
        """Wait until all have a version that was sent alone; tells since when."""
        while True:
            at = self._ledger.had_by_all(version, len(self._reading))
            if at is not None:
                return at
            await asyncio.sleep(_POLL_SECONDS)

    async def reach(self, version: int) -> dict[str, Any]:
        """Wait until all have a version; gives the time, and how many never got it."""
        deadline = time.perf_counter() + _REACH_SECONDS
        while True:
            behind = sum(watcher.last < version for watcher in self._reading)
            now = time.perf_counter()
            if not behind or now > deadline:
                return {"at": now, "behind": behind}
            await asyncio.sleep(_POLL_SECONDS)

    async def report(self) -> dict[str, Any]:
        """Tell what came and what went wrong since the last report."""
        ledger, delays = self._ledger, self._ledger.delays()
        found = {
            "deliveries": delays.total(),
            "frames": sum(len(frames) for frames in ledger.after.values()),
            "p50": _percentile(delays, 0.50),
            "p99": _percentile(delays, 0.99),
            "others": dict(ledger.others),
            "closed": dict(ledger.closed),
            "lost": sum(watcher.transport is None for watcher in self._reading),
            "problems": list(ledger.problems),
            "problem_count": ledger.problem_count,
        }
        ledger.forget()
        return found

    async def _connect(
        self, number: int, last: int, since: int | None, *, stalled: bool
    ) -> Watcher:
        loop = asyncio.get_running_loop()
        client = socket.socket()
        client.setblocking(False)  # noqa: FBT003 (its only parameter)
        if stalled:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
        await loop.sock_connect(client, (_ADDRESS, self._port))
        ready, subscribes = loop.create_future(), self._project_id > 0
        transport, watcher = await loop.create_connection(
            lambda: Watcher(self._ledger, last, ready, subscribes=subscribes),
            sock=client,
        )
        path = f"/ws?project_id={self._project_id}" if subscribes else "/ws"
        if since is not None:
            path += f"&since={since}"
        transport.write(handshake(path, self._tokens[number % len(self._tokens)]))
        try:
            await ready
        except ConnectionError:
            transport.abort()
            raise
        if stalled:
            transport.pause_reading()
        return watcher


def _percentile(counts: Counter[int], share: float) -> float:
    """Find the seconds that this share of the delays does not exceed."""
    left = counts.total() * share
    for tenths, count in sorted(counts.items()):
        left -= count
        if left <= 0:
            return tenths / 10_000
    return 0.0


async def _obey() -> None:
    watchers = _Watchers()
    while line := await asyncio.to_thread(sys.stdin.readline):
        what = json.loads(line)
        answer = await getattr(watchers, what.pop("do"))(**what)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    raise_file_limit()
    uvloop.run(_obey())
