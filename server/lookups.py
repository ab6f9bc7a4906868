"""Looking up many things at once that were asked for one by one."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import Context
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

_MOST_AT_ONCE = 1000

Find = Callable[[Collection[_K]], Awaitable[Mapping[_K, _V]]]


class Lookups(Generic[_K, _V]):
    """What is asked for while a question is under way goes together in the next one.

    So ten thousand clients who come back at once cost a few queries and one
    connection. An answer is never older than the question.
    """

    def __init__(self, find: Find[_K, _V]):
        self._find = find
        self._waiting: dict[_K, asyncio.Future[_V | Exception | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: _K) -> _V | None:
        """Find one; None if it is not there. Raises what `find` raises; may wait."""
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[key] = waiting
        if self._task is None:
            # A context of its own: it is for more than the one who asked first.
            self._task = asyncio.create_task(
                self._run(), name="lookups", context=Context()
            )
        answer = await asyncio.shield(waiting)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Stop asking; whoever waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        asked: dict[_K, asyncio.Future[_V | Exception | None]] = {}
        try:
            while self._waiting:
                keys = list(self._waiting)[:_MOST_AT_ONCE]
                asked = {key: self._waiting.pop(key) for key in keys}
                await self._ask(asked)
        finally:
            self._task = None
            for waiting in (*asked.values(), *self._waiting.values()):
                waiting.cancel()
            self._waiting.clear()

    async def _ask(
        self, asked: Mapping[_K, asyncio.Future[_V | Exception | None]]
    ) -> None:
        try:
            found = await self._find(asked)
        except Exception as error:  # noqa: BLE001  # theirs who asked
            for waiting in asked.values():
                waiting.set_result(error)
            return
        for key, waiting in asked.items():
            waiting.set_result(found.get(key))
