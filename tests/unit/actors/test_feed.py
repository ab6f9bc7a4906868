"""Subscriptions: exactly the events, in order, or a snapshot that says so."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from time import perf_counter

import pytest

from actors.domain.commands import (
    AddComment,
    CreateTask,
    DeleteProject,
    PutMember,
    RemoveMember,
    UpdateProject,
    UpdateTask,
)
from actors.domain.criteria import Criteria
from actors.domain.errors import ProjectNotFound, StoreUnavailable
from actors.domain.model import MemberRole, ProjectId, TaskStatus, UserId, UserRole
from actors.domain.state import ProjectState
from actors.latecomers import BUFFER_BYTES
from actors.parcels import PARCEL_BYTES
from actors.ports import Ending, Frames
from tests.factories import ADA, BOB, CYD, PROJECT, make_caller, make_command
from tests.unit.actors.fakes import (
    FakeSocket,
    Node,
    ask_all,
    running_node,
    settle,
    until,
)

PENDING = Criteria(statuses=frozenset({TaskStatus.PENDING}))
DONE = Criteria(statuses=frozenset({TaskStatus.COMPLETED}))


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with running_node() as node:
        yield node


def create(number: int, **fields: object) -> CreateTask:
    return make_command(CreateTask, task_id=number, **fields)


async def write(node: Node, count: int, start: int = 1) -> None:
    actor = await node.actor()
    await ask_all(actor, *(create(number) for number in range(start, start + count)))
    await settle()


async def subscribed(  # noqa: PLR0913 (each test names one or two)
    node: Node,
    *,
    user_id: int = ADA,
    role: UserRole = UserRole.USER,
    session: int = 1,
    is_together: bool = False,
    since: int | None = None,
    wants_snapshot: bool = False,
    criteria: Criteria | None = None,
) -> FakeSocket:
    socket = FakeSocket(make_caller(user_id, role), session, is_together=is_together)
    node.feed.attach(socket)
    await node.feed.subscribe(
        socket,
        PROJECT,
        since=since,
        wants_snapshot=wants_snapshot,
        criteria=criteria,
    )
    return socket


def told(*versions: int) -> list[tuple[str, int]]:
    return [("task_created", version) for version in versions]


async def test_who_subscribes_is_told_where_and_hears_what_follows(node: Node) -> None:
    await write(node, 2)
    socket = await subscribed(node)

    await write(node, 2, start=3)

    assert socket.stream == [("subscribed", 3), *told(4, 5)]


@pytest.mark.parametrize("is_together", [False, True])
@pytest.mark.parametrize("since", range(1, 7))
async def test_who_resumes_gets_exactly_what_was_missed(
    node: Node, since: int, is_together: bool
) -> None:
    await write(node, 5)

    socket = await subscribed(node, since=since, is_together=is_together)

    missed = told(*range(since + 1, 7))
    assert socket.stream == [*missed, ("subscribed", 6)]
    assert len(socket.frames) == 1 + bool(missed)


async def test_what_waits_together_names_its_versions(node: Node) -> None:
    await write(node, 4)

    socket = await subscribed(node, since=2, is_together=True)

    message = socket.messages[0]
    assert (message["from"], message["to"], message["project_id"]) == (3, 5, PROJECT)


async def test_a_missed_part_of_the_log_is_read_once_for_all(node: Node) -> None:
    for number in range(1, 51):
        node.store.write(create(number))
    reads: list[int] = []
    read = node.store.events_since

    async def counted(project_id: ProjectId, version: int, limit: int) -> list[bytes]:
        reads.append(version)
        return await read(project_id, version, limit)

    node.store.events_since = counted  # type: ignore[method-assign,assignment]  # a fake
    sockets = [await subscribed(node, since=1 + n % 50) for n in range(100)]
    await until(lambda: all(socket.stream for socket in sockets))

    for n, socket in enumerate(sockets):
        missed = told(*range(2 + n % 50, 52))
        assert socket.stream == [*missed, ("subscribed", 51)]
    assert len(reads) <= 2


@pytest.mark.parametrize("since", [0, 99])
async def test_who_missed_too_much_or_knows_too_much_gets_the_state(
    node: Node, monkeypatch: pytest.MonkeyPatch, since: int
) -> None:
    monkeypatch.setattr("actors.recalls.RING_EVENTS", 2)
    node.store.write(create(1))
    node.store.write(create(2))

    socket = await subscribed(node, since=since)
    await until(lambda: len(socket.messages) == 2)
    await write(node, 1, start=3)

    assert socket.stream == [("snapshot", 3), ("subscribed", 3), *told(4)]
    assert socket.messages[0]["tasks"] == [1, 2]


async def test_a_log_that_does_not_go_back_so_far_means_the_state(node: Node) -> None:
    for number in range(1, 4):
        node.store.write(create(number))
    await node.actor()
    node.store.logs[PROJECT][1] = node.store.logs[PROJECT][2]  # version 2 is gone
    del node.store.logs[PROJECT][2]

    socket = await subscribed(node, since=1)
    await until(lambda: len(socket.messages) == 2)

    assert socket.stream == [("snapshot", 4), ("subscribed", 4)]


async def test_a_snapshot_is_made_once_for_all_who_ask(node: Node) -> None:
    made: list[int] = []
    snapshot = node.wording.snapshot

    async def counted(*asked: object) -> tuple[bytes, ...]:
        made.append(1)
        return await snapshot(*asked)  # type: ignore[arg-type]  # the same arguments

    node.wording.snapshot = counted  # type: ignore[method-assign,assignment]  # a fake
    sockets = [await subscribed(node, wants_snapshot=True) for _ in range(50)]
    await until(lambda: all(len(socket.messages) == 2 for socket in sockets))

    assert all(s.stream == [("snapshot", 1), ("subscribed", 1)] for s in sockets)
    assert len({id(socket.frames[0]) for socket in sockets}) == 1
    assert len(made) == 1


async def test_events_during_a_snapshot_follow_it(node: Node) -> None:
    snapshot = node.wording.snapshot
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(*asked: object) -> tuple[bytes, ...]:
        frames = await snapshot(*asked)  # type: ignore[arg-type]  # the same arguments
        began.set()
        await go_on.wait()
        return frames

    node.wording.snapshot = slowly  # type: ignore[method-assign,assignment]  # a fake
    socket = await subscribed(node, wants_snapshot=True)
    await began.wait()
    await write(node, 3)
    assert socket.stream == []
    go_on.set()
    await until(lambda: len(socket.messages) == 5)

    assert socket.stream == [("snapshot", 1), ("subscribed", 1), *told(2, 3, 4)]


async def test_a_project_that_one_may_not_see_is_not_there(node: Node) -> None:
    with pytest.raises(ProjectNotFound):
        await subscribed(node, user_id=CYD)


async def test_one_write_a_socket_a_pass(node: Node) -> None:
    actor = await node.actor()
    sockets = [await subscribed(node) for _ in range(3)]

    await ask_all(actor, *(create(number) for number in range(1, 11)))
    await settle()

    for socket in sockets:
        assert socket.stream == [("subscribed", 1), *told(*range(2, 12))]
        assert len(socket.frames) == 2
    assert len({id(socket.frames[1]) for socket in sockets}) == 1


async def test_a_reply_comes_after_what_was_published_before_it(node: Node) -> None:
    socket = await subscribed(node)
    actor = await node.actor()
    asked = asyncio.create_task(actor.ask(create(1)))
    while actor.state.version == 1:  # noqa: ASYNC110 (no pass may run in between)
        await asyncio.sleep(0)

    node.feed.say(socket, (b'{"type":"pong","version":0}\n',))

    assert socket.stream == [("subscribed", 1), *told(2), ("pong", 0)]
    await asked
    await settle()
    assert len(socket.messages) == 3


async def test_what_another_node_wrote_meanwhile_is_no_gap(node: Node) -> None:
    socket = await subscribed(node)
    await write(node, 1)
    await node.registry.drop(PROJECT)
    for number in range(10, 15):
        node.store.write(create(number))

    await write(node, 1, start=20)
    await until(lambda: len(socket.messages) == 8)

    assert socket.stream == [("subscribed", 1), *told(*range(2, 9))]


async def test_who_was_removed_by_another_node_gets_nothing_of_what_followed(
    node: Node,
) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    bob, ada = await subscribed(node, user_id=BOB), await subscribed(node)
    await node.registry.drop(PROJECT)
    node.store.write(make_command(RemoveMember, user_id=BOB))
    node.store.write(create(1))

    await write(node, 1, start=2)
    await until(lambda: len(ada.messages) == 4)

    assert bob.stream == [("subscribed", 2), ("unsubscribed", 0)]
    assert bob.ended is Ending.FORBIDDEN


async def test_who_was_removed_elsewhere_gets_nothing_that_was_read_for_others(
    node: Node,
) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    bob = await subscribed(node, user_id=BOB)
    bob.fake.kept = BUFFER_BYTES
    await write(node, 1)
    await node.registry.drop(PROJECT)
    node.store.write(make_command(RemoveMember, user_id=BOB))
    await write(node, 1, start=2)
    ada = await subscribed(node, since=2)
    await until(lambda: len(ada.messages) == 4)

    bob.fake.read()
    await until(lambda: bob.lag is None)
    await write(node, 1, start=3)

    assert bob.stream == [("subscribed", 2), ("unsubscribed", 0)]
    assert bob.ended is Ending.FORBIDDEN


async def test_a_database_that_lost_events_is_told_of_by_a_snapshot(
    node: Node,
) -> None:
    await write(node, 3)
    socket = await subscribed(node)
    node.feed.begin(PROJECT, 2)
    await until(lambda: "snapshot" in socket.types)

    assert socket.stream[0] == ("subscribed", 4)


async def test_a_removed_member_gets_nothing_of_a_later_version(node: Node) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    bob, ada = await subscribed(node, user_id=BOB), await subscribed(node)
    actor = await node.actor()

    await ask_all(
        actor,
        create(1),
        make_command(RemoveMember, user_id=BOB),
        create(2),
        make_command(PutMember, user_id=BOB),
        create(3),
    )
    await settle()

    assert bob.stream == [
        ("subscribed", 2),
        ("task_created", 3),
        ("member_removed", 4),
        ("unsubscribed", 0),
    ]
    assert bob.ended is Ending.FORBIDDEN
    assert [version for _, version in ada.stream] == [2, 3, 4, 5, 6, 7]


async def test_an_admin_who_is_removed_as_a_member_sees_on(node: Node) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    bob = await subscribed(node, user_id=BOB, role=UserRole.ADMIN)
    actor = await node.actor()

    await ask_all(actor, make_command(RemoveMember, user_id=BOB), create(1))
    await settle()

    assert bob.ended is None
    assert [version for _, version in bob.stream] == [2, 3, 4]


@pytest.mark.parametrize("is_member", [False, True])
async def test_a_handover_shuts_nobody_out(node: Node, is_member: bool) -> None:
    if is_member:
        node.store.write(make_command(PutMember, user_id=BOB))
    people = [await subscribed(node)]
    if is_member:
        people.append(await subscribed(node, user_id=BOB))
    actor = await node.actor()

    await actor.ask(make_command(UpdateProject, owner_id=BOB))
    await actor.ask(create(1))
    await settle()

    head = actor.state.version
    for person in people:
        assert person.ended is None
        assert person.versions[-1] == head


async def test_a_deleted_project_ends_its_subscriptions_only(node: Node) -> None:
    socket = await subscribed(node)
    actor = await node.actor()

    await actor.ask(make_command(DeleteProject))
    await settle()

    assert socket.types == ["subscribed", "project_deleted", "unsubscribed"]
    assert socket.ended is None
    assert socket.seats == ()


async def test_others_have_their_turns_while_a_project_ends(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.rounds.SLICE_SECONDS", -1)  # a socket a slice
    sockets = [await subscribed(node) for _ in range(20)]
    left = set()

    actor = await node.actor()
    asked = asyncio.create_task(actor.ask(make_command(DeleteProject)))
    while any(socket.seats for socket in sockets):
        await asyncio.sleep(0)
        left.add(sum(len(socket.seats) for socket in sockets))
    await asked

    assert len(left) > 10
    types = ["subscribed", "project_deleted", "unsubscribed"]
    assert all(socket.types == types for socket in sockets)


async def test_another_role_is_another_right(node: Node) -> None:
    one = await subscribed(node, user_id=BOB, role=UserRole.MANAGER, session=5)
    other = await subscribed(node, user_id=ADA, role=UserRole.ADMIN, session=6)

    node.feed.reseat({5: UserRole.USER, 6: UserRole.USER})
    await write(node, 1)

    assert one.stream == [("subscribed", 1), ("unsubscribed", 0)]
    assert one.ended is Ending.FORBIDDEN
    assert other.stream == [("subscribed", 1), *told(2)]


async def test_a_new_role_in_a_project_at_rest_is_looked_at_on_return(
    node: Node,
) -> None:
    ada = await subscribed(node, session=5)
    same = await subscribed(node, session=6)
    await node.registry.drop(PROJECT)

    node.feed.reseat({5: UserRole.ADMIN, 6: UserRole.USER})

    assert ada.stream == [("subscribed", 1)]
    assert ada.ended is Ending.UNAVAILABLE
    assert same.ended is None


async def test_an_ended_session_gets_nothing_more(node: Node) -> None:
    socket = await subscribed(node, session=5)
    actor = await node.actor()
    asked = asyncio.create_task(actor.ask(create(1)))
    while actor.state.version == 1:  # noqa: ASYNC110 (no pass may run in between)
        await asyncio.sleep(0)

    node.feed.end_sessions(frozenset({5}))
    await asked
    await settle()

    assert socket.stream == [("subscribed", 1)]
    assert socket.ended is Ending.SESSION_ENDED


async def test_unsubscribing_is_confirmed_and_silences(node: Node) -> None:
    socket = await subscribed(node)

    assert node.feed.unsubscribe(socket, PROJECT)
    assert not node.feed.unsubscribe(socket, PROJECT)
    await write(node, 1)

    assert socket.types == ["subscribed", "unsubscribed"]


async def test_a_second_subscription_takes_the_place_of_the_first(node: Node) -> None:
    socket = await subscribed(node)
    await write(node, 2)

    await node.feed.subscribe(socket, PROJECT, since=2)
    await write(node, 1, start=5)

    assert socket.stream == [
        ("subscribed", 1),
        *told(2, 3),
        *told(3),
        ("subscribed", 3),
        *told(4),
    ]


@pytest.mark.parametrize("is_together", [False, True])
async def test_who_falls_behind_gets_everything_later(
    node: Node, is_together: bool
) -> None:
    slow = await subscribed(node, is_together=is_together)
    other = await subscribed(node)
    slow.fake.kept = BUFFER_BYTES
    slow.fake.is_stuck = True

    for start in range(1, 200, 10):
        await write(node, 10, start=start)
    before = len(slow.frames)
    slow.fake.is_stuck = False
    slow.fake.read()
    await until(lambda: slow.lag is None)

    assert before == 1
    assert slow.stream == other.stream == [("subscribed", 1), *told(*range(2, 202))]
    assert max(map(len, slow.frames)) < BUFFER_BYTES


async def test_who_falls_behind_further_than_the_ring_gets_the_state(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.recalls.RING_EVENTS", 5)
    slow = await subscribed(node)
    channel = slow.seats[0].channel
    channel.ring._most_events = 5
    slow.fake.kept = BUFFER_BYTES

    await write(node, 20)
    slow.fake.read()
    await until(lambda: slow.lag is None and len(slow.messages) > 1)
    await write(node, 1, start=50)

    assert slow.stream == [("subscribed", 1), ("snapshot", 21), *told(22)]


async def test_a_large_snapshot_goes_out_piece_by_piece(node: Node) -> None:
    node.wording.padding = 500_000
    socket = await subscribed(node, wants_snapshot=True)
    socket.fake.is_stuck = True
    await until(lambda: socket.lag is not None)
    await write(node, 2)
    node.feed.say(socket, (b'{"type":"pong","version":0}\n',))
    while len(socket.frames) < 16:
        await asyncio.sleep(0.001)
        socket.fake.read()
    await until(lambda: socket.lag is None and len(socket.messages) == 5)

    assert socket.stream[0] == ("snapshot", 1)
    assert sorted(socket.stream[1:]) == sorted(
        [("pong", 0), ("subscribed", 1), *told(2, 3)]
    )
    assert socket.fake.most <= BUFFER_BYTES


async def test_who_does_not_read_at_all_is_ended(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.latecomers.SLOW_SECONDS", 0.05)
    slow = await subscribed(node)
    slow.fake.kept = BUFFER_BYTES

    await write(node, 1)
    await until(lambda: slow.ended is not None)

    assert slow.ended is Ending.SLOW
    assert node.feed.behind == 0


async def test_who_talks_without_listening_is_ended(node: Node) -> None:
    slow = await subscribed(node)
    slow.fake.kept = BUFFER_BYTES

    for _ in range(200):
        node.feed.say(slow, (b"pong\n",))

    assert slow.ended is Ending.SLOW


async def test_who_is_behind_is_owed_few_bytes_of_replies(node: Node) -> None:
    slow = await subscribed(node)
    slow.fake.kept = BUFFER_BYTES

    for _ in range(3):
        node.feed.say(slow, (b"x" * 6000,))

    assert slow.ended is Ending.SLOW


async def test_a_filter_tells_what_matches_and_what_left(node: Node) -> None:
    plain = await subscribed(node, criteria=PENDING)
    together = await subscribed(node, criteria=PENDING, is_together=True)
    actor = await node.actor()
    done = make_command(UpdateTask, task_id=1, status=TaskStatus.IN_PROGRESS)

    await actor.ask(create(1))
    await actor.ask(create(2, status=TaskStatus.COMPLETED))
    await actor.ask(done)
    await actor.ask(make_command(UpdateTask, task_id=1, title="x"))
    await actor.ask(create(3))
    await settle()

    expected = [("subscribed", 1), *told(2), ("task_left", 4), *told(6)]
    assert plain.stream == together.stream == expected
    assert plain.messages[2] == {
        "type": "task_left",
        "project_id": PROJECT,
        "version": 4,
        "task_id": 1,
    }
    ranges = [(m["from"], m["to"]) for m in together.messages[1:]]
    assert ranges[0][0] == 2
    assert all(after[0] == before[1] + 1 for before, after in pairwise(ranges))


async def test_a_filter_hides_comments_of_other_tasks(node: Node) -> None:
    actor = await node.actor()
    await actor.ask(create(1))
    await actor.ask(create(2, status=TaskStatus.COMPLETED))
    socket = await subscribed(node, criteria=PENDING)

    await actor.ask(make_command(AddComment, task_id=1, comment_id=1))
    await actor.ask(make_command(AddComment, task_id=2, comment_id=2))
    await settle()

    assert socket.stream == [("subscribed", 3), ("comment_created", 4)]


async def test_comments_are_not_lost_in_a_project_at_rest(node: Node) -> None:
    actor = await node.actor()
    await actor.ask(create(1))
    slow = await subscribed(node, criteria=PENDING)
    slow.fake.kept = BUFFER_BYTES
    for number in (1, 2):
        await actor.ask(make_command(AddComment, task_id=1, comment_id=number))
        await settle()
    await node.registry.drop(PROJECT)

    slow.fake.read()
    await until(lambda: slow.lag is None and not slow.seats[0].is_waiting)

    comments = [("comment_created", 3), ("comment_created", 4)]
    assert slow.stream == [("subscribed", 2), *comments]


async def test_a_filtered_snapshot_has_what_matches(node: Node) -> None:
    await ask_all(await node.actor(), create(1), create(2, status=TaskStatus.COMPLETED))

    socket = await subscribed(node, criteria=PENDING, wants_snapshot=True)
    await until(lambda: len(socket.messages) == 2)

    assert socket.messages[0]["tasks"] == [1]


async def test_heads_are_what_was_written_and_no_more(node: Node) -> None:
    socket, slow = await subscribed(node), await subscribed(node)
    slow.fake.kept = BUFFER_BYTES

    await write(node, 2)

    assert node.feed.heads(socket) == ((PROJECT, 3),)
    assert node.feed.heads(slow) == ()


async def test_no_head_is_taken_for_told_if_there_is_no_room_for_the_next(
    node: Node,
) -> None:
    node.store.make_project(8)
    socket = FakeSocket(make_caller(ADA), is_together=True)
    node.feed.attach(socket)
    await node.feed.subscribe(socket, PROJECT, criteria=DONE)
    await node.feed.subscribe(socket, ProjectId(8))
    await write(node, 1)
    socket.seats[1].channel.rests_until = perf_counter() + 60
    await ask_all(await node.actor(8), create(2))
    socket.fake.kept = BUFFER_BYTES

    assert node.feed.heads(socket) == ()
    socket.fake.read()
    await until(lambda: socket.lag is None)
    await ask_all(await node.actor(), create(3, status=TaskStatus.COMPLETED))
    await settle()

    message = socket.messages[-1]
    assert (message["project_id"], message["from"], message["to"]) == (PROJECT, 2, 3)


async def test_while_the_database_is_away_who_resumes_waits(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.recalls._PAUSE_SECONDS", 0.001)
    node.store.write(create(1))
    await node.actor()
    node.store.read_errors.extend([StoreUnavailable(), StoreUnavailable()])

    socket = await subscribed(node, since=1)
    await until(lambda: len(socket.messages) == 2)

    assert socket.stream == [*told(2), ("subscribed", 2)]


async def test_who_waits_too_long_for_the_database_is_sent_away(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.recalls._PAUSE_SECONDS", 0.001)
    node.store.write(create(1))
    await node.actor()
    node.store.read_errors.extend([StoreUnavailable()] * 50)

    socket = await subscribed(node, since=1)
    await until(lambda: socket.ended is not None)

    assert socket.ended is Ending.UNAVAILABLE


async def test_a_broken_log_ends_who_waits_for_it(node: Node) -> None:
    node.store.write(create(1))
    await node.actor()
    node.store.read_errors.append(RuntimeError("boom"))

    socket = await subscribed(node, since=1)
    await until(lambda: socket.ended is not None)

    assert socket.ended is Ending.UNAVAILABLE


async def test_rings_of_projects_that_nobody_watches_are_let_go(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.channels._KEPT_CHANNELS", 1)
    for number in (8, 9, 10):
        node.store.make_project(number)
        await (await node.actor(number)).ask(create(number))
    socket = await subscribed(node)

    node.feed.tidy()

    kept = [channel.project_id for channel in node.feed._channels]
    assert kept == [10, PROJECT]
    assert socket.ended is None


async def test_a_member_is_a_subscriber_like_the_owner(node: Node) -> None:
    node.store.write(make_command(PutMember, user_id=BOB, role=MemberRole.VIEWER))
    bob = await subscribed(node, user_id=UserId(BOB))

    await write(node, 1)

    assert bob.stream == [("subscribed", 2), *told(3)]


async def test_a_long_way_is_gone_in_parcels(node: Node) -> None:
    await write(node, 200)
    socket = await subscribed(node, since=1, is_together=True)
    await until(lambda: "subscribed" in socket.types)

    sizes = [message["to"] - message["from"] for message in socket.messages[:-1]]
    assert max(sizes) * 400 < 1.25 * PARCEL_BYTES
    assert socket.stream == [*told(*range(2, 202)), ("subscribed", 201)]


async def test_events_that_come_during_a_pass_go_with_the_next(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.rounds.SLICE_SECONDS", -1)  # a socket a slice
    sockets = [await subscribed(node) for _ in range(50)]
    actor = await node.actor()

    await actor.ask(create(1))
    await actor.ask(create(2))
    await actor.ask(create(3))
    await until(lambda: all(len(socket.messages) == 4 for socket in sockets))

    assert all(s.stream == [("subscribed", 1), *told(2, 3, 4)] for s in sockets)
    assert any(len(socket.frames) < 4 for socket in sockets)


async def test_a_snapshot_of_a_moment_ago_is_good_enough(node: Node) -> None:
    first = await subscribed(node, wants_snapshot=True)
    await until(lambda: len(first.messages) == 2)
    await write(node, 2)

    second = await subscribed(node, wants_snapshot=True)
    await until(lambda: len(second.messages) == 4)

    assert second.stream == [("snapshot", 1), ("subscribed", 1), *told(2, 3)]


async def test_who_stops_reading_before_a_large_event_is_ended_too(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fits into the buffer, but not beside the little that is there."""
    monkeypatch.setattr("actors.latecomers.SLOW_SECONDS", 0.05)
    slow = await subscribed(node)
    slow.fake.kept, slow.fake.is_stuck = 10_000, True

    actor = await node.actor()
    await actor.ask(create(1, description="x" * 45_000))
    await until(lambda: slow.ended is not None)

    assert slow.ended is Ending.SLOW
    assert slow.fake.most <= BUFFER_BYTES


