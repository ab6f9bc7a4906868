"""Handlers of sessions: logging in, staying so, and logging out."""

from dataclasses import replace
from datetime import datetime
from functools import partial

import msgspec
from aiohttp import web

from actors.domain.commands import IdempotencyKey
from actors.domain.errors import KeyAlreadyUsed, Unavailable
from actors.domain.model import UserId
from server import keys
from server.headers import json_headers
from server.idempotency import (
    alone,
    as_replay,
    first_answer,
    key_for,
    no_content,
    once,
    receipt_of,
    reused,
    spent,
)
from server.problems import Problem
from server.representations import encode, encode_list
from server.requests import Stamp, answer_bytes
from server.tokens import InvalidToken, TokenPair
from sql.accounts import Session
from sql.receipts import Remembered
from sql.users import Credentials


class _SessionView(msgspec.Struct, frozen=True):
    id: int
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    user_agent: str
    is_current: bool


async def login(request: web.Request) -> web.StreamResponse:
    """Open a session for an e-mail address or username and a password.

    Whether the account is unknown, inactive or has another password shows neither in
    the answer nor in the time that it takes; a key is looked at after the password.
    """
    request.app[keys.LIMITS].admit_address(_address(request))
    body = request[keys.BODY]
    with alone(request, body.get("email", body.get("username", "")).lower()):
        return _pair(await _log_in(request, await key_for(request, 200)))


async def _log_in(request: web.Request, key: IdempotencyKey | None) -> TokenPair:
    credentials = await _proved(request)
    key = None if key is None else _owned(key, credentials.user.id)
    known = await first_answer(request, key)
    if known is not None:
        return await _opened_before(request, known)
    try:
        pair = await _open(request, credentials, key)
        if pair is None and credentials.user.is_active:  # the hash changed meanwhile
            credentials = await _proved(request)
            pair = await _open(request, credentials, key)
    except KeyAlreadyUsed:  # by another node
        return await _opened_before(request, await first_answer(request, key))
    if pair is None:
        raise _invalid_credentials()
    await _hash_anew(request.app, credentials, request[keys.BODY]["password"])
    return pair


async def _opened_before(request: web.Request, known: Remembered | None) -> TokenPair:
    """Give the pair of the session that the first log-in with a key opened."""
    pair = None if known is None else await request.app[keys.SESSIONS].open_again(known)
    if pair is None:
        raise spent("The session that this key began has moved on or ended.")
    return pair


async def refresh(request: web.Request) -> web.StreamResponse:
    """Give a new pair of tokens for a refresh token, which is used up by that.

    Only those that are no good count against the address: an office may share one.
    """
    limits, address = request.app[keys.LIMITS], _address(request)
    limits.check_address(address)
    token = _refresh_token(request)
    key = await key_for(request, 200, about=token)
    owned = None if key is None else partial(_owned, key)
    with alone(request, token):
        try:
            pair = await request.app[keys.SESSIONS].refresh(token, owned)
        except InvalidToken:
            limits.blame_address(address)
            raise
        except KeyAlreadyUsed:
            raise reused() from None
    return _pair(pair)


async def logout(request: web.Request) -> web.StreamResponse:
    """End the session of this very token.

    With a key it may be repeated with that token, though it speaks for nobody since.
    """
    about = str(request[keys.PRINCIPAL].session_id)
    end = partial(_log_out, request)
    return await once(request, end, 204, replay=no_content, about=about)


async def _log_out(request: web.Request, stamp: Stamp) -> web.Response:
    principal, key = request[keys.PRINCIPAL], stamp["key"]
    is_ended = await request.app[keys.SESSIONS].revoke(
        principal.session_id,
        user_id=principal.user_id,
        reason="logout",
        receipt=receipt_of(key, b""),
    )
    if key is not None and not is_ended:
        raise InvalidToken
    return web.Response(status=204)


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """List the caller's sessions, the newest first."""
    principal = request[keys.PRINCIPAL]
    limit, offset = request[keys.QUERY]["limit"], request[keys.QUERY]["offset"]
    sessions, total = await request.app[keys.ACCOUNTS].list_sessions(
        principal.user_id, limit=limit, offset=offset
    )
    items = [_session(session, principal.session_id) for session in sessions]
    body = encode_list(
        "sessions", items, total=total, limit=limit, offset=offset, next_cursor=None
    )
    return answer_bytes(request, body)


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
    return web.Response(status=204)


async def _proved(request: web.Request) -> Credentials:
    """Find whose password this is; raises a 401 or 429 problem.

    Both names of an account lead to its one limit, so it is found first; one that is
    not found has a limit by its name.
    """
    body = request[keys.BODY]
    email, username = body.get("email"), body.get("username")
    credentials = await request.app[keys.ACCOUNTS].find_by_login(
        email=email, username=username
    )
    user_id = None if credentials is None else credentials.user.id
    limits, address = request.app[keys.LIMITS], _address(request)
    limits.admit_account(user_id, f"{email} {username}", address=address)
    known = None if credentials is None else credentials.password_hash
    matches = await request.app[keys.PASSWORDS].verify(body["password"], known)
    if credentials is None or not matches:
        raise _invalid_credentials()
    return credentials


async def _open(
    request: web.Request, credentials: Credentials, key: IdempotencyKey | None
) -> TokenPair | None:
    return await request.app[keys.SESSIONS].open(
        credentials.user.id,
        address=_address(request),
        user_agent=request.headers.get("User-Agent", ""),
        password_hash=credentials.password_hash,
        key=key,
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
        await app[keys.USERS].rehash_password(
            credentials.user.id, renewed, replaced=outdated
        )
    except Unavailable:
        return  # the next log-in tries again


def _address(request: web.Request) -> str:
    return request.app[keys.ADDRESSES].of(request)


def _owned(key: IdempotencyKey, user_id: UserId) -> IdempotencyKey:
    """Say whose key it is, now that they have proved who they are."""
    return replace(key, user_id=user_id)


def _refresh_token(request: web.Request) -> str:
    """Find the token in the body or, without one there, in the Authorization header."""
    body = request[keys.BODY]
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
    body = encode(
        {
            "access_token": pair.access_token,
            "refresh_token": pair.refresh_token,
            "token_type": "Bearer",
            "expires_in": pair.expires_in,
        }
    )
    response = web.Response(body=body, headers=json_headers())
    return as_replay(response) if pair.is_replay else response


def _invalid_credentials() -> Problem:
    return Problem(
        401,
        "invalid_credentials",
        "There is no active account with this name and password.",
        headers={"WWW-Authenticate": 'Bearer realm="boardcast"'},
    )
