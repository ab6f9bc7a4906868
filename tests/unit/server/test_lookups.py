"""Looking up many things at once."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from server.lookups import Lookups


class Shelf:
    """Finds squares of numbers up to nine; notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, keys: Collection[int]) -> Mapping[int, int]:
        self.asked.append(list(keys))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {key: key * key for key in keys if key < 10}


async def test_what_is_asked_for_meanwhile_goes_together() -> None:
    shelf = Shelf()
    lookups = Lookups(shelf.find)

    found = await asyncio.gather(*(lookups.get(key) for key in (1, 2, 3, 2, 12)))

    assert found == [1, 4, 9, 4, None]
    assert shelf.asked == [[1, 2, 3, 12]]


async def test_an_answer_is_never_older_than_its_question() -> None:
    shelf = Shelf()
    lookups = Lookups(shelf.find)
    shelf.gate.clear()
    first = asyncio.create_task(lookups.get(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(lookups.get(1))
    await asyncio.sleep(0)
    shelf.gate.set()

    assert [await first, await second] == [1, 1]
    assert shelf.asked == [[1], [1]]


async def test_so_many_are_asked_for_at_once_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.lookups._MOST_AT_ONCE", 2)
    shelf = Shelf()
    lookups = Lookups(shelf.find)

    await asyncio.gather(*(lookups.get(key) for key in range(5)))

    assert shelf.asked == [[0, 1], [2, 3], [4]]


async def test_an_error_is_told_to_all_who_asked_and_forgotten() -> None:
    shelf = Shelf()
    lookups = Lookups(shelf.find)
    shelf.error = OSError("away")

    told = await asyncio.gather(
        *(lookups.get(key) for key in (1, 2)), return_exceptions=True
    )
    shelf.error = None

    assert [type(each) for each in told] == [OSError, OSError]
    assert await lookups.get(2) == 4


async def test_who_leaves_spoils_nothing_for_the_others() -> None:
    shelf = Shelf()
    lookups = Lookups(shelf.find)
    shelf.gate.clear()
    leaves, stays = (asyncio.create_task(lookups.get(3)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    shelf.gate.set()

    assert await stays == 9
    assert leaves.cancelled() or leaves.cancelling()


async def test_closing_keeps_nobody_waiting() -> None:
    shelf = Shelf()
    lookups = Lookups(shelf.find)
    shelf.gate.clear()
    waiting = asyncio.create_task(lookups.get(1))
    await asyncio.sleep(0.01)

    await lookups.close()
    await lookups.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
