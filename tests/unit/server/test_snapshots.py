"""Copies of projects in Redis: whole, bounded, and never waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest
import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from actors.domain.model import (
    CommentId,
    MemberRole,
    ProjectId,
    ProjectStatus,
    TaskId,
    TaskPriority,
    TaskStatus,
    UserId,
)
from actors.domain.state import ProjectState
from server import snapshots
from server.seals import Seal
from server.snapshots import LIFETIME_SECONDS, Snapshots
from tests.factories import (
    AT,
    LATER,
    PROJECT,
    make_comment,
    make_member,
    make_project,
    make_state,
    make_task,
)

WAIT_SECONDS = 5
SEAL = Seal(b"secret", b"snapshots")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeRedis:
    """As much of Redis as copies use; answers, refuses or is silent."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.lifetimes: list[int] = []
        self.refuses = False
        self.is_silent = False
        self.asked = 0

    async def get(self, key: str) -> bytes | None:
        await self._answer()
        return self.kept.get(key)

    async def set(self, key: str, value: bytes, *, ex: int) -> None:
        await self._answer()
        self.kept[key] = value
        self.lifetimes.append(ex)

    async def _answer(self) -> None:
        self.asked += 1
        if self.refuses:
            raise RedisConnectionError
        if self.is_silent:
            await asyncio.Event().wait()


def state_of(tasks: int, *, version: int = 9) -> ProjectState:
    """A project with a bit of everything, and so many tasks."""
    state = make_state(
        project=make_project(description="Ä", status=ProjectStatus.ARCHIVED),
        members=[make_member(2), make_member(3, MemberRole.VIEWER)],
        tasks=[
            make_task(
                id=TaskId(number),
                title=f"Title {number}",
                description=None if number % 2 else "✓",
                status=list(TaskStatus)[number % 3],
                priority=list(TaskPriority)[number % 4],
                assigned_to=UserId(2) if number % 2 else None,
                due_date=LATER if number % 3 else None,
                completed_at=AT.replace(microsecond=1) if number % 3 == 2 else None,
            )
            for number in range(1, tasks + 1)
        ],
        comments=[
            make_comment(id=CommentId(number), task_id=TaskId(1 + number % 2))
            for number in range(5)
        ],
        version=version,
    )
    state.tip = b'{"type":"task_updated"}'
    return state


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def archive_of(
    redis: object, database: str = "1/here", clock: Clock | None = None
) -> AsyncIterator[Snapshots]:
    archive = Snapshots(
        redis,  # type: ignore[arg-type]  # as much of one as is needed
        database,
        SEAL,
        least_items=10,
        clock=clock or Clock(),
    )
    archive.start()
    yield archive
    await archive.close()


@pytest.fixture
async def archive(redis: FakeRedis, clock: Clock) -> AsyncIterator[Snapshots]:
    async with archive_of(redis, clock=clock) as archive:
        yield archive


