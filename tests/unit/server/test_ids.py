"""Ids from blocks: never twice, and rarely a wait."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from actors.domain.errors import StoreUnavailable
from server.ids import Ids
from sql.database import Database
from sql.store import Store


class CountingStore(Store):
    def __init__(self, database: Database):
        super().__init__(database)
        self.asked: Counter[str] = Counter()

    async def next_ids(self, kind: str, count: int) -> list[int]:
        self.asked[kind] += 1
        return await super().next_ids(kind, count)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[CountingStore]:
    database = await Database.open(database_url)
    yield CountingStore(database)
    await database.close()


async def test_a_block_is_asked_for_once(store: CountingStore) -> None:
    ids = Ids(store, block=10)

    taken = [await ids.task() for _ in range(10)]

    assert len(set(taken)) == 10
    assert store.asked == {"task": 1}


async def test_ids_taken_at_once_are_different_and_share_a_block(
    store: CountingStore,
) -> None:
    ids = Ids(store, block=10)

    taken = await asyncio.gather(*(ids.task() for _ in range(25)))

    assert len(set(taken)) == 25
    assert store.asked == {"task": 2}  # ten, then twenty


async def test_nodes_never_take_the_same_id(store: CountingStore) -> None:
    nodes = [Ids(store, block=3) for _ in range(3)]

    taken = await asyncio.gather(*(ids.task() for _ in range(7) for ids in nodes))

    assert len(set(taken)) == 21


async def test_each_kind_has_its_own_block(store: CountingStore) -> None:
    ids = Ids(store, block=5)

    await asyncio.gather(ids.task(), ids.project(), ids.user(), ids.user())

    assert store.asked == {"task": 1, "project": 1, "user": 1}


async def test_who_leaves_while_a_block_is_asked_for_takes_nothing_along(
    store: CountingStore,
) -> None:
    ids = Ids(store, block=2)
    leaving = asyncio.create_task(ids.task())
    await asyncio.sleep(0)
    leaving.cancel()

    assert await ids.task() != await ids.task()


async def test_nobody_waits_for_those_who_came_before_while_the_database_is_away(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(kind: str, count: int) -> list[int]:
        await asyncio.sleep(0.05)
        raise StoreUnavailable

    monkeypatch.setattr(store, "next_ids", hang)
    monkeypatch.setattr("server.ids._WAIT_SECONDS", 0.2)
    ids = Ids(store)

    async with asyncio.timeout(2):  # one after the other, they would take five
        answers = await asyncio.gather(
            *(ids.task() for _ in range(100)), return_exceptions=True
        )

    assert {type(answer) for answer in answers} == {StoreUnavailable}
