"""Finds the actor of a project, or starts it: one load for any number of callers.

Actors are disposable. One that failed is dropped and loaded again on the next use,
after a pause that grows while it keeps failing; one that nobody used for a while is
stopped.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial

import structlog

from actors.actor import Committed
from actors.domain.commands import Command, CreateProject, CreateTask
from actors.domain.errors import (
    ActorStopped,
    DomainError,
    ProjectNotFound,
    StateAhead,
    StoreUnavailable,
    TaskNotFound,
    Unavailable,
)
from actors.domain.model import ProjectId, TaskId
from actors.domain.state import ProjectState
from actors.ports import Store
from actors.project import ProjectActor, Surroundings

_log = structlog.get_logger()

_BACKOFF_SECONDS = 0.05
_BACKOFF_LIMIT_SECONDS = 5.0
_LOAD_SECONDS = 10.0
_KEPT_PLACES = 100_000  # about 100 bytes each


@dataclass(slots=True)
class _Slot:
    """A live actor, its version at the start, and when it was last used."""

    actor: ProjectActor
    used_at: float
    first_version: int


@dataclass(slots=True)
class _Failures:
    """How often an actor failed, and until when it is left alone.

    `told` is the state that everybody was told of, where more may be committed.
    """

    count: int = 0
    until: float = field(default=0.0)
    told: ProjectState | None = None


class Registry:
    """All live actors of this node, and the owner of their tasks."""

    def __init__(
        self,
        around: Surroundings,
        *,
        idle_seconds: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._around = around
        self._store: Store = around.store
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._slots: dict[ProjectId, _Slot] = {}
        self._loads: dict[ProjectId, asyncio.Task[ProjectActor]] = {}
        self._failures: dict[ProjectId, _Failures] = {}
        self._places: OrderedDict[TaskId, ProjectId] = OrderedDict()
        self._resumes: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[ProjectActor]:
        return iter([slot.actor for slot in self._slots.values()])

    def live(self, project_id: ProjectId) -> ProjectActor | None:
        """Give the actor if it is in memory; never waits."""
        slot = self._slots.get(project_id)
        if slot is None:
            return None
        slot.used_at = self._clock()
        return slot.actor

    def peek(self, project_id: ProjectId) -> ProjectActor | None:
        """Give the actor if it is in memory, which is no use of it; never waits."""
        slot = self._slots.get(project_id)
        return None if slot is None else slot.actor

    async def get(self, project_id: ProjectId) -> ProjectActor:
        """Find the actor or load it; at once if it is live.

        Raises ProjectNotFound, StoreUnavailable, or Unavailable while one that keeps
        failing is left alone for a moment.
        """
        actor = self.live(project_id)
        if actor is not None:
            return actor
        self._refuse_if_failing(project_id)
        load = self._loads.get(project_id)
        if load is None:
            load = asyncio.create_task(
                self._load(project_id), name=f"load-{project_id}"
            )
            self._loads[project_id] = load
            load.add_done_callback(partial(self._loaded, project_id))
        return await _shared(load)

    async def ask(self, project_id: ProjectId, command: Command) -> Committed:
        """Find the actor and ask it; see `ProjectActor.ask` for what it raises."""
        committed = await (await self.get(project_id)).ask(command)
        if isinstance(command, CreateTask):
            self._remember(command.task_id, project_id)
        return committed

    async def create(self, command: CreateProject) -> Committed:
        """Make a new project: its actor starts from nothing."""
        project_id = command.project_id
        state = ProjectState(project_id=project_id)
        actor = self._start(ProjectActor(state, self._around))
        try:
            return await actor.ask(command)
        finally:
            if state.version == 0:
                self._slots.pop(project_id, None)
                await actor.stop()

    async def locate(self, task_id: TaskId) -> ProjectId:
        """Say which project a task is in; raises TaskNotFound.

        A task never moves, so what was found once is remembered.
        """
        project_id = self._places.get(task_id)
        if project_id is None:
            project_id = await self._store.project_of(task_id)
        if project_id is None:
            raise TaskNotFound
        self._remember(task_id, project_id)
        return project_id

    async def drop(self, project_id: ProjectId) -> None:
        """Stop an actor, if there is one, so that its next use reads it anew."""
        slot = self._slots.pop(project_id, None)
        if slot is not None:
            await slot.actor.stop()

    async def evict_idle(self) -> int:
        """Stop the actors that nobody used for `idle_seconds`; say how many."""
        before = self._clock() - self._idle_seconds
        evicted = 0
        for project_id, slot in list(self._slots.items()):
            if slot.used_at >= before or slot.actor.waiting:
                continue  # each is looked at when its turn comes: stopping takes time
            if self._slots.get(project_id) is slot:
                del self._slots[project_id]
                await slot.actor.stop()
                evicted += 1
        return evicted

    async def close(self) -> None:
        """Drain: started commands finish, waiting ones are answered ActorStopped."""
        self._is_closed = True
        tasks = [*self._loads.values(), *self._resumes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(actor.stop() for actor in self))
        self._slots.clear()

    async def _load(self, project_id: ProjectId) -> ProjectActor:
        failures = self._failures.get(project_id)
        if failures is not None and failures.told is not None:
            resumed = await self._resumed(failures, failures.told)
            if resumed is not None:
                return self._start(resumed)
        state = await self._store.load(project_id)
        if state is None:
            raise ProjectNotFound
        actor = ProjectActor(state, self._around)
        if await self._around.follow(project_id) > state.version:
            await actor.catch_up()
            if actor.state.project is None:
                raise ProjectNotFound
        for feed in self._around.feeds:
            feed.begin(project_id, actor.state.version)
        return self._start(actor)

    async def _resumed(
        self, failures: _Failures, told: ProjectState
    ) -> ProjectActor | None:
        """Go on after an end that may have come between a commit and its publication.

        Nobody has been told of that commit: a fresh load would leave a gap in what
        sockets see, so the log is read and published from there on. None if that is
        impossible.
        """
        failures.told = None
        actor = ProjectActor(told, self._around)
        try:
            await actor.catch_up()
        except StoreUnavailable:
            failures.told = told
            raise
        except Exception:  # noqa: BLE001  # whatever it is: a fresh load goes round it
            _log.exception("project.not_resumed", id=told.project_id)
            return None
        if actor.state.project is None:
            raise ProjectNotFound
        return actor

    def _remember(self, task_id: TaskId, project_id: ProjectId) -> None:
        self._places[task_id] = project_id
        self._places.move_to_end(task_id)
        if len(self._places) > _KEPT_PLACES:
            self._places.popitem(last=False)

    def _loaded(self, project_id: ProjectId, load: asyncio.Task[ProjectActor]) -> None:
        self._loads.pop(project_id, None)
        if not load.cancelled():
            load.exception()  # whoever waits gets it; a caller who left does not

    def _start(self, actor: ProjectActor) -> ProjectActor:
        if self._is_closed:
            raise ActorStopped
        self._slots[actor.project_id] = _Slot(actor, self._clock(), actor.state.version)
        actor.start().add_done_callback(partial(self._ended, actor))
        return actor

    def _ended(self, actor: ProjectActor, task: asyncio.Task[None]) -> None:
        slot = self._slots.get(actor.project_id)
        if slot is not None and slot.actor is actor:
            del self._slots[actor.project_id]
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._failures.pop(actor.project_id, None)
            return
        self._around.meter.failed()
        failures = self._failures.setdefault(actor.project_id, _Failures())
        if slot is not None and actor.state.version > slot.first_version:
            failures.count = 0  # it has done something since: no endless failing
        failures.count += 1
        pause = min(_BACKOFF_SECONDS * 2**failures.count, _BACKOFF_LIMIT_SECONDS)
        failures.until = self._clock() + pause
        _log.error(
            "project.failed",
            id=actor.project_id,
            version=actor.state.version,
            failures=failures.count,
            exc_info=None if isinstance(error, Unavailable) else error,
        )
        for feed in self._around.feeds:
            feed.doubt()
        if not isinstance(error, StateAhead):
            failures.told = actor.state
            self._resume_later(actor.project_id, pause)

    def _resume_later(self, project_id: ProjectId, pause_seconds: float) -> None:
        if self._is_closed:
            return
        task = asyncio.create_task(
            self._resume(project_id, pause_seconds), context=Context()
        )
        self._resumes.add(task)
        task.add_done_callback(self._resumes.discard)

    async def _resume(self, project_id: ProjectId, pause_seconds: float) -> None:
        """Tell soon what nobody was told of, though nobody may ask for the project."""
        deadline = self._clock() + self._idle_seconds
        while self._clock() < deadline:
            await asyncio.sleep(pause_seconds)
            try:
                await self.get(project_id)
            except Unavailable:
                continue
            except DomainError:
                return
            return

    def _refuse_if_failing(self, project_id: ProjectId) -> None:
        failures = self._failures.get(project_id)
        if failures is not None and self._clock() < failures.until:
            raise Unavailable


async def _shared(load: asyncio.Task[ProjectActor]) -> ProjectActor:
    """Wait for a load that others may wait for too; leaving does not end it."""
    try:
        async with asyncio.timeout(_LOAD_SECONDS):
            return await asyncio.shield(load)
    except TimeoutError:
        raise StoreUnavailable from None
    except asyncio.CancelledError:
        if load.cancelled():
            raise ActorStopped from None
        raise
