"""A page that follows a project in a browser loses its network, and misses nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import Tab, elsewhere, tab
from tests.e2e.clients import PASSWORD, Api
from tests.e2e.proxy import Proxy
from tests.e2e.servers import Served, scratch_server

PAGE = Path(__file__).with_name("live_page.html")

pytestmark = pytest.mark.timeout(180)  # a server and a browser on a busy machine


@pytest.fixture
def origin() -> Iterator[str]:
    with elsewhere(PAGE.read_bytes()) as port:
        yield f"http://localhost:{port}"


@pytest.fixture
def served(origin: str) -> Iterator[Served]:
    with scratch_server({"BOARDCAST_CORS_ORIGINS": origin}) as server:
        asyncio.run(server.start())
        yield server
        assert server.stop() == 0


async def test_a_page_that_was_offline_has_missed_nothing(
    served: Served, origin: str, tmp_path: Path
) -> None:
    async with (
        Api.open(served, "ada") as ada,
        Proxy.open(served.port) as network,
        tab() as browser,
    ):
        project_id = (await ada.call("POST", "/projects", {"name": "Apollo"}))["id"]
        await browser.page.goto(f"{origin}/")
        login = {"username": "ada", "password": PASSWORD}
        await browser.page.evaluate(
            "(known) => start(...known)", [network.url, login, project_id]
        )
        await change_tasks(ada, project_id, "while it watches")
        await reach(browser, ada, project_id)
        await browser.page.locator("#state.online").wait_for()

        async with browser.page.expect_event("requestfailed") as asked:
            await browser.page.context.set_offline(True)
            network.cut()  # Chromium keeps a socket that is open
        await browser.page.locator("#state.offline").wait_for()
        await change_tasks(ada, project_id, "while it is offline")
        refused = (await asked.value).failure
        before = await seen(browser)
        await browser.picture("offline", tmp_path)

        await browser.page.context.set_offline(False)
        await browser.page.locator("#state.online").wait_for()
        await change_tasks(ada, project_id, "when it is back")
        await reach(browser, ada, project_id)
        after = await seen(browser)
        await browser.picture("online", tmp_path)
        log = await ada.log(project_id)

    assert refused == "net::ERR_INTERNET_DISCONNECTED"
    assert before["opened"] == 1
    assert before["events"] == log[: before["version"]]
    assert before["version"] < len(log)
    assert after["opened"] == 2
    assert after["problems"] == []
    assert after["events"] == log


async def change_tasks(api: Api, project_id: int, when: str) -> None:
    """Make three tasks, and be done with the first."""
    made = [
        await api.call(
            "POST", "/tasks", {"title": f"{number}, {when}", "project_id": project_id}
        )
        for number in (1, 2, 3)
    ]
    await api.call("PATCH", f"/tasks/{made[0]['id']}", {"status": "completed"})


async def reach(browser: Tab, api: Api, project_id: int) -> None:
    """Wait until the page has got everything there is."""
    head = len(await api.log(project_id))
    await browser.page.wait_for_function(
        "(head) => seen.version >= head", arg=head, polling=50
    )


async def seen(browser: Tab) -> Any:
    return await browser.page.evaluate("seen")
