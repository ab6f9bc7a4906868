"""Clients that watch, and come back when they are cut off."""

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import suppress

import aiohttp

from tests.dashboards import TOGETHER
from tests.e2e.clients import Api
from tests.e2e.history import History, Watch

_PAUSE_SECONDS = 0.05
_REFUSED_SECONDS = 0.1  # before the next try of who may not see the project
_FORBIDDEN = 4403


class Watcher:
    """Watches what its user may see, and comes back when it is cut off."""

    project_id: int | None = None
    since: int | None = None

    def __init__(
        self, name: str, api: Api, history: History, *, user_id: int | None = None
    ):
        self.name = name
        self.user_id = user_id
        self.watch: Watch | None = None
        self._latest: Watch | None = None
        self._api = api
        self._history = history

    async def run(self) -> None:
        """Watch for ever."""
        for number in itertools.count():
            try:
                await self._watch_once(f"{self.name}.{number}")
            except (aiohttp.ClientError, AssertionError, OSError, TimeoutError):
                await asyncio.sleep(_PAUSE_SECONDS)

    def has_seen(self, versions: Mapping[int, int]) -> bool:
        """Say whether its open socket got these versions of projects."""
        if self.watch is None:
            return False
        last = self.watch.last
        return all(last.get(key, 0) >= version for key, version in versions.items())

    async def _watch_once(self, name: str) -> None:
        async with self._api.socket() as socket:
            await self._read(socket, name)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, name: str) -> None:
        loop = asyncio.get_running_loop()
        watch = Watch(
            name=name,
            node=self._api.node,
            user_id=self.user_id,
            project_id=self.project_id,
            since=self.since,
        )
        self._history.watches.append(watch)
        self._latest = watch
        with suppress(aiohttp.ClientError, OSError):
            await socket.send_str("ping")
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                if message.data == "pong":  # who is answered is also told of events
                    self.watch, watch.opened = watch, loop.time()
                else:
                    watch.take(message.data, loop.time())
        self.watch = None
        watch.is_open = False
        watch.close_code = socket.close_code


class Subscriber(Watcher):
    """Follows one project from where its last socket ended, the first from a snapshot.

    It needs no ticket, which Redis would have to be there for.
    """

    def __init__(
        self,
        name: str,
        api: Api,
        history: History,
        *,
        project_id: int,
        user_id: int,
        is_together: bool = False,
    ):
        super().__init__(name, api, history, user_id=user_id)
        self.project_id = self._project_id = project_id
        self._protocols = (TOGETHER,) if is_together else ()

    def has_seen(self, versions: Mapping[int, int]) -> bool:
        """Say whether it has its own project's version."""
        return super().has_seen(
            {key: each for key, each in versions.items() if key == self._project_id}
        )

    async def _watch_once(self, name: str) -> None:
        begin = "snapshot=true" if self.since is None else f"since={self.since}"
        query = f"?project_id={self.project_id}&{begin}"
        try:
            async with await self._api.open_socket(query, self._protocols) as socket:
                await self._read(socket, name)
        finally:
            if self._latest is not None:
                self.since = self._latest.last.get(self._project_id, self.since)
        if socket.close_code == _FORBIDDEN:
            await asyncio.sleep(_REFUSED_SECONDS)


class Listener(Watcher):
    """Is told everything that its user may see, without a ticket."""

    async def _watch_once(self, name: str) -> None:
        async with await self._api.open_socket("") as socket:
            await self._read(socket, name)