async def kept(archive: Snapshots) -> None:
    """Wait until the worker has nothing to do."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not archive._offers.empty():  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)


async def test_what_is_found_is_what_was_offered(redis_url: str) -> None:
    state = state_of(1234)
    redis = Redis.from_url(redis_url)
    async with archive_of(redis) as archive:
        archive.offer(state)
        async with asyncio.timeout(WAIT_SECONDS):
            while (found := await archive.find(PROJECT)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (key,) = await redis.keys()

        assert found == state
        assert found.tip == state.tip
        assert found.tasks[TaskId(1)].due_date is not None
        assert found.tasks[TaskId(1)].due_date.tzinfo is AT.tzinfo
        assert 0 < await redis.ttl(key) <= LIFETIME_SECONDS
    await redis.aclose()


async def test_what_changes_after_the_offer_is_not_in_the_copy(
    archive: Snapshots,
) -> None:
    state = state_of(600)
    archive.offer(state)
    state.tasks[TaskId(1)] = make_task(title="Later")
    state.comments.clear()
    await kept(archive)

    assert await archive.find(PROJECT) == state_of(600)


async def test_others_have_their_turn_while_a_copy_is_made(
    archive: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_SLICE", 10)
    archive.offer(state_of(200))
    turns = 0
    while archive._kept.get(PROJECT) is None:
        await asyncio.sleep(0)
        turns += 1

    finding = asyncio.create_task(archive.find(PROJECT))
    while not finding.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 40
    assert await finding == state_of(200)


async def test_small_projects_are_not_kept(
    archive: Snapshots, redis: FakeRedis
) -> None:
    archive.offer(state_of(4))  # and five comments
    await kept(archive)
    assert redis.kept == {}

    archive.offer(state_of(5))
    await kept(archive)
    assert len(redis.kept) == 1


@pytest.mark.parametrize(
    "change", [{"project": None}, {"tip": b""}], ids=["deleted", "without a tip"]
)
async def test_what_could_not_be_checked_is_not_kept(
    archive: Snapshots, redis: FakeRedis, change: dict[str, object]
) -> None:
    archive.offer(replace(state_of(20), **change))  # type: ignore[arg-type]  # one field
    await kept(archive)

    assert redis.kept == {}


async def test_what_is_kept_already_is_not_kept_again(
    archive: Snapshots, redis: FakeRedis
) -> None:
    for version in (9, 9, 10):
        archive.offer(state_of(20, version=version))
        await kept(archive)

    assert len(redis.lifetimes) == 2


async def test_what_redis_lost_is_kept_again(
    archive: Snapshots, redis: FakeRedis
) -> None:
    for _ in range(2):
        archive.offer(state_of(20))
        await kept(archive)
        redis.kept.clear()
        assert await archive.find(PROJECT) is None

    assert len(redis.lifetimes) == 2


@pytest.mark.parametrize("limit", ["_MOST_BYTES", "_SLICE_BYTES"])
async def test_what_is_too_large_is_not_kept(
    archive: Snapshots,
    redis: FakeRedis,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
) -> None:
    monkeypatch.setattr(snapshots, limit, 100)
    archive.offer(state_of(20))
    await kept(archive)

    assert redis.kept == {}
    monkeypatch.undo()
    archive.offer(state_of(20))
    await kept(archive)
    assert len(redis.kept) == 1


async def test_offers_beyond_the_room_are_dropped(
    archive: Snapshots, redis: FakeRedis
) -> None:
    for number in range(100):
        state = state_of(20)
        state.project_id = ProjectId(number)
        state.project = make_project(id=ProjectId(number))
        archive.offer(state)
    await kept(archive)

    assert 16 <= len(redis.kept) <= 17


async def test_copies_of_another_database_are_not_found(redis: FakeRedis) -> None:
    async with archive_of(redis) as archive, archive_of(redis, "1/there") as other:
        archive.offer(state_of(20))
        await kept(archive)

        assert await other.find(PROJECT) is None
        redis.kept = {
            key.replace("here", "there"): value for key, value in redis.kept.items()
        }
        assert await other.find(PROJECT) is None


async def test_copies_of_another_format_are_not_found(
    archive: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.offer(state_of(20))
    await kept(archive)

    monkeypatch.setattr(snapshots, "FORMAT", 2)

    assert await archive.find(PROJECT) is None


def _sheet(kept: bytes, **fields: object) -> bytes:
    sheet = msgspec.msgpack.decode(SEAL.open(kept), type=snapshots._Sheet)
    spoilt = msgspec.structs.replace(sheet, **fields)
    return SEAL.close(msgspec.msgpack.encode(spoilt))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: b"",
        lambda kept: b"\x80\x04garbage",
        lambda kept: kept[:-1],
        lambda kept: SEAL.close(SEAL.open(kept)[:-1]),
        lambda kept: Seal(b"another", b"snapshots").close(SEAL.open(kept)),
        lambda kept: _sheet(kept, tasks=[b"no zlib"]),
        lambda kept: _sheet(kept, tasks=[b""]),
        lambda kept: _sheet(kept, comments=msgspec.msgpack.decode(SEAL.open(kept))[6]),
        lambda kept: _sheet(kept, project=make_project(id=ProjectId(8))),
    ],
)
async def test_garbage_is_told_once_and_not_used(
    archive: Snapshots, redis: FakeRedis, spoil: Callable[[bytes], bytes]
) -> None:
    archive.offer(state_of(20))
    await kept(archive)
    redis.kept = {key: spoil(value) for key, value in redis.kept.items()}

    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert await archive.find(PROJECT) is None

    assert [entry["event"] for entry in logs] == ["snapshots.unreadable"]


async def test_a_slice_that_unpacks_to_too_much_is_garbage(
    archive: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.offer(state_of(20))
    await kept(archive)

    monkeypatch.setattr(snapshots, "_SLICE_BYTES", 100)

    assert await archive.find(PROJECT) is None


@pytest.mark.parametrize("trouble", ["refuses", "is_silent"])
async def test_while_redis_is_away_nobody_waits_for_it(
    archive: Snapshots,
    redis: FakeRedis,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    monkeypatch.setattr(snapshots, "REDIS_SECONDS", 0.01)
    archive.offer(state_of(20))
    await kept(archive)
    setattr(redis, trouble, True)
    before = redis.asked

    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            assert await archive.find(PROJECT) is None
            archive.offer(state_of(20, version=10))
        assert redis.asked == before + 1
        clock.now += 6
        assert await archive.find(PROJECT) is None
        assert redis.asked == before + 2

    assert [entry["event"] for entry in logs] == ["snapshots.unavailable"]
    setattr(redis, trouble, False)
    clock.now += 6
    assert await archive.find(PROJECT) == state_of(20)


async def test_a_copy_that_redis_does_not_take_is_dropped(
    archive: Snapshots,
    redis: FakeRedis,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis.refuses = True
    archive.offer(state_of(20))
    await kept(archive)
    redis.refuses = False
    clock.now += 6

    assert await archive.find(PROJECT) is None
    archive.offer(state_of(20))
    await kept(archive)
    assert await archive.find(PROJECT) == state_of(20)


async def test_few_ask_redis_at_a_time(
    archive: Snapshots, redis: FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "REDIS_SECONDS", 0.01)
    redis.is_silent = True

    await asyncio.gather(*(archive.find(ProjectId(number)) for number in range(50)))

    assert redis.asked == 8