async def test_small_writes_do_not_pile_up_behind_one_another(node: Node) -> None:
    slow = await subscribed(node)
    slow.fake.is_stuck = True

    for number in range(1, 101):
        await write(node, 1, start=number)

    assert slow.lag is not None
    assert slow.fake.most < 12 * 1024


async def test_who_is_far_behind_goes_on_in_steps_with_the_others(node: Node) -> None:
    await write(node, 300)

    firsts = [
        await subscribed(node, since=since, is_together=True) for since in (1, 5, 9)
    ]
    await until(lambda: all("subscribed" in socket.types for socket in firsts))

    steps = [{message.get("to") for message in socket.messages} for socket in firsts]
    shared = set.intersection(*steps) - {None}
    assert shared >= {64, 128, 192, 256}


async def test_who_was_behind_does_not_overtake_a_pass(node: Node) -> None:
    slow = await subscribed(node)
    slow.fake.kept = BUFFER_BYTES
    await write(node, 1)
    assert slow.lag is not None
    (channel,) = node.feed._channels
    channel.is_stirred = True  # a pass to here is under way
    channel.reach = channel.head
    await write(node, 1, start=2)

    slow.fake.read()
    await until(lambda: slow.lag is None)

    assert slow.stream[-1] == ("task_created", channel.head - 1)


