"""The writing end of a socket, and the socket of a known user."""

import asyncio
import socket as sockets
from contextlib import suppress

from actors.ports import Ending
from actors.seats import Watcher
from server.closing import CLOSING_OF, Closing
from server.frames import close_frame, pong_frame
from server.principals import Principal

CLOSE_SECONDS = 2.0
MESSAGES_A_SECOND = 100
# What the kernel may hold unsent: the rest waits where it is counted.
_UNSENT_BYTES = 16 * 1024
_UNREAD_BYTES = 16 * 1024


class Allowance:
    """How many messages a client may send: `MESSAGES_A_SECOND`, and twice at once."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = 2.0 * MESSAGES_A_SECOND
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take one message's share; False if there is none left."""
        gained = (now - self._at) * MESSAGES_A_SECOND
        self._left = min(self._left + gained, 2.0 * MESSAGES_A_SECOND) - 1
        self._at = now
        return self._left >= 0


class Line:
    """Writes to a transport: nothing here waits, and nothing raises."""

    __slots__ = ("_is_closing", "_transport", "allowance")

    def __init__(self, transport: asyncio.Transport):
        self._transport = transport
        self._is_closing = False
        self.allowance = Allowance()

    def limit_unsent(self) -> None:
        """Have the kernel take little of what its client does not read."""
        connection = self._transport.get_extra_info("socket")
        option = getattr(sockets, "TCP_NOTSENT_LOWAT", None)
        if connection is not None and option is not None:
            with suppress(OSError):
                connection.setsockopt(sockets.IPPROTO_TCP, option, _UNSENT_BYTES)

    @property
    def is_closing(self) -> bool:
        """Whether nothing is written any more."""
        return self._is_closing or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send ready frames, or keep them until there is room."""
        if not self._is_closing and not self._transport.is_closing():
            self._transport.write(data)

    def pong(self, payload: bytes) -> None:
        """Answer a ping, but not who reads no answers: RFC 6455, 5.5.3, allows it."""
        if self.buffered() <= _UNREAD_BYTES:
            self.write(pong_frame(payload))

    def buffered(self) -> int:
        """Count the bytes that are kept."""
        return 0 if self.is_closing else self._transport.get_write_buffer_size()

    def end(self, ending: Ending) -> None:
        """Close for one of the feed's reasons."""
        self.close(*CLOSING_OF[ending])

    def close(self, closing: Closing, reason: str = "") -> None:
        """Say goodbye; who does not answer soon is cut off. The first reason counts."""
        if self.is_closing:
            return
        self._is_closing = True
        self._transport.write(close_frame(closing.code, reason or closing.reason))
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """Cut off who is not there any more."""
        self._is_closing = True
        self._transport.abort()


class Socket(Watcher):
    """A line to a user whose identity is known until `expires_at`, since 1970."""

    __slots__ = ("beat", "expires_at", "is_heard", "is_warned", "line")

    def __init__(self, line: Line, principal: Principal, *, is_together: bool = False):
        super().__init__(
            principal.caller, principal.session_id, line, is_together=is_together
        )
        self.line = line
        self.expires_at = principal.expires_at
        self.is_heard = True
        self.is_warned = False
        self.beat = 0
