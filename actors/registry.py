"""Finds the actor of a project, or starts it: one load for any number of callers.

Actors are disposable. One that failed is dropped and loaded again on the next use,
after a pause that grows while it keeps failing; see `actors.slots` for those that are
let go.
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
from actors.loader import Loader
from actors.ports import Archive, NoArchive, Store
from actors.project import ProjectActor, Surroundings
from actors.slots import Capacity, Slots

_log = structlog.get_logger()

_BACKOFF_SECONDS = 0.05
_BACKOFF_LIMIT_SECONDS = 5.0
_KEPT_PLACES = 100_000  # about 100 bytes each


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
        archive: Archive | None = None,
        capacity: Capacity = Capacity(),  # noqa: B008  # it is frozen
        idle_seconds: float = 600.0,
        is_watched: Callable[[ProjectId], bool] = lambda project_id: False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._around = around
        self._store: Store = around.store
        archive = archive or NoArchive()
        self._loader = Loader(around, archive)
        self._slots = Slots(
            capacity,
            archive=archive,
            meter=around.meter,
            is_watched=is_watched,
            clock=clock,
        )
        self.idle_seconds = idle_seconds
        self._clock = clock
        self._loads: dict[ProjectId, asyncio.Task[ProjectActor]] = {}
        self._failures: dict[ProjectId, _Failures] = {}
        self._places: OrderedDict[TaskId, ProjectId] = OrderedDict()
        self._resumes: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[ProjectActor]:
        return iter(self._slots)

    def live(self, project_id: ProjectId) -> ProjectActor | None:
        """Give the actor if it is in memory; never waits."""
        return self._slots.use(project_id)

    def peek(self, project_id: ProjectId) -> ProjectActor | None:
        """Give the actor if it is in memory, which is no use of it; never waits."""
        return self._slots.peek(project_id)

    async def get(self, project_id: ProjectId) -> ProjectActor:
        """Find the actor or load it; at once if it is live.

        Raises ProjectNotFound, StoreUnavailable, or Unavailable while one that keeps
        failing is left alone for a moment, or while there is no room.
        """
        actor = self.live(project_id)
        if actor is not None:
            return actor
        self._refuse_if_failing(project_id)
        load = self._loads.get(project_id)
        if load is None:
            self._slots.admit(len(self._loads))
            load = asyncio.create_task(
                self._load(project_id), name=f"load-{project_id}"
            )
            self._loads[project_id] = load
            load.add_done_callback(partial(self._loaded, project_id))
        return await _shared(load, self._around.patience_seconds)

    async def ask(self, project_id: ProjectId, command: Command) -> Committed:
        """Find the actor and ask it; see `ProjectActor.ask` for what it raises."""
        deadline = self._clock() + self._around.patience_seconds
        actor = await self.get(project_id)
        committed = await actor.ask(command, deadline - self._clock())
        if isinstance(command, CreateTask):
            self._remember(command.task_id, project_id)
        return committed

    async def create(self, command: CreateProject) -> Committed:
        """Make a new project: its actor starts from nothing."""
        self._slots.admit(len(self._loads))
        project_id = command.project_id
        state = ProjectState(project_id=project_id)
        actor = self._start(ProjectActor(state, self._around))
        try:
            return await actor.ask(command)
        finally:
            if state.version == 0:
                await actor.stop()

    async def locate(self, task_id: TaskId) -> ProjectId:
        """Say which project a task is in; raises TaskNotFound.

        A task never moves, so what was found once is remembered.
        """
        project_id = self._places.get(task_id) or await self._store.project_of(task_id)
        if project_id is None:
            raise TaskNotFound
        self._remember(task_id, project_id)
        return project_id

    async def drop(self, project_id: ProjectId) -> None:
        """Stop an actor, if there is one, so that its next use reads it anew."""
        actor = self._slots.peek(project_id)
        if actor is not None:
            await (
                actor.stop()
            )  # until then it is found: there are never two of a project

    async def evict_idle(self) -> int:
        """Stop the actors that nobody used for `idle_seconds`; say how many.

        A project whose changes somebody here watches is in use.
        """
        return await self._slots.evict_idle(self.idle_seconds)

    async def close(self) -> None:
        """Drain: started commands finish, waiting ones are answered ActorStopped."""
        self._is_closed = True
        for task in (tasks := [*self._loads.values(), *self._resumes]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(actor.stop() for actor in self))

    async def _load(self, project_id: ProjectId) -> ProjectActor:
        actor = await self._resumed(project_id)
        if actor is None:
            state = await self._loader.load(project_id)
            if state is None:
                raise ProjectNotFound
            actor = ProjectActor(state, self._around)
            await self._around.follow()
        await self._level(actor)
        for feed in self._around.feeds:
            feed.begin(project_id, actor.state.version)
        return self._start(actor)

    async def _resumed(self, project_id: ProjectId) -> ProjectActor | None:
        """Go on after an end that may have come between a commit and its publication.

        Nobody has been told of that commit: a fresh load would leave a gap in what
        sockets see, so the log is read and published from there on. None if there was
        no such end, or if that is impossible.
        """
        failures = self._failures.get(project_id)
        if failures is None or failures.told is None:
            return None
        told, failures.told = failures.told, None
        actor = ProjectActor(told, self._around)
        try:
            if not await self._is_in_log(told):
                return None
            await actor.catch_up()
        except StoreUnavailable:
            failures.told = told
            raise
        except Exception:  # noqa: BLE001  # whatever it is: a fresh load goes round it
            _log.exception("project.not_resumed", id=project_id)
            return None
        return actor

    async def _is_in_log(self, state: ProjectState) -> bool:
        """Say whether the database has what led here: it may have gone back."""
        if not state.tip:
            return True
        bodies = await self._store.events_since(state.project_id, state.version - 1, 1)
        return bodies == [state.tip]

    async def _level(self, actor: ProjectActor) -> None:
        """Have an actor know all that was told here, just before it is started.

        More may be told while it reads the log, and nobody tells it a second time.
        Raises ProjectNotFound if that was the project's end, and StoreUnavailable.
        """
        version = -1  # if the log has no more, the database has lost what was told
        while version < actor.state.version < self._around.told(actor.project_id):
            version = actor.state.version
            await actor.catch_up()
        if actor.state.project is None:
            raise ProjectNotFound

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
        actor.start().add_done_callback(partial(self._ended, actor))
        self._slots.put(actor)
        return actor

    def _ended(self, actor: ProjectActor, task: asyncio.Task[None]) -> None:
        slot = self._slots.remove(actor)
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
        deadline = self._clock() + self.idle_seconds
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


async def _shared(
    load: asyncio.Task[ProjectActor], timeout_seconds: float
) -> ProjectActor:
    """Wait for a load that others may wait for too; leaving does not end it."""
    try:
        async with asyncio.timeout(timeout_seconds):
            return await asyncio.shield(load)
    except TimeoutError:
        raise StoreUnavailable from None
    except asyncio.CancelledError:
        if load.cancelled():
            raise ActorStopped from None
        raise
