"""`boardcast serve --workers 2`: one server to everybody, two processes and a third."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server import processes
from tests.e2e.clients import Api
from tests.e2e.servers import Served, scratch_server, until

pytestmark = pytest.mark.timeout(90)

_TOKEN = "who reads the metrics"
_REQUESTS = 40


@pytest.fixture(scope="module")
def kept() -> Iterator[Served]:
    """A server that several tests use; all its workers are there after each."""
    with scratch_server({"MONITORING_TOKEN": _TOKEN}) as server:
        yield server
        assert server.stop() == 0
        assert server.left() == []


@pytest.fixture
async def served(kept: Served) -> Served:
    if not kept.is_running:
        await kept.start("--workers", "2")
    return kept


@pytest.fixture
def own() -> Iterator[Served]:
    with scratch_server() as server:
        yield server


def workers(served: Served) -> dict[int, int]:
    """The processes of the workers, by number, while the server runs."""
    assert served.process is not None
    told = subprocess.run(
        ["/bin/ps", "-axo", "pid=,ppid=,command="],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = {}
    for line in told.splitlines():
        pid, parent, command = line.split(maxsplit=2)
        words = command.split()
        if int(parent) == served.process.pid and "server.worker" in words:
            found[int(words[words.index("server.worker") + 1])] = int(pid)
    return found


def events(served: Served, name: str) -> list[dict[str, object]]:
    """The lines of this event in the log."""
    lines = [json.loads(line) for line in served.log.splitlines() if line[0] == "{"]
    return [line for line in lines if line["event"] == name]


@asynccontextmanager
async def strangers() -> AsyncIterator[aiohttp.ClientSession]:
    """Have every request come over a connection of its own."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        session._retry_connection = False
        yield session


async def look(served: Served, path: str = "/health/live") -> int:
    async with strangers() as session, session.get(served.url + path) as answer:
        await answer.read()
        return answer.status


async def metrics(served: Served) -> Counter[str]:
    """The sum of each metric over its labels."""
    headers = {"Authorization": f"Bearer {_TOKEN}"}
    async with (
        strangers() as session,
        session.get(f"{served.url}/metrics", headers=headers) as answer,
    ):
        assert answer.status == 200
        families = text_string_to_metric_families(await answer.text())
        found: Counter[str] = Counter()
        for family in families:
            for sample in family.samples:
                found[sample.name] += sample.value  # type: ignore[assignment]
        return found


async def test_both_serve_and_are_counted_together(served: Served) -> None:
    assert len(workers(served)) == 2
    before = await metrics(served)

    answers = await asyncio.gather(*(look(served) for _ in range(_REQUESTS)))

    assert set(answers) == {200}
    shown = await metrics(served)
    name = "boardcast_http_requests_total"
    assert shown[name] - before[name] == _REQUESTS + 1  # and the page before
    assert (shown["boardcast_workers"], shown["boardcast_workers_unreachable"]) == (
        2,
        0,
    )
    await until(
        lambda: {line["worker"] for line in events(served, "http.request")} == {1, 2},
        "both have served, and logged their numbers",
    )


async def test_the_metrics_of_all_are_as_private_as_those_of_one(
    served: Served,
) -> None:
    assert await look(served, "/metrics") == 401


async def test_a_worker_that_hangs_leaves_the_page_readable(served: Served) -> None:
    before = await metrics(served)
    hanging = workers(served)[1]
    os.kill(hanging, signal.SIGSTOP)
    try:
        shown = None
        while shown is None:  # who comes to the one that hangs waits
            try:
                async with asyncio.timeout(3):
                    shown = await metrics(served)
            except TimeoutError:
                continue
    finally:
        os.kill(hanging, signal.SIGCONT)

    assert (shown["boardcast_workers"], shown["boardcast_workers_unreachable"]) == (
        2,
        1,
    )
    name = "boardcast_http_requests_total"
    assert shown[name] >= before[name]
    assert (await metrics(served))["boardcast_workers_unreachable"] == 0


