"""What handlers read from requests and put into answers: conditions, versions, keys."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import TypedDict

import msgspec
from aiohttp import hdrs, web
from multidict import CIMultiDict, istr

from actors.domain.commands import IdempotencyKey
from actors.domain.errors import KeyAlreadyUsed
from actors.domain.model import Caller, ProjectId, TaskId, UserId
from server import keys
from server.headers import json_headers
from server.pages import ListAnswer, digest_tag
from server.problems import FieldError, Problem
from sql.store import Remembered

_ENTITY_TAG = re.compile(r'(W/)?"([^"]*)"')
_KEY = re.compile(r'("?)([\x21\x23-\x5b\x5d-\x7e]{1,255})\1')
_VERSION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_READS = ("GET", "HEAD")
_PREFER = istr("Prefer")
_IDEMPOTENCY_KEY = istr("Idempotency-Key")
_IN_FLIGHT: web.AppKey[set[tuple[UserId, str]]] = web.AppKey("keys_in_flight")


class Stamp(TypedDict):
    """What every command of a request carries."""

    caller: Caller
    at: datetime
    request_id: str
    if_match: tuple[int, ...] | None
    key: IdempotencyKey | None


class _Subject(msgspec.Struct):
    """What an event is about: the one of these that it has."""

    task: msgspec.Raw = msgspec.Raw(b"")
    project: msgspec.Raw = msgspec.Raw(b"")
    member: msgspec.Raw = msgspec.Raw(b"")
    comment: msgspec.Raw = msgspec.Raw(b"")


class _Identity(msgspec.Struct):
    id: int = 0


def prepare(app: web.Application) -> None:
    """Give the application what the functions here keep in it."""
    app[_IN_FLIGHT] = set()


def caller_of(request: web.Request) -> Caller:
    """Who asks; only on routes that need somebody."""
    return request[keys.PRINCIPAL].caller


def project_id_of(request: web.Request) -> ProjectId:
    """Read the project in the path."""
    return ProjectId(request[keys.PATH_IDS]["project_id"])


def task_id_of(request: web.Request) -> TaskId:
    """Read the task in the path."""
    return TaskId(request[keys.PATH_IDS]["task_id"])


def stamp_of(request: web.Request, key: IdempotencyKey | None = None) -> Stamp:
    """Who asks, when, under which id and on which conditions."""
    return Stamp(
        caller=caller_of(request),
        at=datetime.now(UTC),
        request_id=request[keys.REQUEST_ID],
        if_match=_if_match(request),
        key=key,
    )


def answer(
    request: web.Request, body: bytes, version: int, *, location: str | None = None
) -> web.Response:
    """Show one thing at a version: 201 with its place if it is new, 304 if known."""
    headers = json_headers(f'"{version}"')
    if location is None:
        return _shown(request, body, headers)
    headers[hdrs.LOCATION] = location
    return _written(request, 201, body, headers)


def answer_list(request: web.Request, listed: ListAnswer) -> web.Response:
    """Show a page of a list, or 304 if the caller has these very bytes."""
    headers = json_headers(listed.etag)
    if listed.link is not None:
        headers[hdrs.LINK] = listed.link
    return _shown(request, listed.body, headers)


def answer_bytes(request: web.Request, body: bytes) -> web.Response:
    """Show what has no version of its own; its ETag is a digest of the bytes."""
    return _shown(request, body, json_headers(digest_tag(body)))


def _shown(
    request: web.Request, body: bytes, headers: "CIMultiDict[str]"
) -> web.Response:
    if request.method not in _READS:
        return _written(request, 200, body, headers)
    if not is_known(request, headers[hdrs.ETAG]):
        return web.Response(body=body, headers=headers)
    del headers[hdrs.CONTENT_TYPE]
    return web.Response(status=304, headers=headers)


def _written(
    request: web.Request, status: int, body: bytes, headers: "CIMultiDict[str]"
) -> web.Response:
    """Answer a write; without the body if that is preferred (RFC 7240, 4.2)."""
    preferred = request.headers.getall(_PREFER, ())
    if not preferred or not prefers_minimal(preferred):
        return web.Response(status=status, body=body, headers=headers)
    del headers[hdrs.CONTENT_TYPE]
    headers["Preference-Applied"] = "return=minimal"
    is_new = status == web.HTTPCreated.status_code
    return web.Response(status=201 if is_new else 204, headers=headers)


def prefers_minimal(fields: Iterable[str]) -> bool:
    """Say whether the first `return` of these Prefer headers is `minimal`."""
    for preference in ",".join(fields).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "return":
            return value.strip().strip('"').lower() == "minimal"
    return False


def is_known(request: web.Request, etag: str) -> bool:
    """Say whether a GET names this entity tag in If-None-Match (RFC 9110, 13.1.2)."""
    if request.method not in _READS:
        return False
    named = ", ".join(request.headers.getall(hdrs.IF_NONE_MATCH, ()))
    if not named:
        return False
    return named.strip() == "*" or any(
        f'"{tag}"' == etag for _, tag in _ENTITY_TAG.findall(named)
    )


async def once(
    request: web.Request, act: Callable[[Stamp], Awaitable[web.Response]], status: int
) -> web.Response:
    """Act, at most once for an Idempotency-Key; a repeat is answered like the first.

    `status` is that of success. The key is written in the transaction of the effect.
    Raises a 409 problem while the first is under way, a 422 one for another request.
    """
    text = request.headers.get(_IDEMPOTENCY_KEY)
    if text is None:
        return await act(stamp_of(request))
    key = await _key(request, text, status)
    known = await request.app[keys.STORE].remembered(key.user_id, key.key)
    if known is not None:
        return await _repeat(request, key, known)
    in_flight, place = request.app[_IN_FLIGHT], (key.user_id, key.key)
    if place in in_flight:
        raise Problem(
            409, "idempotency_key_in_flight", "The first request is still under way."
        )
    in_flight.add(place)
    try:
        return await act(stamp_of(request, key))
    except KeyAlreadyUsed:
        known = await request.app[keys.STORE].remembered(key.user_id, key.key)
        if known is None:
            raise
        return await _repeat(request, key, known)
    finally:
        in_flight.discard(place)


async def _key(request: web.Request, text: str, status: int) -> IdempotencyKey:
    found = _KEY.fullmatch(text.strip())
    if found is None:
        sentence = "It must be 1 to 255 visible ASCII characters, quoted or not."
        error = FieldError("Idempotency-Key", sentence)
        raise Problem(
            400, "invalid_idempotency_key", "The key is not valid.", errors=[error]
        )
    digest = hashlib.sha256(f"{request.method} {request.path}\n".encode())
    digest.update(await request.read())
    return IdempotencyKey(
        user_id=caller_of(request).id,
        key=found[2],
        fingerprint=digest.digest(),
        status=status,
    )


async def _repeat(
    request: web.Request, key: IdempotencyKey, known: Remembered
) -> web.Response:
    if known.fingerprint != key.fingerprint:
        raise Problem(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was used with another request.",
        )
    event = await request.app[keys.STORE].event(known.project_id, known.version)
    subject = msgspec.json.decode(event or b"{}", type=_Subject)
    body = b"".join(  # it has one of them
        (subject.task, subject.project, subject.member, subject.comment)
    )
    headers = json_headers(f'"{known.version}"')
    headers["Idempotency-Replayed"] = "true"
    if known.status == web.HTTPCreated.status_code:
        thing = msgspec.json.decode(body, type=_Identity)
        headers["Location"] = f"{request.path}/{thing.id}"
    return _written(request, known.status, body, headers)


def _if_match(request: web.Request) -> tuple[int, ...] | None:
    """Read If-Match (RFC 9110, 13.1.1): None matches all, an empty tuple nothing."""
    lines = request.headers.getall(hdrs.IF_MATCH, None)
    if lines is None or "*" in (line.strip() for line in lines):
        return None
    named = ", ".join(lines)
    strong = [tag for weak, tag in _ENTITY_TAG.findall(named) if not weak]
    return tuple(int(tag) for tag in strong if _VERSION.fullmatch(tag))
