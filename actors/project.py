"""The actor of one project: the only code that changes the project's state in memory.

It empties its mailbox in batches. A batch is decided on a draft over the committed
state and handed to the journal; only after the commit are its events applied, published
and answered, so memory is never ahead of the database and nobody sees what was not
committed. Refusals are answered after the commit too: they may rest on what the batch
did before.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextvars import Context
from dataclasses import dataclass, field

import structlog

from actors.actor import Committed, Envelope, Mailbox
from actors.domain.commands import (
    Command,
    PutMember,
    UpdateComment,
    UpdateProject,
    UpdateTask,
)
from actors.domain.decide import decide
from actors.domain.errors import (
    ActorStopped,
    DomainError,
    OutcomeUnknown,
    StateAhead,
    StoreUnavailable,
)
from actors.domain.events import (
    Batch,
    CommentEvent,
    Entry,
    Event,
    MemberEvent,
    ProjectDeleted,
    ProjectEvent,
    Receipt,
    TaskEvent,
)
from actors.domain.model import ProjectId, Task, UserId
from actors.domain.permissions import parties
from actors.domain.state import Draft, ProjectState
from actors.journal import Journal
from actors.ports import Audience, Codec, Feed, Meter, NoMeter, Store

_log = structlog.get_logger()

_OPTIMISTIC_ATTEMPTS = 2
_CATCH_UP_EVENTS = 500


@dataclass(slots=True)
class _Plan:
    """A decided batch: what it would commit, and what each command is answered."""

    draft: Draft
    entries: list[Entry] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    answers: list[tuple[Envelope, Committed | DomainError]] = field(
        default_factory=list
    )

    def batch(self, expected: int) -> Batch:
        return Batch(
            project_id=self.draft.project_id,
            expected=expected,
            entries=tuple(self.entries),
            receipts=tuple(self.receipts),
        )

    def take(
        self, envelope: Envelope, events: tuple[Event, ...], bodies: list[bytes]
    ) -> None:
        for event, body in zip(events, bodies, strict=True):
            self.draft.apply(event)
            self.entries.append(Entry(event=event, body=body))
        committed = Committed(events=events, version=self.draft.version)
        self.answers.append((envelope, committed))
        if (key := envelope.command.key) is not None:
            version = _answering_version(self.draft, envelope.command, events)
            self.receipts.append(Receipt(key=key, version=version))

    def answer(self) -> None:
        for envelope, answer in self.answers:
            if isinstance(answer, Committed):
                envelope.answer(answer)
            else:
                envelope.fail(answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all actors of a node share."""

    store: Store
    journal: Journal
    codec: Codec
    feeds: tuple[Feed, ...] = ()
    meter: Meter = field(default_factory=NoMeter)
    mailbox_size: int = 1024
    batch_limit: int = 256


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

    @property
    def project_id(self) -> ProjectId:
        """Which project it is."""
        return self.state.project_id

    @property
    def waiting(self) -> int:
        """The number of commands in the mailbox."""
        return len(self._mailbox)

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

    async def ask(self, command: Command, timeout_seconds: float = 10.0) -> Committed:
        """Have a command carried out; its events are durable when this returns.

        Raises the DomainError that refused it, or what `Mailbox.ask` says.
        """
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
            self._take(bodies)
            if len(bodies) < _CATCH_UP_EVENTS:
                return

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
            await self._turn(envelopes)
        except StoreUnavailable as error:
            _fail_all(envelopes, error)
        finally:
            # Started, so perhaps committed: nobody may be told that it was not made.
            _fail_all(envelopes, OutcomeUnknown())

    async def _turn(self, envelopes: list[Envelope]) -> None:
        for _ in range(_OPTIMISTIC_ATTEMPTS):
            plan = self._decide(envelopes)
            if not plan.entries and not plan.receipts:
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
            self._around.meter.conflicted()
            _log.info("project.stale", id=self.project_id, version=self.state.version)
            await self.catch_up()
        await self._turn_exclusively(envelopes)

    async def _turn_apart(self, envelopes: list[Envelope], error: Exception) -> None:
        """Find the command that the database refuses; its neighbours succeed."""
        if len(envelopes) == 1:
            if not isinstance(error, DomainError):
                _log.error("project.refused", id=self.project_id, exc_info=error)
            envelopes[0].fail(error)
            return
        for envelope in envelopes:
            await self._turn([envelope])

    async def _turn_exclusively(self, envelopes: list[Envelope]) -> None:
        """Lock the project's head, then catch up and decide: nobody comes between."""
        try:
            async with self._around.store.exclusive(self.project_id) as held:
                self._check(held.version)
                self._take(await held.events_since(self.state.version))
                plan = self._decide(envelopes)
                if plan.entries or plan.receipts:
                    await held.append(plan.batch(self.state.version))
        except (OutcomeUnknown, StateAhead) as error:
            _fail_all(envelopes, error)
            raise
        except StoreUnavailable as error:
            _fail_all(envelopes, error)
        except Exception as error:  # noqa: BLE001  # answered, or split further
            await self._turn_apart(envelopes, error)
        else:
            self._committed(plan)

    def _check(self, version: int) -> None:
        """Refuse to go on from more than the database has: a failover, a backup."""
        if version < self.state.version:
            raise StateAhead

    def _decide(self, envelopes: list[Envelope]) -> _Plan:
        plan = _Plan(Draft(self.state))
        for envelope in envelopes:
            if envelope.is_refused:
                continue  # decided again after a conflict: a 500 is final
            try:
                events = decide(plan.draft, envelope.command)
                bodies = [self._around.codec.encode(event) for event in events]
            except DomainError as refusal:
                plan.answers.append((envelope, refusal))
            except Exception as error:  # noqa: BLE001  # the draft is untouched
                _log.error("project.command_failed", id=self.project_id, exc_info=error)
                envelope.is_refused = True
                envelope.fail(error)
            else:
                plan.take(envelope, events, bodies)
        return plan

    def _committed(self, plan: _Plan) -> None:
        """Apply, answer and publish: after COMMIT nothing waits and nothing raises."""
        published = self._apply(plan.entries)
        plan.answer()
        for audience, entries in published:
            for feed in self._around.feeds:
                feed.publish(audience, entries)

    def _apply(self, entries: Sequence[Entry]) -> list[tuple[Audience, list[Entry]]]:
        """Apply the events; tell who is to hear of them, neighbours joined."""
        published: list[tuple[Audience, list[Entry]]] = []
        members: Collection[UserId] = self.state.members
        if not all(isinstance(e.event, TaskEvent | CommentEvent) for e in entries):
            members = frozenset(members)  # the batch itself may change them
        for entry in entries:
            event = entry.event
            if isinstance(event, TaskEvent):
                audience = _audience_of_task(self.state, event.task, members)
                self.state.apply(event)
            elif isinstance(event, CommentEvent):
                task = self.state.tasks[event.comment.task_id]
                audience = _audience_of_task(self.state, task, members)
                self.state.apply(event)
            else:
                audience = self._take_rare(event)
                members = frozenset(self.state.members)
            if published and published[-1][0].is_same(audience):
                published[-1][1].append(entry)
            else:
                published.append((audience, [entry]))
        return published

    def _take_rare(self, event: ProjectEvent | MemberEvent) -> Audience:
        """Apply a change of the project or its members; tell who is to hear of it."""
        members = frozenset(self.state.members)
        before = _others(self.state, event)
        is_inbox = _is_inbox(self.state, event)
        bystanders = _bystanders(self.state, event)
        self.state.apply(event)
        return Audience(
            members=members,
            others=before | _others(self.state, event),
            is_inbox=is_inbox,
            bystanders=bystanders,
        )

    def _take(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            entry = Entry(event=self._around.codec.decode(body), body=body)
            if entry.event.version > self.state.version:
                self._committed(_Plan(Draft(self.state), entries=[entry]))


def _answering_version(
    draft: Draft, command: Command, events: tuple[Event, ...]
) -> int:
    """Name the event that shows what a repeat is answered with."""
    match command:
        case UpdateTask(task_id=task_id) if task_id in draft.tasks:
            return draft.tasks[task_id].version
        case UpdateComment(task_id=task_id, comment_id=comment_id):
            comment = draft.comment(task_id, comment_id)
            return draft.version if comment is None else comment.version
        case UpdateProject() if draft.project is not None:
            return draft.project.version
        case PutMember(user_id=user_id) if user_id in draft.members:
            return draft.members[user_id].version
    return events[-1].version if events else draft.version


def _audience_of_task(
    state: ProjectState, task: Task, members: Collection[UserId]
) -> Audience:
    """Tell who is to hear of a change that leads to this task, as of before it."""
    users = set(parties(task))
    before, project = state.tasks.get(task.id), state.project
    if before is not None and before.assigned_to is not None:
        users.add(before.assigned_to)
    if project is not None:
        users.add(project.owner_id)
    return Audience(
        members=members,
        others=frozenset(users),
        is_inbox=project is not None and project.is_inbox,
    )


def _others(
    state: ProjectState, event: ProjectEvent | MemberEvent
) -> frozenset[UserId]:
    """Who has a part in the event's thing without being a member, as of `state`."""
    users = set() if state.project is None else {state.project.owner_id}
    if isinstance(event, MemberEvent):
        users.add(event.member.user_id)
    else:
        users.add(event.project.owner_id)
    return frozenset(users)


def _bystanders(
    state: ProjectState, event: ProjectEvent | MemberEvent
) -> frozenset[UserId]:
    if not isinstance(event, ProjectDeleted):
        return frozenset()
    return frozenset().union(*(parties(task) for task in state.tasks.values()))


def _is_inbox(state: ProjectState, event: ProjectEvent | MemberEvent) -> bool:
    project = state.project
    if project is None and isinstance(event, ProjectEvent):
        project = event.project
    return project is not None and project.is_inbox


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
