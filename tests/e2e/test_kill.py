"""Pull the plug under load: nothing that was acknowledged is lost, nothing is doubled.

`BOARDCAST_CHAOS_ROUNDS` is the number of rounds for each fault; a round's seed is in
the name of its test, and `BOARDCAST_CHAOS_SEED` repeats it. A seed gives the same
clients and the same moment, counted in acknowledged writes; the rest is up to the
machine.
"""

import asyncio
import json
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from actors.domain.model import ProjectId
from server.embedded import attach_or_start
from server.processes import send
from server.representations import encode_task
from sql.database import Database
from sql.store import Store
from tests.e2e.clients import Api
from tests.e2e.crowd import Crowd
from tests.e2e.history import History, Log
from tests.e2e.judge import problems_of
from tests.e2e.ledger import read_log
from tests.e2e.proxy import Withholding
from tests.e2e.servers import Served, scratch_server, until

_ROUNDS = int(os.environ.get("BOARDCAST_CHAOS_ROUNDS", "1"))
_SEED = int(os.environ.get("BOARDCAST_CHAOS_SEED") or secrets.randbelow(10**9))
_WRITES_BEFORE = (200, 500)
_WRITES_AFTER = 200
_RECOVERY_SECONDS = 10.0
_SHOWN_PROBLEMS = 20
_SHOWN_LOG = 4000

_HAS_KEY = "SELECT EXISTS (SELECT FROM idempotency_keys WHERE key = $1)"
_TASKS_OF_TITLE = "SELECT count(*) FROM tasks WHERE title = $1"
_CLIENTS = range(100)
_BACKENDS = """
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'boardcast' ORDER BY query_start DESC
"""

pytestmark = pytest.mark.timeout(90)
# The scope makes a round of each fault in turn: who dies again soon after its start
# is started again after a pause, which grows.
rounds = pytest.mark.parametrize("seed", range(_SEED, _SEED + _ROUNDS), scope="module")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """One data directory for all rounds: each also checks the logs of the earlier."""
    quiet = {"BOARDCAST_ACCESS_LOG": "off", "BOARDCAST_LOG_LEVEL": "warning"}
    with scratch_server(quiet) as server:
        yield server
        assert server.stop() == 0
        assert server.left() == []


@rounds
async def test_killing_the_server_loses_no_write(served: Served, seed: int) -> None:
    async with _round(served, "server", seed):
        served.kill()
        await served.start(port=served.port)


@rounds
async def test_killing_postgres_loses_no_write(served: Served, seed: int) -> None:
    async with _round(served, "postgres", seed) as history:
        killed = served.postmaster()
        send(killed, signal.SIGKILL)
        await until(lambda: _postmaster(served) not in {None, killed}, "a new one")

    assert _answers_of_failures(history) <= {(503, "application/problem+json")}


@rounds
async def test_killing_a_backend_loses_no_write(served: Served, seed: int) -> None:
    async with _round(served, "backend", seed) as history:
        async with _connection(served) as connection:
            backends = await connection.fetch(_BACKENDS)
        # PostgreSQL takes the loss of one for a crash of all, and starts anew.
        send(backends[0]["pid"], signal.SIGKILL)
        await until(lambda: not _is_one_alive(backends), "all of them end")

    assert _answers_of_failures(history) <= {(503, "application/problem+json")}


@rounds
async def test_killing_valkey_fails_no_request(served: Served, seed: int) -> None:
    async with _round(served, "valkey", seed) as history:
        killed = served.valkey()
        send(killed, signal.SIGKILL)
        await until(lambda: _valkey(served) not in {None, killed}, "a new one")

    assert _answers_of_failures(history) == set()
    assert all(watch.is_open for watch in history.watches)


@rounds
async def test_an_answer_lost_with_its_server_is_given_to_who_repeats(
    served: Served, seed: int
) -> None:
    """Killed after the commit, and before anybody has got the answer."""
    if not served.is_running:
        await served.start()
    key = f"lost-{seed}"
    async with Api.open(served, key) as api, Withholding.open(served.port) as proxy:
        async with asyncio.TaskGroup() as group:
            lost = [group.create_task(api.post_task(key, proxy.url)) for _ in _CLIENTS]
            async with _connection(served) as connection:
                while not await connection.fetchval(_HAS_KEY, key):
                    pass
            served.kill()
        await served.start(port=served.port)
        told = await asyncio.gather(*(api.post_task(key) for _ in _CLIENTS))
        async with _connection(served) as connection:
            made = await connection.fetchval(_TASKS_OF_TITLE, key)

    assert {task.result() for task in lost} == {None}
    assert {answer and answer.status for answer in told} == {201}
    assert all(answer and answer.is_replay for answer in told)
    assert len({answer and answer.body for answer in told}) == 1
    assert made == 1


