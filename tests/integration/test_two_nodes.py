"""Two nodes on one database: dense versions, nothing twice, and both agree."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from actors.actor import Committed
from actors.domain.commands import (
    Command,
    CreateProject,
    CreateTask,
    PutMember,
    RemoveMember,
    UpdateTask,
)
from actors.domain.errors import KeyAlreadyUsed, TaskNotFound
from actors.domain.events import Event
from actors.domain.model import ProjectId, TaskId
from actors.domain.state import ProjectState
from actors.feed import Feed
from actors.journal import Journal
from actors.project import ProjectActor, Surroundings
from actors.recalls import Source
from actors.registry import Registry
from server.representations import EventCodec
from sql.database import Database
from sql.store import Store
from tests.factories import (
    ADA,
    BOB,
    CYD,
    PROJECT,
    insert_users,
    make_caller,
    make_command,
    make_key,
)
from tests.unit.actors.fakes import FakeSocket, LineWording, until

CODEC = EventCodec()


@dataclass
class Node:
    """A process's share of the server, with one socket of Ada's."""

    registry: Registry
    journal: Journal
    feed: Feed
    socket: FakeSocket

    async def actor(self, project_id: int = PROJECT) -> ProjectActor:
        return await self.registry.get(ProjectId(project_id))

    async def stop(self) -> None:
        await self.registry.close()
        await self.journal.close()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    database = await Database.open(database_url, size=8, timeout_seconds=10)
    await insert_users(database, ADA, BOB, CYD)
    yield Store(database)
    await database.close()


@pytest.fixture
async def nodes(store: Store) -> AsyncIterator[list[Node]]:
    nodes = [start_node(store) for _ in range(2)]
    await nodes[0].registry.create(make_command(CreateProject))
    yield nodes
    for node in nodes:
        await node.stop()


def start_node(store: Store) -> Node:
    journal = Journal(store)

    async def find(project_id: ProjectId, version: int) -> ProjectState:
        return (await registry.get(project_id)).state

    source = Source(log=store, codec=CODEC, find=find, look=lambda project_id: None)
    feed = Feed(source, LineWording())
    socket = FakeSocket(make_caller(ADA))
    feed.attach(socket)
    around = Surroundings(store=store, journal=journal, codec=CODEC, feeds=(feed,))
    registry = Registry(around)
    journal.start()
    return Node(registry, journal, feed, socket)


def create(number: int, **fields: object) -> CreateTask:
    return make_command(CreateTask, task_id=number, **fields)


async def write_all(node: Node, commands: list[Command]) -> list[Committed]:
    """Ask in waves, so that the nodes have reason to meet often."""
    actor = await node.actor()
    answers = []
    for start in range(0, len(commands), 5):
        wave = commands[start : start + 5]
        answers += await asyncio.gather(*(actor.ask(command) for command in wave))
    return answers


async def catch_up(*nodes: Node) -> None:
    """Have every node learn what the other wrote last; nothing else is going on."""
    for node in nodes:
        await (await node.actor()).catch_up()


async def log_of(store: Store, project_id: int = PROJECT) -> list[Event]:
    bodies = await store.events_since(ProjectId(project_id), 0, 100_000)
    return [CODEC.decode(body) for body in bodies]


async def test_writes_of_both_nodes_have_one_place_each_in_the_log(
    store: Store, nodes: list[Node]
) -> None:
    mine: list[Command] = [create(number) for number in range(1, 101)]
    theirs: list[Command] = [create(number) for number in range(101, 201)]

    answers = await asyncio.gather(
        write_all(nodes[0], mine), write_all(nodes[1], theirs)
    )

    events = await log_of(store)
    assert [event.version for event in events] == list(range(1, 202))
    acknowledged = [answer.events for half in answers for answer in half]
    assert sorted(e.version for each in acknowledged for e in each) == list(
        range(2, 202)
    )
    by_version = {event.version: event for event in events}
    assert all(by_version[e.version] == e for each in acknowledged for e in each)


async def test_both_nodes_agree_with_the_database_when_they_have_caught_up(
    store: Store, nodes: list[Node]
) -> None:
    mine: list[Command] = [create(number) for number in range(1, 51)]
    theirs: list[Command] = [create(number) for number in range(51, 101)]

    await asyncio.gather(write_all(nodes[0], mine), write_all(nodes[1], theirs))
    await catch_up(*nodes)

    states = [(await node.actor()).state for node in nodes]
    assert states[0] == states[1] == await store.load(PROJECT)
    assert len(states[0].tasks) == 100


async def test_subscribers_of_both_nodes_see_every_version_once_in_order(
    store: Store, nodes: list[Node]
) -> None:
    for node in nodes:
        await node.actor()
    mine: list[Command] = [create(number) for number in range(1, 51)]
    theirs: list[Command] = [create(number) for number in range(51, 101)]

    await asyncio.gather(write_all(nodes[0], mine), write_all(nodes[1], theirs))
    await catch_up(*nodes)

    head = len(await log_of(store))
    await until(lambda: all(node.socket.versions[-1] == head for node in nodes))
    assert nodes[0].socket.versions == list(range(1, head + 1))
    assert nodes[1].socket.versions == list(range(2, head + 1))


async def test_a_batch_of_several_actors_meets_a_batch_of_another_node(
    store: Store, nodes: list[Node]
) -> None:
    projects = range(20, 26)
    for number in projects:
        await nodes[0].registry.create(make_command(CreateProject, project_id=number))

    async def write(node: Node, first_id: int) -> None:
        for turn in range(5):
            await asyncio.gather(
                *(
                    node.registry.ask(
                        ProjectId(number), create(first_id + turn * 100 + number)
                    )
                    for number in projects
                )
            )

    await asyncio.gather(write(nodes[0], 1000), write(nodes[1], 2000))

    for number in projects:
        versions = [event.version for event in await log_of(store, number)]
        assert versions == list(range(1, 12))


async def test_a_right_that_was_taken_on_one_node_is_gone_on_the_other(
    store: Store, nodes: list[Node]
) -> None:
    await nodes[0].registry.ask(PROJECT, make_command(PutMember, user_id=BOB))
    await nodes[1].registry.ask(PROJECT, create(1, caller=make_caller(BOB)))
    await nodes[0].registry.ask(PROJECT, make_command(RemoveMember, user_id=BOB))

    with pytest.raises(Exception, match="no such project"):
        await nodes[1].registry.ask(PROJECT, create(2, caller=make_caller(BOB)))

    assert await store.project_of(TaskId(2)) is None


async def test_a_task_of_the_other_node_is_there_once_this_one_writes(
    nodes: list[Node],
) -> None:
    first, second = [await node.actor() for node in nodes]
    await first.ask(create(1))

    with pytest.raises(TaskNotFound):
        await second.ask(make_command(UpdateTask, task_id=1, title="x"))
    await second.ask(create(2))

    answer = await second.ask(make_command(UpdateTask, task_id=1, title="x"))
    assert answer.version == 4


async def test_a_key_is_good_once_on_all_nodes(store: Store, nodes: list[Node]) -> None:
    actors = [await node.actor() for node in nodes]

    answers = await asyncio.gather(
        *(
            actor.ask(create(number, key=make_key("k")))
            for number, actor in enumerate(actors, 1)
        ),
        return_exceptions=True,
    )

    kinds = {type(answer) for answer in answers}
    assert kinds == {Committed, KeyAlreadyUsed}
    assert len(await log_of(store)) == 2


async def test_a_node_that_comes_late_knows_everything(
    store: Store, nodes: list[Node]
) -> None:
    await write_all(nodes[0], [create(number) for number in range(1, 11)])

    late = start_node(store)
    actor = await late.actor()

    assert actor.state == (await nodes[0].actor()).state
    await late.stop()
