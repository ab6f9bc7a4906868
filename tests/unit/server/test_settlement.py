"""Two nodes share limits through a real Valkey; or go on without it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
import structlog
from redis.asyncio import Redis

from server.ratelimit import Limit
from server.settlement import Settlement
from tests.running_app import until

HOUR = 3600.0  # Redis' own clock goes on: of a window this long nothing comes back


class Node:
    """A process's share of a limit of 40."""

    def __init__(self, redis: Redis, quota: int = 40, window_seconds: float = HOUR):
        self.limit = Limit("default", quota, window_seconds=window_seconds)
        self.failures = 0
        self.settlement = Settlement(redis, [self.limit], on_failure=self.fail)

    def fail(self) -> None:
        self.failures += 1

    def take(self, number: int = 1, key: int = 1) -> int:
        """Ask so often; answers how often it was granted."""
        return sum(self.limit.of(key).take() for _ in range(number))

    @property
    def left(self) -> int:
        return self.limit.of(1).left

    async def settle(self) -> None:
        await self.settlement.settle()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def nodes(redis: Redis) -> list[Node]:
    return [Node(redis), Node(redis)]


async def settled(*nodes: Node) -> None:
    """Have every node know of all the others."""
    for node in (*nodes, *nodes):
        node.limit.of(1).charge()
        node.limit.of(1).give_back()
        await node.settle()


async def test_what_one_node_lets_through_counts_on_the_other(
    nodes: list[Node],
) -> None:
    here, there = nodes
    assert (here.take(20), there.take(15)) == (20, 15)

    await settled(here, there)

    assert (here.left, there.left) == (5, 5)
    assert here.take(9) == 5


async def test_the_excess_is_what_the_other_node_has_not_settled_and_it_is_owed(
    nodes: list[Node],
) -> None:
    here, there = nodes
    here.take(30)
    await here.settle()
    there.take()
    await there.settle()

    unsettled = here.take(40)
    granted = there.take(40)
    await settled(here, there)

    assert unsettled == 10
    assert 30 + 1 + unsettled + granted <= 40 + unsettled
    assert here.take() == there.take() == 0
    owed = (31 + unsettled + granted - 40 + 1) * HOUR / 40
    assert here.limit.of(1).retry_after_seconds == pytest.approx(owed, abs=2)


async def test_what_is_used_during_a_settlement_is_not_lost(nodes: list[Node]) -> None:
    here, there = nodes
    here.take(5)

    settling = asyncio.create_task(here.settle())
    await until(lambda: here.limit.of(1).ahead == 0)
    here.take(7)
    await settling

    assert here.left == 28
    await settled(here, there)
    assert there.left == 28


async def test_what_is_given_back_is_given_back_everywhere(nodes: list[Node]) -> None:
    here, there = nodes
    here.take(40)
    await here.settle()
    there.take()
    await there.settle()
    assert there.take() == 0

    for _ in range(30):
        here.limit.of(1).give_back()
    await settled(here, there)

    assert there.left == 29


async def test_who_is_refused_hears_of_what_was_given_back_elsewhere(
    nodes: list[Node],
) -> None:
    here, there = nodes
    here.take(40)
    await settled(here, there)
    here.limit.of(1).give_back()
    await here.settle()
    assert there.take() == 0

    await there.settle()

    assert there.take() == 1


async def test_redis_may_forget_and_the_nodes_still_know(
    redis: Redis, nodes: list[Node]
) -> None:
    here, there = nodes
    here.take(30)
    await settled(here, there)

    await redis.flushall()
    await settled(here, there)

    assert (here.left, there.left) == (10, 10)


async def test_keys_expire_when_everything_is_back(redis: Redis) -> None:
    node = Node(redis, window_seconds=60)
    node.take(20)
    await node.settle()

    (key,) = await redis.keys("*")

    assert key == b"{boardcast:limits}:default:1"
    assert 29_000 < await redis.pttl(key) <= 30_000


async def test_what_has_been_paid_back_leaves_no_key(redis: Redis) -> None:
    node = Node(redis)
    node.take()
    node.limit.of(1).give_back()

    await node.settle()

    assert await redis.keys("*") == []


