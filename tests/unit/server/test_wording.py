"""Messages that are long in the making."""

import asyncio

import pytest

from actors.domain.commands import CreateTask
from actors.domain.criteria import Criteria
from actors.domain.decide import decide
from server.wording import Words
from tests.factories import apply_all, make_command, make_state


async def test_a_filter_over_many_tasks_leaves_the_loop_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.wording.SLICE_SECONDS", -1)  # a task a slice
    state = make_state()
    for number in range(100, 110):
        command = make_command(CreateTask, task_id=number, title="wanted")
        apply_all(state, decide(state, command))
    turns: list[int] = []

    async def count() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    others = asyncio.create_task(count())
    await Words().snapshot(state, Criteria(text="nothing of this"))
    others.cancel()

    assert len(turns) >= 10
