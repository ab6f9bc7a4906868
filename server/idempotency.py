"""Idempotency-Key: whatever a client repeats has one effect and one answer.

The key is kept in the transaction of its effect. Most answers are events of a log, and
the key leads to one; the others are kept with it, or what they can be made of again
where they hold a secret. Fingerprints are keyed, because some bodies hold passwords.
"""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec
from aiohttp import web

from actors.domain.commands import IdempotencyKey
from actors.domain.errors import KeyAlreadyUsed
from actors.domain.model import ProjectId, UserId
from server import keys
from server.headers import IDEMPOTENCY_KEY, VERSION, json_headers
from server.problems import FieldError, Problem
from server.requests import Stamp, answer_written, caller_of, stamp_of
from server.validation import received
from sql.receipts import Receipt, Remembered

_KEY = re.compile(r'("?)([\x21\x23-\x5b\x5d-\x7e]{1,255})\1')
_IN_FLIGHT: web.AppKey[set[tuple[UserId | str, str]]] = web.AppKey("keys_in_flight")
_SECRET: web.AppKey[bytes] = web.AppKey("fingerprint_secret")

Act = Callable[[Stamp], Awaitable[web.Response]]
Replay = Callable[[Remembered], Awaitable[web.Response]]


class _Subject(msgspec.Struct):
    """What an event is about: the one of these that it has."""

    task: msgspec.Raw = msgspec.Raw(b"")
    project: msgspec.Raw = msgspec.Raw(b"")
    member: msgspec.Raw = msgspec.Raw(b"")
    comment: msgspec.Raw = msgspec.Raw(b"")


class _Identity(msgspec.Struct):
    id: int = 0


def prepare(app: web.Application, secret: bytes) -> None:
    """Give the application what the functions here keep in it."""
    app[_IN_FLIGHT] = set()
    app[_SECRET] = hmac.digest(secret, b"fingerprints", hashlib.sha256)


async def once(
    request: web.Request,
    act: Act,
    status: int,
    *,
    replay: Replay | None = None,
    about: str = "",
) -> web.Response:
    """Act, at most once for an Idempotency-Key; a repeat is answered like the first.

    `status` is that of success, `about` what makes it this request besides its bytes,
    and `replay` makes the first answer again where it is not the thing as it was then.
    Raises a 409 problem while the first is under way, a 422 one for another request.
    """
    if IDEMPOTENCY_KEY not in request.headers:
        return await act(stamp_of(request))
    key = await key_of(request, caller_of(request).id, status, about=about)
    _refuse_held(request, key.user_id, key.key)  # so that who waits asks no database
    known = await first_answer(request, key)
    if known is None:
        with alone(request, key.user_id):
            try:
                return await act(stamp_of(request, key))
            except KeyAlreadyUsed:
                known = await first_answer(request, key)
                if known is None:
                    raise
    return await _replayed(request, known, replay)


@contextmanager
def alone(request: web.Request, who: UserId | str) -> Iterator[None]:
    """Hold the request's key, if it has one, for as long as its effect is under way.

    Raises a 409 problem if it is held, a 400 one if it is none.
    """
    text = _text_of(request)
    if text is None:
        yield
        return
    _refuse_held(request, who, text)
    in_flight, place = request.app[_IN_FLIGHT], (who, text)
    in_flight.add(place)
    try:
        yield
    finally:
        in_flight.discard(place)


def _refuse_held(request: web.Request, who: UserId | str, text: str) -> None:
    if (who, text) in request.app[_IN_FLIGHT]:
        sentence = "The first request is still under way."
        raise Problem(409, "idempotency_key_in_flight", sentence)


async def key_of(
    request: web.Request, user_id: UserId, status: int, *, about: str = ""
) -> IdempotencyKey:
    """Read the key of a request that has one, for this caller; a 400 problem."""
    fingerprint = hmac.new(request.app[_SECRET], digestmod=hashlib.sha256)
    fingerprint.update(f"{request.method} {request.path}\n{about}\n".encode())
    fingerprint.update(await received(request))
    return IdempotencyKey(
        user_id=user_id,
        key=_text_of(request) or "",
        fingerprint=fingerprint.digest(),
        status=status,
    )


async def key_for(
    request: web.Request, status: int, *, about: str = ""
) -> IdempotencyKey | None:
    """Read the key, if there is one, before it is known whose it is."""
    if IDEMPOTENCY_KEY not in request.headers:
        return None
    return await key_of(request, UserId(0), status, about=about)


async def first_answer(
    request: web.Request, key: IdempotencyKey | None
) -> Remembered | None:
    """Look up how the key was answered; a 422 problem if to another request."""
    if key is None:
        return None
    known = await request.app[keys.STORE].remembered(key.user_id, key.key)
    return checked(known, key)


def checked(known: Remembered | None, key: IdempotencyKey) -> Remembered | None:
    """Refuse what was the answer to another request, by a 422 problem."""
    if known is not None and known.fingerprint != key.fingerprint:
        raise reused()
    return known


def reused() -> Problem:
    """Say that a key comes with something else than it came with first."""
    sentence = "This Idempotency-Key was used with another request."
    return Problem(422, "idempotency_key_reused", sentence)


def spent(sentence: str) -> Problem:
    """Say that what was first answered is over, and is not brought back."""
    return Problem(409, "idempotency_key_spent", sentence)


def as_replay(response: web.Response) -> web.Response:
    """Mark an answer as given before."""
    response.headers["Idempotency-Replayed"] = "true"
    return response


def receipt_of(
    key: IdempotencyKey | None, body: bytes, version: int | None = None
) -> Receipt | None:
    """Note a first answer, if there is a key to note it for."""
    if key is None:
        return None
    return Receipt(key=key, body=body.decode(), version=version)


async def no_content(known: Remembered) -> web.Response:
    """Replay an answer that said nothing."""
    return web.Response(status=known.status)


def _text_of(request: web.Request) -> str | None:
    text = request.headers.get(IDEMPOTENCY_KEY)
    if text is None:
        return None
    found = _KEY.fullmatch(text.strip())
    if found is None:
        sentence = "It must be 1 to 255 visible ASCII characters, quoted or not."
        error = FieldError("Idempotency-Key", sentence)
        raise Problem(
            400, "invalid_idempotency_key", "The key is not valid.", errors=[error]
        )
    return found[2]


async def _replayed(
    request: web.Request, known: Remembered, replay: Replay | None
) -> web.Response:
    if replay is not None:
        response = await replay(known)
    else:
        response = await _shown_again(request, known)
    return as_replay(response)


async def _shown_again(request: web.Request, known: Remembered) -> web.Response:
    """Show the thing as it was right after the first request."""
    body = (known.body or "").encode()
    headers = json_headers(f'"{known.version}"')
    if known.project_id is not None and known.version is not None:
        body = await _subject(request, known.project_id, known.version)
        headers[VERSION] = f"{known.project_id}:{known.version}"
    if known.status == web.HTTPCreated.status_code:
        thing = msgspec.json.decode(body, type=_Identity)
        headers["Location"] = f"{request.path}/{thing.id}"
    return answer_written(request, known.status, body, headers)


async def _subject(request: web.Request, project_id: ProjectId, version: int) -> bytes:
    event = await request.app[keys.STORE].event(project_id, version)
    subject = msgspec.json.decode(event or b"{}", type=_Subject)
    return b"".join(  # it has one of them
        (subject.task, subject.project, subject.member, subject.comment)
    )
