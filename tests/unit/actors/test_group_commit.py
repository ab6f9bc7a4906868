"""The journal: what all actors have ready goes into one transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from actors.domain.commands import CreateTask
from actors.domain.errors import ActorStopped, OutcomeUnknown, StoreUnavailable
from actors.domain.events import Batch
from actors.domain.model import ProjectId
from actors.journal import Journal
from actors.ports import NoMeter
from tests.factories import make_batch, make_command, make_new_state
from tests.unit.actors.fakes import FakeStore, Node, ask_all, running_node, settle

PROJECTS = range(1, 9)


class Poison(Exception):
    pass


@pytest.fixture
def store() -> FakeStore:
    store = FakeStore()
    for number in PROJECTS:
        store.make_project(number)
    return store


@pytest.fixture
async def journal(store: FakeStore) -> AsyncIterator[Journal]:
    journal = Journal(store)
    journal.start()
    yield journal
    await journal.close()


@pytest.fixture
async def node(store: FakeStore) -> AsyncIterator[Node]:
    async with running_node(store) as node:
        yield node


def make_write(project_id: int, *, tasks: int = 1) -> Batch:
    commands = [
        make_command(CreateTask, task_id=100 * project_id + number)
        for number in range(tasks)
    ]
    return make_batch(make_new_state(project_id=project_id), *commands)


def commit(
    journal: Journal, project_id: int, *, tasks: int = 1
) -> "asyncio.Task[bool]":
    return asyncio.create_task(journal.commit(make_write(project_id, tasks=tasks)))


def committed_in(store: FakeStore) -> list[list[int]]:
    return [[batch.project_id for batch in batches] for batches in store.appends]


def refuse_project(*numbers: int) -> Callable[[Batch], Exception | None]:
    return lambda batch: (
        Poison(batch.project_id) if batch.project_id in numbers else None
    )


async def test_an_idle_journal_commits_at_once(
    journal: Journal, store: FakeStore
) -> None:
    assert await journal.commit(make_write(1))

    assert committed_in(store) == [[1]]
    assert store.state(1).version == 2


async def test_batches_that_wait_together_share_a_transaction(
    journal: Journal, store: FakeStore
) -> None:
    store.gate.clear()
    first = commit(journal, 1)
    await store.reached()
    others = [commit(journal, number) for number in (2, 3, 4)]
    await settle()

    store.gate.set()

    assert await asyncio.gather(first, *others) == [True] * 4
    assert committed_in(store) == [[1], [2, 3, 4]]


async def test_commands_of_several_actors_share_a_transaction(node: Node) -> None:
    actors = [await node.actor(number) for number in PROJECTS]
    node.store.gate.clear()
    first = asyncio.create_task(actors[0].ask(make_command(CreateTask, task_id=100)))
    await node.store.reached()

    others = asyncio.gather(
        *(
            ask_all(actor, make_command(CreateTask, task_id=actor.project_id))
            for actor in actors[1:]
        )
    )
    await settle()
    node.store.gate.set()
    await asyncio.gather(first, others)

    assert committed_in(node.store) == [[1], [2, 3, 4, 5, 6, 7, 8]]


async def test_one_transaction_is_in_flight(journal: Journal, store: FakeStore) -> None:
    store.gate.clear()
    first = commit(journal, 1)
    await store.reached()

    second = commit(journal, 2)
    await settle()

    assert committed_in(store) == [[1]]
    store.gate.set()
    await asyncio.gather(first, second)


async def test_lanes_do_not_wait_for_each_other(store: FakeStore) -> None:
    journal = Journal(store, lanes=2)
    journal.start()
    store.gate.clear()

    writes = [commit(journal, number) for number in (1, 2, 3)]
    await store.reached()
    await store.reached()
    await settle()

    assert committed_in(store) == [[1, 3], [2]]
    store.gate.set()
    await asyncio.gather(*writes)
    await journal.close()


async def test_a_transaction_is_not_larger_than_its_limit(store: FakeStore) -> None:
    journal = Journal(store, entries_limit=2)
    writes = [commit(journal, 1, tasks=3), commit(journal, 2), commit(journal, 3)]
    writes += [commit(journal, 4)]
    await settle()

    journal.start()

    assert await asyncio.gather(*writes) == [True] * 4
    assert committed_in(store) == [[1], [2, 3], [4]]
    await journal.close()


async def test_a_project_that_has_moved_on_is_told_and_others_succeed(
    journal: Journal, store: FakeStore
) -> None:
    store.write(make_command(CreateTask, task_id=999), 1)
    store.gate.clear()
    writes = [commit(journal, number) for number in (3, 1, 2)]
    await store.reached()
    store.gate.set()

    assert await asyncio.gather(*writes) == [True, False, True]


@pytest.mark.parametrize("poisonous", [(2,), (8,), (2, 3), (2, 5, 8), tuple(PROJECTS)])
async def test_a_poisoned_batch_is_found_and_its_neighbours_succeed(
    store: FakeStore, poisonous: tuple[int, ...]
) -> None:
    store.refuse = refuse_project(*poisonous)
    journal = Journal(store)
    writes = [commit(journal, number) for number in PROJECTS]
    await settle()

    journal.start()
    answers = await asyncio.gather(*writes, return_exceptions=True)
    await journal.close()

    refused = {
        number
        for number, answer in zip(PROJECTS, answers, strict=True)
        if isinstance(answer, Poison)
    }
    assert refused == set(poisonous)
    assert answers.count(True) == len(PROJECTS) - len(poisonous)
    assert [n for n in PROJECTS if store.state(n).version == 1] == sorted(poisonous)


@pytest.mark.parametrize("error", [StoreUnavailable(), OutcomeUnknown()])
async def test_what_is_nobodys_fault_is_told_to_all(
    store: FakeStore, error: Exception
) -> None:
    store.errors.append(error)
    journal = Journal(store)
    writes = [commit(journal, number) for number in (1, 2)]
    await settle()

    journal.start()
    answers = await asyncio.gather(*writes, return_exceptions=True)

    assert answers == [error, error]
    assert len(store.appends) == 1
    assert await journal.commit(make_write(3))
    await journal.close()


async def test_a_journal_that_closes_says_what_it_does_not_know(
    store: FakeStore,
) -> None:
    journal = Journal(store)
    journal.start()
    store.gate.clear()
    started = commit(journal, 1)
    await store.reached()
    waiting = commit(journal, 2)
    await settle()

    await journal.close()

    with pytest.raises(OutcomeUnknown):
        await started
    with pytest.raises(ActorStopped):
        await waiting


async def test_who_left_is_not_told(journal: Journal, store: FakeStore) -> None:
    store.gate.clear()
    left, stayed = commit(journal, 1), commit(journal, 2)
    await store.reached()
    left.cancel()
    await settle()

    store.gate.set()

    assert await stayed
    assert store.state(1).version == 2


async def test_who_is_stuck_for_too_long_is_not_sent_at_all(store: FakeStore) -> None:
    journal = Journal(store, patience_seconds=0.01)
    journal.start()
    store.gate.clear()
    first = commit(journal, 1)
    await store.reached()
    stuck = commit(journal, 2)
    await asyncio.sleep(0.02)

    store.gate.set()

    with pytest.raises(StoreUnavailable):
        await stuck
    assert await first
    assert committed_in(store) == [[1]]
    await journal.close()


class CountingMeter(NoMeter):
    def __init__(self) -> None:
        self.events: list[int] = []

    def committed(self, events: int, seconds: float) -> None:
        assert seconds > 0
        self.events.append(events)


async def test_the_size_of_each_transaction_is_counted(store: FakeStore) -> None:
    meter = CountingMeter()
    journal = Journal(store, meter=meter)
    writes = [commit(journal, 1, tasks=3), commit(journal, 2)]
    await settle()

    journal.start()
    await asyncio.gather(*writes)
    await journal.close()

    assert meter.events == [4]


async def test_what_was_refused_is_not_counted(store: FakeStore) -> None:
    meter = CountingMeter()
    store.refuse = refuse_project(1)
    journal = Journal(store, meter=meter)
    journal.start()

    with pytest.raises(Poison):
        await journal.commit(make_write(1))

    assert meter.events == []
    assert store.state(ProjectId(1)).version == 1
    await journal.close()
