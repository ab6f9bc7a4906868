"""What other nodes commit reaches this one: by hints, by the log, once and in order."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace

import pytest

from actors import follower as module
from actors.bulletin import Bulletin
from actors.domain.commands import (
    AddComment,
    CreateTask,
    DeleteProject,
    PutMember,
    RemoveMember,
    UpdateProject,
)
from actors.domain.errors import OutcomeUnknown, StateAhead, StoreUnavailable
from actors.domain.events import Batch
from actors.domain.model import ProjectId, Roster, UserId
from actors.domain.state import ProjectState
from actors.follower import Follower
from actors.ports import Audience, Ending
from server.representations import EventCodec
from tests.factories import (
    ADA,
    BOB,
    CYD,
    PROJECT,
    make_batch,
    make_caller,
    make_command,
)
from tests.unit.actors.fake_tail import FakeTail
from tests.unit.actors.fakes import (
    FakeSocket,
    FakeStore,
    Node,
    entries_of,
    running_node,
    settle,
)

ELSEWHERE = ProjectId(8)


@dataclass
class Following:
    """A node that follows the log, and a socket of Ada's that listens."""

    node: Node
    tail: FakeTail
    follower: Follower
    bulletin: Bulletin
    socket: FakeSocket
    losses: list[str] = field(default_factory=list)

    @property
    def store(self) -> FakeStore:
        return self.node.store

    def write(self, *numbers: int, project_id: int = PROJECT) -> None:
        """Have another node make these tasks."""
        for number in numbers:
            self.store.write(make_command(CreateTask, task_id=number), project_id)

    def hint(self, first: int, last: int, *, project_id: int = PROJECT) -> None:
        """Have the hint of these versions arrive."""
        log = self.store.logs[ProjectId(project_id)]
        audience = Audience(members=(), others=frozenset((ADA,)), is_inbox=False)
        self.follower.hear(audience, entries_of(log[first - 1 : last]))

    async def heard(self) -> list[int]:
        """The versions that Ada was told of."""
        await settle()
        return self.socket.versions

    def listener(self, user_id: UserId) -> FakeSocket:
        socket = FakeSocket(make_caller(user_id))
        self.node.feed.attach(socket)
        return socket


@asynccontextmanager
async def follow() -> AsyncIterator[Following]:
    async with running_node() as node:
        registry, losses = node.registry, list[str]()
        bulletin = Bulletin(*registry._around.feeds)
        follower = Follower(
            tail := FakeTail(node.store),
            EventCodec(),
            bulletin,
            registry,
            lost_track=lambda: losses.append("all"),
        )
        registry._around = replace(
            registry._around,
            feeds=(bulletin,),
            follow=follower.follow,
            told=lambda project_id: bulletin.head(project_id) or 0,
        )
        socket = FakeSocket(make_caller(ADA))
        node.feed.attach(socket)
        await follower.start()
        yield Following(node, tail, follower, bulletin, socket, losses)
        await follower.close()


@pytest.fixture
async def following(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Following]:
    """It looks when it is told to, and not by the clock."""
    monkeypatch.setattr(module, "SWEEP_SECONDS", 3600)
    async with follow() as following:
        yield following


async def test_what_is_committed_elsewhere_is_told_though_nobody_sent_a_hint(
    following: Following,
) -> None:
    following.write(1, 2)

    await following.follower.look()

    assert await following.heard() == [2, 3]
    assert len(following.node.registry) == 0


async def test_a_live_project_takes_it_in_as_well(following: Following) -> None:
    actor = await following.node.actor()
    following.write(1, 2)

    await following.follower.look()

    assert actor.state == following.store.state()
    assert await following.heard() == [2, 3]


async def test_a_hint_comes_first_and_the_log_repeats_nothing(
    following: Following,
) -> None:
    actor = await following.node.actor()
    following.write(1, 2)

    following.hint(2, 3)
    following.hint(2, 3)
    assert actor.state.version == 3
    await following.follower.look()

    assert await following.heard() == [2, 3]
    assert following.tail.reads == 0


async def test_a_hint_for_a_project_that_is_not_in_memory_is_told(
    following: Following,
) -> None:
    following.write(1)
    await following.follower.look()
    following.write(2, 3)

    following.hint(3, 4)

    assert await following.heard() == [2, 3, 4]
    assert following.tail.reads == 1


