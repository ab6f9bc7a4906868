"""A worker: a process of its own that serves what its supervisor has prepared.

`python -m server.worker NUMBER PIPE LISTENING` gets two descriptors, and everything
else over the first of them.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import uvloop

from server import keys, logs
from server.health import look_for_redis
from server.listening import listen
from server.metrics import Metrics
from server.mistakes import Mistake
from server.pipe import Count, Counted, Failed, Gather, Gathered, Orders, Pipe, Ready
from server.running import drain, give_way, running

_GATHER_SECONDS = 3.0  # longer than the supervisor waits for any of us


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, or until a successor is there: SIGHUP."""
    number, pipe, listening = map(int, arguments)
    logs.WORKER.set(number)
    uvloop.run(_run(socket.socket(fileno=pipe), socket.socket(fileno=listening)))
    return 0


async def _run(end: socket.socket, listening: socket.socket) -> None:
    pipe = await Pipe.over(end)
    orders = await pipe.receive()
    if isinstance(orders, Orders):
        logs.configure(orders.config)
        try:
            await _serve(pipe, orders, listening)
        except Mistake as error:
            pipe.send(Failed(str(error)))
    await pipe.close()


async def _serve(pipe: Pipe, orders: Orders, listening: socket.socket) -> None:
    ending, leaving = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    loop.add_signal_handler(signal.SIGHUP, leaving.set)
    async with running(orders.config, orders.urls) as runner:
        metrics = runner.app[keys.METRICS]
        talk = _Talk(pipe, metrics)
        await look_for_redis(runner.app[keys.REDIS].ping)
        await listen(runner, listening)
        pipe.send(Ready())
        await _first(ending.wait(), leaving.wait())
        if not ending.is_set():
            await _first(ending.wait(), give_way(runner))
        if ending.is_set():
            await drain(runner)
    pipe.send(Counted(metrics.page()))
    await talk.close()


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait for one of them; give the others up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        task.result()


class _Talk:
    """Shows our metrics to the supervisor, and asks it for those of all."""

    def __init__(self, pipe: Pipe, metrics: Metrics):
        self._pipe = pipe
        self._metrics = metrics
        self._asked: asyncio.Future[bytes] | None = None
        metrics.gather = self._gather
        self._listening = asyncio.create_task(self._listen(), name="pipe")

    async def close(self) -> None:
        """Listen no more."""
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening

    async def _listen(self) -> None:
        while message := await self._pipe.receive():
            match message:
                case Count():
                    self._pipe.send(Counted(self._metrics.page()))
                case Gathered(page) if self._asked is not None:
                    self._asked.set_result(page)
                    self._asked = None
        # The supervisor was killed. What it cannot stop any more, nobody would.
        os._exit(1)

    async def _gather(self) -> bytes:
        """Ask once for all who want to know; if nothing comes, tell of us alone."""
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            self._pipe.send(Gather())
        try:
            async with asyncio.timeout(_GATHER_SECONDS):
                return await asyncio.shield(self._asked)
        except TimeoutError:
            return self._metrics.page()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
