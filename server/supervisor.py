"""Keeps several workers on one port: starts them, again when they die, and in turn.

Each has a place with a listening socket that stays open for as long as we run. Whoever
takes a place accepts what has come to it meanwhile, so that nobody is refused.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import structlog

from server import processes
from server.app import Urls
from server.config import Config
from server.listening import shared
from server.pipe import Orders
from server.processes import Account, Process, StartFailed, Supervised
from server.voices import Voices

_READY_SECONDS = 60.0
_SPARE_SECONDS = 20.0  # of an end, for what has time limits of its own

_log = structlog.get_logger(__name__)


class Supervisor:
    """Runs the workers for as long as the context lasts; raises StartFailed."""

    def __init__(self, config: Config, urls: Urls, listening: socket.socket):
        orders, voices = Orders(config, urls), Voices()
        self._places = [
            _Place(number, part, orders, voices)
            for number, part in enumerate(shared(listening, config.workers), start=1)
        ]
        self._workers = [
            Supervised(place, "supervisor", number=place.number)
            for place in self._places
        ]
        self._wanted = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Answer when all of them accept connections."""
        async with AsyncExitStack() as stack:
            for place in self._places:
                stack.callback(place.listening.close)
            stack.push_async_callback(self._stop)
            await _all(worker.start() for worker in self._workers)
            rolling = asyncio.create_task(self._roll_on(), name="roll")
            stack.push_async_callback(_cancelled, rolling)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Have all of them drain at the same time."""
        await self._stack.aclose()

    def roll(self) -> None:
        """Restart them in turn; once more if that is being done."""
        self._wanted.set()

    async def _roll_on(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._roll()

    async def _roll(self) -> None:
        _log.info("supervisor.rolling")
        for place, worker in zip(self._places, self._workers, strict=True):
            try:
                former = await worker.replace()
            except (StartFailed, OSError) as error:
                reason = str(error)
                _log.error("supervisor.not_rolled", number=place.number, error=reason)
                return
            if former is not None:
                await place.release(former)
        _log.info("supervisor.rolled")

    async def _stop(self) -> None:
        await asyncio.gather(
            *(worker.stop() for worker in self._workers),
            *(place.clear() for place in self._places),
        )


class _Place:
    """What a worker takes over from the one before it: a number and a socket."""

    name = "worker"
    log_file = None

    def __init__(
        self, number: int, listening: socket.socket, orders: Orders, voices: Voices
    ):
        self.number = number
        self.listening = listening
        self._orders = orders
        self._voices = voices
        self._former: Process | None = None
        settings = orders.config
        self._end_seconds = (
            2 * settings.drain_seconds + 2 * settings.shutdown_seconds + _SPARE_SECONDS
        )

    async def start(self) -> Process:
        """Answer when it accepts connections; raises StartFailed."""
        ours, theirs = socket.socketpair()
        voice = await self._voices.hear(ours)
        process = None
        try:
            with theirs:
                process = await self._spawn(theirs)
            voice.order(self._orders)
            async with asyncio.timeout(_READY_SECONDS):
                await voice.ready()
        except BaseException as error:
            if process is not None:
                await processes.stop(process)
            await voice.close()
            if isinstance(error, TimeoutError):
                reason = f"worker {self.number} was not ready in {_READY_SECONDS} s"
                raise StartFailed(reason) from error
            raise
        _log.info("supervisor.worker_ready", number=self.number, pid=process.pid)
        return process

    async def stop(self, process: Process) -> None:
        """Have it drain and end, or end it by force."""
        await processes.stop(process, (signal.SIGTERM, self._end_seconds))

    async def release(self, process: Process) -> None:
        """Have a worker end that has a successor."""
        self._former = process
        seconds = self._end_seconds
        await processes.stop(
            process, (signal.SIGHUP, seconds), (signal.SIGTERM, seconds)
        )
        self._former = None
        _log.info(
            "supervisor.worker_left",
            number=self.number,
            pid=process.pid,
            status=process.returncode,
        )

    async def clear(self) -> None:
        """Have a worker end that was giving way to another."""
        if self._former is not None:
            await self.stop(self._former)

    async def _spawn(self, end: socket.socket) -> Process:
        account, descriptors = Account.own(), (end.fileno(), self.listening.fileno())
        path = [entry or str(Path.cwd()) for entry in sys.path]
        command = (sys.executable, "-P", "-m", "server.worker", str(self.number))
        return await asyncio.create_subprocess_exec(
            *processes.tied(
                (*command, *map(str, descriptors)), account, signal.SIGKILL
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            pass_fds=descriptors,
            # -P and this: it finds the very modules that we found.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            start_new_session=True,  # no terminal's Ctrl-C reaches it
        )


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all; the first that fails has the others cancelled, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