@pytest.mark.parametrize("is_live", [True, False])
async def test_a_lost_hint_is_made_good_in_order_by_the_next(
    following: Following, *, is_live: bool
) -> None:
    if is_live:
        await following.node.actor()
    following.write(1)
    await following.follower.look()
    following.write(2, 3, 4)

    following.hint(4, 5)  # 3 was lost
    assert await following.heard() == [2]
    async with asyncio.timeout(5):
        while await following.heard() != [2, 3, 4, 5]:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.01)


async def test_hints_in_the_wrong_order_are_told_in_the_right_one(
    following: Following,
) -> None:
    actor = await following.node.actor()
    following.write(1, 2)

    following.hint(3, 3)
    following.hint(2, 2)
    await following.follower.look()

    assert await following.heard() == [2, 3]
    assert actor.state.version == 3


async def test_the_first_hint_of_a_project_is_not_believed_to_be_the_first_event(
    following: Following,
) -> None:
    """What came before it may have been lost, so the log is asked."""
    following.write(1, 2)

    following.hint(3, 3)
    assert await following.heard() == []
    await following.follower.look()

    assert await following.heard() == [2, 3]


async def test_what_is_being_committed_is_not_taken_for_that_of_another(
    following: Following,
) -> None:
    """The log may show our own commit before we are told that it succeeded."""
    actor = await following.node.actor()
    command = make_command(CreateTask, task_id=1)
    following.store.gate.clear()
    asked = asyncio.ensure_future(actor.ask(command))
    await following.store.reached()
    shown = make_batch(deepcopy(actor.state), command).entries

    assert actor.hear(shown)
    assert actor.state.version == 1
    following.store.gate.set()

    assert (await asked).version == 2
    assert await following.heard() == [2]


