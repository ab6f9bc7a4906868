"""Finding actors: one load for any number of callers, backoff, eviction, drain."""

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy

import pytest

from actors.domain.commands import CreateProject, CreateTask
from actors.domain.errors import (
    ActorStopped,
    OutcomeUnknown,
    ProjectNotFound,
    StateAhead,
    StoreUnavailable,
    TaskNotFound,
    Unavailable,
    UserNotFound,
)
from actors.domain.model import ProjectId, TaskId
from tests.factories import CYD, PROJECT, make_caller, make_command
from tests.unit.actors.fakes import FakeStore, Node, running_node, settle

NEW = ProjectId(8)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with running_node() as node:
        yield node


def create(number: int) -> CreateTask:
    return make_command(CreateTask, task_id=number)


async def fail(node: Node) -> None:
    """Make the actor stop with an error."""
    node.store.errors.append(OutcomeUnknown())
    with pytest.raises(OutcomeUnknown):
        await node.registry.ask(PROJECT, create(99))
    await settle()


async def test_a_project_is_loaded_once_for_all_who_ask(node: Node) -> None:
    node.store.load_gate.clear()
    asked = [asyncio.create_task(node.actor()) for _ in range(20)]
    await node.store.load_reached()
    await settle()

    node.store.load_gate.set()
    actors = await asyncio.gather(*asked)

    assert len({id(actor) for actor in actors}) == 1
    assert node.store.loads[PROJECT] == 1
    assert len(node.registry) == 1


async def test_a_live_actor_is_found_at_once(node: Node) -> None:
    assert node.registry.live(PROJECT) is None
    actor = await node.actor()

    assert node.registry.live(PROJECT) is actor
    assert list(node.registry) == [actor]
    assert await node.actor() is actor


async def test_a_project_that_is_not_there_is_not_found(node: Node) -> None:
    with pytest.raises(ProjectNotFound):
        await node.actor(404)
    assert len(node.registry) == 0


async def test_a_project_that_was_not_there_may_be_later(node: Node) -> None:
    with pytest.raises(ProjectNotFound):
        await node.actor(NEW)
    node.store.make_project(NEW)

    assert (await node.actor(NEW)).project_id == NEW


async def test_a_database_that_is_away_is_told_and_asked_again(node: Node) -> None:
    node.store.read_errors.append(StoreUnavailable())

    with pytest.raises(StoreUnavailable):
        await node.actor()

    assert (await node.actor()).state.version == 1


async def test_who_leaves_does_not_end_a_load_that_others_wait_for(
    node: Node,
) -> None:
    node.store.load_gate.clear()
    leaving, staying = (asyncio.create_task(node.actor()) for _ in range(2))
    await node.store.load_reached()
    await settle()

    leaving.cancel()
    await settle()
    node.store.load_gate.set()

    assert (await staying).project_id == PROJECT
    assert leaving.cancelled()


async def test_a_load_that_failed_when_all_had_left_is_forgotten(node: Node) -> None:
    node.store.load_gate.clear()
    node.store.read_errors.append(StoreUnavailable())
    leaving = asyncio.create_task(node.actor())
    await node.store.load_reached()
    leaving.cancel()
    await settle()

    node.store.load_gate.set()
    await settle()

    assert (await node.actor()).project_id == PROJECT


async def test_who_waits_for_a_load_has_a_time_limit_and_the_load_has_none() -> None:
    async with running_node(patience_seconds=0.01) as node:
        node.store.load_gate.clear()

        with pytest.raises(StoreUnavailable):
            await node.actor()
        node.store.load_gate.set()
        await node.actor()

    assert node.store.loads[PROJECT] == 1


async def test_a_new_project_is_live_and_durable(node: Node) -> None:
    command = make_command(CreateProject, project_id=NEW)

    answer = await node.registry.create(command)

    assert answer.version == 1
    actor = node.registry.live(NEW)
    assert actor is not None
    assert actor.state == node.store.state(NEW)
    assert node.store.loads[NEW] == 0


async def test_a_project_that_could_not_be_made_leaves_nothing(node: Node) -> None:
    node.store.refuse = lambda batch: UserNotFound()

    with pytest.raises(UserNotFound):
        await node.registry.create(make_command(CreateProject, project_id=NEW))

    assert node.registry.live(NEW) is None
    with pytest.raises(ProjectNotFound):
        await node.actor(NEW)


