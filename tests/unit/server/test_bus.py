"""Two nodes tell each other things through a real Valkey of their own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from server.bus import CHANNELS, Bus
from tests.valkeys import Node, Server, eventually, server, two_nodes

NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Server]:
    async with server(tmp_path) as valkey:
        yield valkey


@pytest.fixture
async def nodes(valkey: Server) -> AsyncIterator[tuple[Node, Node]]:
    async with two_nodes(valkey.url) as nodes:
        yield nodes


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_everybody_hears_what_is_said_on_any_channel(
    nodes: tuple[Node, Node],
) -> None:
    here, there = nodes

    said = here.say("hello")
    await there.hears(said)
    await here.hears(said)

    assert there.heard == said  # on one server in order, too
    assert (here.bus.published, here.bus.dropped) == (CHANNELS, 0)
    assert (there.bus.published, there.bus.received) == (0, CHANNELS)


async def test_places_share_the_channels(nodes: tuple[Node, Node]) -> None:
    here, there = nodes

    here.bus.offer(10**18, b"far")

    await there.hears([b"far"])


async def test_installations_on_one_server_do_not_hear_each_other(
    valkey: Server, nodes: tuple[Node, Node]
) -> None:
    here, there = nodes
    stranger = Node(valkey.url, namespace="other")
    stranger.bus.start()
    await stranger.connected()

    stranger.bus.offer(1, b"psst")
    await stranger.hears([b"psst"])
    here.bus.offer(1, b"hello")
    await there.hears([b"hello"])
    await stranger.bus.close()

    assert there.heard == [b"hello"]
    assert stranger.heard == [b"psst"]


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
async def test_messages_have_any_size_and_any_bytes(
    nodes: tuple[Node, Node], size: int
) -> None:
    here, there = nodes
    message = bytes(range(256)) * (size // 256) + b"\r\n$"[: size % 256]

    here.bus.offer(1, message)

    await there.hears([message])


async def test_a_listener_that_fails_is_told_of_the_next(valkey: Server) -> None:
    heard = []

    def listen(message: bytes) -> None:
        heard.append(message)
        raise ValueError(message)

    bus = Bus(valkey.url, namespace="x", on_message=listen, on_connected=int)
    with structlog.testing.capture_logs() as logged:
        bus.start()
        await eventually(lambda: bus.is_connected)
        bus.offer(1, b"one")
        bus.offer(1, b"two")
        await eventually(lambda: len(heard) == 2)
        await bus.close()

    events = [entry["event"] for entry in logged]
    assert events == ["bus.connected", "bus.message_failed", "bus.message_failed"]


async def test_it_connects_again_to_a_server_that_was_killed(
    valkey: Server, nodes: tuple[Node, Node]
) -> None:
    here, there = nodes

    await valkey.kill()
    await eventually(lambda: not (here.bus.is_connected or there.bus.is_connected))
    here.say("unheard")
    await valkey.start()
    await here.connected(times=2)
    await there.connected(times=2)
    said = here.say("again")
    await there.hears(said)

    assert there.heard == said
    assert here.bus.dropped == CHANNELS


async def test_it_waits_for_a_server_that_is_not_there_yet(valkey: Server) -> None:
    await valkey.kill()
    node = Node(valkey.url)
    node.bus.start()
    await asyncio.sleep(0.3)

    assert not node.bus.is_connected
    await valkey.start()
    await node.connected()
    await node.bus.close()


async def test_a_frozen_server_is_noticed_within_seconds(
    valkey: Server, nodes: tuple[Node, Node]
) -> None:
    here, there = nodes

    valkey.freeze()
    async with asyncio.timeout(3):
        await eventually(lambda: not (here.bus.is_connected or there.bus.is_connected))
    valkey.thaw()
    await here.connected(times=2)
    await there.connected(times=2)

    await there.hears(here.say("again"))


async def test_a_client_that_is_cut_off_connects_again(
    valkey: Server, nodes: tuple[Node, Node]
) -> None:
    here, there = nodes

    await valkey.ask("CLIENT", "KILL", "TYPE", "pubsub")  # as for one that is slow
    await here.connected(times=2)
    await there.connected(times=2)

    await there.hears(here.say("again"))


async def test_what_waits_is_bounded(nodes: tuple[Node, Node]) -> None:
    here, there = nodes

    for _ in range(10_000):
        here.bus.offer(1, b"small")
    small = here.bus.dropped
    await eventually(lambda: len(there.heard) == 4096)
    for _ in range(20):
        here.bus.offer(1, bytes(1024 * 1024))
    large = here.bus.dropped - small
    await eventually(lambda: len(there.heard) == 4096 + 8)

    assert (small, large) == (10_000 - 4096, 12)


async def test_a_frozen_server_makes_nobody_wait_and_nothing_pile_up(
    valkey: Server, nodes: tuple[Node, Node]
) -> None:
    here, _ = nodes

    valkey.freeze()
    for _ in range(200):
        here.bus.offer(1, bytes(1024 * 1024))
        await asyncio.sleep(0)
    await eventually(lambda: not here.bus.is_connected)
    valkey.thaw()

    assert here.bus.dropped > 150


async def test_without_a_server_everything_is_dropped_and_counted() -> None:
    node = Node(NOWHERE)

    node.bus.offer(1, b"before the start")
    node.bus.start()
    node.bus.offer(1, b"before the connection")
    await asyncio.sleep(0.1)
    node.bus.offer(1, b"without one")
    await node.bus.close()
    node.bus.offer(1, b"after the end")

    assert node.bus.dropped == 4
    assert node.times_connected == 0


async def test_a_refusal_is_logged_once_and_tried_again(valkey: Server) -> None:
    await valkey.ask("ACL", "SETUSER", "default", "resetchannels")
    node = Node(valkey.url)

    with structlog.testing.capture_logs() as logged:
        node.bus.start()
        await eventually(lambda: logged != [])
        await asyncio.sleep(0.3)
        await valkey.ask("ACL", "SETUSER", "default", "allchannels")
        await node.connected()
        await node.bus.close()

    events = [entry["event"] for entry in logged]
    assert events == ["bus.refused", "bus.connected"]
    assert "permission" in logged[0]["reason"]


@pytest.mark.parametrize("steps", [0, 1, 5, 20, 100, 300])
async def test_it_ends_whenever_it_is_asked_to(valkey: Server, steps: int) -> None:
    tasks, files = asyncio.all_tasks(), open_files()
    node = Node(valkey.url)
    node.bus.start()
    for _ in range(steps):
        await asyncio.sleep(0)

    async with asyncio.timeout(1):
        await node.bus.close()

    assert asyncio.all_tasks() == tasks
    assert open_files() == files


async def test_it_ends_while_the_server_reads_nothing(valkey: Server) -> None:
    files = open_files()
    node = Node(valkey.url)
    node.bus.start()
    await node.connected()
    valkey.freeze()
    for _ in range(30):  # more than the system takes
        node.bus.offer(1, bytes(1024 * 1024))
        await asyncio.sleep(0.001)

    async with asyncio.timeout(1):
        await node.bus.close()

    assert open_files() == files


@pytest.mark.parametrize("url", ["http://cache", "redis+cluster://:7000", "cache"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Node(url)
