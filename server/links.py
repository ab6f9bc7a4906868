"""One connection of the bus: to a single server, or to one master of a Cluster."""

import asyncio
import math
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio.connection import Connection
from redis.exceptions import RedisError, ResponseError

_CONNECT_SECONDS = 0.25
_SEND_SECONDS = 0.25
_PING_SECONDS = 1.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.05, 1.0
_KEPT = 4096
_KEPT_BYTES = 8 * 1024 * 1024

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Whom a link tells; none of these may wait."""

    message: Callable[[bytes], None]
    changed: Callable[[], None]
    refused: Callable[[ResponseError], None]


@dataclass(slots=True)
class Traffic:
    """What went over the links of a bus."""

    dropped: int = 0
    received: int = 0
    published: int = 0


class Link:
    """Subscribes and publishes on one connection (RESP3), and connects again for ever.

    What waits to be sent is bounded, by number and size; while there is no connection
    nothing is kept. A server that is silent for a second after a ping is given up.
    """

    def __init__(
        self,
        connection: Callable[[], Connection],
        reports: Reports,
        traffic: Traffic,
        *,
        is_sharded: bool = False,
    ):
        self._new_connection = connection
        self._reports = reports
        self._traffic = traffic
        letter = "S" if is_sharded else ""
        self._publish, self._subscribe = f"{letter}PUBLISH", f"{letter}SUBSCRIBE"
        self._unsubscribe = f"{letter}UNSUBSCRIBE"
        self._heard: dict[bytes, Callable[[list[bytes]], None]] = {
            f"{letter}message".lower().encode(): self._on_message,
            self._subscribe.lower().encode(): self._on_subscribed,
            self._unsubscribe.lower().encode(): self._on_unsubscribed,
        }
        self.wanted: frozenset[bytes] = frozenset()
        self._asked: set[bytes] = set()
        self._subscribed: set[bytes] = set()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[tuple[Any, ...]] = []
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._answers = 0
        self._delay_seconds = _SHORTEST_SECONDS

    @property
    def is_complete(self) -> bool:
        """Whether the server has confirmed all channels that are wanted."""
        return self._subscribed >= self.wanted

    def want(self, channels: Iterable[bytes]) -> None:
        """Subscribe to these, and to no others; again to those not yet confirmed."""
        self.wanted = frozenset(channels)
        if self._connection is not None:
            self._send_wishes()

    def start(self) -> None:
        """Begin to connect; never waits."""
        self._task = asyncio.create_task(self._keep(), name="bus-link")

    async def close(self) -> None:
        """End the connection and the task."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def offer(self, channel: bytes, message: bytes) -> None:
        """Send soon, or count it as dropped; never waits."""
        size = self._waiting_bytes + len(message)
        if (
            self._connection is None
            or len(self._waiting) >= _KEPT
            or size > _KEPT_BYTES
        ):
            self._traffic.dropped += 1
            return
        self._waiting_bytes = size
        self._waiting.append((self._publish, channel, message))
        self._wake.set()

    async def _keep(self) -> None:
        while True:
            try:
                await self._serve()
            except* (RedisError, OSError, TimeoutError) as errors:
                _log.debug("bus.link_lost", reason=repr(errors.exceptions[0]))
            except* Exception:  # noqa: BLE001  # without it, the node never hears again
                _log.exception("bus.link_broken")
            spread = random.uniform(0.5, 1)  # noqa: S311  # spreads nodes, hides nothing
            await asyncio.sleep(self._delay_seconds * spread)
            self._delay_seconds = min(2 * self._delay_seconds, _LONGEST_SECONDS)

    async def _serve(self) -> None:
        connection = self._new_connection()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
            writer = connection._writer  # noqa: SLF001  # it forgets its own on errors
            # The default one formats every message for a debug log.
            parser: Any = connection._parser  # noqa: SLF001
            parser.set_pubsub_push_handler(_as_it_is)
            self._connection = connection
            self._send_wishes()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection))
                group.create_task(self._write(connection))
                group.create_task(self._ping())
        finally:
            self._connection = None
            self._forget()
            await _abort(connection, writer)

    def _forget(self) -> None:
        self._traffic.dropped += sum(one[0] == self._publish for one in self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._asked.clear()
        self._subscribed.clear()
        self._reports.changed()

    def _send_wishes(self) -> None:
        # One at a time: on a Cluster, channels of one command must share a slot.
        for channel in self.wanted - self._asked:
            self._waiting.append((self._subscribe, channel))
        for channel in self._asked - self.wanted:
            self._waiting.append((self._unsubscribe, channel))
        self._asked = set(self.wanted)
        self._wake.set()

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                answer = await connection.read_response(
                    disable_decoding=True, timeout=math.inf, push_request=True
                )
            except ResponseError as error:
                self._asked = set(self._subscribed)
                self._reports.refused(error)
                continue
            self._answers += 1
            if isinstance(answer, list) and answer[0] in self._heard:
                self._heard[answer[0]](answer)

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            commands, self._waiting = self._waiting, []
            self._waiting_bytes = 0
            self._traffic.published += sum(one[0] == self._publish for one in commands)
            async with asyncio.timeout(_SEND_SECONDS):
                await connection.send_packed_command(connection.pack_commands(commands))

    async def _ping(self) -> None:
        while True:
            answers = self._answers
            self._waiting.append(("PING",))
            self._wake.set()
            await asyncio.sleep(_PING_SECONDS)
            if self._answers == answers:
                raise TimeoutError

    def _on_message(self, push: list[bytes]) -> None:
        self._traffic.received += 1
        try:
            self._reports.message(push[2])
        except Exception:  # noqa: BLE001  # one bad message is not the connection's fault
            _log.exception("bus.message_failed")

    def _on_subscribed(self, push: list[bytes]) -> None:
        self._subscribed.add(push[1])
        self._delay_seconds = _SHORTEST_SECONDS
        self._reports.changed()

    def _on_unsubscribed(self, push: list[bytes]) -> None:
        # Unasked for: the channel's slot has moved to another master.
        self._asked.discard(push[1])
        self._subscribed.discard(push[1])
        self._reports.changed()


async def _as_it_is(push: list[bytes]) -> list[bytes]:
    return push


async def _abort(connection: Connection, writer: asyncio.StreamWriter | None) -> None:
    """Close without waiting for a server that may never read what is left for it."""
    if writer is not None:
        writer.transport.abort()
    await connection.disconnect(nowait=True)
    if writer is not None:
        with suppress(OSError):
            await writer.wait_closed()
