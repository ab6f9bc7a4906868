"""Listeners that fell behind further than the ring goes: the state, and no more."""

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from time import perf_counter

import pytest

from actors.domain.commands import CreateTask, PutMember, RemoveMember
from actors.domain.model import UserId
from actors.latecomers import BUFFER_BYTES
from actors.ports import Ending
from tests.factories import ADA, BOB, PROJECT, make_caller, make_command
from tests.unit.actors.fakes import (
    FakeSocket,
    Node,
    ask_all,
    running_node,
    settle,
    until,
)


class HeldSnapshots:
    """Snapshots that are handed out when a test says so."""

    def __init__(self, node: Node) -> None:
        self._make = node.wording.snapshot
        self.began, self.go_on = asyncio.Event(), asyncio.Event()
        node.wording.snapshot = self.snapshot  # type: ignore[method-assign]  # a fake

    async def snapshot(self, *asked: object) -> tuple[bytes, ...]:
        frames = await self._make(*asked)  # type: ignore[arg-type]  # the same
        self.began.set()
        await self.go_on.wait()
        return frames


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.setattr("actors.recalls.RING_EVENTS", 5)
    async with running_node() as node:
        yield node


async def write(node: Node, *numbers: int) -> None:
    actor = await node.actor()
    await ask_all(actor, *(make_command(CreateTask, task_id=n) for n in numbers))
    await settle()


async def left_behind(node: Node, user_id: UserId) -> FakeSocket:
    """Have a listener read nothing until the ring has gone on without it."""
    socket = FakeSocket(make_caller(user_id))
    node.feed.attach(socket)
    await write(node, 1)
    (channel,) = node.feed._channels
    channel.ring._most_events = 5
    socket.fake.kept = BUFFER_BYTES
    await write(node, *range(2, 20))
    assert len(socket.messages) == 1
    return socket


async def lose(node: Node, *numbers: int) -> None:
    """Write tasks that the database then knows nothing of, as after a failover."""
    before, log = deepcopy(node.store.state()), list(node.store.logs[PROJECT])
    await write(node, *numbers)
    node.store.states[PROJECT], node.store.logs[PROJECT] = before, log
    await node.registry.drop(PROJECT)
    await node.actor()


async def test_who_gets_the_state_gets_nothing_older_after_it(node: Node) -> None:
    slow = await left_behind(node, ADA)
    node.feed._listeners._rests_until = perf_counter() + 60  # the next pass is late
    await write(node, 20, 21)

    slow.fake.read()
    await until(lambda: "snapshot" in slow.types)
    node.feed._listeners._pass()
    node.feed._listeners._rests_until = 0
    await write(node, 22)

    assert slow.stream == [
        ("task_created", 2),
        ("snapshot", 22),
        ("task_created", 23),
    ]


async def test_who_is_shut_out_while_the_state_is_written_does_not_get_it(
    node: Node,
) -> None:
    node.store.write(make_command(PutMember, user_id=BOB))
    slow = await left_behind(node, BOB)
    held = HeldSnapshots(node)
    slow.fake.read()
    await held.began.wait()

    await (await node.actor()).ask(make_command(RemoveMember, user_id=BOB))
    held.go_on.set()
    await until(lambda: slow.ended is not None)

    assert "snapshot" not in slow.types
    assert slow.ended is Ending.SLOW


async def test_a_project_that_is_gone_ends_no_listener_for_good(node: Node) -> None:
    slow = await left_behind(node, ADA)
    await node.registry.drop(PROJECT)
    del node.store.states[PROJECT]

    slow.fake.read()
    await until(lambda: slow.ended is not None)

    assert slow.ended is Ending.SLOW


async def test_what_the_database_lost_is_not_waited_for(node: Node) -> None:
    slow = FakeSocket(make_caller(ADA))
    node.feed.attach(slow)
    await write(node, 1, 2)
    slow.fake.kept = BUFFER_BYTES
    await lose(node, 3)

    slow.fake.read()
    await until(lambda: not slow.seats)
    await write(node, 4)

    assert slow.stream == [("task_created", version) for version in (2, 3, 4)]
    assert slow.ended is None


async def test_news_that_the_database_lost_holds_up_nobody(node: Node) -> None:
    slow = FakeSocket(make_caller(ADA))
    node.feed.attach(slow)
    await write(node, 1)
    node.feed._listeners._rests_until = perf_counter() + 60
    await lose(node, 2, 3)
    node.feed._listeners._pass()
    node.feed._listeners._rests_until = 0

    slow.fake.kept = BUFFER_BYTES
    await write(node, 4)
    slow.fake.read()
    await until(lambda: not slow.seats and slow.lag is None)

    assert slow.stream == [("task_created", version) for version in (2, 3, 4, 3)]


async def test_a_pass_that_goes_further_than_the_database_goes_as_far(
    node: Node,
) -> None:
    socket = FakeSocket(make_caller(ADA))
    node.feed.attach(socket)
    await node.feed.subscribe(socket, PROJECT)

    node.feed._fanout.serve(socket.seats[0], 99)  # its goal was there when it began
    await write(node, 1)

    assert socket.stream == [("subscribed", 1), ("task_created", 2)]
