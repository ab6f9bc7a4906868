"""What projects in memory take, and how long it takes to bring them there.

Makes 100 000 projects, and brings 5000 of them into the memory of the real application,
opened in this very process without a listening socket: its registry is asked as its
handlers ask it. PostgreSQL and Valkey are those that come along. Exits with 1 where a
goal is missed (Linux).
"""

import argparse
import asyncio
import gc
import os
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import uvloop
from aiohttp import web

from actors.domain.events import TaskCreated
from actors.domain.model import (
    Project,
    ProjectId,
    Task,
    TaskId,
    TaskPriority,
    TaskStatus,
    UserId,
)
from actors.registry import Registry
from loadtests.goals import Goal, report
from loadtests.servers import resident_bytes, scratch
from server import keys, migrate
from server.app import Urls, create_app
from server.config import Config
from server.embedded import Embedded, Servers
from server.representations import encode_event
from server.snapshots import LEAST_ITEMS

_USERS = 1000
_START = datetime(2026, 1, 5, 8, tzinfo=UTC)
_IDLE_SECONDS = 1.0
_ROUNDS = 30
_VOCABULARY = """
review draft prepare the quarterly report for customer meeting update contract invoice
budget deploy server migrate database check backup write release notes plan sprint call
supplier order parts fix broken build test mobile layout improve search speed answer
ticket translate manual book travel sign lease hire designer measure traffic close
account renew licence clean archive train new colleague
"""
_WORDS = _VOCABULARY.split()

_PROJECT_COLUMNS = tuple(
    name for name in Project.__slots__ if name not in ("description", "is_inbox")
)
_TASK_COLUMNS = Task.__slots__


@dataclass(frozen=True, slots=True)
class Group:
    """Projects of one size, by their ids."""

    tasks: int
    ids: range


def _groups(share: float) -> list[Group]:
    """Give 5000 projects, or a share of them: mostly small ones."""
    groups, first = [], 1
    for tasks, count in ((10, 4000), (100, 900), (1000, 90), (10_000, 10)):
        last = first + max(3, int(count * share))
        groups.append(Group(tasks, range(first, last)))
        first = last
    return groups


def _text(random_: random.Random, characters: int) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(random_.choice(_WORDS))
    return " ".join(words)


def _task(random_: random.Random, project_id: int, number: int) -> Task:
    created_at = _START + timedelta(
        seconds=random_.randrange(10**7), microseconds=number
    )
    return Task(
        id=TaskId(project_id * 100_000 + number),
        title=_text(random_, 40),
        description=_text(random_, 100),
        status=random_.choice((TaskStatus.PENDING, TaskStatus.IN_PROGRESS)),
        priority=random_.choice(list(TaskPriority)),
        project_id=ProjectId(project_id),
        created_by=UserId(random_.randint(1, _USERS)),
        assigned_to=UserId(random_.randint(1, _USERS)),
        due_date=created_at + timedelta(days=7),
        completed_at=None,
        created_at=created_at,
        updated_at=created_at + timedelta(hours=1),
        version=number + 1,
    )


def _row(task: Task) -> tuple[object, ...]:
    return tuple(getattr(task, name) for name in _TASK_COLUMNS)


def _last_event(task: Task) -> tuple[object, ...]:
    event = TaskCreated(
        project_id=task.project_id,
        version=task.version,
        by=task.created_by,
        at=task.updated_at,
        request_id="memory",
        task=task,
    )
    body = encode_event(event).decode()
    return (task.project_id, task.version, event.type, task.id, event.at, body)


