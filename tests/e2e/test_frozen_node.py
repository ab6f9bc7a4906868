"""A node that freezes while it writes a project holds up the others for a moment."""

import asyncio
import itertools
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.embedded import Servers
from tests.e2e.clients import Api
from tests.e2e.servers import Served

_SECRETS = {"JWT_SECRET_KEY": "a" * 40, "JWT_REFRESH_SECRET_KEY": "b" * 40}
_WRITERS = 6  # on each node
_WARM_SECONDS = 0.5
_FROZEN_SECONDS = 2.0
_FREEZES = 2
# What a frozen node has locked is taken away after one second.
_LONGEST_SECONDS = 1.0 + 1.0  # a busy machine

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def nodes(
    servers: Servers, database_url: str, tmp_path: Path
) -> AsyncIterator[list[Served]]:
    environ = _SECRETS | {
        "DATABASE_URL": database_url,
        "REDIS_URL": servers.redis_url or "",
        "BOARDCAST_ACCESS_LOG": "off",
    }
    both = [Served(tmp_path / name, environ) for name in ("a", "b")]
    try:
        await asyncio.gather(*(server.start() for server in both))
        yield both
    finally:
        for server in both:
            server.stop()


async def test_a_frozen_node_holds_up_the_other_for_a_moment_only(
    nodes: list[Served],
) -> None:
    is_over = asyncio.Event()
    told: dict[str, int] = {}
    waits = [0.0]

    async def write(api: Api, name: str, project_id: int) -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            title, began = f"{name}-{number}", time.monotonic()
            body = {"title": title, "project_id": project_id}
            async with api._request("POST", "/tasks", body, {}) as answer:
                told[title] = answer.status
            if name[0] == "0":
                waits.append(time.monotonic() - began)

    async with Api.open(nodes[0], "ada") as api:
        project_id = (await api.call("POST", "/projects", {"name": "Hot"}))["id"]
        async with asyncio.TaskGroup() as writers:
            for index, node in enumerate(nodes):
                for writer in range(_WRITERS):
                    name = f"{index}-{writer}"
                    writers.create_task(write(api.at(node), name, project_id))
            for _ in range(_FREEZES):
                await asyncio.sleep(_WARM_SECONDS)
                await _freeze(nodes[1])
            await asyncio.sleep(_WARM_SECONDS)
            is_over.set()
        log = await api.log(project_id)

    logged = Counter(event["task"]["title"] for event in log if "task" in event)
    here = Counter(status for title, status in told.items() if title[0] == "0")
    print(f"longest wait {max(waits):.2f} s, answers {dict(here)}")  # noqa: T201
    assert set(here) == {201}
    assert max(waits) < _LONGEST_SECONDS
    assert {title for title, status in told.items() if status == 201} <= set(logged)
    assert set(logged.values()) == {1}


async def _freeze(served: Served) -> None:
    assert served.process is not None
    served.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(_FROZEN_SECONDS)
    finally:
        served.process.send_signal(signal.SIGCONT)
