"""A server, the process of its sockets, and who writes: the two that are compared."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from loadtests.crowd import Crowd
from loadtests.generator import Client, http_request
from loadtests.servers import Server, bare, boardcast, cpu_seconds, hire
from loadtests.watchers import V1

_HOST = "127.0.0.1"
_SOCKETS_A_USER = 100
_WRITERS = 128
_REST_PAUSE_SECONDS = 0.01


class Side:
    """A server, the process of its sockets, and who writes."""

    def __init__(
        self,
        server: Server,
        crowd: Crowd,
        write: Callable[[int, float], bytes],
        head: int,
    ):
        self.server = server
        self.crowd = crowd
        self.head = head
        self.name = "boardcast" if server.project_id else "bare aiohttp"
        self._write = write
        self._clients: list[Client] = []

    @asynccontextmanager
    async def writers(self, count: int) -> AsyncIterator[None]:
        """Have connections to write and read on; unused they would be closed."""
        async with AsyncExitStack() as stack:
            opening = (Client.open(_HOST, self.server.port) for _ in range(count))
            self._clients = [await stack.enter_async_context(one) for one in opening]
            yield

    def worked(self) -> tuple[float, float]:
        """Tell the CPU seconds of the server, and of the process with the sockets."""
        return cpu_seconds(self.server.pid), cpu_seconds(self.crowd.pid)

    async def write(self) -> float:
        """Write one event; gives the time before."""
        self.head += 1
        begun = time.perf_counter()
        await self._clients[0].ask(self._write(self.head, begun))
        return begun

    async def publish(self) -> float:
        """Write one event; gives the seconds until the last socket has it."""
        begun = await self.write()
        return float(await self.crowd.ask("had", version=self.head)) - begun

    async def publish_to_readers(self) -> tuple[float, list[float]]:
        """Publish, and give how long each read took meanwhile too."""
        path = f"/tasks/{self.server.task_ids[0] if self.server.task_ids else 1}"
        request = http_request("GET", path, token=self.server.token)
        publishing, reads = asyncio.ensure_future(self.publish()), []
        while not publishing.done():
            begun = time.perf_counter()
            await self._clients[1].ask(request)
            reads.append(time.perf_counter() - begun)
            await asyncio.sleep(_REST_PAUSE_SECONDS)
        return publishing.result(), reads

    async def storm(self, rate: int, seconds: float) -> dict[str, Any]:
        """Write at a rate that does not wait for answers; gives what came of it."""
        await self.crowd.ask("settle")
        worked, begun = self.worked(), time.perf_counter()
        numbers = iter(range(round(rate * seconds)))
        first = self.head + 1

        async def write_on(client: Client) -> None:
            for number in numbers:
                due = begun + number / rate
                await asyncio.sleep(due - time.perf_counter())
                await client.ask(self._write(first + number, due))

        async with self.writers(_WRITERS):
            await asyncio.gather(*(write_on(client) for client in self._clients))
        wrote = time.perf_counter() - begun
        self.head += round(rate * seconds)
        reached = await self.crowd.ask("reach", version=self.head)
        return {
            **await self.crowd.ask("report"),
            "behind": reached["behind"],
            "rate": rate * seconds / wrote,
            "worked": [
                after - before
                for after, before in zip(self.worked(), worked, strict=True)
            ],
        }


@asynccontextmanager
async def boardcast_side(sockets: int, data_dir: Path) -> AsyncIterator[Side]:
    """Run Boardcast with users enough for so many sockets, and a process for these."""
    async with boardcast(
        data_dir,
        BOARDCAST_ACCESS_TOKEN_SECONDS="7200",  # noqa: S106 (a time)
        BOARDCAST_LOGIN_LIMIT_PER_MINUTE="0",
    ) as server:

        def update(version: int, sent: float) -> bytes:
            body = json.dumps({"title": f"{sent:.7f}"}).encode()
            path = f"/tasks/{server.task_ids[version % len(server.task_ids)]}"
            return http_request("PUT", path, token=server.token, body=body)

        tokens = await hire(server, math.ceil(sockets / _SOCKETS_A_USER))
        head = (await sample(server))["version"]
        async with Crowd.gather(server.port, tokens, server.project_id) as crowd:
            yield Side(server, crowd, update, head)


@asynccontextmanager
async def bare_side(event: dict[str, Any]) -> AsyncIterator[Side]:
    """Run bare aiohttp, which sends such events, and a process for its sockets."""

    def broadcast(version: int, sent: float) -> bytes:
        task = {**event["task"], "title": f"{sent:.7f}"}
        body = json.dumps({**event, "version": version, "task": task})
        return http_request("POST", "/broadcast", body=body.encode())

    async with (
        bare(b"{}") as server,
        Crowd.gather(server.port, [server.token], 0) as crowd,
    ):
        yield Side(server, crowd, broadcast, 0)


async def sample(server: Server) -> dict[str, Any]:
    """Change a task and give the event as a watcher has it."""
    base = f"http://{_HOST}:{server.port}"
    headers = {"Authorization": f"Bearer {server.token}"}
    async with (
        aiohttp.ClientSession(base, headers=headers) as client,
        client.ws_connect(f"/ws?project_id={server.project_id}", protocols=(V1,)) as ws,
    ):
        title = f"{time.perf_counter():.7f}"  # never the one that it has
        await client.put(f"/tasks/{server.task_ids[0]}", json={"title": title})
        while True:
            message = await ws.receive_json()
            for event in message.get("events", [message]):
                if "task" in event:
                    return dict(event)
