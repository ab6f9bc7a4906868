"""Handler of new accounts: the only write of somebody who is nobody yet."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from actors.domain.commands import IdempotencyKey
from actors.domain.errors import EmailTaken, UsernameTaken
from server import keys
from server.idempotency import alone, as_replay, checked, key_for, receipt_of
from server.registration import create_account
from server.representations import encode_user
from server.requests import answer
from sql.receipts import Remembered


class _Account(msgspec.Struct):
    id: int
    version: int


async def register(request: web.Request) -> web.StreamResponse:
    """Make an account and its inbox.

    Who repeats it with its key is known by the address; they pay for a password's
    hash again, so that a key is no way to try passwords out.
    """
    address = request.app[keys.ADDRESSES].of(request)
    request.app[keys.LIMITS].admit_address(address)
    with alone(request, request[keys.BODY]["email"].lower()):
        return await _register(request, await key_for(request, 201))


async def _register(
    request: web.Request, key: IdempotencyKey | None
) -> web.StreamResponse:
    body = request[keys.BODY]
    try:
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
            receive=lambda user: receipt_of(
                key and replace(key, user_id=user.id), encode_user(user), user.version
            ),
        )
    except (EmailTaken, UsernameTaken):
        known = await _first_registration(request, key)
        if known is None:
            raise
        return as_replay(_registered(request, (known.body or "").encode()))
    return _registered(request, encode_user(user))


async def _first_registration(
    request: web.Request, key: IdempotencyKey | None
) -> Remembered | None:
    if key is None:
        return None
    store, email = request.app[keys.STORE], request[keys.BODY]["email"]
    return checked(await store.remembered_of_address(email, key.key), key)


def _registered(request: web.Request, body: bytes) -> web.Response:
    made = msgspec.json.decode(body, type=_Account)
    return answer(request, body, made.version, location=f"/users/{made.id}")
