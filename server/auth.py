"""Accounts and sessions over HTTP."""

from datetime import UTC, datetime

import msgspec
from aiohttp import web

from actors.domain.errors import Unavailable
from server import keys
from server.problems import Problem
from server.registration import create_account
from server.representations import encode, encode_list, encode_user
from server.requests import answer_bytes
from server.sessions import TokenPair
from server.tickets import LIFETIME_SECONDS
from server.tokens import InvalidToken
from sql.accounts import Session
from sql.users import Credentials

_NO_STORE = {"Cache-Control": "no-store"}
_PAGE = 100


class _SessionView(msgspec.Struct, frozen=True):
    id: int
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    user_agent: str
    is_current: bool


async def register(request: web.Request) -> web.StreamResponse:
    """Make an account and its inbox."""
    body = request[keys.BODY]
    user = await create_account(
        request.app[keys.ACCOUNTS],
        request.app[keys.IDS],
        request.app[keys.PASSWORDS],
        email=body["email"],
        username=body["username"],
        password=body["password"],
        first_name=body.get("first_name", ""),
        last_name=body.get("last_name", ""),
        at=datetime.now(UTC),
        request_id=request.get(keys.REQUEST_ID, ""),
    )
    location = {"Location": f"/users/{user.id}"}
    return _answer(encode_user(user), status=201, headers=location)


async def login(request: web.Request) -> web.StreamResponse:
    """Open a session for an e-mail address or username and a password.

    Whether the account is unknown, inactive or has another password shows neither in
    the answer nor in the time that it takes.
    """
    credentials = await _proved(request)
    pair = await _open(request, credentials)
    if pair is None and credentials.user.is_active:  # the hash changed meanwhile
        credentials = await _proved(request)
        pair = await _open(request, credentials)
    if pair is None:
        raise _invalid_credentials()
    await _hash_anew(request.app, credentials, request[keys.BODY]["password"])
    return _pair(pair)


async def refresh(request: web.Request) -> web.StreamResponse:
    """Give a new pair of tokens for a refresh token, which is used up by that."""
    return _pair(await request.app[keys.SESSIONS].refresh(_refresh_token(request)))


async def logout(request: web.Request) -> web.StreamResponse:
    """End the session of this very token."""
    principal = request[keys.PRINCIPAL]
    await request.app[keys.SESSIONS].revoke(
        principal.session_id, user_id=principal.user_id, reason="logout"
    )
    return web.Response(status=204, headers=_NO_STORE)


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """List the caller's sessions, the newest first."""
    principal = request[keys.PRINCIPAL]
    query = request.get(keys.QUERY) or {}
    limit, offset = query.get("limit", _PAGE), query.get("offset", 0)
    sessions, total = await request.app[keys.ACCOUNTS].list_sessions(
        principal.user_id, limit=limit, offset=offset
    )
    items = [_session(session, principal.session_id) for session in sessions]
    body = encode_list(
        "sessions", items, total=total, limit=limit, offset=offset, next_cursor=None
    )
    listed = answer_bytes(request, body)
    listed.headers.update(_NO_STORE)
    return listed


async def end_session(request: web.Request) -> web.StreamResponse:
    """End one of the caller's sessions, on whatever device it is."""
    principal = request[keys.PRINCIPAL]
    is_ended = await request.app[keys.SESSIONS].revoke(
        request[keys.PATH_IDS]["session_id"],
        user_id=principal.user_id,
        reason="ended_by_user",
    )
    if not is_ended:
        raise Problem(404, "session_not_found", "You have no such session.")
    return web.Response(status=204, headers=_NO_STORE)


async def create_ticket(request: web.Request) -> web.StreamResponse:
    """Make a ticket that opens one WebSocket."""
    ticket = await request.app[keys.TICKETS].issue(request[keys.PRINCIPAL])
    body = encode({"ticket": ticket, "expires_in": LIFETIME_SECONDS})
    return _answer(body, status=201)


async def _proved(request: web.Request) -> Credentials:
    """Find whose password this is; raises a 401 problem."""
    body = request[keys.BODY]
    credentials = await request.app[keys.ACCOUNTS].find_by_login(
        email=body.get("email"), username=body.get("username")
    )
    known = None if credentials is None else credentials.password_hash
    matches = await request.app[keys.PASSWORDS].verify(body["password"], known)
    if credentials is None or not matches:
        raise _invalid_credentials()
    return credentials


async def _open(request: web.Request, credentials: Credentials) -> TokenPair | None:
    return await request.app[keys.SESSIONS].open(
        credentials.user.id,
        address=request.remote or "",
        user_agent=request.headers.get("User-Agent", ""),
        password_hash=credentials.password_hash,
    )


async def _hash_anew(
    app: web.Application, credentials: Credentials, password: str
) -> None:
    """Bring a hash up to today's parameters, if there is the time for it."""
    passwords, outdated = app[keys.PASSWORDS], credentials.password_hash
    if not passwords.is_outdated(outdated):
        return
    try:
        renewed = await passwords.hash(password)
        await app[keys.ACCOUNTS].set_password_hash(
            credentials.user.id, renewed, replaced=outdated
        )
    except Unavailable:
        return  # the next log-in tries again


def _refresh_token(request: web.Request) -> str:
    """Find the token in the body or, without one there, in the Authorization header."""
    body = request.get(keys.BODY) or {}
    if "refresh_token" in body:
        return str(body["refresh_token"])
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken
    return token.strip()


def _session(session: Session, current: int) -> bytes:
    view = _SessionView(
        session.id,
        session.created_at,
        session.last_used_at,
        session.expires_at,
        session.address,
        session.user_agent,
        session.id == current,
    )
    return encode(view)


def _pair(pair: TokenPair) -> web.Response:
    return _answer(
        encode(
            {
                "access_token": pair.access_token,
                "refresh_token": pair.refresh_token,
                "token_type": "Bearer",
                "expires_in": pair.expires_in,
            }
        )
    )


def _answer(
    body: bytes, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=body,
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={**_NO_STORE, **(headers or {})},
    )


def _invalid_credentials() -> Problem:
    return Problem(
        401,
        "invalid_credentials",
        "There is no active account with this name and password.",
        headers={**_NO_STORE, "WWW-Authenticate": 'Bearer realm="boardcast"'},
    )
