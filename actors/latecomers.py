"""Writing to sockets, and those that are behind because their clients do not read.

A healthy socket has no queue here: what it gets goes to its transport at once. One
whose transport keeps too much gets nothing more until it was read; then it is served
from where it stands. So a slow reader costs `BUFFER_BYTES`, the few replies that it
asked for and no more, and nobody waits for it.
"""

import asyncio
import time
from collections.abc import Callable

from actors.parcels import Parcel
from actors.ports import Ending, Frames
from actors.rounds import in_slices
from actors.seats import Lag, Watcher

BUFFER_BYTES = 36 * 1024
_DRAINED_BYTES = 8 * 1024
# A transport needs almost a kilobyte for each write that waits: small ones do not.
_SMALL_BYTES = 4 * 1024
_LAST_BYTES = 256 * 1024
_MOST_REPLIES = 100
_REPLIES_BYTES = 8 * 1024
_POLL_SECONDS = 0.02
_EAGER_SECONDS = 0.005
SLOW_SECONDS = 30.0

Serve = Callable[[Watcher], None]


class Latecomers:
    """The sockets that are behind; `serve` is told of each that has read it all."""

    def __init__(self, serve: Serve, *, clock: Callable[[], float] = time.monotonic):
        self._serve = serve
        self._clock = clock
        self._watchers: dict[Watcher, None] = {}
        self._is_polling = False
        self._has_moved = False

    def __len__(self) -> int:
        return len(self._watchers)

    def put(self, watcher: Watcher, parcel: Parcel) -> bool:
        """Write a parcel; False if the socket is behind, and nothing of it was taken.

        One that does not fit is taken as soon as the buffer is nearly empty, and goes
        out piece by piece before anything else does.
        """
        if watcher.lag is not None or watcher.is_gone:
            return False
        buffered = watcher.outlet.buffered()
        size = parcel.size_bytes
        if buffered + size <= BUFFER_BYTES and (
            buffered <= _DRAINED_BYTES or size >= _SMALL_BYTES
        ):
            for piece in parcel.pieces:
                watcher.outlet.write(piece)
            return True
        lag = self._begin(watcher)
        if buffered > _DRAINED_BYTES:
            return False
        lag.pieces.extend(parcel.pieces)
        return True

    def say(self, watcher: Watcher, frames: Frames) -> None:
        """Write a reply, after what is under way."""
        if watcher.is_gone:
            return
        lag = watcher.lag
        if lag is None and self.put(watcher, Parcel(frames)):
            return
        lag = watcher.lag
        if lag is None:
            return
        lag.replies.append(frames)
        lag.reply_bytes += sum(map(len, frames))
        if len(lag.replies) > _MOST_REPLIES or lag.reply_bytes > _REPLIES_BYTES:
            self._give_up(watcher)

    def part(self, watcher: Watcher, frames: Frames) -> None:
        """Write the last words to a socket that is ended now.

        What is under way goes first, unless that is more than an event can be: then
        there are no words, and the close code has to do.
        """
        if watcher.is_gone:
            return
        pieces = () if watcher.lag is None else watcher.lag.pieces
        if sum(map(len, pieces)) <= _LAST_BYTES:
            for piece in (*pieces, *frames):
                watcher.outlet.write(piece)

    def forget(self, watcher: Watcher) -> None:
        """Let go of a socket that has closed."""
        self._watchers.pop(watcher, None)
        watcher.lag = None

    def _begin(self, watcher: Watcher) -> Lag:
        lag = watcher.lag = Lag(self._clock())
        self._watchers[watcher] = None
        if not self._is_polling:
            self._is_polling = True
            asyncio.get_running_loop().call_later(_EAGER_SECONDS, self._poll)
        return lag

    def _poll(self) -> None:
        """Look at all of them at once, and again in a moment."""
        self._has_moved = False
        in_slices(list(self._watchers), self._look_at, self._poll_later)

    def _poll_later(self) -> None:
        self._is_polling = bool(self._watchers)
        if self._is_polling:
            seconds = _EAGER_SECONDS if self._has_moved else _POLL_SECONDS
            asyncio.get_running_loop().call_later(seconds, self._poll)

    def _look_at(self, watcher: Watcher) -> None:
        lag = watcher.lag
        if lag is None or watcher.is_gone:
            self.forget(watcher)
            return
        now, buffered = self._clock(), watcher.outlet.buffered()
        if buffered < lag.buffered:
            lag.since = now
            self._has_moved = True
        lag.buffered = buffered
        if now - lag.since > SLOW_SECONDS:
            self._give_up(watcher)
        elif buffered <= _DRAINED_BYTES:
            self._go_on(watcher, lag)

    def _go_on(self, watcher: Watcher, lag: Lag) -> None:
        """Write what is under way; when that is done, serve it like any other."""
        if not _has_written(watcher, lag):
            self._has_moved = True
            return
        self.forget(watcher)
        for frames in lag.replies:
            self.say(watcher, frames)
        self._serve(watcher)
        if watcher.lag is not None:
            watcher.lag.buffered = watcher.outlet.buffered()
            self._has_moved = True

    def _give_up(self, watcher: Watcher) -> None:
        self.forget(watcher)
        watcher.is_gone = True
        watcher.outlet.end(Ending.SLOW)


def _has_written(watcher: Watcher, lag: Lag) -> bool:
    """Write as many pieces as there is room for; True if none is left."""
    room = BUFFER_BYTES - watcher.outlet.buffered()
    while lag.pieces:
        if len(lag.pieces[0]) > room:
            lag.buffered = watcher.outlet.buffered()
            return False
        piece = lag.pieces.popleft()
        watcher.outlet.write(piece)
        room -= len(piece)
    return True
