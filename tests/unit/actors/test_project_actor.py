"""One project's actor: batches, commits, refusals, other nodes, and failures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy

import pytest

from actors.actor import Committed
from actors.domain.commands import (
    AddComment,
    CreateProject,
    CreateTask,
    DeleteComment,
    DeleteProject,
    PutMember,
    RemoveMember,
    UpdateProject,
    UpdateTask,
)
from actors.domain.errors import (
    ActionForbidden,
    ActorStopped,
    DeadlineExceeded,
    KeyAlreadyUsed,
    MailboxFull,
    OutcomeUnknown,
    StoreUnavailable,
    TaskNotFound,
    UserNotFound,
)
from actors.domain.events import Batch, TaskCreated
from actors.domain.model import MemberRole, ProjectId, TaskId, UserRole
from actors.ports import NoMeter
from actors.project import _CAREFUL_TURNS, ProjectActor
from tests.factories import (
    ADA,
    BOB,
    CYD,
    DAN,
    PROJECT,
    make_caller,
    make_command,
    make_key,
    make_new_state,
)
from tests.unit.actors.fakes import (
    FakeHeld,
    FakeSocket,
    FakeStore,
    Node,
    ask_all,
    entries_of,
    running_node,
    settle,
)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with running_node() as node:
        yield node


def create(number: int, **fields: object) -> CreateTask:
    return make_command(CreateTask, task_id=number, **fields)


def committed(answers: list[object]) -> list[int]:
    return [answer.version for answer in answers if isinstance(answer, Committed)]


def refuse_title(title: str, error: Exception) -> Callable[[Batch], Exception | None]:
    def refuse(batch: Batch) -> Exception | None:
        events = [entry.event for entry in batch.entries]
        titles = [e.task.title for e in events if isinstance(e, TaskCreated)]
        return error if title in titles else None

    return refuse


async def test_an_answer_holds_the_events_and_the_version(node: Node) -> None:
    answer = await (await node.actor()).ask(create(1))

    assert [event.type for event in answer.events] == ["task_created"]
    assert answer.version == 2


async def test_commands_that_wait_together_are_committed_together(node: Node) -> None:
    actor = await node.actor()

    answers = await ask_all(actor, *(create(number) for number in range(1, 51)))

    assert [len(batch.entries) for [batch] in node.store.appends] == [50]
    assert committed(answers) == list(range(2, 52))


async def test_a_batch_is_not_larger_than_its_limit() -> None:
    async with running_node(batch_limit=2) as node:
        await ask_all(await node.actor(), *(create(number) for number in (1, 2, 3)))

    assert [len(batch.entries) for [batch] in node.store.appends] == [2, 1]


async def test_commands_of_a_batch_see_what_earlier_ones_did(node: Node) -> None:
    actor = await node.actor()

    answers = await ask_all(
        actor,
        create(1),
        make_command(UpdateTask, title="New"),
        make_command(PutMember, user_id=BOB, role=MemberRole.VIEWER),
        create(2, caller=make_caller(BOB)),
    )

    assert committed(answers) == [2, 3, 4]
    assert isinstance(answers[3], ActionForbidden)
    assert len(node.store.appends) == 1


async def test_memory_is_never_ahead_of_the_database(node: Node) -> None:
    actor = await node.actor()
    socket = FakeSocket(make_caller(ADA))
    node.feed.attach(socket)
    node.store.gate.clear()

    asked = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()
    await settle()

    assert actor.state == make_new_state()
    assert socket.frames == []
    assert not asked.done()
    node.store.gate.set()
    await asked
    assert actor.state == make_new_state(create(1))
    assert socket.versions == [2]


async def test_a_refusal_is_answered_after_the_commit_it_rests_on(node: Node) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    stranger = make_caller(CYD)

    asked = asyncio.gather(
        actor.ask(create(1)),
        actor.ask(make_command(UpdateTask, task_id=1, title="x", caller=stranger)),
        return_exceptions=True,
    )
    await node.store.reached()
    await settle()

    assert not asked.done()
    assert actor.waiting == 0
    node.store.gate.set()
    made, refusal = await asked
    assert isinstance(made, Committed)
    assert isinstance(refusal, TaskNotFound)


async def test_a_refusal_of_what_was_never_committed_is_not_given(node: Node) -> None:
    actor = await node.actor()
    node.store.errors.append(StoreUnavailable())

    answers = await ask_all(actor, create(1), create(2, caller=make_caller(CYD)))

    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2


async def test_refusals_alone_cost_no_commit(node: Node) -> None:
    actor = await node.actor()

    answers = await ask_all(actor, make_command(UpdateTask), make_command(UpdateTask))

    assert [type(answer) for answer in answers] == [TaskNotFound] * 2
    assert node.store.appends == []


async def test_what_changes_nothing_costs_no_commit(node: Node) -> None:
    actor = await node.actor()
    await actor.ask(create(1))

    answer = await actor.ask(make_command(UpdateTask, title="Write it"))

    assert answer == Committed(events=(), version=2)
    assert len(node.store.appends) == 1


async def test_a_key_is_kept_of_what_changes_nothing_too(node: Node) -> None:
    actor = await node.actor()
    await actor.ask(create(1))

    await actor.ask(make_command(UpdateTask, title="Write it", key=make_key("k")))

    (batch,) = node.store.appends[-1]
    assert batch.entries == ()
    assert [(r.key.key, r.version) for r in batch.receipts] == [("k", 2)]


async def test_a_command_that_cannot_be_carried_out_fails_alone(node: Node) -> None:
    actor = await node.actor()

    answers = await ask_all(actor, create(1), create(2, title="\ud800"), create(3))

    assert committed(answers) == [2, 3]
    assert isinstance(answers[1], UnicodeEncodeError)
    assert sorted(actor.state.tasks) == [1, 3]


async def test_a_cancelled_request_still_commits(node: Node) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    asked = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()

    asked.cancel()
    await settle()
    node.store.gate.set()
    await actor.ask(create(2))

    assert asked.cancelled()
    assert sorted(actor.state.tasks) == [1, 2]
    assert actor.state == node.store.state()
    assert node.recorder.versions == [2, 3]


async def test_a_request_that_is_cancelled_while_it_waits_is_dropped(
    node: Node,
) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    first = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()
    second = asyncio.create_task(actor.ask(create(2)))
    await settle()

    second.cancel()
    await settle()
    node.store.gate.set()
    await first
    await settle()

    assert sorted(node.store.state().tasks) == [1]


async def test_a_key_is_kept_with_the_last_event_that_answers_it(node: Node) -> None:
    actor = await node.actor()
    await actor.ask(create(1))

    await actor.ask(
        make_command(UpdateTask, title="New", assigned_to=BOB, key=make_key("k"))
    )

    (receipt,) = node.store.appends[-1][0].receipts
    assert (receipt.key.key, receipt.version) == ("k", 4)


async def test_messages_left_in_the_mailbox_are_answered(node: Node) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    first = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()
    left = [asyncio.create_task(actor.ask(create(number))) for number in (2, 3)]
    await settle()

    stopping = asyncio.create_task(actor.stop())
    await settle()
    node.store.gate.set()
    await stopping

    assert (await first).version == 2
    for asked in left:
        with pytest.raises(ActorStopped):
            await asked
    assert sorted(node.store.state().tasks) == [1]


async def test_a_stopped_actor_takes_nothing_more(node: Node) -> None:
    actor = await node.actor()
    await actor.stop()
    await actor.stop()

    with pytest.raises(ActorStopped):
        await actor.ask(create(1))


async def test_an_actor_that_was_never_started_can_be_stopped(node: Node) -> None:
    actor = ProjectActor(make_new_state(), node.registry._around)

    await actor.stop()

    with pytest.raises(ActorStopped):
        await actor.ask(create(1))


async def test_nobody_is_told_that_a_started_change_was_not_made(node: Node) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    asked = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()

    await actor.stop(timeout_seconds=0)
    await settle()

    assert asked.done()
    with pytest.raises(OutcomeUnknown):
        await asked
    node.store.gate.set()
    await settle()
    assert sorted(node.store.state().tasks) == [1]


async def test_a_full_mailbox_refuses_and_changes_nothing() -> None:
    async with running_node(mailbox_size=2) as node:
        actor = await node.actor()
        node.store.gate.clear()
        first = asyncio.create_task(actor.ask(create(1)))
        await node.store.reached()
        waiting = [asyncio.create_task(actor.ask(create(n))) for n in (2, 3)]
        await settle()

        with pytest.raises(MailboxFull):
            await actor.ask(create(4))

        node.store.gate.set()
        await asyncio.gather(first, *waiting)
        assert sorted(node.store.state().tasks) == [1, 2, 3]


async def test_a_command_that_waited_too_long_is_not_carried_out(node: Node) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    first = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()

    with pytest.raises(DeadlineExceeded):
        await actor.ask(create(2), timeout_seconds=0)

    node.store.gate.set()
    await first
    await actor.ask(create(3))
    assert sorted(actor.state.tasks) == [1, 3]


async def test_a_project_that_is_behind_catches_up_and_decides_again(
    node: Node,
) -> None:
    actor = await node.actor()
    node.store.write(create(8))

    answer = await actor.ask(create(1))

    assert answer.version == 3
    assert actor.state == node.store.state()
    assert node.recorder.versions == [2, 3]
    assert node.store.locks == 0


async def test_what_was_allowed_before_is_decided_again(node: Node) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    actor = await node.actor()
    node.store.write(make_command(RemoveMember, user_id=BOB))

    (answer,) = await ask_all(actor, create(1, caller=make_caller(BOB)))

    assert isinstance(answer, Exception)
    assert node.store.state().tasks == {}


async def test_already_seen_versions_are_ignored(node: Node) -> None:
    actor = await node.actor()
    await actor.ask(create(1))
    before = deepcopy(actor.state)

    is_taken = actor.hear(entries_of(node.store.logs[PROJECT]))

    assert is_taken
    assert actor.state == before
    assert node.recorder.versions == [2]


async def test_a_gap_is_filled_in_order(node: Node) -> None:
    actor = await node.actor()
    socket = FakeSocket(make_caller(ADA))
    node.feed.attach(socket)
    for number in range(10, 13):
        node.store.write(create(number))

    await actor.ask(create(1))
    await settle()

    assert socket.versions == [2, 3, 4, 5]
    assert actor.state == node.store.state()


async def test_a_long_gap_is_filled_page_by_page(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.project._CATCH_UP_EVENTS", 2)
    actor = await node.actor()
    for number in range(10, 15):
        node.store.write(create(number))

    await actor.ask(create(1))

    assert node.recorder.versions == [2, 3, 4, 5, 6, 7]
    assert node.store.locks == 0


async def test_who_is_behind_twice_locks_the_project(node: Node) -> None:
    actor = await node.actor()
    node.store.intruders.extend([create(8), create(9)])

    answer = await actor.ask(create(1))

    assert node.store.locks == 1
    assert answer.version == 4
    assert node.recorder.versions == [2, 3, 4]
    assert actor.state == node.store.state()


async def test_after_a_race_a_project_is_locked_first_until_it_is_quiet(
    node: Node,
) -> None:
    actor = await node.actor()
    node.store.intruders.extend([create(8), create(9)])
    await actor.ask(create(1))
    node.store.write(create(10))

    answers = [await actor.ask(create(number)) for number in range(20, 40)]

    assert [answer.version for answer in answers] == list(range(6, 26))
    assert node.store.locks == 1 + 1 + _CAREFUL_TURNS
    assert len(node.store.appends) == 2 + 20 - 1 - _CAREFUL_TURNS


async def test_who_comes_while_a_lock_is_waited_for_goes_along(node: Node) -> None:
    actor = await node.actor()
    node.store.intruders.extend([create(8), create(9)])
    await actor.ask(create(1))
    node.store.gate.clear()
    first = asyncio.create_task(actor.ask(create(2)))
    await settle()
    others = asyncio.create_task(ask_all(actor, create(3), create(4)))
    await settle()

    node.store.gate.set()
    answers = [await first, *await others]

    assert committed(answers) == [5, 6, 7]
    assert node.store.locks == 1 + 1


async def test_who_is_refused_under_the_lock_is_found_alone(node: Node) -> None:
    actor = await node.actor()
    node.store.intruders.extend([create(8), create(9)])
    await actor.ask(create(1))
    node.store.refuse = refuse_title("poison", UserNotFound())

    answers = await ask_all(actor, create(2), create(3, title="poison"), create(4))

    assert committed(answers) == [5, 6]
    assert isinstance(answers[1], UserNotFound)


async def test_who_cannot_be_locked_goes_the_other_way_next_time(node: Node) -> None:
    """It may be too far behind to catch up while others wait for the lock."""
    actor = await node.actor()
    node.store.intruders.extend([create(8), create(9)])
    await actor.ask(create(1))
    node.store.write(create(10))
    node.store.read_errors.append(StoreUnavailable())

    with pytest.raises(StoreUnavailable):
        await actor.ask(create(2))
    answer = await actor.ask(create(3))

    assert answer.version == 6
    assert node.store.locks == 2


class CountingMeter(NoMeter):
    def __init__(self) -> None:
        self.counted: list[tuple[str, int]] = []

    def conflicted(self, commands: int) -> None:
        self.counted.append(("conflict", commands))

    def caught_up(self, events: int) -> None:
        self.counted.append(("catch-up", events))

    def locked(self) -> None:
        self.counted.append(("lock", 1))


async def test_races_are_counted() -> None:
    async with running_node(meter=(meter := CountingMeter())) as node:
        node.store.intruders.extend([create(8), create(9)])
        await ask_all(await node.actor(), create(1), create(2), create(3))

    assert meter.counted == [
        ("conflict", 3),
        ("catch-up", 1),
        ("conflict", 3),
        ("catch-up", 1),
        ("lock", 1),
    ]


async def test_a_locked_project_may_have_nothing_left_to_write(node: Node) -> None:
    node.store.write(create(5))
    actor = await node.actor()
    node.store.intruders.extend(
        [
            make_command(UpdateTask, task_id=5, title="Half"),
            make_command(UpdateTask, task_id=5, title="Done"),
        ]
    )

    answer = await actor.ask(make_command(UpdateTask, task_id=5, title="Done"))

    assert answer == Committed(events=(), version=4)
    assert node.store.locks == 1


async def test_a_database_that_is_away_while_catching_up_changes_nothing(
    node: Node,
) -> None:
    actor = await node.actor()
    node.store.write(create(8))
    node.store.read_errors.append(StoreUnavailable())

    with pytest.raises(StoreUnavailable):
        await actor.ask(create(1))

    assert (await actor.ask(create(2))).version == 3


@pytest.mark.parametrize("error", [StoreUnavailable(), UserNotFound()])
async def test_a_failure_under_the_lock_is_answered(
    node: Node, error: Exception
) -> None:
    actor = await node.actor()
    node.store.intruders.extend([create(8), create(9)])
    node.store.refuse = lambda batch: error if batch.expected == 3 else None

    with pytest.raises(type(error)):
        await actor.ask(create(1))

    node.store.refuse = lambda batch: None
    assert (await actor.ask(create(2))).version == 4


async def test_a_row_that_the_database_refuses_is_found_among_its_neighbours(
    node: Node,
) -> None:
    actor = await node.actor()
    node.store.refuse = refuse_title("poison", UserNotFound())

    answers = await ask_all(
        actor, create(1), create(2, title="poison"), create(3), create(4)
    )

    assert [type(answer) for answer in answers] == [
        Committed,
        UserNotFound,
        Committed,
        Committed,
    ]
    assert sorted(actor.state.tasks) == [1, 3, 4]
    assert node.recorder.versions == [2, 3, 4]


async def test_a_row_that_nobody_expected_is_told_as_it_is(node: Node) -> None:
    actor = await node.actor()
    defect = ZeroDivisionError("a defect")
    node.store.refuse = refuse_title("poison", defect)

    answers = await ask_all(actor, create(1), create(2, title="poison"))

    assert answers[1] is defect
    assert sorted(actor.state.tasks) == [1]


async def test_the_second_of_two_with_one_key_is_refused(node: Node) -> None:
    actor = await node.actor()
    used: set[str] = set()

    def refuse(batch: Batch) -> Exception | None:
        keys = [receipt.key.key for receipt in batch.receipts]
        if len(keys) != len(set(keys)) or used.intersection(keys):
            return KeyAlreadyUsed()
        used.update(keys)
        return None

    node.store.refuse = refuse
    answers = await ask_all(
        actor, create(1, key=make_key("k")), create(2, key=make_key("k"))
    )

    assert committed(answers) == [2]
    assert isinstance(answers[1], KeyAlreadyUsed)


async def test_a_database_that_is_away_leaves_memory_alone(node: Node) -> None:
    actor = await node.actor()
    await actor.ask(create(1))
    before = deepcopy(actor.state)
    node.store.errors.append(StoreUnavailable())

    answers = await ask_all(actor, create(2), create(3))

    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    assert actor.state == before
    assert node.recorder.versions == [2]
    assert (await actor.ask(create(4))).version == 3


@pytest.mark.parametrize("is_lost_after_commit", [True, False])
async def test_an_unknown_outcome_stops_the_actor_and_the_reload_tells(
    node: Node,
    is_lost_after_commit: bool,  # a parameter of the case
) -> None:
    actor = await node.actor()
    errors = node.store.lost if is_lost_after_commit else node.store.errors
    errors.append(OutcomeUnknown())

    answers = await ask_all(actor, create(1))

    assert [type(answer) for answer in answers] == [OutcomeUnknown]
    await settle()
    assert node.registry.live(PROJECT) is None
    node.clock.advance(10)
    reloaded = await node.actor()
    assert reloaded is not actor
    assert (TaskId(1) in reloaded.state.tasks) is is_lost_after_commit


async def test_an_unknown_outcome_under_the_lock_stops_the_actor(node: Node) -> None:
    actor = await node.actor()
    node.store.intruders.extend([create(8), create(9)])
    node.store.refuse = _lose_under_lock(node.store)

    with pytest.raises(OutcomeUnknown):
        await actor.ask(create(1))

    await settle()
    assert node.registry.live(PROJECT) is None


def _lose_under_lock(store: FakeStore) -> Callable[[Batch], Exception | None]:
    def refuse(batch: Batch) -> Exception | None:
        if store.locks:
            store.lost.append(OutcomeUnknown())
        return None

    return refuse


async def test_who_waits_behind_a_turn_that_is_stuck_is_answered_in_time() -> None:
    async with running_node(patience_seconds=0.05) as node:
        actor = await node.actor()
        node.store.gate.clear()
        first = asyncio.create_task(actor.ask(create(1)))
        await node.store.reached()

        with pytest.raises(DeadlineExceeded):
            await actor.ask(create(2))
        with pytest.raises(OutcomeUnknown):
            await first
        node.store.gate.set()
        await settle()

        assert sorted(node.store.state().tasks) == [1]
        assert actor.state == node.store.state()


async def test_those_who_wait_for_an_actor_that_failed_are_answered(
    node: Node,
) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    first = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()
    waiting = asyncio.create_task(actor.ask(create(2)))
    await settle()
    node.store.errors.append(OutcomeUnknown())
    node.store.gate.set()

    with pytest.raises(OutcomeUnknown):
        await first
    with pytest.raises(ActorStopped):
        await waiting


async def test_a_former_assignee_hears_of_losing_the_task(node: Node) -> None:
    actor = await node.actor()

    await actor.ask(create(1, assigned_to=BOB))
    await actor.ask(make_command(UpdateTask, assigned_to=CYD))
    await actor.ask(make_command(UpdateTask, title="x"))

    assert node.recorder.heard_by(BOB) == ["task_created", "task_assigned"]
    assert node.recorder.heard_by(CYD) == ["task_assigned", "task_updated"]


async def test_who_sees_a_task_hears_what_is_said_of_it_within_one_batch(
    node: Node,
) -> None:
    actor = await node.actor()

    await ask_all(
        actor,
        create(2, assigned_to=DAN),
        create(1, assigned_to=BOB),
        make_command(AddComment, caller=make_caller(BOB)),
        make_command(UpdateTask, assigned_to=CYD),
        make_command(DeleteComment),
    )

    assert node.recorder.heard_by(BOB) == [
        "task_created",
        "comment_created",
        "task_assigned",
    ]
    assert node.recorder.heard_by(CYD) == ["task_assigned", "comment_deleted"]
    assert node.recorder.heard_by(DAN) == ["task_created"]


async def test_what_is_said_elsewhere_is_heard_here(node: Node) -> None:
    actor = await node.actor()
    node.store.write(create(1, assigned_to=BOB))
    node.store.write(make_command(AddComment))

    await actor.catch_up()

    assert node.recorder.heard_by(BOB) == ["task_created", "comment_created"]


async def test_a_removed_member_hears_of_it_and_of_nothing_later(node: Node) -> None:
    actor = await node.actor()

    await ask_all(
        actor,
        create(1),
        make_command(PutMember, user_id=BOB),
        create(2),
        make_command(RemoveMember, user_id=BOB),
        create(3),
    )

    assert len(node.store.appends) == 1
    assert node.recorder.heard_by(BOB) == [
        "member_added",
        "task_created",
        "member_removed",
    ]


async def test_who_is_removed_missed_nothing_of_the_batch_before_that(
    node: Node,
) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    actor = await node.actor()

    await ask_all(actor, create(1), make_command(RemoveMember, user_id=BOB))

    assert node.recorder.heard_by(BOB) == ["task_created", "member_removed"]


async def test_a_new_member_hears_nothing_of_the_batch_before_that(
    node: Node,
) -> None:
    actor = await node.actor()

    await ask_all(actor, create(1), make_command(PutMember, user_id=BOB))

    assert node.recorder.heard_by(BOB) == ["member_added"]


async def test_a_member_who_comes_back_in_the_same_batch_missed_what_was_between(
    node: Node,
) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    actor = await node.actor()

    await ask_all(
        actor,
        make_command(RemoveMember, user_id=BOB),
        create(1),
        make_command(PutMember, user_id=BOB),
    )

    assert node.recorder.heard_by(BOB) == ["member_removed", "member_added"]


async def test_everyone_in_it_hears_that_a_project_is_deleted(node: Node) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    actor = await node.actor()

    await actor.ask(make_command(DeleteProject))

    assert node.recorder.heard_by(ADA) == ["project_deleted"]
    assert node.recorder.heard_by(BOB) == ["project_deleted"]
    assert actor.state.project is None


async def test_admins_hear_what_is_in_an_inbox_and_managers_do_not(
    node: Node,
) -> None:
    inbox = make_command(CreateProject, project_id=8, owner_id=BOB, is_inbox=True)
    node.store.write(inbox, 8)
    owner = FakeSocket(make_caller(BOB))
    admin = FakeSocket(make_caller(90, UserRole.ADMIN))
    manager = FakeSocket(make_caller(91, UserRole.MANAGER))
    for socket in (owner, admin, manager):
        node.feed.attach(socket)

    await (await node.actor(8)).ask(create(1, caller=make_caller(BOB)))
    await (await node.actor()).ask(create(2))

    assert owner.types == ["task_created"]
    assert admin.types == ["task_created", "task_created"]
    assert manager.types == ["task_created"]


async def test_who_made_a_project_hears_of_it(node: Node) -> None:
    socket = FakeSocket(make_caller(CYD))
    node.feed.attach(socket)

    await node.registry.create(make_command(CreateProject, project_id=8, owner_id=CYD))

    assert socket.types == ["project_created"]


async def test_both_owners_hear_that_a_project_was_handed_over(node: Node) -> None:
    actor = await node.actor()

    await actor.ask(make_command(UpdateProject, owner_id=BOB))

    assert node.recorder.heard_by(ADA) == ["project_updated", "member_added"]
    assert node.recorder.heard_by(BOB) == ["project_updated", "member_added"]


async def test_events_for_the_same_users_are_published_together(node: Node) -> None:
    actor = await node.actor()
    socket = FakeSocket(make_caller(ADA))
    node.feed.attach(socket)

    await ask_all(actor, create(1), create(2), create(3, assigned_to=BOB))

    assert [frames.count(b"\n") for frames in socket.frames] == [3]


async def test_a_change_of_members_is_published_apart_from_tasks(node: Node) -> None:
    calls: list[list[str]] = []
    node.recorder.publish = lambda audience, entries: calls.append(  # type: ignore[method-assign]
        [entry.event.type for entry in entries]
    )
    node.store.write(make_command(PutMember, user_id=BOB, role=MemberRole.MAINTAINER))
    actor = await node.actor()
    bob = make_caller(BOB)

    await ask_all(
        actor,
        create(1, caller=bob),
        make_command(RemoveMember, user_id=BOB),
        create(2),
    )

    assert calls == [["task_created"], ["member_removed"], ["task_created"]]


async def test_a_reader_gets_what_another_node_wrote(node: Node) -> None:
    actor = await node.actor()
    socket = FakeSocket(make_caller(ADA))
    node.feed.attach(socket)
    node.store.write(create(1))

    await actor.reach(2)

    assert actor.state == make_new_state(create(1))
    assert socket.versions == [2]


async def test_a_reader_of_what_is_here_does_not_wait(node: Node) -> None:
    actor = await node.actor()
    node.store.read_errors.append(StoreUnavailable())

    await actor.reach(1)

    assert len(node.store.read_errors) == 1


async def test_a_reader_of_what_there_is_not_is_not_kept_waiting(node: Node) -> None:
    actor = await node.actor()

    await actor.reach(99)

    assert actor.state.version == 1


async def test_a_reader_who_comes_during_a_catch_up_gets_another(node: Node) -> None:
    """What they know of may have been committed after the log was read."""
    actor = await node.actor()
    began, go_on = asyncio.Event(), asyncio.Event()
    read = node.store.events_since

    async def slowly(*asked: object) -> list[bytes]:
        found = await read(*asked)  # type: ignore[arg-type]  # the same arguments
        began.set()
        await go_on.wait()
        return found

    node.store.events_since = slowly  # type: ignore[method-assign]  # a fake
    first = asyncio.create_task(actor.reach(2))
    await began.wait()
    node.store.write(create(1))

    second = asyncio.create_task(actor.reach(2))
    await settle()
    go_on.set()
    await asyncio.gather(first, second)

    assert actor.state.version == 2


async def test_readers_are_told_that_the_database_is_away(node: Node) -> None:
    actor = await node.actor()
    node.store.read_errors.append(StoreUnavailable())

    with pytest.raises(StoreUnavailable):
        await actor.reach(2)
    assert (await actor.ask(create(1))).version == 2


async def test_readers_of_an_actor_that_stops_or_fails_are_not_left_waiting(
    node: Node,
) -> None:
    actor = await node.actor()
    node.store.read_errors.append(RuntimeError("boom"))

    with pytest.raises(ActorStopped):
        await actor.reach(2)
    await settle()
    with pytest.raises(ActorStopped):
        await actor.reach(2)


async def test_a_reader_waits_for_so_long_only(node: Node) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    asked = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()

    with pytest.raises(StoreUnavailable):
        await actor.reach(3, timeout_seconds=0)

    node.store.gate.set()
    await asked


async def test_readers_who_come_during_a_turn_that_takes_more_along_are_served(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What wakes the actor for them is taken with the commands, and then is gone."""
    actor = await node.actor()
    exclusive, readers = node.store.exclusive, []

    @asynccontextmanager
    async def exclusive_with_readers(project_id: ProjectId) -> AsyncIterator[FakeHeld]:
        async with exclusive(project_id) as held:
            readers.append(asyncio.ensure_future(actor.reach(99, timeout_seconds=5)))
            await asyncio.sleep(0)
            yield held

    monkeypatch.setattr(node.store, "exclusive", exclusive_with_readers)
    node.store.intruders += [create(11), create(12)]

    await actor.ask(create(1))

    assert len(readers) == 1
    async with asyncio.timeout(1):
        await readers[0]
