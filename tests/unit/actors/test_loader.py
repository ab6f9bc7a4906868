"""Copies are used as far as the log confirms them, and never missed."""

from copy import deepcopy

import pytest

from actors.domain.commands import (
    AddComment,
    CreateTask,
    DeleteProject,
    DeleteTask,
    PutMember,
    UpdateTask,
)
from actors.domain.errors import ProjectNotFound, StoreUnavailable
from tests.factories import PROJECT, make_command
from tests.unit.actors.fakes import FakeStore, Node, running_node, settle


def write(store: FakeStore) -> None:
    """Have a bit of everything happen to the project."""
    store.write(make_command(CreateTask, task_id=1))
    store.write(make_command(CreateTask, task_id=2))
    store.write(make_command(AddComment, task_id=2))
    store.write(make_command(PutMember))


def keep(node: Node) -> None:
    node.archive.kept[PROJECT] = deepcopy(node.store.state())


async def test_a_copy_and_what_the_log_has_since_are_the_state() -> None:
    async with running_node() as node:
        write(node.store)
        keep(node)
        node.store.write(make_command(UpdateTask, task_id=1, title="Later"))
        node.store.write(make_command(DeleteTask, task_id=2))

        state = (await node.actor()).state

        assert state == node.store.state()
        assert state.tip == node.store.logs[PROJECT][-1]
        assert node.store.loads[PROJECT] == 0
        assert node.meter.sources == ["snapshot"]
        assert node.archive.offered == []
        assert node.recorder.begun == [state.version]


async def test_a_project_that_is_read_from_the_tables_is_offered() -> None:
    async with running_node() as node:
        await node.actor()

        assert node.archive.offered == [node.store.state()]
        assert node.meter.sources == ["database"]


async def test_a_copy_whose_event_is_another_in_the_log_is_thrown_away() -> None:
    async with running_node() as node:
        write(node.store)
        keep(node)
        node.store.logs[PROJECT][-1] = node.store.logs[PROJECT][-1] + b" "

        assert (await node.actor()).state == node.store.state()
        assert node.meter.sources == ["database"]


async def test_a_copy_from_beyond_the_log_is_thrown_away() -> None:
    async with running_node() as node:
        past = deepcopy(node.store.state())
        write(node.store)
        keep(node)
        node.store.states[PROJECT] = past
        del node.store.logs[PROJECT][1:]

        assert (await node.actor()).state == past
        assert node.meter.sources == ["database"]


async def test_a_copy_that_the_log_does_not_continue_is_thrown_away() -> None:
    async with running_node() as node:
        keep(node)
        write(node.store)
        del node.store.logs[PROJECT][2]  # so versions are not dense

        assert (await node.actor()).state == node.store.state()
        assert node.meter.sources == ["database"]


async def test_a_copy_long_out_of_date_is_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.loader._EVENTS_LIMIT", 3)
    async with running_node() as node:
        keep(node)
        write(node.store)

        assert (await node.actor()).state == node.store.state()
        assert node.meter.sources == ["database"]


async def test_a_project_deleted_since_its_copy_is_not_found() -> None:
    async with running_node() as node:
        write(node.store)
        keep(node)
        node.store.write(make_command(DeleteProject))

        with pytest.raises(ProjectNotFound):
            await node.actor()


async def test_a_database_that_is_away_is_told_though_there_is_a_copy() -> None:
    async with running_node() as node:
        keep(node)
        node.store.read_errors.append(StoreUnavailable())

        with pytest.raises(StoreUnavailable):
            await node.actor()


async def test_the_tip_moves_with_every_commit() -> None:
    async with running_node() as node:
        actor = await node.actor()
        await actor.ask(make_command(CreateTask, task_id=1))
        own = actor.state.tip
        node.store.write(make_command(CreateTask, task_id=2))
        await actor.reach(3)
        await settle()

        assert own == node.store.logs[PROJECT][1]
        assert actor.state.tip == node.store.logs[PROJECT][2]
