"""Two servers on one database and one Valkey: whoever names a version sees it.

`BOARDCAST_READ_ROUNDS` is the number of rounds.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from server.embedded import Servers
from tests.e2e.clients import Api
from tests.e2e.servers import Served

_ROUNDS = int(os.environ.get("BOARDCAST_READ_ROUNDS", "50"))
_SECRETS = {"JWT_SECRET_KEY": "a" * 40, "JWT_REFRESH_SECRET_KEY": "b" * 40}

pytestmark = pytest.mark.timeout(60 + _ROUNDS / 10)


@pytest.fixture
async def apis(
    servers: Servers, database_url: str, tmp_path: Path
) -> AsyncIterator[list[Api]]:
    """Ada, as a client of either server."""
    environ = _SECRETS | {
        "DATABASE_URL": database_url,
        "REDIS_URL": servers.redis_url or "",
        "BOARDCAST_ACCESS_LOG": "off",
        "BOARDCAST_RATE_LIMIT_PER_MINUTE": "0",
    }
    both = [Served(tmp_path / name, environ) for name in ("a", "b")]
    try:
        await asyncio.gather(*(server.start() for server in both))
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(Api.open(both[0], "ada"))
            yield [first, first.at(both[1])]
    finally:
        for server in both:
            server.stop()


async def test_no_server_is_behind_a_write_that_a_read_names(apis: list[Api]) -> None:
    project = await apis[0].call("POST", "/projects", {"name": "Apollo"})
    made = {"title": "0", "project_id": project["id"]}
    task = await apis[0].call("POST", "/tasks", made)
    one, project_id = f"/tasks/{task['id']}", project["id"]

    stale = []
    for number in range(1, _ROUNDS + 1):
        writer, reader = apis[number % 2], apis[(number + 1) % 2]
        title = str(number)
        written = await writer.call("PATCH", one, {"title": title})
        named = f"min_version={project_id}:{written['version']}"
        lists = [f"/tasks?{named}", f"/tasks?project_id={project_id}&{named}"]
        pages = [(await reader.call("GET", path))["tasks"] for path in lists]
        shown = await reader.call("GET", f"{one}?{named}")
        found = [shown["title"], *(page[0]["title"] for page in pages)]
        if found != [title] * 3:
            stale.append((number, found))

    assert stale == []
