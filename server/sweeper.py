"""One task for what every socket needs now and then, instead of a timer for each.

Each second a twentieth of the sockets is pinged, those that want it with a tick; who
did not answer the ping before is gone. Tokens are looked at each second.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context

import structlog

from actors.domain.model import ProjectId
from actors.feed import Feed
from actors.ports import Frames
from actors.rounds import in_slices
from server.closing import INVALID_TOKEN, SLOW
from server.frames import PING_FRAME
from server.lines import Socket
from server.messages import Expiring
from server.wording import Words, framed

GRACE_SECONDS = 30.0
BEATS = 20

_BEAT_SECONDS = 1.0

_log = structlog.get_logger()


class Sweeper:
    """Keeps sockets alive, and ends those that are dead or whose token has expired."""

    def __init__(
        self,
        feed: Feed,
        words: Words,
        *,
        beat_seconds: float = _BEAT_SECONDS,
        clock: Callable[[], float] = time.time,
    ):
        self._feed = feed
        self._words = words
        self._beat_seconds = beat_seconds
        self._clock = clock
        self._beats: list[dict[Socket, None]] = [{} for _ in range(BEATS)]
        self._next = 0
        self._added = 0
        self._ticks: dict[tuple[tuple[ProjectId, int], ...], Frames] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep; `close` ends it."""
        self._task = asyncio.create_task(
            self._keep_sweeping(), name="sweeper", context=Context()
        )

    async def close(self) -> None:
        """Stop sweeping."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def add(self, socket: Socket) -> None:
        """Look after a socket from now on."""
        self._added += 1
        socket.beat = self._added % BEATS
        self._beats[socket.beat][socket] = None

    def remove(self, socket: Socket) -> None:
        """Look after it no more."""
        self._beats[socket.beat].pop(socket, None)

    def sweep(self) -> None:
        """Do what is due in one beat."""
        self._ticks.clear()
        now = self._clock()
        in_slices([*self._feed], lambda watcher: self._look_at(watcher, now))
        due = list(self._beats[self._next])
        self._next = (self._next + 1) % BEATS
        in_slices(due, self._touch)
        self._feed.tidy()

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(self._beat_seconds)
            try:
                self.sweep()
            except Exception:  # noqa: BLE001  # a dead sweeper keeps the dead alive
                _log.exception("sweeper.failed")

    def _look_at(self, socket: object, now: float) -> None:
        """Warn who has to renew the token, and end who did not."""
        if not isinstance(socket, Socket) or socket.expires_at > now:
            return
        if socket.expires_at + GRACE_SECONDS <= now:
            self._feed.detach(socket)
            socket.line.close(INVALID_TOKEN, "Token expired")
        elif not socket.is_warned:
            socket.is_warned = True
            left = int(socket.expires_at + GRACE_SECONDS - now)
            self._feed.say(socket, framed(Expiring(expires_in=left)))

    def _touch(self, socket: Socket) -> None:
        """Ping, unless the ping before was not answered: then nobody is there."""
        if socket.line.is_closing:
            return
        if not socket.is_heard and socket.lag is None:
            self._feed.detach(socket)
            if socket.line.buffered():
                socket.line.close(SLOW)
            else:
                socket.line.abort()
            return
        socket.is_heard = False
        if socket.is_together:
            heads = self._feed.heads(socket)
            if socket.lag is None:
                self._feed.say(socket, self._tick(heads))
        socket.line.write(PING_FRAME)

    def _tick(self, heads: tuple[tuple[ProjectId, int], ...]) -> Frames:
        tick = self._ticks.get(heads)
        if tick is None:
            tick = self._ticks[heads] = self._words.tick(heads)
        return tick