@asynccontextmanager
async def _round(served: Served, fault: str, seed: int) -> AsyncIterator[History]:
    """Have something done to a server under load, then hold it to its promises."""
    if not served.is_running:
        await served.start()
    chance = random.Random(f"{fault} {seed}")  # noqa: S311
    async with Crowd.gather(served, f"{fault}-{seed}", seed) as crowd:
        history = crowd.history
        await crowd.reach(chance.randint(*_WRITES_BEFORE))
        # Anywhere between one commit and the next, not only where one has just ended.
        await asyncio.sleep(chance.uniform(0, 0.02))
        before, killed_at = history.acknowledged, time.monotonic()
        yield history
        await _is_well_again(crowd.owner)
        seconds = time.monotonic() - killed_at
        await crowd.reach(history.acknowledged + _WRITES_AFTER)
        await crowd.finish()
        print(  # noqa: T201
            f"{fault}, seed {seed}: {before} writes before, well after {seconds:.1f} s,"
            f" {history.acknowledged} writes in the end"
        )
        log = await _log_of(served)
        problems = problems_of(history, log)
        problems += [text async for text in _differences(served, crowd, log)]
    if problems:
        found = "\n".join(problems[:_SHOWN_PROBLEMS])
        pytest.fail(f"{len(problems)} problems\n{found}\n{served.log[-_SHOWN_LOG:]}")


async def _is_well_again(api: Api) -> None:
    deadline = time.monotonic() + _RECOVERY_SECONDS
    while (await api.look("/health"))[1]["status"] != "ok":
        assert time.monotonic() < deadline, "it does not get well"
        await asyncio.sleep(0.02)


def _answers_of_failures(history: History) -> set[tuple[int | None, str]]:
    """How requests failed, but for repeats that came before the first was over."""
    return {
        (attempt.status, attempt.media_type)
        for attempt in history.tries
        if not attempt.is_done and attempt.code != "idempotency_key_in_flight"
    }


def _postmaster(served: Served) -> int | None:
    try:
        return served.postmaster()
    except (FileNotFoundError, ValueError):
        return None  # it is not there, or not written yet


def _valkey(served: Served) -> int | None:
    try:
        return served.valkey()
    except (FileNotFoundError, ValueError):
        return None


def _is_one_alive(backends: Iterable[Mapping[str, int]]) -> bool:
    for backend in backends:
        try:
            os.kill(backend["pid"], 0)
        except ProcessLookupError:
            continue
        return True
    return False


@asynccontextmanager
async def _connection(served: Served) -> AsyncIterator[Any]:
    async with attach_or_start(served.data_dir, purpose="test") as url:
        connection = await asyncpg.connect(url)
        try:
            yield connection
        finally:
            await connection.close()


async def _log_of(served: Served) -> Log:
    async with _connection(served) as connection:
        return await read_log(connection)


async def _differences(served: Served, crowd: Crowd, log: Log) -> AsyncIterator[str]:
    """Hold the tables, the lists and the memory to the log."""
    async with attach_or_start(served.data_dir, purpose="test") as url:
        database = await Database.open(url, size=2)
        try:
            for project_id in crowd.projects:
                wanted = log.tasks(project_id)
                if await _loaded(Store(database), project_id) != (
                    log.heads[project_id],
                    wanted,
                ):
                    yield f"project {project_id}: the tables are not what the log says"
                if _by_id(await crowd.owner.tasks(project_id)) != wanted:
                    yield f"project {project_id}: the list is not what the log says"
                for task_id in {
                    e.event["task"]["id"] for e in log.of_tasks(project_id)
                }:
                    status, shown = await crowd.owner.look(f"/tasks/{task_id}")
                    if wanted.get(task_id) != (shown if status == 200 else None):
                        yield f"task {task_id}: memory is not what the log says"
        finally:
            await database.close()


async def _loaded(
    store: Store, project_id: int
) -> tuple[int, Mapping[int, Mapping[str, Any]]]:
    state = await store.load(ProjectId(project_id))
    assert state is not None
    tasks = (json.loads(encode_task(task)) for task in state.tasks.values())
    return state.version, {task["id"]: task for task in tasks}


def _by_id(tasks: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    return {task["id"]: task for task in tasks}