async def test_the_last_words_reach_who_is_behind(node: Node) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    slow = await subscribed(node, user_id=BOB)
    slow.fake.kept = BUFFER_BYTES
    await write(node, 1)
    assert slow.lag is not None

    actor = await node.actor()
    await actor.ask(make_command(RemoveMember, user_id=BOB))

    assert slow.types[-1] == "unsubscribed"
    assert slow.ended is Ending.FORBIDDEN


async def snapshots_one_by_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Criteria | None], asyncio.Semaphore]:
    """Note for whom snapshots are made; each needs a permit to be finished."""
    made: list[Criteria | None] = []
    permits, snapshot = asyncio.Semaphore(0), node.wording.snapshot

    async def slowly(state: ProjectState, wanted: Criteria | None) -> Frames:
        made.append(wanted)
        await permits.acquire()
        return await snapshot(state, wanted)

    monkeypatch.setattr(node.wording, "snapshot", slowly)
    return made, permits


async def test_a_subscription_that_was_given_up_costs_no_snapshot(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, permits = await snapshots_one_by_one(node, monkeypatch)
    socket = await subscribed(node, wants_snapshot=True)
    for number in range(20):
        await settle()
        wanted = Criteria(text=str(number))
        await node.feed.subscribe(socket, PROJECT, wants_snapshot=True, criteria=wanted)
    for _ in range(20):
        permits.release()
    await until(lambda: len(socket.messages) == 2)

    assert made == [None, Criteria(text="19")]


async def test_who_wants_what_all_want_does_not_wait_for_many_filters(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, permits = await snapshots_one_by_one(node, monkeypatch)
    filtered = [
        await subscribed(node, wants_snapshot=True, criteria=Criteria(text=str(number)))
        for number in range(10)
    ]
    await settle()
    plain = await subscribed(node, wants_snapshot=True)
    for _ in range(3):
        permits.release()
    await until(lambda: len(plain.messages) == 2)
    assert [len(socket.messages) for socket in filtered] == [2, 2, *[0] * 8]

    for _ in range(8):
        permits.release()
    await until(lambda: all(len(socket.messages) == 2 for socket in filtered))
    assert len(made) == 11


async def test_so_many_snapshots_are_made_at_once_and_no_more(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, permits = await snapshots_one_by_one(node, monkeypatch)
    socket = FakeSocket(make_caller(ADA))
    node.feed.attach(socket)
    for number in range(50, 60):
        node.store.make_project(number)
        await node.feed.subscribe(socket, ProjectId(number), wants_snapshot=True)
    await settle()

    assert len(made) == 4
    for _ in range(10):
        permits.release()
    await until(lambda: len(socket.messages) == 20)


async def test_who_is_removed_while_waiting_gets_no_later_state(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    bob = FakeSocket(make_caller(BOB))
    node.feed.attach(bob)
    bob.fake.kept = BUFFER_BYTES
    await write(node, 1)
    await node.registry.drop(PROJECT)
    for number in range(10, 20):
        node.store.write(create(number))
    actor = await node.actor()
    read, permits, reads = node.store.events_since, asyncio.Semaphore(0), []

    async def slowly(project_id: ProjectId, version: int, limit: int) -> list[bytes]:
        reads.append(version)
        await permits.acquire()
        return await read(project_id, version, limit)

    monkeypatch.setattr(node.store, "events_since", slowly)
    await subscribed(node, since=10)
    await until(lambda: len(reads) == 1)
    bob.fake.read()
    await until(lambda: bool(bob.seats) and bob.seats[0].is_waiting)
    await subscribed(node, since=5)
    permits.release()
    await until(lambda: len(reads) == 2)

    await actor.ask(make_command(RemoveMember, user_id=BOB))
    await actor.ask(create(99))
    permits.release()
    await until(lambda: bob.ended is not None)

    assert bob.frames == []


async def test_of_large_events_no_more_is_read_than_fits(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.recalls._PAGE_EVENTS", 10)
    for number in range(1, 601):
        node.store.write(create(number, description="x" * 20_000))
    read, limits = node.store.events_since, []

    async def counted(project_id: ProjectId, version: int, limit: int) -> list[bytes]:
        limits.append(limit)
        return await read(project_id, version, limit)

    monkeypatch.setattr(node.store, "events_since", counted)
    far = await subscribed(node, since=1)
    near = await subscribed(node, since=570)
    await until(lambda: len(far.messages) == 2 and len(near.messages) == 32)

    assert far.stream == [("snapshot", 601), ("subscribed", 601)]
    assert near.stream == [*told(*range(571, 602)), ("subscribed", 601)]
    assert sum(limits) <= 240
