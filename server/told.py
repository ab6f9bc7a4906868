"""What the process is told by signals: to end, or to restart its workers in turn."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable


class Told:
    """Listens to SIGINT and SIGTERM, which mean the end, and to SIGHUP.

    A terminal that goes away sends SIGHUP too: that is the end as well.
    """

    def __init__(self, on_stop: Callable[[], None]):
        self.is_stopping = False
        self._on_stop = on_stop
        self._news = asyncio.Event()
        self._had_terminal = _has_terminal()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else: nohup
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    async def rolls(self) -> AsyncIterator[None]:
        """Come whenever a restart is asked for, until the end is."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self.is_stopping:
                return
            yield

    def _hang_up(self) -> None:
        if self._had_terminal and not _has_terminal():
            self._stop()
        else:
            self._news.set()

    def _stop(self) -> None:
        if self.is_stopping:  # who is impatient must not interrupt the cleaning
            return
        self.is_stopping = True
        self._news.set()
        self._on_stop()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
