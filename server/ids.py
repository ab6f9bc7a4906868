"""Ids for new things, taken from the database's sequences in blocks.

A block is a round trip for many ids, twice as many each time: a busy server asks
rarely. What is left when the process ends is never used, so ids have gaps and say
nothing about how many things there are.
"""

import asyncio
from collections import deque

from actors.domain.errors import StoreUnavailable
from actors.domain.model import CommentId, ProjectId, TaskId, UserId
from sql.store import Store

_FIRST_BLOCK = 16
_LARGEST_BLOCK = 2048
_WAIT_SECONDS = 2.0


class Ids:
    """Unused ids. Each method waits for the database only when its block is used up.

    For two seconds at most, those who came before included; then StoreUnavailable.
    """

    def __init__(self, store: Store, *, block: int = _FIRST_BLOCK):
        self._store = store
        self._first_block = block
        self._blocks: dict[str, int] = {}
        self._left: dict[str, deque[int]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def task(self) -> TaskId:
        """Take an id for a task."""
        return TaskId(await self._next("task"))

    async def comment(self) -> CommentId:
        """Take an id for a comment."""
        return CommentId(await self._next("comment"))

    async def project(self) -> ProjectId:
        """Take an id for a project."""
        return ProjectId(await self._next("project"))

    async def user(self) -> UserId:
        """Take an id for a user."""
        return UserId(await self._next("user"))

    async def _next(self, kind: str) -> int:
        left = self._left.setdefault(kind, deque())
        if not left:
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await self._refill(kind, left)
            except TimeoutError:
                raise StoreUnavailable from None
        return left.popleft()

    async def _refill(self, kind: str, left: deque[int]) -> None:
        async with self._locks.setdefault(kind, asyncio.Lock()):
            while not left:
                count = self._blocks.get(kind, self._first_block)
                left.extend(await self._store.next_ids(kind, count))
                self._blocks[kind] = min(2 * count, _LARGEST_BLOCK)
