"""What a client says on an open socket, and what that leads to."""

import time
from collections.abc import Callable

from actors.domain.errors import DomainError, Unavailable
from actors.domain.model import ProjectId
from actors.feed import Feed
from server.closing import INVALID_TOKEN
from server.filters import criteria_of
from server.frames import text_frame
from server.lines import Socket
from server.messages import (
    Auth,
    Authenticated,
    Error,
    Ping,
    Pong,
    Subscribe,
    Unsubscribe,
)
from server.ops import NotUnderstood, read
from server.sessions import Sessions
from server.tokens import InvalidToken
from server.wording import framed

MOST_SUBSCRIPTIONS = 100

_PONG = framed(Pong())
_PLAIN_PONG = (text_frame(b"pong"),)


class Refused(Exception):
    """A subscription that is not to be had; `error` says so to the client."""

    def __init__(self, error: Error, *, is_temporary: bool):
        super().__init__(error.detail)
        self.error = error
        self.is_temporary = is_temporary


class Dialogue:
    """Answers messages; one for all sockets."""

    def __init__(
        self, feed: Feed, sessions: Sessions, clock: Callable[[], float] = time.time
    ):
        self._feed = feed
        self._sessions = sessions
        self._clock = clock

    async def hear(self, socket: Socket, text: str) -> None:
        """Do what a message asks for, and answer it. May wait for the database."""
        if text == "ping":
            self._feed.say(socket, _PLAIN_PONG)
            return
        try:
            message = read(text)
            match message:
                case Ping():
                    self._feed.say(socket, _PONG)
                case Auth():
                    await self._renew(socket, message)
                case Subscribe():
                    await self.subscribe(socket, message)
                case Unsubscribe():
                    self._unsubscribe(socket, message)
        except NotUnderstood as error:
            self.complain(socket, Error(error.code, error.detail, error.op))
        except Refused as refused:
            self.complain(socket, refused.error)

    def complain(self, socket: Socket, error: Error) -> None:
        """Tell a client that what it sent was not done."""
        self._feed.say(socket, framed(error))

    async def subscribe(self, socket: Socket, wanted: Subscribe) -> None:
        """Begin a subscription; raises Refused, NotUnderstood. May wait."""
        project_id = ProjectId(wanted.project_id)
        known = socket.listens or socket.seat_in(project_id) is not None
        if not known and len(socket.seats) >= MOST_SUBSCRIPTIONS:
            raise Refused(
                Error(
                    "too_many_subscriptions",
                    f"A socket has at most {MOST_SUBSCRIPTIONS} subscriptions.",
                    "subscribe",
                    project_id,
                ),
                is_temporary=False,
            )
        criteria = None
        if wanted.filter:
            criteria = criteria_of(wanted.filter, socket.caller)
        try:
            await self._feed.subscribe(
                socket,
                project_id,
                since=wanted.since,
                wants_snapshot=wanted.snapshot,
                criteria=criteria,
            )
        except DomainError as error:
            raise Refused(
                Error(error.code, error.detail, "subscribe", project_id),
                is_temporary=isinstance(error, Unavailable),
            ) from None

    def _unsubscribe(self, socket: Socket, wanted: Unsubscribe) -> None:
        project_id = ProjectId(wanted.project_id)
        if not self._feed.unsubscribe(socket, project_id):
            sentence = "You are not subscribed to this project."
            error = Error("not_subscribed", sentence, "unsubscribe", project_id)
            self.complain(socket, error)

    async def _renew(self, socket: Socket, message: Auth) -> None:
        """Let a socket stay as long as a newer token of its user is good."""
        try:
            principal = await self._sessions.authenticate(message.token)
        except InvalidToken:
            socket.line.close(INVALID_TOKEN)
            return
        except Unavailable as error:
            self.complain(socket, Error(error.code, error.detail, "auth"))
            return
        if principal.user_id != socket.user_id:
            sentence = "This socket is another user's: open one of your own."
            self.complain(socket, Error("another_user", sentence, "auth"))
            return
        self._sessions.watch(principal.session_id, principal.role)
        self._sessions.unwatch(socket.session_id)
        socket.session_id = principal.session_id
        socket.expires_at = principal.expires_at
        socket.is_warned = False
        if principal.role is not socket.caller.role:
            self._feed.reseat({principal.session_id: principal.role})
        left = int(principal.expires_at - self._clock())
        self._feed.say(socket, framed(Authenticated(expires_in=left)))