async def _fill(url: str, groups: Sequence[Group], projects: int) -> None:
    """Write users, projects, tasks, and of each log the last event."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO users (id, email, username, password_hash)"
        " SELECT i, 'u' || i || '@example.com', 'user' || i, ''"
        " FROM generate_series(1, $1::integer) i",
        _USERS,
    )
    random_ = random.Random(7)
    sizes = {id_: group.tasks for group in groups for id_ in group.ids}
    await connection.copy_records_to_table(
        "projects",
        columns=_PROJECT_COLUMNS,
        records=(
            (id_, _text(random_, 30), id_ % _USERS + 1, "active", _START, _START, 1)
            for id_ in range(1, projects + 1)
        ),
    )
    await connection.copy_records_to_table(
        "project_heads",
        columns=("project_id", "version"),
        records=((id_, sizes.get(id_, 0) + 1) for id_ in range(1, projects + 1)),
    )
    for id_, size in sizes.items():
        tasks = [_task(random_, id_, number) for number in range(1, size + 1)]
        await connection.copy_records_to_table(
            "tasks", columns=_TASK_COLUMNS, records=map(_row, tasks)
        )
        await connection.copy_records_to_table(
            "project_events",
            columns=("project_id", "version", "type", "task_id", "at", "body"),
            records=[_last_event(tasks[-1])],
        )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


@asynccontextmanager
async def _opened(servers: Servers) -> AsyncIterator[web.Application]:
    """Open the application as `boardcast serve` does, but for the listening socket."""
    config = Config(
        jwt_secret=b"a secret of the measurement, and long enough",
        jwt_refresh_secret=b"another secret of the measurement, as long",
        access_log="off",
        log_level="error",
    )
    urls = Urls(database=servers.database_url or "", redis=servers.redis_url or "")
    runner = web.AppRunner(create_app(config, urls=urls))
    await runner.setup()
    try:
        yield runner.app
    finally:
        await runner.cleanup()


def _resident() -> int:
    gc.collect()
    return resident_bytes(os.getpid())


class _Heart:
    """Tells for how long the loop did not come round."""

    def __init__(self) -> None:
        self.longest_seconds = 0.0

    async def beat(self) -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            late = time.perf_counter() - started - 0.001
            self.longest_seconds = max(self.longest_seconds, late)


async def _load_all(registry: Registry, ids: Iterable[int]) -> None:
    for id_ in ids:
        await registry.get(ProjectId(id_))


async def _evict_all(registry: Registry) -> None:
    """Have the idle time pass; until then housekeeping must not evict anybody."""
    await asyncio.sleep(_IDLE_SECONDS * 1.5)  # copies are made meanwhile
    registry.idle_seconds, usual = _IDLE_SECONDS, registry.idle_seconds
    await registry.evict_idle()
    registry.idle_seconds = usual
    await asyncio.sleep(_IDLE_SECONDS)


async def _memory(app: web.Application, groups: Sequence[Group]) -> list[Goal]:
    """Bring all projects in, let them go, and bring them in again."""
    registry = app[keys.REGISTRY]
    ids = [id_ for group in groups for id_ in group.ids]
    allowed = sum(_allowed_bytes(group) * len(group.ids) for group in groups)
    warm = [group.ids[0] for group in groups]  # buffers, and all else of a first use
    for _ in range(2):
        await _load_all(registry, warm)
        await _evict_all(registry)
    start = _resident()
    await _load_all(registry, ids)
    held, live = _resident() - start, len(registry)
    started = time.perf_counter()
    gc.collect()
    print(f"a full collection with all: {(time.perf_counter() - started) * 1e3:.0f} ms")
    await _evict_all(registry)
    after, left = _resident() - start, len(registry)
    await _load_all(registry, ids)
    again = _resident() - start
    await _evict_all(registry)
    print(f"{after / 1e6:.0f} MB after the idle time; the rest is free for others")
    return [
        Goal(f"MB, {live} projects live", held / 1e6, most=allowed / 1e6),
        Goal("actors left after the idle time", left, most=0),
        Goal("MB, all live a second time", again / 1e6, most=1.1 * held / 1e6),
    ]


def _allowed_bytes(group: Group) -> int:
    return 20 * 1024 + 1024 * group.tasks


async def _counted(app: web.Application, groups: Sequence[Group]) -> list[Goal]:
    """Count what Python itself allots to a project of each size."""
    registry, goals, each = app[keys.REGISTRY], [], []
    for group in groups:
        ids = group.ids[: max(1, 1000 // group.tasks)]
        await _load_all(registry, ids)
        await _evict_all(registry)
        tracemalloc.start()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await _load_all(registry, ids)
        gc.collect()
        each.append((tracemalloc.get_traced_memory()[0] - before) / len(ids))
        tracemalloc.stop()
        await _evict_all(registry)
        what = f"KB a project of {group.tasks} tasks, as Python counts"
        goals.append(Goal(what, each[-1] / 1024, most=_allowed_bytes(group) / 1024))
    task = (each[-1] - each[0]) / (groups[-1].tasks - groups[0].tasks)
    actor = each[0] - groups[0].tasks * task
    return [
        *goals,
        Goal("bytes a task", task, most=1024),
        Goal("bytes an actor without its tasks", actor, most=20 * 1024),
    ]


async def _cold_starts(
    app: web.Application, group: Group, source: str
) -> tuple[list[float], float]:
    """Load one project over and over; gives sorted times, and the longest block."""
    registry, redis = app[keys.REGISTRY], app[keys.REDIS]
    project_id, times, heart = ProjectId(group.ids[0]), [], _Heart()
    for _ in range(_ROUNDS):
        if source == "database":
            await redis.flushall()
        await asyncio.sleep(0.05)
        beating = asyncio.create_task(heart.beat())
        await asyncio.sleep(0.005)
        started = time.perf_counter()
        await registry.get(project_id)
        times.append(time.perf_counter() - started)
        beating.cancel()
        for slot in list(registry):
            slot.dismiss()
        await asyncio.sleep(0.05 + group.tasks / 50_000)  # the copy is made meanwhile
    return sorted(times), heart.longest_seconds


async def _speed(app: web.Application, groups: Sequence[Group]) -> list[Goal]:
    goals = []
    for group in groups:
        is_kept = group.tasks >= LEAST_ITEMS
        for source in ("database", "snapshot") if is_kept else ("database",):
            times, block = await _cold_starts(app, group, source)
            middle, worst = statistics.median(times), times[int(len(times) * 0.99)]
            print(
                f"cold start, {group.tasks} tasks, {source}: p50 {middle * 1e3:.1f}, "
                f"p99 {worst * 1e3:.1f} ms; longest block {block * 1e3:.1f} ms"
            )
            what = f"ms, cold start of {group.tasks} tasks, {source}"
            goals.append(Goal(f"{what}, p50", middle * 1e3, most=150))
    return goals


async def measure(*, share: float = 1.0) -> list[Goal]:
    """Measure with this share of the 100 000 projects."""
    groups = _groups(share)
    with scratch() as root:
        async with Embedded(root / "data") as servers:
            url = servers.database_url or ""
            await asyncio.to_thread(migrate.migrate, url)
            started = time.perf_counter()
            await _fill(url, groups, int(100_000 * share))
            seconds = time.perf_counter() - started
            tasks = sum(group.tasks * len(group.ids) for group in groups)
            print(f"filled in {seconds:.0f} s, {tasks} tasks in projects to be active")
            goals = []
            async with _opened(servers) as app:
                goals += await _memory(app, groups)
                goals += await _counted(app, groups)
                goals += await _speed(app, groups)
    return goals


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the 100 000")
    sys.exit(report(uvloop.run(measure(**vars(parser.parse_args())))))


if __name__ == "__main__":
    main()
