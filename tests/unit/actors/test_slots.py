"""Room for actors: the least used go, never one at work, watched ones last."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from actors.domain.commands import CreateProject, CreateTask
from actors.domain.errors import Unavailable
from actors.domain.model import ProjectId
from actors.slots import Capacity
from tests.factories import make_caller, make_command
from tests.unit.actors.fakes import FakeSocket, FakeStore, Node, running_node, settle

ROOM = Capacity(actors=5, tasks=100)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    store = FakeStore()
    for number in range(1, 40):
        store.make_project(number)
    async with running_node(store, capacity=ROOM) as node:
        yield node


async def load(node: Node, *numbers: int) -> None:
    """Bring projects in, and let a while pass after each."""
    for number in numbers:
        await node.actor(number)
        node.clock.advance(2)


async def watch(node: Node, number: int) -> None:
    socket = FakeSocket(make_caller())
    node.feed.attach(socket)
    await node.feed.subscribe(socket, ProjectId(number))


def live(node: Node) -> set[int]:
    return {actor.project_id for actor in node.registry}


async def test_beyond_the_capacity_those_used_least_recently_go(node: Node) -> None:
    await load(node, 1, 2, 3, 4, 5, 6, 7)

    assert live(node) == {3, 4, 5, 6, 7}
    assert node.meter.reasons == ["room", "room"]


async def test_a_scan_leaves_what_is_used_repeatedly(node: Node) -> None:
    await load(node, 1, 2, 1, 2)

    await load(node, *range(10, 40))

    assert {1, 2} < live(node)
    assert len(node.registry) == 5


async def test_projects_with_many_tasks_take_the_room_of_several(node: Node) -> None:
    for number in range(90):
        node.store.write(make_command(CreateTask, task_id=number), 1)
    await load(node, 2, 3)

    await load(node, 1)
    assert live(node) == {1, 2, 3}  # 100 tasks, and a little for each actor
    for number in range(90, 122):
        await node.registry.ask(ProjectId(3), make_command(CreateTask, task_id=number))
    node.clock.advance(2)
    await load(node, 4)

    assert node.registry._slots.weight <= 140
    assert 2 not in live(node)


async def test_what_grew_is_weighed_anew(node: Node) -> None:
    await load(node, 1)
    before = node.registry._slots.weight

    for number in range(100):
        await node.registry.ask(ProjectId(1), make_command(CreateTask, task_id=number))
    node.registry.live(ProjectId(1))

    assert node.registry._slots.weight >= before + 75


async def test_who_is_at_work_is_not_evicted(node: Node) -> None:
    actor = await node.actor(1)
    node.store.gate.clear()
    asked = asyncio.create_task(actor.ask(make_command(CreateTask)))
    await node.store.reached()
    node.clock.advance(601)

    await load(node, *range(2, 12))
    await node.registry.evict_idle()

    assert node.registry.live(ProjectId(1)) is actor
    node.store.gate.set()
    assert (await asked).version == 2
    assert node.store.loads[ProjectId(1)] == 1


async def test_who_is_being_read_is_not_evicted(node: Node) -> None:
    actor = await node.actor(1)
    reading = asyncio.create_task(actor.reach(2))
    await asyncio.sleep(0)

    assert not actor.dismiss()

    await reading


async def test_who_was_just_asked_for_stays_beyond_the_capacity(node: Node) -> None:
    actors = [await node.actor(number) for number in range(1, 8)]

    answers = await asyncio.gather(
        *(
            actor.ask(make_command(CreateTask, task_id=100 + actor.project_id))
            for actor in actors
        )
    )

    assert len(answers) == 7
    node.clock.advance(2)
    await node.registry.evict_idle()
    assert len(node.registry) == 5


async def test_even_those_go_at_twice_the_capacity(node: Node) -> None:
    for number in range(1, 20):
        await node.actor(number)

    assert len(node.registry) <= 10


async def test_where_all_are_at_work_no_more_are_admitted(node: Node) -> None:
    node.store.gate.clear()
    actors = [await node.actor(number) for number in range(1, 11)]
    asked = [
        asyncio.create_task(
            actor.ask(make_command(CreateTask, task_id=100 + actor.project_id))
        )
        for actor in actors
    ]
    await node.store.reached()
    await settle()
    node.clock.advance(2)

    with pytest.raises(Unavailable):
        await node.actor(11)
    with pytest.raises(Unavailable):
        await node.registry.create(make_command(CreateProject, project_id=50))

    node.store.gate.set()
    await asyncio.gather(*asked)
    assert (await node.actor(11)).project_id == 11


async def test_projects_that_are_watched_go_last(node: Node) -> None:
    for number in (1, 2):
        await watch(node, number)
        node.clock.advance(2)

    await load(node, *range(10, 20))
    assert {1, 2} < live(node)
    for number in range(20, 26):
        await watch(node, number)
        node.clock.advance(2)

    assert live(node) < {1, 2, *range(20, 26)}
    assert len(node.registry) == 5


async def test_watched_projects_do_not_hide_the_others_from_the_search(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.slots._LOOKED_AT", 3)
    for number in (1, 2, 3, 4):
        if number != 3:
            await watch(node, number)
        await load(node, number)

    await load(node, 5, 6, 7)

    assert live(node) == {1, 2, 4, 6, 7}


async def test_a_watched_project_is_never_idle(node: Node) -> None:
    await watch(node, 1)
    await node.actor(2)
    node.clock.advance(601)

    assert await node.registry.evict_idle() == 1

    assert live(node) == {1}
    assert node.meter.reasons == ["idle"]


async def test_what_is_evicted_is_offered_to_the_archive(node: Node) -> None:
    await load(node, 1)
    await node.registry.ask(ProjectId(1), make_command(CreateTask))
    node.archive.offered.clear()
    node.clock.advance(601)

    await node.registry.evict_idle()

    assert [state.version for state in node.archive.offered] == [2]
    assert node.archive.offered == [node.store.state(1)]


async def test_what_is_evicted_is_out_of_memory_without_a_collection(
    node: Node,
) -> None:
    actor = weakref.ref(await node.actor(1))
    node.clock.advance(601)
    gc.disable()
    try:
        await node.registry.evict_idle()
        await settle()

        assert actor() is None
    finally:
        gc.enable()
