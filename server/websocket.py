"""One WebSocket: who opens it, what it may say, and how it ends.

Without a subscription a socket gets what its user may see, as it happens. The hub
writes to the transport itself and never waits, so a socket has no task and no queue of
its own for sending; one that stops reading is closed when `SLOW_BYTES` wait for it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import WSMsgType, web

from actors.domain.errors import Unavailable
from actors.domain.model import Caller, UserRole
from actors.hub import Hub
from server import keys
from server.environment import ANY_ORIGIN
from server.frames import close_frame, text_frame
from server.middlewares import complete
from server.problems import Problem
from server.sessions import Principal, Sessions
from server.tickets import Tickets
from server.tokens import InvalidToken

INVALID_TOKEN = 4001
SLOW = 4008
RESTART = 1012
TOO_MANY = 1008
TRY_LATER = 1013
# A burst of a busy project may be this large before a healthy client has read it.
SLOW_BYTES = 1024 * 1024

_AUTHENTICATION_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_HEARTBEAT_SECONDS = 25.0
_MESSAGE_BYTES = 64 * 1024
_MESSAGES_A_SECOND = 100
_PONG = text_frame(b'{"type":"pong"}')

_log = structlog.get_logger()


class _Message(msgspec.Struct):
    """What a client may send; `type` is what the first clients called `op`."""

    op: str = ""
    type: str = ""
    token: str = ""


_decoder = msgspec.json.Decoder(_Message)


class Line:
    """The writing end of a socket: nothing here waits, and nothing raises."""

    def __init__(self, transport: asyncio.Transport):
        self._transport = transport
        self._is_closing = False

    def deliver(self, frames: bytes) -> None:
        """Write ready frames; closes the socket if its client does not read."""
        if self._is_closing or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > SLOW_BYTES:
            self.close(SLOW, "Too slow: come back and read what you missed")
            return
        self._transport.write(frames)

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; who does not answer soon is cut off. The first reason counts."""
        if self._is_closing or self._transport.is_closing():
            return
        self._is_closing = True
        self._transport.write(close_frame(code, reason))
        asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._transport.abort)


class Socket:
    """A line to a user whose identity is known; a subscriber of the hub."""

    def __init__(self, line: Line, principal: Principal):
        self.caller: Caller = principal.caller
        self.session_id: int = principal.session_id
        self.deliver = line.deliver
        self.close = line.close


class _Allowance:
    """How many messages a client may send: `_MESSAGES_A_SECOND`, and twice at once."""

    def __init__(self) -> None:
        self._left = 2.0 * _MESSAGES_A_SECOND
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take one message's share; False if there is none left."""
        gained = (now - self._at) * _MESSAGES_A_SECOND
        self._left = min(self._left + gained, 2.0 * _MESSAGES_A_SECOND) - 1
        self._at = now
        return self._left >= 0


class Sockets:
    """All open sockets of this process."""

    def __init__(self) -> None:
        self._lines: set[Line] = set()
        self._none_left = asyncio.Event()
        self.is_draining = False

    def __len__(self) -> int:
        return len(self._lines)

    @contextmanager
    def open(self, transport: asyncio.Transport) -> Iterator[Line]:
        """Keep a socket for as long as its handler runs."""
        line = Line(transport)
        self._lines.add(line)
        self._none_left.clear()
        try:
            yield line
        finally:
            self._lines.discard(line)
            if not self._lines:
                self._none_left.set()

    async def drain(self) -> None:
        """Close all, and wait for their handlers; nobody is accepted from now on."""
        self.is_draining = True
        for line in list(self._lines):
            line.close(RESTART, "The server restarts: come back in a moment")
        if self._lines:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS * 2):
                    await self._none_left.wait()


async def connect(request: web.Request) -> web.StreamResponse:
    """Accept a socket, learn who it is, then deliver until either side ends it."""
    _check_origin(request)
    sockets = request.app[keys.SOCKETS]
    if sockets.is_draining:
        raise Problem(
            503, "draining", "The server is restarting.", headers={"Retry-After": "2"}
        )
    ws = web.WebSocketResponse(
        compress=False,
        max_msg_size=_MESSAGE_BYTES,
        heartbeat=_HEARTBEAT_SECONDS,
        timeout=_CLOSE_SECONDS,
    )
    if not ws.can_prepare(request).ok:
        raise Problem(
            426,
            "upgrade_required",
            "This address speaks WebSocket only.",
            headers={"Upgrade": "websocket", "Connection": "Upgrade"},
        )
    complete(ws, request[keys.REQUEST_ID])
    await ws.prepare(request)
    if request.transport is None:  # the client has gone already
        return ws
    with sockets.open(request.transport) as line:
        principal = await _identify(request, ws, line)
        if principal is not None:
            await _serve(request, ws, Socket(line, principal))
        await _hang_up(ws)
    return ws


