"""Hints, tickets, limits and health on a real Cluster of three Valkey servers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.exceptions import RedisError

from server import hints
from server.bus import CHANNELS
from server.cluster import Cluster as Client
from server.cluster import slot_of
from server.ratelimit import Limit
from server.seals import Seal
from server.settlement import Settlement
from server.tickets import Tickets
from tests.running_app import running
from tests.unit.server.test_tickets import ADA
from tests.valkeys import Cluster, Node, Server, eventually, two_nodes
from tests.valkeys import cluster as started

Nodes = tuple[Node, Node]


# A Cluster takes two seconds before it accepts a write.
pytestmark = pytest.mark.asyncio(loop_scope="module")


# In memory, since a server answers nobody while it writes the layout to a slow disk.
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_cluster(module_data_dir: Path) -> AsyncIterator[Cluster]:
    async with started(module_data_dir) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(module_cluster: Cluster) -> Cluster:
    await module_cluster.heal()
    return module_cluster


@pytest_asyncio.fixture(loop_scope="module")
async def nodes(cluster: Cluster) -> AsyncIterator[Nodes]:
    async with two_nodes(cluster.url) as nodes:
        yield nodes


@pytest_asyncio.fixture(loop_scope="module")
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    client = hints.connect(cluster.url)
    assert isinstance(client, Client)
    yield client
    await client.aclose()


def channels_of(cluster: Cluster, server: Server) -> list[int]:
    """List the channels that a server carried at the beginning."""
    third = cluster.servers.index(server)
    slots = [slot_of(f"boardcast:test:{number}".encode()) for number in range(CHANNELS)]
    return [number for number, slot in enumerate(slots) if slot * 3 // 16384 == third]


def key_of(cluster: Cluster, server: Server) -> str:
    """Find a key that a server has."""
    third = cluster.servers.index(server)
    names = (f"key-{number}" for number in range(1000))
    return next(one for one in names if slot_of(one.encode()) * 3 // 16384 == third)


async def test_messages_of_all_channels_get_through(nodes: Nodes) -> None:
    here, there = nodes

    said = here.say("hello")
    await there.hears(said)

    assert sorted(there.heard) == sorted(said)
    assert (here.bus.published, here.bus.dropped) == (CHANNELS, 0)
    assert there.times_connected == 1


async def test_one_master_that_is_killed_takes_only_its_channels_along(
    cluster: Cluster, nodes: Nodes
) -> None:
    here, there = nodes
    victim = cluster.servers[1]
    lost = channels_of(cluster, victim)

    await victim.kill()
    await eventually(lambda: not here.bus.is_connected)
    said = here.say("meanwhile")
    await there.hears([one for at, one in enumerate(said) if at not in lost])
    await victim.start()
    await here.connected(times=2)
    await there.connected(times=2)

    assert 0 < len(lost) < CHANNELS
    assert here.bus.dropped == len(lost)
    await there.hears(here.say("again"))


async def test_a_frozen_master_is_noticed(cluster: Cluster, nodes: Nodes) -> None:
    here, there = nodes
    victim = cluster.servers[2]

    victim.freeze()
    async with asyncio.timeout(3):
        await eventually(lambda: not (here.bus.is_connected or there.bus.is_connected))
    victim.thaw()
    await here.connected(times=2)
    await there.connected(times=2)

    await there.hears(here.say("again"))


async def test_channels_follow_a_slot_that_moves(
    cluster: Cluster, nodes: Nodes
) -> None:
    here, there = nodes
    source, target = cluster.servers[0], cluster.servers[2]
    moved, other = channels_of(cluster, source)[:2]
    said = []

    async def talk() -> None:
        while True:
            said.append(b"%d" % len(said))
            here.bus.offer(other, said[-1])
            here.bus.offer(moved, b"moved " + said[-1])
            await asyncio.sleep(0.001)

    talking = asyncio.create_task(talk())
    try:
        await cluster.move(slot_of(f"boardcast:test:{moved}".encode()), source, target)
        await here.connected(times=2)
        await there.connected(times=2)
        await there.hears([b"moved %d" % (len(said) + 1)])
    finally:
        talking.cancel()

    await there.hears(said)
    assert [one for one in there.heard if not one.startswith(b"moved")] == said
    await cluster.move(slot_of(f"boardcast:test:{moved}".encode()), target, source)
    await there.connected(times=3)


async def test_a_replica_that_takes_over_gets_the_channels(data_dir: Path) -> None:
    async with started(data_dir) as cluster:
        victim = cluster.servers[0]
        await cluster.replicate(victim)
        async with two_nodes(cluster.url) as (here, there):
            await victim.kill()
            await here.connected(times=2)
            await there.connected(times=2)

            await there.hears(here.say("again"))


async def test_a_server_with_a_cluster_lacks_nothing(
    cluster: Cluster, database_url: str
) -> None:
    async with (
        running(database_url, cluster.url) as here,
        running(database_url, cluster.url) as there,
    ):
        ada = await here.person()
        ticket = (await ada.post("/ws/tickets")).json["ticket"]
        listener = await there.connect(f"?ticket={ticket}")
        health = await here.nobody.get("/health")

        assert (health.json["status"], health.json["redis"]) == ("ok", "ok")
        assert await listener.events() == []


async def test_tickets_are_redeemed_on_another_node(
    cluster: Cluster, client: Client
) -> None:
    other = hints.connect(cluster.url)
    tickets = [
        await Tickets(client, Seal(b"secret", b"tickets")).issue(ADA) for _ in range(20)
    ]

    redeemed = [
        await Tickets(other, Seal(b"secret", b"tickets")).redeem(ticket)
        for ticket in tickets
    ]
    await other.aclose()

    assert redeemed == [ADA] * 20
    assert all(ticket.startswith("s") for ticket in tickets)


async def test_limits_are_shared(client: Client) -> None:
    nodes = [Limit("default", 40, window_seconds=3600) for _ in range(2)]
    here, there = (Settlement(client, [one], on_failure=int) for one in nodes)

    for key in range(300):
        nodes[0].of(key).take()
    await here.settle()
    for key in range(300):
        nodes[1].of(key).take()
    await there.settle()

    assert {nodes[1].of(key).left for key in range(300)} == {38}


async def test_a_key_whose_slot_is_moving_is_found(
    cluster: Cluster, client: Client
) -> None:
    source, target = cluster.servers[:2]
    key = key_of(cluster, source)
    await client.ping()  # so that it knows where the slot was

    await cluster.begin_to_move(slot_of(key.encode()), source, target)
    await client.set(key, "word")
    asked = await client.get(key)
    await cluster.finish_moving(slot_of(key.encode()), source, target)
    moved = await client.get(key)
    await client.delete(key)
    await cluster.move(slot_of(key.encode()), target, source)

    assert (asked, moved) == (b"word", b"word")


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_what_other_masters_have_is_as_quick_without_one(
    cluster: Cluster, client: Client, fault: str
) -> None:
    victim, other = cluster.servers[0], cluster.servers[1]
    await client.ping()
    loop = asyncio.get_running_loop()

    if fault == "kill":
        await victim.kill()
    else:
        victim.freeze()
    seconds = []
    for _ in range(5):
        with pytest.raises((RedisError, TimeoutError)):
            async with asyncio.timeout(0.25):
                await client.set(key_of(cluster, victim), "word")
        started_at = loop.time()
        await client.set(key_of(cluster, other), "word")
        seconds.append(loop.time() - started_at)

    assert max(seconds) < 0.1


async def test_a_cluster_that_is_away_is_so_at_once() -> None:
    client = hints.connect("redis+cluster://127.0.0.1:1,127.0.0.1:2")

    with pytest.raises(RedisError):
        async with asyncio.timeout(0.25):
            await client.ping()
    with pytest.raises(RedisError):
        async with asyncio.timeout(0.25):
            await client.get("key")
    await client.aclose()
