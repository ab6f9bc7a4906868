"""A Chromium without a window, and all that it complains of."""

import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

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


def _found(places: Iterable[str | None]) -> str:
    for place in places:
        if place and Path(place).exists():
            return place
    if os.environ.get(_REQUIRED):
        pytest.fail(_MISSING)
    pytest.skip(_MISSING)
