"""What is done to a cluster: each kind of fault, for a while, in an order of chance."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from tests.e2e.cluster import Cluster
from tests.e2e.history import Fault, History

_LASTING_SECONDS = (1.0, 4.0)
_BETWEEN_SECONDS = (0.1, 0.6)
_AT_ONCE = 2
_POLL_SECONDS = 0.05
_TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'boardcast' AND random() < 0.5
"""

# Done on entering, undone on leaving; `seconds` go by in between.
_Doing = Callable[[Cluster, random.Random], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: what it befalls, one at a time, and how it is done."""

    target: str
    do: _Doing
    is_of_truth: bool = True


@asynccontextmanager
async def _node_killed(cluster: Cluster, chance: random.Random) -> AsyncIterator[None]:
    node = chance.choice(cluster.nodes)
    await asyncio.to_thread(node.served.kill)
    yield
    await node.start()


@asynccontextmanager
async def _node_stopped(cluster: Cluster, chance: random.Random) -> AsyncIterator[None]:
    served = chance.choice(cluster.nodes).served
    served.send(signal.SIGSTOP)
    try:
        yield
    finally:
        served.send(signal.SIGCONT)


@asynccontextmanager
async def _postgres_killed(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    await cluster.kill_postgres()
    yield
    await cluster.start_postgres()


@asynccontextmanager
async def _postgres_stopped(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    cluster.signal_postgres(signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.signal_postgres(signal.SIGCONT)


@asynccontextmanager
async def _backends_ended(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    async with cluster.connection() as connection:
        await connection.execute(_TERMINATE)
    yield


@asynccontextmanager
async def _proxy_dark(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    light = cluster.nodes[1].way.light
    light.clear()
    try:
        yield
    finally:
        light.set()


@asynccontextmanager
async def _packets_dropped(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    assert cluster.namespace is not None
    assert cluster.namespace.drop()
    try:
        yield
    finally:
        assert cluster.namespace.pass_on()


@asynccontextmanager
async def valkey_killed(
    cluster: Cluster, _: random.Random | None = None
) -> AsyncIterator[None]:
    """Have none; the next one is empty."""
    await cluster.kill_valkey()
    yield
    await cluster.start_valkey()


@asynccontextmanager
async def valkey_stopped(
    cluster: Cluster, _: random.Random | None = None
) -> AsyncIterator[None]:
    """Have one that takes connections, and does not answer."""
    cluster.signal_valkey(signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.signal_valkey(signal.SIGCONT)


@asynccontextmanager
async def _valkey_flushed(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    await cluster.flush_valkey()
    yield


KINDS: Mapping[str, Kind] = {
    "node killed": Kind("nodes", _node_killed),
    "node stopped": Kind("nodes", _node_stopped),
    "PostgreSQL killed": Kind("PostgreSQL", _postgres_killed),
    "PostgreSQL stopped": Kind("PostgreSQL", _postgres_stopped),
    "backends terminated": Kind("PostgreSQL", _backends_ended),
    "bytes held by a proxy": Kind("the proxy", _proxy_dark),
    "packets dropped in a namespace": Kind("the namespace", _packets_dropped),
    "Valkey killed": Kind("Valkey", valkey_killed, is_of_truth=False),
    "Valkey stopped": Kind("Valkey", valkey_stopped, is_of_truth=False),
    "Valkey flushed": Kind("Valkey", _valkey_flushed, is_of_truth=False),
}


class Faults:
    """Injects all kinds, again and again, two at most at once, never two of one target.

    A seed gives the same order and the same times, as far as the machine does. Where
    there is no namespace, its packets are not dropped.
    """

    def __init__(self, cluster: Cluster, history: History, seed: int):
        self._cluster = cluster
        self._history = history
        self._random = random.Random(f"faults {seed}")  # noqa: S311
        self._names = [
            name
            for name, kind in KINDS.items()
            if kind.target != "the namespace" or cluster.namespace is not None
        ]
        self._left: list[str] = []
        self._busy: set[str] = set()

    async def rage(self, seconds: float) -> None:
        """Go on for so long; all is healed in the end."""
        until = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._one_after_another(until))

    async def _one_after_another(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            name = self._next()
            chance = random.Random(self._random.random())  # noqa: S311
            await self._inject(name, chance)
            await asyncio.sleep(chance.uniform(*_BETWEEN_SECONDS))

    def _next(self) -> str:
        """Choose what has not been for longest, of what is not hit already."""
        if len(self._left) < _AT_ONCE:
            self._left += self._random.sample(self._names, len(self._names))
        free = [name for name in self._left if KINDS[name].target not in self._busy]
        name = free[0] if free else "Valkey flushed"
        if free:
            self._left.remove(name)
        return name

    async def _inject(self, name: str, chance: random.Random) -> None:
        kind, loop = KINDS[name], asyncio.get_running_loop()
        self._busy.add(kind.target)
        fault = Fault(kind=name, began=loop.time(), is_of_truth=kind.is_of_truth)
        self._history.faults.append(fault)
        async with kind.do(self._cluster, chance):
            await asyncio.sleep(chance.uniform(*_LASTING_SECONDS))
        fault.healed = loop.time()
        self._busy.discard(kind.target)
