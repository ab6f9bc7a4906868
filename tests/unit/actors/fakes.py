"""What actors need, in memory: a store to interrupt, feeds that remember."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from actors.domain.commands import Command, CreateProject
from actors.domain.criteria import Criteria
from actors.domain.errors import ProjectNotFound
from actors.domain.events import Batch, Entry
from actors.domain.model import Caller, ProjectId, TaskId, UserId
from actors.domain.state import ProjectState
from actors.feed import Feed
from actors.journal import Journal
from actors.ports import Audience, Ending, Frames, NoMeter
from actors.project import ProjectActor, Surroundings
from actors.recalls import Source
from actors.registry import Registry
from actors.seats import Watcher
from actors.slots import Capacity
from server.representations import EventCodec
from server.wording import Words
from tests.factories import (
    ADA,
    AT,
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
        await self.gate.wait()
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
        state.tip = batch.entries[-1].body if batch.entries else state.tip
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
        self.begun: list[int] = []

    def publish(self, audience: Audience, entries: Sequence[Entry]) -> None:
        users = frozenset(audience.members) | audience.others
        self.heard += [(users, entry) for entry in entries]

    def begin(self, project_id: ProjectId, version: int) -> None:
        self.begun.append(version)

    def doubt(self) -> None:
        self.doubts += 1

    @property
    def versions(self) -> list[int]:
        return [entry.event.version for _, entry in self.heard]

    def heard_by(self, user_id: UserId) -> list[str]:
        return [entry.event.type for users, entry in self.heard if user_id in users]


class FakeOutlet:
    """Remembers what is written; keeps as much of it as a test says."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.kept = 0
        self.is_stuck = False
        self.ended: Ending | None = None
        self.most = 0

    def write(self, data: bytes) -> None:
        if self.ended is None:
            self.frames.append(data)
            self.kept += len(data) if self.is_stuck else 0
            self.most = max(self.most, self.kept)

    def buffered(self) -> int:
        return self.kept

    def end(self, ending: Ending) -> None:
        self.ended = self.ended or ending

    def read(self) -> None:
        """Have the client read all that is kept."""
        self.kept = 0


class FakeSocket(Watcher):
    """A socket that remembers."""

    def __init__(
        self, caller: Caller, session_id: int = 1, *, is_together: bool = False
    ):
        self.fake = FakeOutlet()
        super().__init__(caller, session_id, self.fake, is_together=is_together)

    @property
    def frames(self) -> list[bytes]:
        return self.fake.frames

    @property
    def ended(self) -> Ending | None:
        return self.fake.ended

    @property
    def messages(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(self.frames).splitlines()]

    @property
    def versions(self) -> list[int]:
        return [message["version"] for message in self.messages]

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.messages]

    @property
    def stream(self) -> list[tuple[str, int]]:
        """Type and version of each message, what came together apart."""
        found = []
        for message in self.messages:
            inside = message["events"] if message["type"] == "events" else [message]
            found += [(each["type"], each["version"]) for each in inside]
        return found


class LineWording(Words):
    """The real wording, a line a message; long ones in pieces."""

    def event(self, body: bytes) -> Frames:
        return _pieces(body)

    def events(
        self, project_id: ProjectId, first: int, last: int, bodies: Sequence[bytes]
    ) -> Frames:
        head = b'{"type":"events","project_id":%d,"from":%d,"to":%d,"events":['
        return _pieces(head % (project_id, first, last) + b",".join(bodies) + b"]}")

    async def snapshot(self, state: ProjectState, wanted: Criteria | None) -> Frames:
        tasks = [
            task.id
            for task in state.tasks.values()
            if wanted is None or wanted.matches(task, AT)
        ]
        return _pieces(
            json.dumps(
                {
                    "type": "snapshot",
                    "project_id": state.project_id,
                    "version": state.version,
                    "tasks": tasks,
                    "padding": "x" * self.padding,
                }
            ).encode()
        )

    padding = 0

    def subscribed(self, project_id: ProjectId, version: int) -> Frames:
        head = b'{"type":"subscribed","project_id":%d,"version":%d}'
        return _pieces(head % (project_id, version))

    def unsubscribed(self, project_id: ProjectId, reason: str) -> Frames:
        head = b'{"type":"unsubscribed","project_id":%d,"version":0,"reason":"%b"}'
        return _pieces(head % (project_id, reason.encode()))


def _pieces(body: bytes) -> Frames:
    size = 16 * 1024
    line = body + b"\n"
    return tuple(line[start : start + size] for start in range(0, len(line), size))


class FakeArchive:
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.kept: dict[ProjectId, ProjectState] = {}
        self.offered: list[ProjectState] = []

    async def find(self, project_id: ProjectId) -> ProjectState | None:
        return deepcopy(self.kept.get(project_id))

    def offer(self, state: ProjectState) -> None:
        self.offered.append(deepcopy(state))


class FakeMeter(NoMeter):
    """Remembers what was loaded, and what was evicted."""

    def __init__(self) -> None:
        self.sources: list[str] = []
        self.reasons: list[str] = []

    def loaded(self, source: str, seconds: float) -> None:
        self.sources.append(source)

    def evicted(self, reason: str) -> None:
        self.reasons.append(reason)


@dataclass
class Node:
    """A registry with all it needs, over a fake store."""

    store: FakeStore
    journal: Journal
    recorder: Recorder
    feed: Feed
    registry: Registry
    clock: FakeClock
    wording: LineWording
    archive: "FakeArchive"
    meter: "FakeMeter"

    async def actor(self, project_id: int = PROJECT) -> ProjectActor:
        return await self.registry.get(ProjectId(project_id))


@asynccontextmanager
async def running_node(
    store: FakeStore | None = None,
    *,
    capacity: Capacity | None = None,
    **settings: Any,
) -> AsyncIterator[Node]:
    """Start a node; a new store holds one empty project of Ada's.

    `settings` are of its `Surroundings`.
    """
    if store is None:
        store = FakeStore()
        store.make_project()
    journal, recorder = Journal(store), Recorder()

    async def find(project_id: ProjectId, version: int) -> ProjectState:
        actor = await registry.get(project_id)
        await actor.reach(version)
        return actor.state

    def look(project_id: ProjectId) -> ProjectState | None:
        actor = registry.live(project_id)
        return None if actor is None else actor.state

    wording = LineWording()
    source = Source(log=store, codec=EventCodec(), find=find, look=look)
    feed = Feed(source, wording)
    clock, archive, meter = FakeClock(), FakeArchive(), FakeMeter()
    around = Surroundings(
        store=store,
        journal=journal,
        codec=EventCodec(),
        feeds=(recorder, feed),
        **{"meter": meter, **settings},
    )
    registry = Registry(
        around,
        archive=archive,
        capacity=capacity or Capacity(),
        idle_seconds=600,
        is_watched=feed.is_watched,
        clock=clock,
    )
    journal.start()
    try:
        yield Node(
            store, journal, recorder, feed, registry, clock, wording, archive, meter
        )
    finally:
        store.gate.set()
        store.load_gate.set()
        await feed.close()
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


def entries_of(bodies: Sequence[bytes]) -> list[Entry]:
    """Read what a log holds."""
    codec = EventCodec()
    return [Entry(event=codec.decode(body), body=body) for body in bodies]


async def settle() -> None:
    """Let every task that can run do so until all wait for something else."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until it is so; the time limit of tests ends what never is."""
    while not is_so():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0.001)


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
