"""The bus: hints from node to node over Redis pub/sub, fast and possibly lost.

A message travels on one of 128 channels, chosen by the place it is about. One server
carries them all; on a Cluster a channel belongs to the master of its name's slot, as
sharded pub/sub (Redis 7 or later, any Valkey), and each master has a link of its own.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog
from redis.exceptions import MovedError, ResponseError

from server import hints
from server.cluster import Cluster, Place, slot_of
from server.links import Link, Reports, Traffic

CHANNELS = 128
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.05, 1.0

_log = structlog.get_logger(__name__)


class Bus:
    """Carries hints between nodes: fast; they may be lost, doubled or out of order.

    `on_message` runs with each message, those of this node too, in their order on a
    connection. `on_connected` runs whenever all channels are subscribed again: what was
    said before may have been missed. Neither may wait. The namespace tells
    installations that share a Redis apart. Raises ValueError for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        on_message: Callable[[bytes], None],
        on_connected: Callable[[], None],
    ):
        self._servers = hints.read(url)
        self._channels = tuple(
            f"boardcast:{namespace}:{number}".encode() for number in range(CHANNELS)
        )
        self._on_message, self._on_connected = on_message, on_connected
        self._traffic = Traffic()
        self._cluster: Cluster | None = None
        self._links: dict[Place | None, Link] = {}
        self._routes: list[Link | None] = [None] * CHANNELS
        self._stale = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_connected = self._is_refused = False

    @property
    def is_connected(self) -> bool:
        """Whether it is subscribed to all of its channels at this moment."""
        return self._is_connected

    @property
    def dropped(self) -> int:
        """Messages that were offered and not sent."""
        return self._traffic.dropped

    @property
    def received(self) -> int:
        """Messages that came, with this node's own."""
        return self._traffic.received

    @property
    def published(self) -> int:
        """Messages written to Redis, which may have lost them since."""
        return self._traffic.published

    def start(self) -> None:
        """Begin to connect, and to connect again for ever; never waits."""
        if self._servers.is_cluster:
            self._cluster = Cluster(self._servers.places, self._servers.client)
        self._task = asyncio.create_task(self._keep(), name="bus")

    async def close(self) -> None:
        """End at once; leaves no socket and no task."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._routes = [None] * CHANNELS
        self._is_connected = False
        await asyncio.gather(*(link.close() for link in self._links.values()))
        if self._cluster is not None:
            await self._cluster.aclose()

    def offer(self, place: int, message: bytes) -> None:
        """Send to all nodes, or count it as dropped; never waits and never raises."""
        number = place % CHANNELS
        link = self._routes[number]
        if link is None:
            self._traffic.dropped += 1
        else:
            link.offer(self._channels[number], message)

    async def _keep(self) -> None:
        delay_seconds = _SHORTEST_SECONDS
        while True:
            self._stale.clear()
            try:
                await self._lay_out()
            except Exception:  # noqa: BLE001  # without it, nodes never hear again
                _log.exception("bus.layout_broken")
            self._look()
            if self._is_connected:
                await self._stale.wait()
                delay_seconds = _SHORTEST_SECONDS
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds):
                    await self._stale.wait()
            delay_seconds = min(2 * delay_seconds, _LONGEST_SECONDS)

    async def _lay_out(self) -> None:
        """Have a link to every master, each with the channels of its slots."""
        places = await self._owners()
        wanted: dict[Place | None, list[bytes]] = {}
        for channel, (is_known, place) in zip(self._channels, places, strict=True):
            if is_known:
                wanted.setdefault(place, []).append(channel)
        for gone in self._links.keys() - wanted.keys():
            await self._links.pop(gone).close()
        for place, channels in wanted.items():
            if place not in self._links:
                self._links[place] = self._open(place)
            self._links[place].want(channels)
        self._routes = [self._links.get(place) for _, place in places]

    async def _owners(self) -> list[tuple[bool, Place | None]]:
        """Tell for each channel whether somebody has it, and who: None is the only."""
        if self._cluster is None:
            return [(True, None)] * CHANNELS
        await asyncio.shield(self._cluster.learn())
        owners = [self._cluster.owners.get(slot_of(one)) for one in self._channels]
        return [(owner is not None, owner) for owner in owners]

    def _open(self, place: Place | None) -> Link:
        reports = Reports(
            message=self._on_message,
            changed=self._look,
            refused=partial(self._refused, place),
        )
        link = Link(
            partial(self._servers.connection, place),
            reports,
            self._traffic,
            is_sharded=self._servers.is_cluster,
        )
        link.start()
        return link

    def _look(self) -> None:
        """See whether the last channel has been subscribed to, or one was lost."""
        before, self._is_connected = self._is_connected, self._is_complete()
        if before and not self._is_connected:
            _log.warning("bus.interrupted")
            self._stale.set()
        if self._is_connected and not before:
            _log.info("bus.connected")
            self._is_refused = False
            self._tell()

    def _is_complete(self) -> bool:
        links = self._links.values()
        return None not in self._routes and all(link.is_complete for link in links)

    def _tell(self) -> None:
        try:
            self._on_connected()
        except Exception:  # noqa: BLE001  # the connection is as good as it was
            _log.exception("bus.listener_failed")

    def _refused(self, place: Place | None, error: ResponseError) -> None:
        if isinstance(error, MovedError) and self._cluster and place:
            self._cluster.follow(error, place)
            if self._is_connected:  # else it is tried again soon, but not in a circle
                self._stale.set()
        elif not self._is_refused:
            self._is_refused = True
            _log.warning("bus.refused", reason=str(error))