async def test_a_worker_that_is_killed_comes_back_and_nobody_is_refused(
    served: Served,
) -> None:
    before, counted = workers(served), await metrics(served)
    os.kill(before[2], signal.SIGKILL)

    answers = await asyncio.gather(*(look(served) for _ in range(_REQUESTS)))

    assert set(answers) == {200}
    await until(lambda: len(workers(served)) == 2, "it is back")
    assert workers(served)[1] == before[1]
    assert workers(served)[2] != before[2]
    name = "boardcast_http_requests_total"
    assert (await metrics(served))[name] >= counted[name] + _REQUESTS
    (died,) = events(served, "supervisor.worker_died")
    assert (died["number"], died["status"], died["level"]) == (2, -9, "error")


async def test_a_successor_that_does_not_start_changes_nothing(served: Served) -> None:
    assert served.process is not None
    before, postmaster = workers(served), served.postmaster()
    os.kill(postmaster, signal.SIGSTOP)  # it takes nobody in
    try:
        served.process.send_signal(signal.SIGHUP)
        await until(
            lambda: events(served, "supervisor.not_rolled"), "given up", seconds=30
        )
    finally:
        os.kill(postmaster, signal.SIGCONT)

    assert workers(served) == before
    assert await look(served) == 200
    (told,) = events(served, "supervisor.not_rolled")
    assert told["number"] == 1
    assert "database does not answer" in str(told["error"])


async def test_what_one_wrote_the_other_has(served: Served) -> None:
    async with Api.open(served, "ada") as ada:
        made = await ada.call("POST", "/tasks", {"title": "Shared"})

        async def read() -> str:
            async with strangers() as session:
                url = f"{served.url}/tasks/{made['id']}"
                async with session.get(url, headers=ada.headers) as answer:
                    return str((await answer.json())["title"])

        titles = await asyncio.gather(*(read() for _ in range(_REQUESTS)))

    assert set(titles) == {"Shared"}


async def test_its_port_is_nobody_elses(served: Served, own: Served) -> None:
    own.launch("--workers", "2", port=served.port)
    assert own.process is not None

    assert await asyncio.to_thread(own.process.wait, 30) == 1
    assert own.log == (
        f"boardcast: port {served.port} of 127.0.0.1 is in use; "
        "choose another with --port\n"
    )


async def test_killed_it_takes_all_of_them_along(own: Served) -> None:
    await own.start("--workers", "2")
    pids = list(workers(own).values())
    assert own.process is not None

    own.kill()

    await until(lambda: not any(map(_is_there, pids)), "no worker is left")
    await until(lambda: own.left() == [], "no database is left", seconds=30)
    await own.start("--workers", "2", port=own.port)  # nobody holds the port
    assert await look(own) == 200


async def test_two_interrupts_of_all_that_a_terminal_knows_end_it_in_order(
    own: Served,
) -> None:
    await own.start("--workers", "2", "--demo")
    pids = list(workers(own).values())
    assert own.process is not None
    assert "Demo login" in own.output

    os.killpg(own.process.pid, signal.SIGINT)
    os.killpg(own.process.pid, signal.SIGINT)

    assert await asyncio.to_thread(own.process.wait, 30) == 0
    assert not any(map(_is_there, pids))
    assert own.left() == []
    assert "Traceback" not in own.log
    assert "worker_died" not in own.log


async def test_the_end_may_come_in_the_middle_of_a_start(own: Served) -> None:
    own.launch("--workers", "2")
    await until(lambda: len(workers(own)) == 2, "both are starting", seconds=60)
    pids = list(workers(own).values())

    assert await asyncio.to_thread(own.stop) == 0

    assert not any(map(_is_there, pids))
    assert own.left() == []
    assert "Traceback" not in own.log


def _is_there(pid: int) -> bool:
    return pid in processes._commands()
