import asyncio
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from server import told
from server.told import Told

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _usual_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say whether there is a terminal."""

    def there_is(*, is_there: bool) -> None:
        monkeypatch.setattr(told, "_has_terminal", lambda: is_there)

    return there_is


async def rolls_before_the_end(told: Told) -> int:
    async with asyncio.timeout(5):
        return len([roll async for roll in told.rolls()])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_end_is_told_once(number: signal.Signals):
    ends: list[bool] = []
    told = Told(lambda: ends.append(True))

    os.kill(os.getpid(), number)
    assert await rolls_before_the_end(told) == 0
    os.kill(os.getpid(), number)
    await asyncio.sleep(0.01)

    assert told.is_stopping
    assert ends == [True]


@pytest.mark.parametrize("has_terminal", [True, False])
async def test_a_hang_up_asks_for_a_restart(
    terminal: Callable[..., None], has_terminal: bool
):
    terminal(is_there=has_terminal)
    told = Told(lambda: None)
    os.kill(os.getpid(), signal.SIGHUP)

    async with asyncio.timeout(5):
        await anext(told.rolls())

    assert not told.is_stopping


async def test_a_terminal_that_goes_away_is_the_end(
    terminal: Callable[..., None],
):
    terminal(is_there=True)
    told = Told(lambda: None)
    terminal(is_there=False)

    os.kill(os.getpid(), signal.SIGHUP)

    assert await rolls_before_the_end(told) == 0
    assert told.is_stopping


async def test_what_is_to_be_ignored_stays_ignored(
    terminal: Callable[..., None],
):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    terminal(is_there=True)
    Told(lambda: None)

    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
