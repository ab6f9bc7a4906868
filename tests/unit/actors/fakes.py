"""What actors need, in memory: a store to interrupt, feeds that remember."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field

from actors.domain.commands import Command, CreateProject
from actors.domain.errors import ProjectNotFound
from actors.domain.events import Batch, Entry
from actors.domain.model import Caller, ProjectId, TaskId, UserId
from actors.domain.state import ProjectState
from actors.hub import Hub
from actors.journal import Journal
from actors.ports import Audience
from actors.project import ProjectActor, Surroundings
from actors.registry import Registry
from server.representations import EventCodec
from tests.factories import (
    ADA,
    PROJECT,
    apply_all,
    make_batch,
    make_caller,
    make_command,
)


class FakeClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def _refuse_nothing(batch: Batch) -> Exception | None:
    return None


class FakeStore:
    """The truth in memory; `reached` is the signal that an append has begun."""

    def __init__(self) -> None:
        self.logs: dict[ProjectId, list[bytes]] = {}
        self.states: dict[ProjectId, ProjectState] = {}
        self.appends: list[list[Batch]] = []
        self.loads: Counter[ProjectId] = Counter()
        self.locks = 0
        self.lookups = 0
        self.gate = _open_gate()
        self.load_gate = _open_gate()
        self.errors: deque[Exception] = deque()
        self.read_errors: deque[Exception] = deque()
        self.lost: deque[Exception] = deque()
        self.refuse: Callable[[Batch], Exception | None] = _refuse_nothing
        self.intruders: deque[Command] = deque()
        self._begun = asyncio.Semaphore(0)
        self._load_begun = asyncio.Semaphore(0)

    async def reached(self) -> None:
        """Wait until the next append has begun."""
        async with asyncio.timeout(5):
            await self._begun.acquire()

    async def load_reached(self) -> None:
        """Wait until the next load has begun."""
        async with asyncio.timeout(5):
            await self._load_begun.acquire()

    def state(self, project_id: int = PROJECT) -> ProjectState:
        key = ProjectId(project_id)
        return self.states.setdefault(key, ProjectState(project_id=key))

    def write(self, command: Command, project_id: int = PROJECT) -> None:
        """Commit a command as another node would."""
        self._take(make_batch(deepcopy(self.state(project_id)), command))

    def make_project(self, project_id: int = PROJECT, *, owner_id: int = ADA) -> None:
        creation = make_command(
            CreateProject,
            project_id=project_id,
            owner_id=owner_id,
            caller=make_caller(owner_id),
        )
        self.write(creation, project_id)

    async def load(self, project_id: ProjectId) -> ProjectState | None:
        self.loads[project_id] += 1
        self._load_begun.release()
        await self.load_gate.wait()
        if self.read_errors:
            raise self.read_errors.popleft()
        state = self.states.get(project_id)
        if state is None or state.project is None:
            return None
        return deepcopy(state)

    async def append(self, batches: Sequence[Batch]) -> frozenset[ProjectId]:
        self.appends.append(list(batches))
        self._begun.release()
        await self.gate.wait()
        if self.errors:
            raise self.errors.popleft()
        for batch in batches:
            if error := self.refuse(batch):
                raise error
        if self.intruders:
            self.write(self.intruders.popleft())
        matched = [b for b in batches if self.state(b.project_id).version == b.expected]
        for batch in matched:
            self._take(batch)
        if self.lost:
            raise self.lost.popleft()
        return frozenset(batch.project_id for batch in matched)

    async def events_since(
        self, project_id: ProjectId, version: int, limit: int | None
    ) -> list[bytes]:
        if self.read_errors:
            raise self.read_errors.popleft()
        log = self.logs.get(project_id, [])
        return log[version : None if limit is None else version + limit]

    @asynccontextmanager
    async def exclusive(self, project_id: ProjectId) -> AsyncIterator["FakeHeld"]:
        self.locks += 1
        if project_id not in self.states:
            raise ProjectNotFound
        held = FakeHeld(self, project_id)
        yield held
        for batch in held.appended:
            self._take(batch)
        if self.lost:
            raise self.lost.popleft()

    async def project_of(self, task_id: TaskId) -> ProjectId | None:
        self.lookups += 1
        for project_id, state in self.states.items():
            if task_id in state.tasks:
                return project_id
        return None

    def _take(self, batch: Batch) -> None:
        state = self.state(batch.project_id)
        assert state.version == batch.expected
        apply_all(state, [entry.event for entry in batch.entries])
        log = self.logs.setdefault(batch.project_id, [])
        log += [entry.body for entry in batch.entries]


class FakeHeld:
    def __init__(self, store: FakeStore, project_id: ProjectId):
        self._store = store
        self._project_id = project_id
        self.appended: list[Batch] = []

    @property
    def version(self) -> int:
        return self._store.states[self._project_id].version

    async def events_since(self, version: int) -> list[bytes]:
        return await self._store.events_since(self._project_id, version, None)

    async def append(self, batch: Batch) -> None:
        if self._store.errors:
            raise self._store.errors.popleft()
        if error := self._store.refuse(batch):
            raise error
        self.appended.append(batch)


class Recorder:
    """A feed that remembers what it was told, and who was to hear of it."""

    def __init__(self) -> None:
        self.heard: list[tuple[frozenset[UserId], Entry]] = []
        self.doubts = 0

    def publish(self, audience: Audience, entries: Sequence[Entry]) -> None:
        users = frozenset(audience.members) | audience.others
        self.heard += [(users, entry) for entry in entries]

    def doubt(self) -> None:
        self.doubts += 1

    @property
    def versions(self) -> list[int]:
        return [entry.event.version for _, entry in self.heard]

    def heard_by(self, user_id: UserId) -> list[str]:
        return [entry.event.type for users, entry in self.heard if user_id in users]


@dataclass(eq=False)
class FakeSocket:
    """A subscriber that remembers."""

    caller: Caller
    session_id: int = 1
    frames: list[bytes] = field(default_factory=list)
    closed: tuple[int, str] | None = None

    def deliver(self, frames: bytes) -> None:
        self.frames.append(frames)

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    @property
    def lines(self) -> list[bytes]:
        return b"".join(self.frames).splitlines()

    @property
    def versions(self) -> list[int]:
        return [EventCodec().decode(line).version for line in self.lines]

    @property
    def types(self) -> list[str]:
        return [EventCodec().decode(line).type for line in self.lines]


def frame_line(body: bytes) -> bytes:
    return body + b"\n"


@dataclass
class Node:
    """A registry with all it needs, over a fake store."""

    store: FakeStore
    journal: Journal
    recorder: Recorder
    hub: Hub
    registry: Registry
    clock: FakeClock

    async def actor(self, project_id: int = PROJECT) -> ProjectActor:
        return await self.registry.get(ProjectId(project_id))


@asynccontextmanager
async def running_node(
    store: FakeStore | None = None, *, mailbox_size: int = 1024, batch_limit: int = 256
) -> AsyncIterator[Node]:
    """Start a node; a new store holds one empty project of Ada's."""
    if store is None:
        store = FakeStore()
        store.make_project()
    journal, recorder, hub = Journal(store), Recorder(), Hub(frame_line)
    clock = FakeClock()
    around = Surroundings(
        store=store,
        journal=journal,
        codec=EventCodec(),
        feeds=(recorder, hub),
        mailbox_size=mailbox_size,
        batch_limit=batch_limit,
    )
    registry = Registry(around, clock=clock, idle_seconds=600)
    journal.start()
    try:
        yield Node(store, journal, recorder, hub, registry, clock)
    finally:
        store.gate.set()
        store.load_gate.set()
        await registry.close()
        await journal.close()


async def ask_all(
    actor: ProjectActor, *commands: Command, timeout_seconds: float = 10
) -> list[object]:
    """Ask all at once; answers with results and refusals in order."""
    return list(
        await asyncio.gather(
            *(actor.ask(command, timeout_seconds) for command in commands),
            return_exceptions=True,
        )
    )


async def settle() -> None:
    """Let every task that can run do so until all wait for something else."""
    for _ in range(20):
        await asyncio.sleep(0)


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
