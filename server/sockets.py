"""All open sockets of this process: how many there may be, and how they all end."""

import asyncio
import math
import random
from collections import Counter
from contextlib import suppress

from actors.domain.model import UserId
from server.closing import RESTART
from server.lines import CLOSE_SECONDS, Line, Socket
from server.messages import Restarting
from server.wording import framed

MOST_UNKNOWN = 1000

_ENDINGS_A_SECOND = 5000
_RETURNS_A_SECOND = 2000
_BATCH_SECONDS = 0.05


class Sockets:
    """The lines that are open, and who has how many of them; 0 means no limit."""

    def __init__(self, most_of_user: int = 0) -> None:
        self._most_of_user = most_of_user
        self._lines: dict[Line, Socket | None] = {}
        self._by_user: Counter[UserId] = Counter()
        self._none_left = asyncio.Event()
        self.unknown = 0
        self.is_draining = False
        self._sends_away = False

    def __len__(self) -> int:
        return len(self._lines)

    def open(self, transport: asyncio.Transport) -> Line:
        """Keep a line until it is closed."""
        line = Line(transport)
        line.limit_unsent()
        self._lines[line] = None
        self._none_left.clear()
        if self._sends_away:
            line.close(RESTART)
        return line

    def admit(self, socket: Socket) -> bool:
        """Count a socket to its user; False if they have too many already."""
        count = self._by_user[socket.user_id]
        if self._most_of_user and count >= self._most_of_user:
            return False
        self._by_user[socket.user_id] += 1
        self._lines[socket.line] = socket
        return True

    def close(self, line: Line) -> None:
        """Let go of a line whose handler has ended."""
        socket = self._lines.pop(line, None)
        if socket is not None:
            self._by_user[socket.user_id] -= 1
            if not self._by_user[socket.user_id]:
                del self._by_user[socket.user_id]
        if not self._lines:
            self._none_left.set()

    async def drain(self, seconds: float = 0.0, *, refuse: bool = True) -> None:
        """Close all in random order over this time, or longer if there are very many.

        Each is told when to come back, so that they do not come all at once. Who comes
        from now on is refused, or else accepted and closed. Waits for their handlers.
        """
        self.is_draining = self.is_draining or refuse
        self._sends_away = True
        lines = list(self._lines)
        random.shuffle(lines)
        spread = max(seconds, len(lines) / _ENDINGS_A_SECOND)
        batches = max(1, math.ceil(spread / _BATCH_SECONDS))
        size = math.ceil(len(lines) / batches)
        for start in range(0, len(lines), size or 1):
            for line in lines[start : start + size]:
                self._end(line, 1 + len(lines) / _RETURNS_A_SECOND)
            if start + size < len(lines):
                await asyncio.sleep(_BATCH_SECONDS)
        if self._lines:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS * 2):
                    await self._none_left.wait()

    def _end(self, line: Line, return_within: float) -> None:
        socket = self._lines.get(line)
        if socket is not None and socket.lag is None:
            return_in = round(random.uniform(0.5, 0.5 + return_within), 2)  # noqa: S311
            for frame in framed(Restarting(return_in=return_in)):
                line.write(frame)
        line.close(RESTART)
