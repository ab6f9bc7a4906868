"""The actor of one project: the only code that changes the project's state in memory.

It empties its mailbox in batches. A batch is decided on a draft over the committed
state and handed to the journal; only after the commit are its events applied, published
and answered, so memory is never ahead of the database and nobody sees what was not
committed. Refusals are answered after the commit too: they may rest on what the batch
did before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field

import structlog

from actors.actor import Committed, Envelope, Mailbox
from actors.audiences import audience_of_task, joined, take_rare
from actors.domain.commands import Command
from actors.domain.decide import decide
from actors.domain.errors import (
    ActorStopped,
    DomainError,
    OutcomeUnknown,
    StateAhead,
    StoreUnavailable,
)
from actors.domain.events import CommentEvent, Entry, Event, TaskEvent
from actors.domain.model import ProjectId
from actors.domain.state import Draft, ProjectState
from actors.journal import Journal
from actors.plans import Plan
from actors.ports import Audience, Codec, Feed, Held, Meter, NoMeter, Store

_log = structlog.get_logger()

_OPTIMISTIC_ATTEMPTS = 2
_CAREFUL_TURNS = 8  # after the last one that found another node's events
_CATCH_UP_EVENTS = 500


Tell = Callable[[Audience, Sequence[Entry]], None]
Follow = Callable[[], Awaitable[None]]
ToldOf = Callable[[ProjectId], int]


def _tell_nobody(audience: Audience, entries: Sequence[Entry]) -> None:
    """Be the only node."""


async def _follow_nobody() -> None:
    """Be the only node."""


def _told_nothing(project_id: ProjectId) -> int:
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all actors of a node share.

    `tell` sends a hint of what was committed to the other nodes; it never waits and
    never raises. `follow` has all told here that was committed by now on any node; it
    raises StoreUnavailable. `told` is the version of a project that was told last here,
    0 if that is not known.
    """

    store: Store
    journal: Journal
    codec: Codec
    feeds: tuple[Feed, ...] = ()
    tell: Tell = _tell_nobody
    follow: Follow = _follow_nobody
    told: ToldOf = _told_nothing
    meter: Meter = field(default_factory=NoMeter)
    mailbox_size: int = 1024
    batch_limit: int = 256
    patience_seconds: float = 2.0  # how long a caller waits


