"""The documentation in a browser: it works, it is quiet, and it asks nobody else."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from server.demo import PASSWORD, PEOPLE
from tests.e2e.browser import Tab, elsewhere, tab
from tests.e2e.servers import Served, scratch_server

pytestmark = pytest.mark.timeout(
    180
)  # a server and a browser, perhaps on a busy machine

LOGIN = {"username": PEOPLE[0].username, "password": PASSWORD}


@pytest.fixture(scope="module")
def origin() -> Iterator[int]:
    """The port of empty pages, for what other origins may do."""
    with elsewhere() as port:
        yield port


@pytest.fixture(scope="module")
def served(origin: int) -> Iterator[Served]:
    listed = {"BOARDCAST_CORS_ORIGINS": f"http://localhost:{origin}"}
    with scratch_server(listed) as server:
        asyncio.run(server.start("--demo"))
        yield server
        assert server.stop() == 0


async def test_a_task_is_made_by_trying_out_what_the_page_describes(
    served: Served, tmp_path: Path
) -> None:
    async with tab() as docs:
        await docs.page.goto(f"{served.url}/docs")
        answer = await try_out(docs, "auth", "login", LOGIN)
        await authorize(docs, answer["access_token"])
        created = await try_out(docs, "tasks", "createTask", {"title": "By hand"})
        answers = docs.page.locator(
            "#operations-tasks-createTask .live-responses-table"
        )
        await answers.scroll_into_view_if_needed()
        await docs.picture("docs", tmp_path)
        await docs.page.reload()  # its address now leads to the operation
        await docs.page.locator("#operations-tasks-createTask.is-open").wait_for()

    found = read(f"{served.url}/tasks/{created['id']}", answer["access_token"])
    assert found["title"] == "By hand"
    assert found == created
    assert docs.complaints == []
    assert docs.hosts == {served.url}


async def test_a_page_of_a_listed_origin_may_do_what_a_program_may(
    served: Served, origin: int
) -> None:
    async with tab() as browser:
        seen = await edit_from(browser, f"http://localhost:{origin}", served.url)

    assert seen["changed"] == {"status": 200, "etag": f'"{seen["version"] + 1}"'}
    assert seen["stale"] == {"status": 412, "code": "version_mismatch"}
    assert seen["nowhere"] == {"status": 404, "code": "not_found"}


async def test_a_page_of_another_origin_gets_nothing(
    served: Served, origin: int
) -> None:
    async with tab() as browser:
        seen = await edit_from(browser, f"http://127.0.0.1:{origin}", served.url)

    assert seen == {"failed": "Failed to fetch"}
    assert "No 'Access-Control-Allow-Origin' header" in browser.complaints[0]


async def try_out(docs: Tab, tag: str, name: str, body: dict[str, str]) -> Any:
    """Unfold an operation, fill it in, execute it; its answer."""
    block = docs.page.locator(f"#operations-{tag}-{name}")
    await block.locator(".opblock-summary-control").click()
    await block.get_by_role("button", name="Try it out").click()
    await block.locator("textarea.body-param__text").fill(json.dumps(body))
    await block.get_by_role("button", name="Execute").click()
    live = block.locator(".live-responses-table .response")
    return json.loads(await live.locator("pre").first.inner_text())


async def authorize(docs: Tab, token: str) -> None:
    await docs.page.locator(".btn.authorize").first.click()
    dialog = docs.page.locator(".dialog-ux")
    await dialog.locator("input[type=text]").fill(token)
    await dialog.get_by_role("button", name="Apply credentials").click()
    await dialog.get_by_role("button", name="Close").first.click()


def read(url: str, token: str) -> Any:
    request = Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    with urlopen(request, timeout=10) as answer:  # noqa: S310 (our own server)
        return json.load(answer)


_EDIT = """async ([url, login]) => {
  const json = {"Content-Type": "application/json"};
  const call = (method, path, body, headers) =>
    fetch(url + path, {method, headers, body: body && JSON.stringify(body)});
  const refusal = async (answer) =>
    ({status: answer.status, code: (await answer.json()).code});
  try {
    const session = await (await call("POST", "/auth/login", login, json)).json();
    const known = {...json, Authorization: `Bearer ${session.access_token}`};
    const made = await (await call("POST", "/tasks", {title: "x"}, known)).json();
    const path = `/tasks/${made.id}`;
    const condition = {...known, "If-Match": `"${made.version}"`};
    const changed = await call("PATCH", path, {title: "y"}, condition);
    const stale = await call("PATCH", path, {title: "z"}, condition);
    const nowhere = await call("GET", "/nowhere", undefined, known);
    return {
      version: made.version,
      changed: {status: changed.status, etag: changed.headers.get("ETag")},
      stale: await refusal(stale),
      nowhere: await refusal(nowhere),
    };
  } catch (error) {
    return {failed: error.message};
  }
}"""


async def edit_from(browser: Tab, origin: str, url: str) -> Any:
    """Let a page of an origin make and change a task; what its script saw."""
    await browser.page.goto(f"{origin}/")
    return await browser.page.evaluate(_EDIT, [url, LOGIN])
