"""What handlers read from requests and put into answers: conditions and versions."""

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import TypedDict

from aiohttp import hdrs, web
from multidict import CIMultiDict, istr

from actors.domain.commands import IdempotencyKey
from actors.domain.model import Caller, ProjectId, TaskId
from server import keys
from server.headers import VERSION, json_headers
from server.pages import ListAnswer, digest_tag

_ENTITY_TAG = re.compile(r'(W/)?"([^"]*)"')
_VERSION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_READS = ("GET", "HEAD")
ANY_VERSION = range(1, 1 << 63)
_PREFER = istr("Prefer")


class Stamp(TypedDict):
    """What every command of a request carries."""

    caller: Caller
    at: datetime
    request_id: str
    if_match: Collection[int] | None
    key: IdempotencyKey | None


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
    return answer_written(request, 201, body, headers)


def with_version(
    response: web.Response, project_id: ProjectId, version: int
) -> web.Response:
    """Tell what a read elsewhere has to name to be sure to have this write."""
    response.headers[VERSION] = f"{project_id}:{version}"
    return response


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
        return answer_written(request, 200, body, headers)
    if not is_known(request, headers[hdrs.ETAG]):
        return web.Response(body=body, headers=headers)
    del headers[hdrs.CONTENT_TYPE]
    return web.Response(status=304, headers=headers)


def answer_written(
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


def names_tags(request: web.Request) -> bool:
    """Say whether If-Match asks for more than that something is there."""
    lines = request.headers.getall(hdrs.IF_MATCH, ())
    return bool(lines) and not _is_any(lines)


def _if_match(request: web.Request) -> Collection[int] | None:
    """Read If-Match (RFC 9110, 13.1.1): any version for `*`, none for what is no tag.

    None without the header: that nothing is there yet is fine as well.
    """
    lines = request.headers.getall(hdrs.IF_MATCH, None)
    if lines is None:
        return None
    if _is_any(lines):
        return ANY_VERSION
    named = ", ".join(lines)
    strong = [tag for weak, tag in _ENTITY_TAG.findall(named) if not weak]
    return tuple(int(tag) for tag in strong if _VERSION.fullmatch(tag))


def _is_any(lines: Iterable[str]) -> bool:
    return "*" in (line.strip() for line in lines)
