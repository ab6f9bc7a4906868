"""A project in which much happens, and those who watch it."""

import array
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from tests.dashboards import TOGETHER
from tests.e2e.people import Account
from tests.e2e.servers import until

_WRITERS = 8
_WAIT_SECONDS = 30.0


class _Event(msgspec.Struct):
    version: int


class _Message(msgspec.Struct):
    """What is read of a message: the rest costs nothing."""

    type: str
    project_id: int | None = None
    version: int | None = None
    events: list[_Event] = []
    reason: str | None = None


_messages = msgspec.json.Decoder(_Message)


@dataclass(slots=True, kw_only=True)
class Watcher:
    """A socket, each version that it was given, and how it ended.

    `surprises` are messages that nobody is to get here.
    """

    account: Account
    socket: aiohttp.ClientWebSocketResponse
    project_id: int
    is_subscribed: bool
    versions: "array.array[int]" = field(default_factory=lambda: array.array("q"))
    goodbye: str | None = None
    surprises: list[_Message] = field(default_factory=list)
    is_open: bool = False
    ended_at: float | None = None

    @classmethod
    async def open(
        cls, account: Account, project_id: int, *, is_together: bool, subscribes: bool
    ) -> "Watcher":
        """Open a socket, which is not read before `read`."""
        socket = await account.api.open_socket(
            f"?project_id={project_id}" if subscribes else "",
            (TOGETHER,) if is_together else (),
        )
        return cls(
            account=account,
            socket=socket,
            project_id=project_id,
            is_subscribed=subscribes,
        )

    @property
    def last(self) -> int:
        """The version that it was given last."""
        return self.versions[-1] if self.versions else 0

    @property
    def is_dense(self) -> bool:
        """Whether it was given each version once and in order, from its first on."""
        versions = list(self.versions)
        return versions == list(range(versions[0], versions[0] + len(versions)))

    async def read(self) -> None:
        """Read to the end."""
        await self.socket.send_str("ping")
        async for message in self.socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            if message.data == "pong":
                self.is_open = True
            else:
                self._take(_messages.decode(message.data))
        self.is_open = False
        self.ended_at = time.monotonic()

    def _take(self, message: _Message) -> None:
        if message.project_id not in (self.project_id, None):
            return  # the server finds in the log that its user has an inbox
        match message.type:
            case "events":
                self.versions.extend(event.version for event in message.events)
            case "unsubscribed":
                self.goodbye = message.reason
            case "subscribed" | "tick":
                pass
            case "snapshot" | "error":
                self.surprises.append(message)
            case _:
                assert message.version is not None
                self.versions.append(message.version)


class Storm:
    """The project, its owner, and an admin; `writes` counts what was acknowledged."""

    def __init__(self, owner: Account, admin: Account, project_id: int):
        self.project_id = project_id
        self.writes = 0
        self._owner = owner.api
        self._admin = admin.api
        self._path = f"/projects/{project_id}"

    @asynccontextmanager
    async def rage(self) -> AsyncIterator[None]:
        """Have writers at work, who change tasks as fast as they are answered."""
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(self._write(stopping))
            try:
                yield
            finally:
                stopping.set()

    async def go_on(self, writes: int) -> None:
        """Wait until so many more have been made."""
        enough = self.writes + writes
        await until(
            lambda: self.writes >= enough, f"{writes} writes", seconds=_WAIT_SECONDS
        )

    async def head(self) -> int:
        """Ask for the version that the project has."""
        page = await self._owner.call("GET", f"{self._path}/events?limit=1")
        return int(page["version"])

    async def log(self) -> list[Any]:
        """Read everything that happened."""
        return await self._owner.log(self.project_id)

    async def add(self, account: Account) -> None:
        """Let somebody in."""
        path = f"{self._path}/members/{account.user_id}"
        await self._owner.call("PUT", path, {"role": "viewer"})

    async def remove(self, account: Account) -> None:
        """Take somebody's membership."""
        path = f"{self._path}/members/{account.user_id}"
        await self._owner.call("DELETE", path)

    async def demote(self, account: Account) -> None:
        """Make a manager a user, who has no part in the project."""
        path = f"/users/{account.user_id}"
        await self._admin.call("PATCH", path, {"role": "user"})

    async def disable(self, account: Account) -> None:
        """Shut an account."""
        path = f"/users/{account.user_id}"
        await self._admin.call("PATCH", path, {"is_active": False})

    async def log_out(self, account: Account) -> None:
        """Have somebody end their own session."""
        await account.api.call("POST", "/auth/logout")

    async def end_session(self, account: Account) -> None:
        """Have somebody end this session of theirs by its id."""
        await account.api.call("DELETE", f"/auth/sessions/{account.session_id}")

    async def _write(self, stopping: asyncio.Event) -> None:
        made = {"title": "0", "project_id": self.project_id}
        path = f"/tasks/{(await self._owner.call('POST', '/tasks', made))['id']}"
        while not stopping.is_set():
            await self._owner.call("PATCH", path, {"title": str(self.writes)})
            self.writes += 1
