"""The way into the feed: who opens a socket, what is read from it, and how it ends.

Writing is the feed's business: it goes to the transport itself and never waits, so a
socket has no task of its own but the handler that reads it.
"""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

import structlog
from aiohttp import HttpVersion11, WSMessage, WSMsgType, web

from actors.domain.errors import Unavailable
from server import keys
from server.closing import (
    FORBIDDEN,
    INVALID_TOKEN,
    TOO_MANY_MESSAGES,
    TOO_MANY_SOCKETS,
    TRY_LATER,
)
from server.dialogue import Refused
from server.environment import ANY_ORIGIN
from server.filters import FILTERS
from server.lines import CLOSE_SECONDS, Line, Socket
from server.messages import Auth, Error, Subscribe
from server.middlewares import complete
from server.ops import NotUnderstood, read
from server.problems import Problem
from server.sessions import Principal
from server.sockets import MOST_UNKNOWN
from server.tokens import InvalidToken

TOGETHER = "boardcast.v1"

_AUTHENTICATION_SECONDS = 10.0
_MESSAGE_BYTES = 64 * 1024
_CONTROL = (WSMsgType.PING, WSMsgType.PONG)

_log = structlog.get_logger()


async def connect(request: web.Request) -> web.StreamResponse:
    """Accept a socket, learn who it is, then listen until either side ends it."""
    _check_origin(request)
    sockets = request.app[keys.SOCKETS]
    if sockets.is_draining:
        raise _come_back("draining", "The server is restarting.")
    ws = web.WebSocketResponse(
        compress=False,
        max_msg_size=_MESSAGE_BYTES + 1,  # of this size, aiohttp takes none
        autoping=False,
        timeout=CLOSE_SECONDS,
        protocols=(TOGETHER,),
    )
    if request.version < HttpVersion11 or not ws.can_prepare(request).ok:
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
    line = sockets.open(request.transport)
    try:
        principal = await _identify(request, ws, line)
        if principal is not None:
            is_together = ws.ws_protocol == TOGETHER
            await _admit(request, ws, Socket(line, principal, is_together=is_together))
        await _hang_up(ws)
    finally:
        sockets.close(line)
    return ws


def _come_back(code: str, detail: str) -> Problem:
    return Problem(503, code, detail, headers={"Retry-After": "2"})


def _check_origin(request: web.Request) -> None:
    """Refuse pages of other sites: browsers send cookies and Origin, not consent."""
    origin = request.headers.get("Origin")
    allowed = request.app[keys.CONFIG].cors_origins
    if origin is None or origin in allowed or ANY_ORIGIN in allowed:
        return
    if _host(origin) != request.headers.get("Host", ""):
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
        return await _principal(request, ws, line)
    except InvalidToken:
        line.close(INVALID_TOKEN)
    except Unavailable:
        line.close(TRY_LATER)
    return None


async def _principal(
    request: web.Request, ws: web.WebSocketResponse, line: Line
) -> Principal:
    sessions, tickets = request.app[keys.SESSIONS], request.app[keys.TICKETS]
    if ticket := request.query.get("ticket"):
        return await sessions.renew(await tickets.redeem(ticket))
    if token := request.query.get("token"):
        return await sessions.authenticate(token)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await sessions.authenticate(token.strip())
    if scheme:
        raise InvalidToken
    sockets = request.app[keys.SOCKETS]
    if sockets.unknown >= MOST_UNKNOWN:
        raise Unavailable
    sockets.unknown += 1
    try:
        token = await _first_token(ws, line)
    finally:
        sockets.unknown -= 1
    return await sessions.authenticate(token)


async def _first_token(ws: web.WebSocketResponse, line: Line) -> str:
    """Wait for `{"op": "auth", "token": ...}`; raises InvalidToken for all else."""
    try:
        async with asyncio.timeout(_AUTHENTICATION_SECONDS):
            received = await ws.receive()
            while received.type in _CONTROL and _is_taken(received, line):
                received = await ws.receive()
    except TimeoutError:
        raise InvalidToken from None
    if received.type is not WSMsgType.TEXT:
        raise InvalidToken
    try:
        message = read(received.data)
    except NotUnderstood:
        raise InvalidToken from None
    if not isinstance(message, Auth):
        raise InvalidToken
    return message.token


async def _admit(
    request: web.Request, ws: web.WebSocketResponse, socket: Socket
) -> None:
    if not request.app[keys.SOCKETS].admit(socket):
        socket.line.close(TOO_MANY_SOCKETS)
        return
    feed, sessions = request.app[keys.FEED], request.app[keys.SESSIONS]
    sweeper = request.app[keys.SWEEPER]
    sessions.watch(socket.session_id, socket.caller.role)
    feed.attach(socket, listens="project_id" not in request[keys.QUERY])
    sweeper.add(socket)
    _log.debug("socket.opened", user_id=socket.user_id)
    try:
        await _begin(request, socket)
        await _listen(request, ws, socket)
    finally:
        feed.detach(socket)
        sweeper.remove(socket)
        sessions.unwatch(socket.session_id)
        _log.debug("socket.closed", user_id=socket.user_id, code=ws.close_code)


async def _begin(request: web.Request, socket: Socket) -> None:
    """Subscribe to the project that the address names, if it names one."""
    query, dialogue = request[keys.QUERY], request.app[keys.DIALOGUE]
    if "project_id" not in query:
        return
    spelt = request.query
    wanted = Subscribe(
        project_id=query["project_id"],
        since=query.get("since"),
        snapshot=query.get("snapshot", False),
        filter={name: spelt[name] for name in FILTERS if name in spelt},
    )
    try:
        await dialogue.subscribe(socket, wanted)
    except Refused as refused:
        dialogue.complain(socket, refused.error)
        socket.line.close(TRY_LATER if refused.is_temporary else FORBIDDEN)


async def _listen(
    request: web.Request, ws: web.WebSocketResponse, socket: Socket
) -> None:
    dialogue = request.app[keys.DIALOGUE]
    async for received in ws:
        socket.is_heard = True
        if not _is_taken(received, socket.line):
            return
        if received.type is WSMsgType.TEXT:
            await dialogue.hear(socket, received.data)
        elif received.type is WSMsgType.BINARY:
            dialogue.complain(socket, Error("text_only", "Send text messages."))


def _is_taken(received: WSMessage, line: Line) -> bool:
    """Answer it if it is a ping; close if there are too many messages of any kind."""
    if not line.allowance.take(asyncio.get_running_loop().time()):
        line.close(TOO_MANY_MESSAGES)
        return False
    if received.type is WSMsgType.PING:
        line.pong(received.data)
    return True


async def _hang_up(ws: web.WebSocketResponse) -> None:
    """Read until the client has said goodbye too, or its line has been cut."""
    async for _ in ws:
        await asyncio.sleep(0)  # what is buffered comes without a wait in between
