"""A Chromium without a window, and all that it complains of."""

import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, Error, Page, Request, async_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_REQUIRED = "BOARDCAST_REQUIRE_CHROMIUM"
_MISSING = (
    "there is no Chromium: install one (Debian: apt install chromium), "
    "or run .venv/bin/playwright install chromium"
)
_PATIENCE_MS = 30_000  # a busy machine draws the page slowly


class Tab:
    """A page, with what it asked for and what went wrong in it."""

    def __init__(self, page: Page):
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        page.set_default_timeout(_PATIENCE_MS)
        page.on("console", self._hear)
        page.on("pageerror", self._fail)
        page.on("request", self._note)

    @property
    def hosts(self) -> set[str]:
        """Whom it asked for anything; `data:` is nobody."""
        return {
            "/".join(request.url.split("/")[:3])
            for request in self.requests
            if not request.url.startswith(("data:", "blob:"))
        }

    async def picture(self, name: str, otherwise: Path) -> None:
        """Keep one for who wants to look: BOARDCAST_SCREENSHOTS names a directory."""
        directory = Path(os.environ.get("BOARDCAST_SCREENSHOTS") or otherwise)
        await self.page.screenshot(path=directory / f"{name}.png")

    def _hear(self, message: ConsoleMessage) -> None:
        self.complaints.append(f"{message.type}: {message.text}")

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def _fail(self, error: Error) -> None:
        self.complaints.append(f"page: {error}")


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """Open a page; without a Chromium the test is skipped, or fails if that is set."""
    async with async_playwright() as playwright:
        own = playwright.chromium.executable_path
        program = _found([*map(shutil.which, _NAMES), own])
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield Tab(await browser.new_page(viewport={"width": 1280, "height": 1000}))
        finally:
            await browser.close()


@contextmanager
def elsewhere(html: bytes = b"") -> Iterator[int]:
    """Serve a page at each path of another origin than the server's; its port.

    It is a real one: Chromium asks before a page of nowhere may reach this machine.
    """
    handler = partial(_Page, html)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class _Page(BaseHTTPRequestHandler):
    def __init__(self, html: bytes, *connection: Any):
        self._html = html
        super().__init__(*connection)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self._html)))
        self.end_headers()
        self.wfile.write(self._html)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Be quiet."""


def _found(places: Iterable[str | None]) -> str:
    for place in places:
        if place and Path(place).exists():
            return place
    if os.environ.get(_REQUIRED):
        pytest.fail(_MISSING)
    pytest.skip(_MISSING)