def _check_origin(request: web.Request) -> None:
    """Refuse pages of other sites: browsers send cookies and Origin, not consent."""
    origin = request.headers.get("Origin")
    allowed = request.app[keys.CONFIG].cors_origins
    if origin is None or origin in allowed or ANY_ORIGIN in allowed:
        return
    if _host(origin) != request.host:
        raise Problem(403, "origin_refused", "Pages of this origin may not connect.")


def _host(origin: str) -> str | None:
    with suppress(ValueError):
        return urlsplit(origin).netloc
    return None


async def _identify(
    request: web.Request, ws: web.WebSocketResponse, line: Line
) -> Principal | None:
    """Find out whose socket it is; None, and closing, if that cannot be told."""
    try:
        return await _principal(request, ws)
    except InvalidToken:
        line.close(INVALID_TOKEN, "Invalid token")
    except Unavailable:
        line.close(TRY_LATER, "Try again in a moment")
    return None


async def _principal(request: web.Request, ws: web.WebSocketResponse) -> Principal:
    sessions: Sessions = request.app[keys.SESSIONS]
    tickets: Tickets = request.app[keys.TICKETS]
    if ticket := request.query.get("ticket"):
        return await sessions.renew(await tickets.redeem(ticket))
    if token := request.query.get("token"):
        return await sessions.authenticate(token)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await sessions.authenticate(token.strip())
    if scheme:
        raise InvalidToken
    return await sessions.authenticate(await _first_token(ws))


async def _first_token(ws: web.WebSocketResponse) -> str:
    """Wait for `{"op": "auth", "token": ...}`; raises InvalidToken for all else."""
    try:
        async with asyncio.timeout(_AUTHENTICATION_SECONDS):
            received = await ws.receive()
    except TimeoutError:
        raise InvalidToken from None
    if received.type is not WSMsgType.TEXT:
        raise InvalidToken
    try:
        message = _decoder.decode(received.data)
    except msgspec.DecodeError:
        raise InvalidToken from None
    if message.op != "auth":
        raise InvalidToken
    return message.token


async def _serve(
    request: web.Request, ws: web.WebSocketResponse, socket: Socket
) -> None:
    hub, sessions = request.app[keys.HUB], request.app[keys.SESSIONS]
    user_id = socket.caller.id
    sessions.watch(socket.session_id, socket.caller.role)
    hub.attach(socket)
    _log.debug("socket.opened", user_id=user_id)
    try:
        allowance = _Allowance()
        async for received in ws:
            if not allowance.take(asyncio.get_running_loop().time()):
                socket.close(TOO_MANY, "You send too many messages")
                break
            if received.type is WSMsgType.TEXT:
                socket.deliver(_reply(received.data))
            elif received.type is WSMsgType.BINARY:
                socket.deliver(_error("text_only", "Send text messages."))
    finally:
        hub.detach(socket)
        sessions.unwatch(socket.session_id)
        _log.debug("socket.closed", user_id=user_id, code=ws.close_code)


async def _hang_up(ws: web.WebSocketResponse) -> None:
    """Read until the client has said goodbye too, or its line has been cut."""
    async for _ in ws:
        await asyncio.sleep(0)  # what is buffered comes without a wait in between


def _reply(text: str) -> bytes:
    if text == "ping":
        return text_frame(b"pong")
    try:
        message = _decoder.decode(text)
    except msgspec.DecodeError:
        return _error("malformed", "Send a JSON object with an op, or the word ping.")
    match message.op or message.type:
        case "ping":
            return _PONG
        case "auth":
            return _error("already_authenticated", "This socket knows who you are.")
        case _:
            return _error("unknown_op", "The ops are: auth, ping.")


def _error(code: str, detail: str) -> bytes:
    document = {"type": "error", "code": code, "detail": detail}
    return text_frame(msgspec.json.encode(document))


def reseat(hub: Hub, roles: Mapping[int, UserRole]) -> None:
    """Let the hub know that users of these sessions have another role now."""
    for socket in list(hub):
        role = roles.get(socket.session_id)
        if role is not None and isinstance(socket, Socket):
            hub.detach(socket)
            socket.caller = replace(socket.caller, role=role)
            hub.attach(socket)