async def test_nobody_owes_more_than_a_window(redis: Redis) -> None:
    node = Node(redis)
    key = "{boardcast:limits}:default:1"
    await redis.set(key, 9 * 10**15)  # as after a clock that was set back

    node.take()
    await node.settle()

    assert node.limit.of(1).used_seconds == pytest.approx(2 * HOUR, abs=1)


async def test_many_users_are_settled_in_calls_of_bounded_size(redis: Redis) -> None:
    here, there = Node(redis), Node(redis)
    for key in range(1, 1001):
        here.take(10, key)
    await here.settle()

    for key in (1, 500, 1000):
        there.take(1, key)
    await there.settle()

    calls = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert [there.limit.of(key).left for key in (1, 500, 1000)] == [29, 29, 29]
    assert calls >= 5


async def test_a_started_settlement_needs_nobody_to_ask_for_it(
    nodes: list[Node],
) -> None:
    here, there = nodes
    for node in nodes:
        node.settlement.start()
    try:
        here.take(10)
        await until(lambda: here.limit.of(1).ahead == 0)
        there.take(1)
        await until(lambda: there.left == 29)
    finally:
        for node in nodes:
            await node.settlement.close()


async def test_it_ends_whenever_it_is_asked_to(redis: Redis) -> None:
    for steps in range(100):  # at any point of a settlement that is under way
        node = Node(redis)
        node.settlement.start()
        node.take(3)
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await node.settlement.close()


class SilentRedis:
    """Takes calls and never answers."""

    async def evalsha(self, *arguments: object) -> None:
        await asyncio.Event().wait()


async def test_a_silent_redis_is_given_up_within_a_quarter_of_a_second() -> None:
    node = Node(SilentRedis())  # type: ignore[arg-type]  # a fake
    node.take(5)
    loop = asyncio.get_running_loop()

    started = loop.time()
    await node.settle()

    assert loop.time() - started < 1
    assert node.failures == 1
    assert node.left == 35


async def test_without_redis_a_node_counts_for_itself_and_says_so_once() -> None:
    node = Node(Redis.from_url("unix:///nonexistent/valkey.sock"))

    with structlog.testing.capture_logs() as entries:
        for _ in range(3):
            node.take(5)
            await node.settle()

    assert node.settlement.is_local
    assert node.failures == 3
    assert [entry["event"] for entry in entries] == ["limits.local"]
    assert node.take(40) == 25


async def test_limits_are_shared_again_when_redis_is_back(nodes: list[Node]) -> None:
    here, there = nodes
    redis, here.settlement._redis = here.settlement._redis, SilentRedis()  # type: ignore[assignment]  # a fake
    here.take(10)
    await here.settle()

    here.settlement._redis = redis
    here.take(3)
    with structlog.testing.capture_logs() as entries:
        await settled(here, there)

    assert [entry["event"] for entry in entries] == ["limits.shared"]
    assert not here.settlement.is_local
    assert there.left <= 37


async def test_what_came_back_while_redis_was_away_is_not_told_of(redis: Redis) -> None:
    here, there = Node(redis, 60, 60), Node(redis, 60, 60)
    now = 1000.0
    here.limit.clock = lambda: now
    there.take()
    await there.settle()  # so that the key is there

    for _ in range(600):  # ten minutes of one request a second
        here.take()
        now += 1
    await here.settle()
    there.take()
    await there.settle()

    assert there.left > 50


@pytest.mark.parametrize("nonsense", [None, [], [b"1"], b"OK"])
async def test_nonsense_counts_as_no_answer(redis: Redis, nonsense: object) -> None:
    node = Node(redis)
    redis.evalsha = AsyncMock(return_value=nonsense)  # type: ignore[method-assign]  # a fake
    node.take()
    await node.settle()

    assert node.settlement.is_local


async def test_a_settlement_that_breaks_is_logged_and_tried_again(redis: Redis) -> None:
    node = Node(redis)
    run, tries = node.settlement._run, []

    async def break_once(*arguments: list[Any]) -> list[int]:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("boom")
        return await run(*arguments)

    node.settlement._run = break_once  # type: ignore[method-assign]  # a fake
    node.settlement.start()
    with structlog.testing.capture_logs() as entries:
        node.take()
        await until(lambda: entries != [])
        node.take()
        await until(lambda: len(tries) == 2)
        await node.settlement.close()

    assert entries[0]["event"] == "limits.settlement_broken"
