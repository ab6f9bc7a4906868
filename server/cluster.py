"""A client of a Redis or Valkey Cluster for commands that have one key.

Not redis-py's RedisCluster: after each failure that learns the layout anew inside the
next request, from a server that may be the frozen one, and reads the list of all
commands besides (45 ms). Here the layout is learned beside the requests, so what the
other masters have is not slower for the one that is away.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal

import structlog
from redis.asyncio import Redis
from redis.commands.core import AsyncCoreCommands
from redis.crc import key_slot
from redis.event import EventDispatcher
from redis.exceptions import (
    AskError,
    MovedError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.utils import str_if_bytes

Place = tuple[str, int]

_LEARN_SECONDS = 0.25
_PAUSE_SECONDS = 0.1
_FIRST_KEY = {"EVAL": 3, "EVALSHA": 3}

_log = structlog.get_logger(__name__)


class Cluster(AsyncCoreCommands):
    """Sends a command to the master that has the slot of its key; follows it once.

    PING goes to all masters. Commands with keys of different slots are refused by the
    server. No call is repeated after a failure; the caller bounds how long it takes.
    """

    # How redis-py's types tell that commands are awaited.
    _is_async_client: Literal[True] = True
    _event_dispatcher: EventDispatcher

    def __init__(self, places: Iterable[Place], client: Callable[[Place], Redis]):
        self._seeds = tuple(places)
        self._client = client
        self._clients: dict[Place, Redis] = {}
        self.owners: dict[int, Place] = {}
        self._learning: asyncio.Task[None] | None = None
        self._learned_at = float("-inf")

    @property
    def masters(self) -> set[Place]:
        """Those that have slots, as far as is known."""
        return set(self.owners.values())

    async def owner(self, slot: int) -> Place:
        """Tell which master has a slot; waits only while nothing is known.

        Raises redis-py's ConnectionError.
        """
        if not self.owners:
            await asyncio.shield(self.learn())
        if slot not in self.owners:
            raise RedisConnectionError("no master is known for this key")
        return self.owners[slot]

    def learn(self) -> "asyncio.Task[None]":
        """Learn the layout anew, in the background, at most ten times a second."""
        now = asyncio.get_running_loop().time()
        if self._learning is None or (
            self._learning.done() and now > self._learned_at + _PAUSE_SECONDS
        ):
            self._learning = asyncio.create_task(self._learn(), name="cluster-layout")
        return self._learning

    def follow(self, moved: MovedError, sender: Place) -> Place:
        """Note where a slot is now, by the words of its former master."""
        place = (moved.host or sender[0], moved.port)
        self.owners[moved.slot_id] = place
        self.learn()
        return place

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command where it belongs; raises what redis-py's client does."""
        if args[0] == "PING":
            return await self._ping()
        place = await self.owner(_slot(args))
        try:
            return await self._send(place, *args, **options)
        except MovedError as moved:
            place = self.follow(moved, place)
            return await self._send(place, *args, **options)
        except AskError as asked:
            place = (asked.host or place[0], asked.port)
            return await self._ask(place, args, options)
        except ResponseError:
            raise
        except (RedisError, OSError, asyncio.CancelledError):
            self.learn()
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        if self._learning is not None:
            self._learning.cancel()
            with suppress(asyncio.CancelledError):
                await self._learning
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    async def _ping(self) -> bool:
        if not self.owners:
            await asyncio.shield(self.learn())
        if not self.owners:
            raise RedisConnectionError("no server of the cluster answers")
        try:
            await asyncio.gather(*(self._send(place, "PING") for place in self.masters))
        except (RedisError, OSError, asyncio.CancelledError):
            self.learn()
            raise
        return True

    async def _ask(
        self, place: Place, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        pipeline: Any
        async with self._at(place).pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ASKING")
            pipeline.execute_command(*args, **options)
            return (await pipeline.execute())[1]

    async def _learn(self) -> None:
        places = list({*self.masters, *self._seeds})
        random.shuffle(places)
        for place in places:
            try:
                async with asyncio.timeout(_LEARN_SECONDS):
                    layout = await self._send(place, "CLUSTER", "SLOTS")
            except (RedisError, OSError, TimeoutError) as error:
                _log.debug("cluster.silent", reason=type(error).__name__)
                continue
            self._adopt(layout, place)
            break
        self._learned_at = asyncio.get_running_loop().time()
        for place in self._clients.keys() - self.masters - {*self._seeds}:
            await self._clients.pop(place).aclose()

    def _adopt(self, layout: list[list[Any]], sender: Place) -> None:
        owners = {}
        for first, last, (host, port, *_), *_ in layout:
            place = (str_if_bytes(host) or sender[0], port)
            owners.update(dict.fromkeys(range(first, last + 1), place))
        self.owners = owners

    async def _send(self, place: Place, *args: Any, **options: Any) -> Any:
        client: Any = self._at(place)  # execute_command() has no types
        return await client.execute_command(*args, **options)

    def _at(self, place: Place) -> Redis:
        client = self._clients.get(place)
        if client is None:
            client = self._clients[place] = self._client(place)
        return client


def slot_of(name: bytes) -> int:
    """Tell the slot of a key or a sharded channel."""
    return key_slot(name)


def _slot(args: tuple[Any, ...]) -> int:
    key = args[_FIRST_KEY.get(args[0], 1)]
    return slot_of(key if isinstance(key, bytes) else str(key).encode())