async def test_a_project_in_the_making_is_not_found_yet(node: Node) -> None:
    node.store.gate.clear()
    making = asyncio.create_task(
        node.registry.create(make_command(CreateProject, project_id=NEW))
    )
    await node.store.reached()

    actor = await node.actor(NEW)

    assert actor.state.visible_project(make_caller()) is None
    node.store.gate.set()
    await making
    assert actor.state.visible_project(make_caller()) is not None


async def test_asking_the_registry_finds_the_actor_too(node: Node) -> None:
    assert (await node.registry.ask(PROJECT, create(1))).version == 2


async def test_a_task_is_looked_up_once(node: Node) -> None:
    node.store.write(create(1))

    found = [await node.registry.locate(TaskId(1)) for _ in range(3)]

    assert found == [PROJECT] * 3
    assert node.store.lookups == 1


async def test_a_task_that_is_not_there_is_looked_up_again(node: Node) -> None:
    with pytest.raises(TaskNotFound):
        await node.registry.locate(TaskId(1))
    node.store.write(create(1))

    assert await node.registry.locate(TaskId(1)) == PROJECT


async def test_places_of_tasks_are_kept_up_to_a_limit(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.registry._KEPT_PLACES", 1)
    for number in (1, 2):
        node.store.write(create(number))
        await node.registry.locate(TaskId(number))

    await node.registry.locate(TaskId(1))

    assert node.store.lookups == 3


async def test_an_actor_that_failed_is_left_alone_for_a_moment(node: Node) -> None:
    await fail(node)

    with pytest.raises(Unavailable):
        await node.actor()
    node.clock.advance(0.2)
    assert (await node.actor()).state.version == 1


async def test_the_pause_grows_while_an_actor_keeps_failing(node: Node) -> None:
    pauses = []
    for _ in range(9):
        await fail(node)
        began = node.clock.now
        while node.clock.now < node.registry._failures[PROJECT].until:
            with pytest.raises(Unavailable):
                await node.actor()
            node.clock.advance(0.1)
        pauses.append(node.clock.now - began)

    assert pauses == sorted(pauses)
    assert pauses[0] < 0.3
    assert 4.9 < pauses[-1] < 5.2


async def test_what_an_unknown_outcome_did_commit_is_published_later(
    node: Node,
) -> None:
    node.store.lost.append(OutcomeUnknown())
    with pytest.raises(OutcomeUnknown):
        await node.registry.ask(PROJECT, create(1))
    await settle()
    node.clock.advance(1)
    node.store.read_errors.append(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await node.actor()

    await node.registry.ask(PROJECT, create(2))

    assert node.recorder.versions == [2, 3]


async def test_a_project_whose_making_was_never_committed_is_not_found(
    node: Node,
) -> None:
    node.store.errors.append(OutcomeUnknown())
    with pytest.raises(OutcomeUnknown):
        await node.registry.create(make_command(CreateProject, project_id=NEW))
    await settle()
    node.clock.advance(1)

    for _ in range(2):
        with pytest.raises(ProjectNotFound):
            await node.actor(NEW)


async def test_a_failing_project_does_not_disturb_the_others(node: Node) -> None:
    node.store.make_project(NEW)
    await fail(node)

    assert (await node.actor(NEW)).project_id == NEW


async def test_a_defect_stops_the_actor_and_is_forgiven_once_it_ends_well(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = await node.actor()
    node.store.write(create(1))
    node.store.logs[PROJECT][-1] = b"no event"

    with pytest.raises(OutcomeUnknown):
        await actor.ask(create(2))
    await settle()

    assert node.registry.live(PROJECT) is None
    node.clock.advance(1)
    await node.actor()
    node.clock.advance(601)
    await node.registry.evict_idle()
    await settle()
    assert node.registry._failures == {}


async def test_actors_that_nobody_uses_are_stopped(node: Node) -> None:
    node.store.make_project(NEW)
    idle, used = await node.actor(), await node.actor(NEW)
    node.clock.advance(400)
    node.registry.live(NEW)
    node.clock.advance(201)

    assert await node.registry.evict_idle() == 1

    assert list(node.registry) == [used]
    with pytest.raises(ActorStopped):
        await idle.ask(create(1))
    assert (await node.actor()) is not idle


async def test_an_actor_with_waiting_commands_is_not_idle(node: Node) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    asked = [asyncio.create_task(actor.ask(create(1)))]
    await node.store.reached()
    asked.append(asyncio.create_task(actor.ask(create(2))))
    await settle()
    node.clock.advance(601)

    assert await node.registry.evict_idle() == 0

    node.store.gate.set()
    assert len(await asyncio.gather(*asked)) == 2


async def test_closing_finishes_what_was_started(node: Node) -> None:
    actor = await node.actor()
    node.store.gate.clear()
    started = asyncio.create_task(actor.ask(create(1)))
    await node.store.reached()
    waiting = asyncio.create_task(actor.ask(create(2)))
    await settle()

    closing = asyncio.create_task(node.registry.close())
    await settle()
    node.store.gate.set()
    await closing

    assert (await started).version == 2
    with pytest.raises(ActorStopped):
        await waiting
    assert len(node.registry) == 0


async def test_a_closed_registry_starts_nothing(node: Node) -> None:
    await node.registry.close()

    with pytest.raises(ActorStopped):
        await node.actor()
    with pytest.raises(ActorStopped):
        await node.registry.create(make_command(CreateProject, project_id=NEW))


async def test_who_waits_for_a_load_is_told_that_the_registry_closes() -> None:
    store = FakeStore()
    store.make_project(owner_id=CYD)
    async with running_node(store) as node:
        store.load_gate.clear()
        asked = asyncio.create_task(node.actor())
        await store.load_reached()
        await settle()

        await node.registry.close()

        with pytest.raises(ActorStopped):
            await asked


async def test_whoever_relied_on_an_actor_that_failed_is_told(node: Node) -> None:
    actor = await node.actor()
    node.store.lost.append(OutcomeUnknown())

    with pytest.raises(OutcomeUnknown):
        await actor.ask(create(1))
    await settle()

    assert node.recorder.doubts == 1


async def test_what_nobody_was_told_of_is_published_though_nobody_asks(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.registry._BACKOFF_SECONDS", 0.0)
    actor = await node.actor()
    node.store.lost.append(OutcomeUnknown())
    before = len(node.recorder.versions)

    with pytest.raises(OutcomeUnknown):
        await actor.ask(create(1))
    for _ in range(20):
        await settle()

    assert len(node.recorder.versions) == before + 1


async def test_an_actor_ahead_of_its_database_is_read_anew(node: Node) -> None:
    actor = await node.actor()
    await actor.ask(create(1))
    node.store.states[PROJECT] = deepcopy(node.store.states[PROJECT])
    node.store.states[PROJECT].version -= 1
    node.store.states[PROJECT].tasks.clear()
    node.store.logs[PROJECT].pop()

    with pytest.raises(StateAhead):
        await actor.ask(create(2))
    await settle()
    node.clock.advance(1)

    assert (await node.actor()).state.tasks == {}


async def test_an_actor_that_is_used_while_others_are_evicted_stays(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.slots._LOOKED_AT", 1)
    node.store.make_project(NEW)
    await node.actor()
    second = await node.actor(NEW)
    node.clock.advance(601)

    eviction = asyncio.create_task(node.registry.evict_idle())
    await asyncio.sleep(0)
    node.registry.live(NEW)
    await eviction

    assert list(node.registry) == [second]
    await second.ask(create(1))


async def test_failing_now_and_then_is_forgiven_to_who_works_in_between(
    node: Node,
) -> None:
    for number in range(1, 8):
        actor = await node.actor()
        await actor.ask(create(2 * number))
        node.store.lost.append(OutcomeUnknown())
        with pytest.raises(OutcomeUnknown):
            await actor.ask(create(2 * number + 1))
        await settle()
        node.clock.advance(0.2)

    assert node.registry._failures[PROJECT].count == 1


async def test_feeds_are_told_where_a_project_begins_that_is_read(node: Node) -> None:
    await node.actor()
    await node.actor()

    assert node.recorder.begun == [1]
