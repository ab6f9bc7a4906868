"""Valkey servers that a test starts, kills and freezes: one, or a Cluster of three."""

import asyncio
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from server import processes, valkey
from server.bus import CHANNELS, Bus
from server.processes import Account, Process, Program

_SLOTS = 16384
_PORTS = range(15_000, 32_000)  # below those that the system gives to clients


class Node:
    """A bus, and what it heard."""

    def __init__(self, url: str, namespace: str = "test"):
        self.heard: list[bytes] = []
        self.times_connected = 0
        self.bus = Bus(
            url,
            namespace=namespace,
            on_message=self.heard.append,
            on_connected=self._count,
        )

    def _count(self) -> None:
        self.times_connected += 1

    async def connected(self, times: int = 1) -> None:
        """Wait until all channels are subscribed for the so manieth time."""
        await eventually(
            lambda: self.bus.is_connected and self.times_connected >= times
        )

    async def hears(self, messages: Sequence[bytes]) -> None:
        await eventually(lambda: {*messages} <= {*self.heard})

    def say(self, word: str) -> list[bytes]:
        """Say something on every channel."""
        messages = [f"{word} {number}".encode() for number in range(CHANNELS)]
        for number, message in enumerate(messages):
            self.bus.offer(number, message)
        return messages


@asynccontextmanager
async def two_nodes(url: str) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes that have just connected."""
    here, there = Node(url), Node(url)
    here.bus.start()
    there.bus.start()
    try:
        await here.connected()
        await there.connected()
        yield here, there
    finally:
        await here.bus.close()
        await there.bus.close()


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, and leave the processors to the servers meanwhile."""
    while not is_so():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0.005)


class Server:
    """One Valkey on a port of its own; the same port whenever it is started again."""

    def __init__(self, home: Path, *, in_cluster: bool = False):
        home.mkdir()
        self._home = home
        self.port, bus_port = _free_ports(2)
        self._settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "dir": str(home),
        }
        if in_cluster:
            self._settings |= {
                "cluster-enabled": "yes",
                "cluster-port": str(bus_port),
                "cluster-node-timeout": "1000",
                "repl-diskless-sync-delay": "0",
                "cluster-require-full-coverage": "no",
            }
        self.bus_port = bus_port
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, or have it go on; answers when it does."""
        if self._process is None:
            self._process = await self._spawned()
        self.thaw()
        while True:
            try:
                await self.ask("PING")
            except RedisError:
                await asyncio.sleep(0.01)
            else:
                return

    async def _spawned(self) -> Process:
        words = [word for key in self._settings.items() for word in key]
        arguments = [
            f"--{word}" if at % 2 == 0 else word for at, word in enumerate(words)
        ]
        return await processes.spawn(
            Program(
                argv=(str(valkey._program()), *arguments),
                account=Account.own(),
                death_signal=signal.SIGKILL,
                directory=self._home,
                log_file=self._home / "valkey.log",
            )
        )

    async def stop(self) -> None:
        if self._process is not None:
            await processes.stop(self._process)
            self._process = None

    kill = stop  # with nothing to send before, it is SIGKILL at once

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    async def ask(self, *words: Any) -> Any:
        async with Redis(port=self.port, retry=None, socket_timeout=1) as redis:
            return await redis.execute_command(*words)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        processes.send(self._process.pid, number)


@asynccontextmanager
async def server(directory: Path) -> AsyncIterator[Server]:
    one = Server(directory / "valkey")
    try:
        await one.start()
        yield one
    finally:
        await one.stop()


class Cluster:
    """Three masters with a third of the slots each, and replicas that join later."""

    def __init__(self, directory: Path, stack: AsyncExitStack):
        self._directory, self._stack = directory, stack
        self.servers: list[Server] = []

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{places}"

    async def add(self) -> Server:
        server = Server(self._directory / str(len(self.servers)), in_cluster=True)
        self._stack.push_async_callback(server.stop)
        await server.start()
        for other in self.servers[:1]:
            await server.ask(
                "CLUSTER MEET", "127.0.0.1", other.port, str(other.bus_port)
            )
        self.servers.append(server)
        return server

    async def agree(self) -> None:
        """Wait until every server knows all others, and who has which slots."""
        for server in self.servers:
            await _until(self._is_agreed, server, "CLUSTER INFO")

    async def heal(self) -> None:
        """Have every server run again, with no keys."""
        for server in self.servers:
            await server.start()
        await self.agree()
        for server in self.servers:
            await server.ask("FLUSHALL")

    async def replicate(self, master: Server) -> Server:
        """Add a server that takes a master's place when that dies."""
        replica = await self.add()
        await self.agree()
        await replica.ask("CLUSTER REPLICATE", await _id(master))
        await _until(_is_in_step, replica, "INFO")
        return replica

    async def move(self, slot: int, source: Server, target: Server) -> None:
        """Move an empty slot, as a resharding does."""
        await self.begin_to_move(slot, source, target)
        await self.finish_moving(slot, source, target)

    async def begin_to_move(self, slot: int, source: Server, target: Server) -> None:
        there, here = await _id(target), await _id(source)
        await target.ask("CLUSTER SETSLOT", slot, "IMPORTING", here)
        await source.ask("CLUSTER SETSLOT", slot, "MIGRATING", there)

    async def finish_moving(self, slot: int, source: Server, target: Server) -> None:
        there = await _id(target)
        for server in (target, source):
            await server.ask("CLUSTER SETSLOT", slot, "NODE", there)

    def _is_agreed(self, info: dict[str, str]) -> bool:
        known, served = info["cluster_known_nodes"], info["cluster_slots_ok"]
        return (
            info["cluster_state"] == "ok"
            and int(known) == len(self.servers)
            and int(served) == _SLOTS
        )


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        made = Cluster(directory, stack)
        for number in range(3):
            server = await made.add()
            first, last = number * _SLOTS // 3, (number + 1) * _SLOTS // 3 - 1
            await server.ask("CLUSTER ADDSLOTSRANGE", first, last)
        await made.agree()
        yield made


async def _until(
    is_so: Callable[[dict[str, Any]], bool], server: Server, question: str
) -> None:
    while not is_so(await server.ask(question)):  # noqa: ASYNC110 (it has no event)
        await asyncio.sleep(0.02)


def _is_in_step(replication: dict[str, Any]) -> bool:
    return bool(replication["master_link_status"] == "up")


async def _id(server: Server) -> str:
    found = await server.ask("CLUSTER MYID")
    return found.decode() if isinstance(found, bytes) else str(found)


def _free_ports(number: int) -> Sequence[int]:
    found: list[int] = []
    while len(found) < number:
        port = random.choice(_PORTS)  # noqa: S311
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found
