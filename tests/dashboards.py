"""A client of the feed that believes nothing: it checks each message as it comes."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import aiohttp

from tests.running_app import WAIT_SECONDS, Board, Person

TOGETHER = "boardcast.v1"


class User(Protocol):
    """Whoever can open a socket as somebody; `query` is what the address ends with."""

    async def open_socket(
        self, query: str, protocols: Sequence[str]
    ) -> aiohttp.ClientWebSocketResponse: ...


class Dashboard:
    """Follows one project over any number of connections, and keeps its tasks.

    Versions have to be consecutive, or interrupted by a snapshot; with a filter they
    have to rise. `log` is every event that came, `problems` what was not as promised.
    """

    def __init__(
        self,
        user: User,
        project_id: int,
        *,
        is_together: bool = False,
        wanted: dict[str, Any] | None = None,
    ):
        self.user = user
        self.project_id = project_id
        self.is_together = is_together
        self.wanted = wanted
        self.version: int | None = None
        self.tasks: dict[int, Any] = {}
        self.log: list[Any] = []
        self.problems: list[str] = []
        self.snapshots = 0
        self.subscribed = asyncio.Event()
        self.close_code: int | None = None
        self.is_unsubscribed = False
        self._moved = asyncio.Condition()

    async def connect(self, *, snapshot: bool = False) -> None:
        """Open a socket, and subscribe from where this dashboard stands."""
        protocols = (TOGETHER,) if self.is_together else ()
        query = "?" + "&".join(
            f"{name}={spelt(value)}"
            for name, value in self._subscription(snapshot).items()
        )
        self.ws = await self.user.open_socket(query, protocols)
        self.close_code = None
        self.subscribed.clear()
        self.reading = asyncio.create_task(self._read())

    async def subscribe(self) -> None:
        """Subscribe once more, on the open socket."""
        op = {"op": "subscribe", "project_id": self.project_id, "since": self.version}
        await self.ws.send_json(op)

    def _subscription(self, snapshot: bool) -> dict[str, Any]:
        begin = {"since": self.version} if self.version is not None else {}
        if snapshot and not begin:
            begin = {"snapshot": True}
        return {"project_id": self.project_id, **begin, **(self.wanted or {})}

    async def cut(self) -> None:
        """Lose the connection without a goodbye."""
        self.ws._response.connection.transport.abort()  # type: ignore[union-attr]
        await self.closed()

    async def closed(self) -> int | None:
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(self.reading, WAIT_SECONDS)
        return self.close_code

    async def close(self) -> None:
        await self.ws.close()
        await self.closed()

    async def reach(self, version: int) -> None:
        """Wait until all up to a version has come."""
        async with asyncio.timeout(WAIT_SECONDS), self._moved:
            await self._moved.wait_for(
                lambda: (self.version or 0) >= version or self.close_code is not None
            )
        assert (self.version or 0) >= version, self.close_code

    async def _read(self) -> None:
        async for message in self.ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(json.loads(message.data))
                async with self._moved:
                    self._moved.notify_all()
        self.close_code = self.ws.close_code
        async with self._moved:
            self._moved.notify_all()

    def _take(self, message: Any) -> None:
        match message["type"]:
            case "events":
                self._take_together(message)
            case "snapshot":
                self.snapshots += 1
                self.version = message["version"]
                self.tasks = {task["id"]: task for task in message["tasks"]}
            case "subscribed":
                if self.version is None or self.wanted:
                    self.version = max(self.version or 0, message["version"])
                self._expect(self.version == message["version"], message)
                self.subscribed.set()
            case "unsubscribed":
                self.is_unsubscribed = True
            case "tick":
                head = message["heads"].get(str(self.project_id), self.version)
                self._expect(self.wanted is not None or head == self.version, message)
            case "restarting":
                pass  # a close follows
            case _:
                self._take_event(message)

    def _take_together(self, message: Any) -> None:
        self._expect(self.is_together, message)
        if self.wanted is None:
            inside = [event["version"] for event in message["events"]]
            whole = list(range(message["from"], message["to"] + 1))
            self._expect(inside == whole, message)
        for event in message["events"]:
            self._take_event(event)
        self.version = message["to"]

    def _take_event(self, event: Any) -> None:
        if event.get("project_id") != self.project_id or "version" not in event:
            self.problems.append(f"unexpected: {event}")
            return
        version = event["version"]
        before = version if self.version is None else self.version
        is_next = version > before if self.wanted else version == before + 1
        self._expect(is_next, event)
        self.version = version
        self.log.append(event)
        if event["type"] in ("task_left", "task_deleted"):
            self.tasks.pop(event.get("task_id") or event["task"]["id"], None)
        elif "task" in event:
            self.tasks[event["task"]["id"]] = event["task"]

    def _expect(self, is_so: bool, message: Any) -> None:
        if not is_so:
            self.problems.append(f"at {self.version}: {str(message)[:200]}")


async def whole_log(board: Board, person: Person, project_id: int) -> list[Any]:
    """What really happened in a project."""
    found: list[Any] = []
    while True:
        since = found[-1]["version"] if found else 0
        answer = await person.get(
            f"/projects/{project_id}/events?since={since}&limit=100"
        )
        found += answer.json["events"]
        if found[-1]["version"] >= answer.json["version"]:
            return found


def spelt(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower()