async def test_what_is_heard_during_a_turn_is_taken_in_after_it(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node was quicker to write the next event than we to hear of ours."""
    actor = await following.node.actor()
    append = following.store.append

    async def append_and_be_followed(batches: Sequence[Batch]) -> frozenset[ProjectId]:
        matched = await append(batches)
        following.write(2)
        following.hint(3, 3)
        return matched

    monkeypatch.setattr(following.store, "append", append_and_be_followed)

    assert (await actor.ask(make_command(CreateTask, task_id=1))).version == 2

    assert await following.heard() == [2, 3]
    assert actor.state == following.store.state()


async def test_an_actor_that_is_loaded_tells_what_was_missed_before(
    following: Following,
) -> None:
    """Those who listen are told in order, whoever comes first to load the project."""
    following.write(1, 2)

    actor = await following.node.actor()
    await actor.ask(make_command(CreateTask, task_id=3))

    assert await following.heard() == [2, 3, 4]


async def test_an_actor_that_was_loaded_from_before_the_news_catches_up(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = following.store.load

    async def load_early(project_id: ProjectId) -> ProjectState | None:
        state = await load(project_id)
        following.write(1)
        return state

    monkeypatch.setattr(following.store, "load", load_early)

    actor = await following.node.actor()

    assert actor.state.version == 2
    assert await following.heard() == [2]


async def test_those_who_may_see_it_now_are_told_and_the_removed_no_more(
    following: Following,
) -> None:
    bob, cyd = following.listener(BOB), following.listener(CYD)
    following.store.write(make_command(PutMember, user_id=BOB))
    following.write(1)
    following.store.write(make_command(PutMember, user_id=CYD))
    following.store.write(make_command(RemoveMember, user_id=BOB))
    following.write(2)

    await following.follower.look()

    assert await following.heard() == [2, 3, 4, 5, 6]
    assert cyd.versions == [2, 3, 4, 5, 6]
    assert bob.versions == [2, 5]


async def test_the_parties_of_a_task_hear_of_comments_on_it(
    following: Following,
) -> None:
    bob = following.listener(BOB)
    following.store.write(make_command(PutMember, user_id=BOB))
    following.store.write(make_command(CreateTask, task_id=1, caller=make_caller(BOB)))
    following.store.write(make_command(RemoveMember, user_id=BOB))
    await following.follower.look()
    await settle()
    before = len(bob.versions)
    following.store.write(make_command(AddComment, task_id=1))

    await following.follower.look()
    await settle()

    assert bob.versions[before:] == [5]


async def test_who_hands_a_project_over_hears_of_that_as_the_last(
    following: Following,
) -> None:
    following.store.write(make_command(PutMember, user_id=BOB))
    following.store.write(make_command(UpdateProject, owner_id=BOB))
    following.store.write(
        make_command(RemoveMember, user_id=ADA, caller=make_caller(BOB))
    )
    following.store.write(make_command(CreateTask, task_id=1, caller=make_caller(BOB)))

    await following.follower.look()

    assert await following.heard() == [4, 5, 6]  # what names her, and nothing later


async def test_a_project_deleted_elsewhere_is_gone_here(following: Following) -> None:
    actor = await following.node.actor()
    following.store.write(make_command(DeleteProject))

    await following.follower.look()

    assert actor.state.project is None
    assert await following.heard() == [2]


async def test_an_unseen_project_that_is_deleted_puts_all_in_doubt(
    following: Following,
) -> None:
    following.store.write(make_command(DeleteProject))
    doubts = following.node.recorder.doubts

    await following.follower.look()

    assert following.node.recorder.doubts == doubts + 1


async def test_more_than_can_be_told_has_everybody_come_back(
    following: Following,
) -> None:
    actor = await following.node.actor()
    following.tail.most = 3
    following.write(1, 2, 3, 4)

    assert not await following.follower.look()

    assert following.losses == ["all"]
    assert following.node.registry.peek(PROJECT) is None
    assert (await following.node.actor()).state.version == 5
    assert actor.state.version == 1


async def test_a_database_that_went_back_is_believed(following: Following) -> None:
    following.write(1, 2)
    actor = await following.node.actor()
    following.store.logs[PROJECT] = following.store.logs[PROJECT][:2]
    following.store.states[PROJECT].version = 2
    following.tail.errors.append(StateAhead())

    await following.follower.look()

    assert following.node.registry.peek(PROJECT) is not actor
    assert following.bulletin.head(PROJECT) == 2


async def test_in_a_database_that_went_back_no_version_is_the_same(
    following: Following,
) -> None:
    following.write(1)
    await following.node.actor()
    following.store.logs[PROJECT].pop()
    following.store.states[PROJECT] = ProjectState(project_id=PROJECT)
    following.store.make_project()
    following.write(2)
    following.tail.errors.append(StateAhead())

    await following.follower.look()

    assert (await following.node.actor()).state == following.store.state()


async def test_a_project_that_failed_goes_on_from_nothing_that_was_lost(
    following: Following,
) -> None:
    following.write(1)
    actor = await following.node.actor()
    following.store.errors.append(OutcomeUnknown())
    with pytest.raises(OutcomeUnknown):
        await actor.ask(make_command(CreateTask, task_id=2))
    await settle()
    following.store.logs[PROJECT].pop()
    following.store.states[PROJECT] = ProjectState(project_id=PROJECT)
    following.store.make_project()
    following.tail.errors.append(StateAhead())
    await following.follower.look()
    following.node.clock.advance(60)

    assert (await following.node.actor()).state == following.store.state()


async def test_who_loads_while_the_database_is_away_is_told_so(
    following: Following,
) -> None:
    following.tail.errors.append(StoreUnavailable())

    with pytest.raises(StoreUnavailable):
        await following.node.actor()

    assert (await following.node.actor()).state.version == 1


async def test_nobody_waits_for_a_follower_that_has_ended(
    following: Following,
) -> None:
    asked = asyncio.ensure_future(following.follower.follow())
    await asyncio.sleep(0)

    await following.follower.close()

    with pytest.raises(StoreUnavailable):
        await asked


async def test_it_looks_by_itself_and_goes_on_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.01)
    async with follow() as following:
        following.tail.errors.extend((StoreUnavailable(), ValueError("broken")))
        following.write(1)
        async with asyncio.timeout(5):
            while await following.heard() != [2]:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)


async def test_each_event_is_read_once_by_all_who_lack_it(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE_EVENTS", 3)
    following.store.make_project(ELSEWHERE)
    following.write(*range(1, 8))
    following.write(11, 12, project_id=ELSEWHERE)

    await following.follower.look()
    await settle()

    told = [(m["project_id"], m["version"]) for m in following.socket.messages]
    assert [v for p, v in told if p == PROJECT] == list(range(2, 9))
    assert [v for p, v in told if p == ELSEWHERE] == [1, 2, 3]


async def test_let_go_sockets_have_to_come_back(following: Following) -> None:
    following.node.feed.let_go()
    await settle()

    assert following.socket.ended is Ending.SLOW


async def test_what_is_told_while_a_project_is_loaded_is_neither_lost_nor_repeated(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hint comes after the log was read for the actor, and before it starts."""
    load, events_since = following.store.load, following.store.events_since

    async def load_early(project_id: ProjectId) -> ProjectState | None:
        state = await load(project_id)
        following.write(1)
        return state

    async def read_early(
        project_id: ProjectId, version: int, limit: int | None
    ) -> list[bytes]:
        bodies = await events_since(project_id, version, limit)
        if len(following.store.logs[PROJECT]) == 2:
            following.write(2)
            following.hint(3, 3)
            await following.follower.look()
        return bodies

    monkeypatch.setattr(following.store, "load", load_early)
    monkeypatch.setattr(following.store, "events_since", read_early)

    actor = await following.node.actor()

    assert actor.state == following.store.state()
    await actor.ask(make_command(CreateTask, task_id=3))
    assert await following.heard() == [2, 3, 4]


async def test_what_is_told_while_a_failed_project_comes_back_is_not_lost(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = await following.node.actor()
    following.store.lost.append(OutcomeUnknown())
    with pytest.raises(OutcomeUnknown):
        await actor.ask(make_command(CreateTask, task_id=1))
    await settle()
    await following.follower.look()
    events_since = following.store.events_since

    async def read_early(
        project_id: ProjectId, version: int, limit: int | None
    ) -> list[bytes]:
        bodies = await events_since(project_id, version, limit)
        if len(following.store.logs[PROJECT]) == 2:
            following.write(2)
            following.hint(3, 3)
            await following.follower.look()
        return bodies

    monkeypatch.setattr(following.store, "events_since", read_early)
    following.node.clock.advance(60)

    assert (await following.node.actor()).state == following.store.state()
    assert await following.heard() == [2, 3]


async def test_an_actor_that_goes_while_news_are_read_takes_none_along(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await following.node.actor()
    following.store.make_project(ELSEWHERE)
    following.write(1)
    rosters = following.tail.rosters

    async def let_go_and_read(
        project_ids: Sequence[ProjectId],
    ) -> dict[ProjectId, Roster]:
        following.node.clock.advance(3600)
        await following.node.registry.evict_idle()
        return await rosters(project_ids)

    monkeypatch.setattr(following.tail, "rosters", let_go_and_read)

    await following.follower.look()
    await settle()

    told = [(m["project_id"], m["version"]) for m in following.socket.messages]
    assert sorted(told) == [(PROJECT, 2), (ELSEWHERE, 1)]


async def test_nobody_is_shut_out_between_the_hints_of_one_commit(
    following: Following,
) -> None:
    """The heir is no member any more before becoming the owner."""
    following.store.write(make_command(PutMember, user_id=BOB))
    await following.node.actor()
    sockets = FakeSocket(make_caller(ADA)), FakeSocket(make_caller(BOB))
    for socket in sockets:
        following.node.feed.attach(socket, listens=False)
        await following.node.feed.subscribe(socket, PROJECT)
    following.store.write(make_command(UpdateProject, owner_id=BOB))

    for version in (3, 4, 5):
        following.hint(version, version)
    await following.follower.look()
    await settle()

    assert [socket.ended for socket in sockets] == [None, None]
    assert sockets[1].versions[-3:] == [3, 4, 5]


@pytest.mark.parametrize("is_live", [True, False])
async def test_an_event_that_is_not_understood_keeps_nobody_from_the_others(
    following: Following, *, is_live: bool
) -> None:
    """A node of a later version may have written it."""
    following.store.make_project(ELSEWHERE)
    await following.follower.look()
    if is_live:
        await following.node.actor()
    doubts = following.node.recorder.doubts
    following.write(1)
    following.store.logs[PROJECT][-1] = b'{"type": "task_folded"}'
    following.write(2, project_id=ELSEWHERE)

    assert await following.follower.look()

    await settle()
    told = [(m["project_id"], m["version"]) for m in following.socket.messages]
    assert told == [(ELSEWHERE, 1), (ELSEWHERE, 2)]
    assert following.node.recorder.doubts == doubts + 1
    assert (await following.node.actor()).state == following.store.state()


async def test_an_event_that_an_actor_cannot_take_has_it_read_anew(
    following: Following,
) -> None:
    following.write(1)
    actor = await following.node.actor()
    actor.state.tasks.clear()
    following.store.write(make_command(AddComment, task_id=1))

    assert await following.follower.look()

    assert (await following.node.actor()).state == following.store.state()


async def test_an_actor_is_read_anew_if_the_log_has_not_what_it_needs_next(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await following.node.actor()
    following.write(1, 2)
    events_after = following.tail.events_after

    async def forget_one(
        versions: Mapping[ProjectId, int], limit: int
    ) -> list[tuple[ProjectId, bytes]]:
        return (await events_after(versions, limit))[1:]

    monkeypatch.setattr(following.tail, "events_after", forget_one)

    assert await following.follower.look()

    assert (await following.node.actor()).state == following.store.state()
