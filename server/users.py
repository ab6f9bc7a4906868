"""Handlers of users: the caller's own account, and everybody's for who may."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from actors.domain.errors import ActionForbidden
from actors.domain.model import UserId
from actors.domain.permissions import Action, is_allowed, user_standings
from server import keys
from server.idempotency import no_content, once, receipt_of
from server.pages import Asked
from server.passwords import PasswordRefused, refuse_weak
from server.problems import FieldError, Problem
from server.representations import encode_user
from server.requests import Stamp, answer, answer_list, caller_of
from server.tokens import InvalidToken
from sql.lists import UserFilter
from sql.receipts import Receipt
from sql.users import Credentials, User

_log = structlog.get_logger(__name__)


async def get_me(request: web.Request) -> web.StreamResponse:
    """Show the caller's own account."""
    user = await request.app[keys.USERS].get(request[keys.PRINCIPAL].user_id)
    if user is None:
        raise InvalidToken
    return _show(request, user)


async def update_me(request: web.Request) -> web.StreamResponse:
    """Change the fields of the caller's own account that the body names."""
    change = partial(_change, request, caller_of(request).id)
    return await once(request, change, 200)


async def change_password(request: web.Request) -> web.StreamResponse:
    """Set another password; all sessions of the caller but this one end at once."""
    change = partial(_change_password, request)
    return await once(request, change, 204, replay=no_content)


async def _change_password(request: web.Request, stamp: Stamp) -> web.Response:
    principal, body = request[keys.PRINCIPAL], request[keys.BODY]
    users, passwords = request.app[keys.USERS], request.app[keys.PASSWORDS]
    known = await users.credentials(principal.user_id)
    if known is None:
        raise InvalidToken
    _refuse_password(body, known)
    request.app[keys.LIMITS].admit_account(principal.user_id)
    if not await passwords.verify(body["old_password"], known.password_hash):
        raise _wrong_password()
    ended = await users.change_password(
        principal.user_id,
        await passwords.hash(body["new_password"]),
        replaced=known.password_hash,
        kept=principal.session_id,
        if_match=stamp["if_match"],
        receipt=receipt_of(stamp["key"], b""),
    )
    if ended is None:
        raise Problem(409, "password_changed", "It was changed meanwhile; try again.")
    request.app[keys.SESSIONS].forget(ended)
    _log.info("user.password_changed", user_id=principal.user_id, ended=len(ended))
    return web.Response(status=204)


async def list_users(request: web.Request) -> web.StreamResponse:
    """Answer with a page of all users."""
    caller, query = caller_of(request), request[keys.QUERY]
    if not is_allowed(Action.LIST_USERS, user_standings(caller, None)):
        raise ActionForbidden("Only managers and administrators see all users.")
    asked = Asked("users", caller.id, query, request.rel_url)
    pages, users = request.app[keys.PAGES], request.app[keys.USERS]
    found, total = await users.list_page(_filter(query), pages.page(asked))
    return answer_list(request, pages.answer(asked, found, total))


async def get_user(request: web.Request) -> web.StreamResponse:
    """Show a user to themselves, to managers and to administrators."""
    user_id = _visible(request)
    user = await request.app[keys.USERS].get(user_id)
    if user is None:
        raise _user_not_found()
    return _show(request, user)


async def update_user(request: web.Request) -> web.StreamResponse:
    """Change a user; who is made inactive is out at once, sockets and all."""
    user_id = _visible(request)
    if not is_allowed(Action.CHANGE_USER, user_standings(caller_of(request), user_id)):
        raise ActionForbidden("Only administrators change users.")
    return await once(request, partial(_change, request, user_id), 200)


async def _change(request: web.Request, user_id: UserId, stamp: Stamp) -> web.Response:
    fields, key = request[keys.BODY], stamp["key"]

    def receive(user: User) -> Receipt | None:
        return receipt_of(key, encode_user(user), user.version)

    changed = await request.app[keys.USERS].change(
        user_id, fields, at=stamp["at"], if_match=stamp["if_match"], receive=receive
    )
    if changed is None:
        raise _user_not_found()
    request.app[keys.SESSIONS].learn(changed)
    by = stamp["caller"].id
    _log.info("user.changed", user_id=user_id, by=by, fields=sorted(fields))
    return _show(request, changed.user)


def _visible(request: web.Request) -> UserId:
    """Read the user in the path; who may not see them learns nothing."""
    user_id = UserId(request[keys.PATH_IDS]["user_id"])
    if not is_allowed(Action.SEE_USER, user_standings(caller_of(request), user_id)):
        raise _user_not_found()
    return user_id


def _show(request: web.Request, user: User) -> web.Response:
    return answer(request, encode_user(user), user.version)


def _filter(query: Mapping[str, Any]) -> UserFilter:
    return UserFilter(
        role=query.get("role"), is_active=query.get("is_active"), text=query.get("q")
    )


def _refuse_password(body: Mapping[str, Any], known: Credentials) -> None:
    if body["new_password"] == body["old_password"]:
        sentence = "It has to be another one than before."
        raise PasswordRefused(sentence, pointer="/new_password")
    refuse_weak(
        body["new_password"],
        email=known.user.email,
        username=known.user.username,
        pointer="/new_password",
    )


def _wrong_password() -> Problem:
    sentence = "This is not your password."
    errors = [FieldError("/old_password", sentence)]
    return Problem(422, "wrong_password", sentence, errors=errors)


def _user_not_found() -> Problem:
    sentence = "There is no such user, or you may not see them."
    return Problem(404, "user_not_found", sentence)