class ProjectActor:
    """One project. `state` is what was committed; read it between two awaits only."""

    def __init__(self, state: ProjectState, around: Surroundings):
        self.state = state
        self._around = around
        self._mailbox = Mailbox(around.mailbox_size)
        self._task: asyncio.Task[None] | None = None
        self._readers: asyncio.Future[None] | None = None
        self._is_working = False
        self._is_stopping = False
        self._careful_turns = 0  # that lock the head first: it is written elsewhere too
        self._heard = 0

    @property
    def project_id(self) -> ProjectId:
        """Which project it is."""
        return self.state.project_id

    @property
    def waiting(self) -> int:
        """The number of commands in the mailbox."""
        return len(self._mailbox)

    @property
    def is_busy(self) -> bool:
        """Whether it is at work, or a command or a reader waits for it to be."""
        return self._is_working or len(self._mailbox) > 0

    def dismiss(self) -> bool:
        """Stop if there is nothing to do, without a wait; False if there is."""
        if self.is_busy:
            return False
        self._mailbox.close()
        self._idle_or_cancel()
        self._task = None  # which ends by itself: no cycle keeps the state in memory
        return True

    def start(self) -> asyncio.Task[None]:
        """Begin to work; the task ends when the actor stops, with its error if any."""
        # A context of its own: it outlives the request that happened to start it.
        self._task = asyncio.create_task(
            self._run(), name=f"project-{self.project_id}", context=Context()
        )
        return self._task

    async def stop(self, *, timeout_seconds: float = 5.0) -> None:
        """Finish what was started, refuse the rest (ActorStopped); harmless twice."""
        self._mailbox.close()
        if self._task is None:
            return
        self._idle_or_cancel()
        await asyncio.wait([self._task], timeout=timeout_seconds)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def ask(
        self, command: Command, timeout_seconds: float | None = None
    ) -> Committed:
        """Have a command carried out; its events are durable when this returns.

        Raises the DomainError that refused it, or what `Mailbox.ask` says.
        """
        if timeout_seconds is None:
            timeout_seconds = self._around.patience_seconds
        return await self._mailbox.ask(command, timeout_seconds)

    async def reach(self, version: int, timeout_seconds: float = 2.0) -> None:
        """Have what was committed before this call taken in, if `version` is not yet.

        A version that there is not is not waited for: look at `state` afterwards.
        Raises Unavailable; may wait.
        """
        if self.state.version >= version:
            return
        if self._readers is None:
            self._mailbox.nudge()
            self._readers = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.shield(self._readers)
        except TimeoutError:
            raise StoreUnavailable from None

    async def catch_up(self) -> None:
        """Take what was committed elsewhere, in order, and publish it here too.

        For the actor itself, and before it is started. Raises StoreUnavailable.
        """
        while True:
            bodies = await self._around.store.events_since(
                self.project_id, self.state.version, _CATCH_UP_EVENTS
            )
            self._catch_up_with(bodies)
            if len(bodies) < _CATCH_UP_EVENTS:
                return

    def hear(self, entries: Sequence[Entry]) -> bool:
        """Take what was committed elsewhere; False if something before it is missing.

        It may be what a turn is just committing, so then it is left for afterwards.
        """
        version = self.state.version
        if self._is_working:
            self._heard = max(self._heard, entries[-1].event.version)
            return True
        if entries[0].event.version > version + 1:
            return False
        self._take([entry for entry in entries if entry.event.version > version])
        return True

    def _idle_or_cancel(self) -> None:
        self._is_stopping = True
        if not self._is_working and self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while not self._is_stopping:
                envelopes = await self._mailbox.take(self._around.batch_limit)
                self._is_working = True
                await self._serve_readers()
                await self._guard(envelopes)
                await self._serve_readers()  # a turn may take their nudge along
                while self._heard > self.state.version:
                    self._heard = 0
                    await self.catch_up()
                self._is_working = False
        finally:
            self._mailbox.close()
            _release(self._readers, ActorStopped())

    async def _serve_readers(self) -> None:
        """Catch up for those who wait; who comes from here on is for the next turn.

        What they know of may be committed after this read of the log began.
        """
        readers, self._readers = self._readers, None
        if readers is None:
            return
        try:
            await self.catch_up()
        except StoreUnavailable as error:
            _release(readers, error)
        except BaseException:
            _release(readers, ActorStopped())
            raise
        else:
            _release(readers)

    async def _guard(self, envelopes: list[Envelope]) -> None:
        """Carry out a turn; however it ends, nobody is left without an answer."""
        try:
            await self._turn(envelopes, self._around.batch_limit)
        except StoreUnavailable as error:
            _fail_all(envelopes, error)
        finally:
            # Started, so perhaps committed: nobody may be told that it was not made.
            _fail_all(envelopes, OutcomeUnknown())

    async def _turn(self, envelopes: list[Envelope], limit: int) -> None:
        """Carry out commands; others that come in time may be added, up to `limit`."""
        if self._careful_turns:
            await self._turn_exclusively(envelopes, limit)
            return
        for _ in range(_OPTIMISTIC_ATTEMPTS):
            plan = self._decide(envelopes)
            if not plan.is_to_be_kept:
                plan.answer()
                return
            try:
                is_next = await self._around.journal.commit(
                    plan.batch(self.state.version)
                )
            except OutcomeUnknown as error:
                _fail_all(envelopes, error)
                raise
            except StoreUnavailable as error:
                _fail_all(envelopes, error)
                return
            except Exception as error:  # noqa: BLE001  # answered, or split further
                await self._turn_apart(envelopes, error)
                return
            if is_next:
                self._committed(plan)
                return
            self._around.meter.conflicted(len(envelopes))
            _log.info("project.stale", id=self.project_id, version=self.state.version)
            await self.catch_up()
        self._careful_turns = _CAREFUL_TURNS
        await self._turn_exclusively(envelopes, limit)

    async def _turn_apart(self, envelopes: list[Envelope], error: Exception) -> None:
        """Find the command that the database refuses; its neighbours succeed."""
        if len(envelopes) == 1:
            if not isinstance(error, DomainError):
                _log.error("project.refused", id=self.project_id, exc_info=error)
            envelopes[0].fail(error)
            return
        for envelope in envelopes:
            await self._turn([envelope], 1)

    async def _turn_exclusively(self, envelopes: list[Envelope], limit: int) -> None:
        """Lock the project's head, then catch up and decide: nobody comes between.

        Nodes that write the same project take turns in this way, each with all that has
        come while it waited; without the lock much would be decided for nothing.
        """
        try:
            async with self._around.store.exclusive(self.project_id) as held:
                await self._catch_up_on(held)
                envelopes += self._mailbox.take_more(limit - len(envelopes))
                plan = self._decide(envelopes)
                if plan.is_to_be_kept:
                    await held.append(plan.batch(self.state.version))
        except (OutcomeUnknown, StateAhead) as error:
            _fail_all(envelopes, error)
            raise
        except StoreUnavailable as error:
            self._careful_turns = 0  # it may be too far behind to catch up under a lock
            _fail_all(envelopes, error)
        except Exception as error:  # noqa: BLE001  # answered, or split further
            await self._turn_apart(envelopes, error)
        else:
            self._committed(plan)

    async def _catch_up_on(self, held: Held) -> None:
        self._check(held.version)
        self._around.meter.locked()
        if held.version > self.state.version:
            self._catch_up_with(await held.events_since(self.state.version))
            self._careful_turns = _CAREFUL_TURNS
        elif self._careful_turns:
            self._careful_turns -= 1

    def _check(self, version: int) -> None:
        """Refuse to go on from more than the database has: a failover, a backup."""
        if version < self.state.version:
            raise StateAhead

    def _decide(self, envelopes: list[Envelope]) -> Plan:
        plan = Plan(Draft(self.state))
        for envelope in envelopes:
            if envelope.is_refused:
                continue  # decided again after a conflict: a 500 is final
            try:
                events = decide(plan.draft, envelope.command)
                bodies = [self._around.codec.encode(event) for event in events]
            except DomainError as refusal:
                plan.refuse(envelope, refusal)
            except Exception as error:  # noqa: BLE001  # the draft is untouched
                _log.error("project.command_failed", id=self.project_id, exc_info=error)
                envelope.is_refused = True
                envelope.fail(error)
            else:
                plan.take(envelope, events, bodies)
        return plan

    def _committed(self, plan: Plan) -> None:
        """Apply, publish and answer: after COMMIT nothing waits and nothing raises."""
        for audience, entries in self._take(plan.entries):
            self._around.tell(audience, entries)
        plan.answer()

    def _take(self, entries: Sequence[Entry]) -> list[tuple[Audience, list[Entry]]]:
        """Apply what is committed and publish it here; say for whom it was."""
        published = joined(self._apply(entries))
        for audience, group in published:
            for feed in self._around.feeds:
                feed.publish(audience, group)
        return published

    def _apply(self, entries: Sequence[Entry]) -> Iterator[tuple[Audience, Entry]]:
        for index, entry in enumerate(entries):
            following = entries[index + 1].event if index + 1 < len(entries) else None
            audience = self._take_in(entry.event, following)
            self.state.tip = entry.body
            yield audience, entry

    def _take_in(self, event: Event, following: Event | None) -> Audience:
        state = self.state
        if isinstance(event, TaskEvent):
            audience = audience_of_task(state, event.task, state.members)
        elif isinstance(event, CommentEvent):
            task = state.tasks[event.comment.task_id]
            audience = audience_of_task(state, task, state.members)
        else:
            return take_rare(state, event, following)
        state.apply(event)
        return audience

    def _catch_up_with(self, bodies: Sequence[bytes]) -> None:
        self._around.meter.caught_up(len(bodies))
        self._take(self._decoded(bodies))

    def _decoded(self, bodies: Sequence[bytes]) -> list[Entry]:
        """Read what came from the log, as far as it is new."""
        decoded = [(self._around.codec.decode(body), body) for body in bodies]
        return [
            Entry(event=event, body=body)
            for event, body in decoded
            if event.version > self.state.version
        ]


def _fail_all(envelopes: list[Envelope], error: Exception) -> None:
    for envelope in envelopes:
        envelope.fail(error)


def _release(
    readers: asyncio.Future[None] | None, error: Exception | None = None
) -> None:
    if readers is None or readers.done():
        return
    if error is None:
        readers.set_result(None)
    else:
        readers.set_exception(error)
        readers.exception()  # there may be nobody left who waits
