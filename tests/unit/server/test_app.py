"""The wiring: what is opened in which order, kept in order, and closed."""

import asyncio
import gc

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from actors.domain.errors import StoreUnavailable
from server import app as module
from server import keys
from server.app import Urls, create_app
from server.migrate import MigrationFailed
from tests.running_app import CONFIG, Board, running


async def test_a_new_application_has_opened_nothing(database_url: str) -> None:
    app = create_app(CONFIG, urls=Urls(database=database_url, redis="redis://x"))

    assert keys.DATABASE not in app
    assert len(app.middlewares) == 3
    assert app[keys.CONFIG] is CONFIG


async def test_what_it_is_made_of_stays_out_of_garbage_collections(
    database_url: str, redis_url: str
) -> None:
    app = create_app(CONFIG, urls=Urls(database=database_url, redis=redis_url))
    runner = web.AppRunner(app)
    before = gc.get_freeze_count()

    await runner.setup()
    frozen = gc.get_freeze_count()
    await runner.cleanup()
    gc.unfreeze()

    assert frozen > before


async def test_it_is_not_well_until_its_database_is_migrated(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = ["0002_more"]
    monkeypatch.setattr(module, "pending", lambda url: missing)
    ask = module._question(board.app[keys.STORE], "url")

    before = await ask()
    missing.clear()
    after = await ask()
    missing.append("never asked again")

    assert (before, after, await ask()) == (False, True, True)


async def test_a_database_that_refuses_to_tell_is_away(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str) -> list[str]:
        raise MigrationFailed("it went away between two questions")

    monkeypatch.setattr(module, "pending", refuse)

    with pytest.raises(StoreUnavailable):
        await module._question(board.app[keys.STORE], "url")()


async def test_without_group_commit_each_command_is_its_own_transaction(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url, group_commit=False) as board:
        ada = await board.person()
        await asyncio.gather(*(ada.task() for _ in range(8)))
        page = board.app[keys.METRICS].page().decode()

    assert "boardcast_commits_total 8.0" in page
    assert "boardcast_batch_events_sum 8.0" in page


class Keeper:
    """Fails in every way at first; says when all was done for once."""

    def __init__(self) -> None:
        self.errors: list[Exception] = [StoreUnavailable(), ValueError("odd")]
        self.done: list[str] = []
        self.is_done = asyncio.Event()

    async def evict_idle(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.done.append("idle")

    async def forget_keys(self) -> None:
        self.done.append("keys")

    async def forget_sessions(self) -> None:
        self.done.append("sessions")
        self.is_done.set()


async def test_the_housekeeper_goes_on_whatever_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_HOUSEKEEPING_SECONDS", 0)
    keeper, app = Keeper(), web.Application()
    for key in (keys.REGISTRY, keys.STORE, keys.ACCOUNTS):
        app._state[key] = keeper

    with capture_logs() as entries:
        task = asyncio.create_task(module._keep_house(app))
        await asyncio.wait_for(keeper.is_done.wait(), 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert keeper.done[:3] == ["idle", "keys", "sessions"]
    events = [entry["event"] for entry in entries]
    assert events == ["housekeeping.postponed", "housekeeping.failed"]
