"""The OpenAPI 3.1 document, made from the route table and the schemas that validate."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import msgspec
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import EXCLUDE, Schema

from actors.domain.errors import ProjectArchived, StoreUnavailable, VersionMismatch
from server import __version__, answers
from server.docs import Asset
from server.fields import LARGEST_ID, Choices
from server.problems import (
    MEDIA_TYPE,
    FieldError,
    Problem,
    from_domain,
    from_status,
    internal_error,
    invalid,
)
from server.route import JSON, Reply, Route
from server.validation import MERGE_PATCH
from server.versions import PATTERN

_INTRODUCTION = """\
Tasks and projects over REST, with live events over a WebSocket.

Errors are RFC 9457 problem documents; program against their `code`. Timestamps are
RFC 3339 in UTC. Every answer has an `X-Request-ID`: yours, if you sent a safe one.
Requests are limited for each user, a 304 costs nothing, and a 429 says when to go on.
Unknown fields and unknown query parameters are refused, never ignored.

Any address may also answer 405 (with `Allow`), 408 or 413 (a body that does not come,
or is over 1 MiB), 414 (an address over 8000 bytes), 417, 431 (a header over 8 KiB, or
more than 128) or 400 for what is no HTTP."""

_TAGS: Mapping[str, str] = {
    "auth": "Accounts, log-ins and tokens",
    "users": "Your account, and everybody's",
    "tasks": "Tasks, across projects and one by one",
    "comments": "What is said of tasks",
    "projects": "Projects and who works in them",
    "live": "Events as they happen",
    "operations": "For those who run the server",
}

_TEXT = {"type": "string"}
_HEADERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "X-Request-ID": ("The id under which the logs know this request.", _TEXT),
    "ETag": ("The version, as a strong entity tag.", _TEXT),
    "Location": ("Where the new thing is.", {**_TEXT, "format": "uri-reference"}),
    "Link": ('The next page, as `rel="next"`, if there is one.', _TEXT),
    "Accept-Patch": ("What a PATCH may be, if this was one.", _TEXT),
    "Retry-After": ("Seconds to wait.", {"type": "integer", "minimum": 0}),
    "WWW-Authenticate": ("How to prove who you are.", _TEXT),
    "Preference-Applied": ("`return=minimal` if that was asked for.", _TEXT),
    "Idempotency-Replayed": ("`true` if this is the first answer again.", _TEXT),
    "Vary": ("Which headers of the request the answer depends on.", _TEXT),
    "RateLimit-Policy": (
        "Quota `q` for `w` seconds; this and RateLimit are for known callers only.",
        {**_TEXT, "examples": ['"default";q=1200;w=60']},
    ),
    "RateLimit": (
        "What is left, `r`, and the seconds, `t`, until all is back, with `r=0` some.",
        {**_TEXT, "examples": ['"default";r=1187;t=1']},
    ),
    "X-Version": ("The project and the version that it has with this write.", _TEXT),
    "Cache-Control": ("Who may keep this answer.", _TEXT),
    "Upgrade": ("What to speak here.", {"const": "websocket"}),
    "Sec-WebSocket-Accept": ("Your key, answered (RFC 6455, 4.2.2).", _TEXT),
}
_REQUEST_HEADERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "If-Match": (
        'Only if it still has one of these versions, as in `"7"`; `*` is any.',
        _TEXT,
    ),
    "If-None-Match": ("Answer 304 if it still has one of these tags.", _TEXT),
    "X-Min-Version": (
        "The same as `min_version`: a write's `X-Version` can be sent as it is.",
        {"type": "string", "pattern": PATTERN},
    ),
    "Prefer": ("`return=minimal` leaves the body out (RFC 7240).", _TEXT),
    "Idempotency-Key": (
        "A repeat with the same key within 24 h gets the first answer.",
        {"type": "string", "pattern": r"^[\x21\x23-\x5b\x5d-\x7e]{1,255}$"},
    ),
    "Connection": ("What goes on is another protocol.", {"const": "Upgrade"}),
    "Upgrade": ("What to speak from here on.", {"const": "websocket"}),
    "Sec-WebSocket-Version": ("That of RFC 6455.", {"const": "13"}),
    "Sec-WebSocket-Key": (
        "Sixteen random bytes, in Base64.",
        {"type": "string", "pattern": "^[A-Za-z0-9+/]{21}[AQgw]==$"},
    ),
}
_ANSWERING = {"Prefer": "Preference-Applied", "Idempotency-Key": "Idempotency-Replayed"}
_PROBLEMS: Mapping[int, str] = {
    400: "The request cannot be read.",
    401: "Nobody, or not validly, logged in.",
    403: "You may see this, but not do that.",
    404: "There is no such thing, or you may not see it.",
    405: "This address does not know that method.",
    408: "The body did not arrive in time.",
    409: "It conflicts with how things are.",
    410: "It is no longer kept; the answer says where to begin again.",
    412: "It has changed since the version in If-Match.",
    413: "The body is larger than the server takes.",
    414: "The address is over 8000 bytes.",
    415: "The body has another media type.",
    422: "It can be read, but is not valid.",
    426: "This address speaks WebSocket only.",
    429: "Too often; wait as long as Retry-After says.",
    500: "Something went wrong on our side.",
    503: "Not right now; try again.",
}
# One of each that is not aiohttp's own.
_EXAMPLES: Mapping[int, Problem] = {
    problem.status: problem
    for problem in (
        from_domain(ProjectArchived()),
        from_domain(VersionMismatch(8)),
        from_domain(StoreUnavailable()),
        Problem(410, "events_gone", "These events are no longer kept."),
        invalid([FieldError("/title", "Longer than maximum length 200.")]),
        internal_error(),
    )
}
_BEFORE_WHO = (401, 414)  # answered before it is known who asks
_LIMIT_HEADERS = ("RateLimit-Policy", "RateLimit")
_PROBLEM_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    410: ("Link",),
    412: ("ETag",),
    415: ("Accept-Patch",),
    426: ("Upgrade",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe the routes; the same routes give the same document."""
    return _Writer().write(routes)


def schemas_of(*schemas: type[Schema]) -> dict[str, Any]:
    """Describe schemas and what they are made of, by name."""
    return _Writer().write_schemas(schemas)


def rendered(routes: Iterable[Route]) -> Asset:
    """Give the document ready to be sent."""
    return Asset.of(msgspec.json.encode(document(routes)), JSON)


class _Writer:
    def __init__(self) -> None:
        self._plugin = MarshmallowPlugin()
        self._spec = APISpec(
            title="Boardcast",
            version=__version__,
            openapi_version="3.1.0",
            plugins=[self._plugin],
            info={"description": _INTRODUCTION, "license": {"name": "MIT"}},
            tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
            servers=[{"url": "/"}],
        )

    def write(self, routes: Iterable[Route]) -> dict[str, Any]:
        self._add_components()
        for route in routes:
            operation = {route.method.lower(): self._operation(route)}
            self._spec.path(path=route.path, operations=operation)
        return self._whole()

    def write_schemas(self, schemas: Iterable[type[Schema]]) -> dict[str, Any]:
        for schema in schemas:
            self._reference(schema)
        written: dict[str, Any] = self._whole()["components"]["schemas"]
        return written

    def _whole(self) -> dict[str, Any]:
        whole = self._spec.to_dict()
        for key, name in self._converter.refs.items():
            described = whole["components"]["schemas"][name]
            described["description"] = (key[0].__doc__ or "").strip()
            described.update(getattr(key[0].Meta, "json_schema", {}))
        return whole

    def _add_components(self) -> None:
        components = self._spec.components
        components.security_scheme(
            "bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        )
        for name, (text, shape) in _HEADERS.items():
            components.header(name, {"description": text, "schema": shape})
        for status, text in _PROBLEMS.items():
            names = ("Cache-Control", *_PROBLEM_HEADERS.get(status, ()))
            if status not in _BEFORE_WHO:
                names = (*names, *_LIMIT_HEADERS)
            reply = Reply(
                description=text,
                schema=answers.Problem,
                media_type=MEDIA_TYPE,
                headers=names,
            )
            described = self._reply(reply)
            described["content"][MEDIA_TYPE]["example"] = _example(status)
            components.response(f"Problem{status}", described)

    def _operation(self, route: Route) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": route.operation_id,
            "summary": route.summary,
            "tags": [route.tag],
            "security": [] if route.is_public else [{"bearer": []}],
            "parameters": [*_path(route), *self._query(route), *_headers(route)],
            "responses": self._responses(route),
        }
        if description := _description(route):
            operation["description"] = description
        if route.body is not None:
            operation["requestBody"] = self._body(route)
        return operation

    def _query(self, route: Route) -> Iterable[dict[str, Any]]:
        for name, field in route.query().fields.items():
            shape = self._converter.field2property(field)
            parameter: dict[str, Any] = {"name": name, "in": "query", "schema": shape}
            if text := shape.pop("description", None):
                parameter["description"] = text
            if isinstance(field, Choices):
                parameter |= {"style": "form", "explode": False}
            yield parameter

    def _body(self, route: Route) -> dict[str, Any]:
        content: dict[str, Any] = {"schema": self._reference(route.body)}
        if route.example:
            content["example"] = dict(route.example)
        media_types = [JSON, MERGE_PATCH] if route.method == "PATCH" else [JSON]
        return {
            "required": route.is_body_required,
            "content": dict.fromkeys(media_types, content),
        }

    def _responses(self, route: Route) -> dict[str, Any]:
        responses = {
            str(status): self._reply(reply) for status, reply in _replies(route).items()
        }
        for status in _refusals(route):
            responses.setdefault(str(status), {"$ref": _problem(status)})
        return dict(sorted(responses.items()))

    def _reply(self, reply: Reply) -> dict[str, Any]:
        names = (*reply.headers, "X-Request-ID")
        described: dict[str, Any] = {
            "description": reply.description,
            "headers": {n: {"$ref": f"#/components/headers/{n}"} for n in names},
        }
        if reply.schema is not None:
            schema = self._reference(reply.schema)
            described["content"] = {reply.media_type: {"schema": schema}}
        elif reply.media_type != JSON:
            described["content"] = {reply.media_type: {"schema": _TEXT}}
        if reply.links:
            described["links"] = dict(reply.links)
        return described

    def _reference(self, schema: type[Schema] | None) -> dict[str, Any]:
        if schema is None:
            return {}
        reference: dict[str, Any] = self._converter.resolve_nested_schema(schema)  # type: ignore[no-untyped-call]  # apispec's
        return reference

    @property
    def _converter(self) -> OpenAPIConverter:
        if self._plugin.converter is None:  # it is set as the spec is made
            raise RuntimeError
        return self._plugin.converter


def _replies(route: Route) -> Mapping[int, Reply]:
    """Add what known callers are told, versions, what answers headers, and less.

    Less is the answer without a body, where none is preferred.
    """
    limits = () if route.is_public else _LIMIT_HEADERS
    version = ("X-Version",) if route.writes_project else ()
    answering = [_ANSWERING[n] for n in route.request_headers if n in _ANSWERING]
    replies = {
        status: replace(reply, headers=(*reply.headers, *limits, *version, *answering))
        for status, reply in route.replies.items()
    }
    if "Prefer" in route.request_headers and HTTPStatus.OK in replies:
        headers = replies[HTTPStatus.OK].headers
        description = "Done; you preferred no body."
        replies[204] = Reply(description=description, headers=headers)
    return replies


def _refusals(route: Route) -> set[int]:
    statuses = {500, *route.problems}
    if route.query().unknown != EXCLUDE:
        statuses |= {414, 422}
    if not route.is_public:
        statuses |= {401, 429, 503}
    if "_id}" in route.path:
        statuses.add(HTTPStatus.NOT_FOUND)
    if route.body is not None:
        statuses |= {400, 408, 413, 415, 422, 503}
    if "If-Match" in route.request_headers:
        statuses.add(HTTPStatus.PRECONDITION_FAILED)
    if "X-Min-Version" in route.request_headers:
        statuses |= {409, 422}
    if "Idempotency-Key" in route.request_headers:
        statuses |= {400, 409, 422}
    return statuses


def _example(status: int) -> dict[str, object]:
    problem = _EXAMPLES.get(status) or from_status(status)
    return problem.document("/tasks/7", "5f0c3a9b7d21e486-1a")


def _problem(status: int) -> str:
    return f"#/components/responses/Problem{status}"


def _description(route: Route) -> str:
    """Join what the schema of the input says of itself."""
    return "" if route.body is None else (route.body.__doc__ or "").strip()


def _path(route: Route) -> Iterable[dict[str, Any]]:
    identifier = {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "maximum": LARGEST_ID,
    }
    for name in re.findall(r"{(\w+)}", route.path):
        choice = {**_TEXT, "enum": list(route.path_choices)}
        shape = identifier if name.endswith("_id") else choice
        yield {"name": name, "in": "path", "required": True, "schema": shape}


def _headers(route: Route) -> Iterable[dict[str, Any]]:
    for name in route.request_headers:
        text, shape = _REQUEST_HEADERS[name]
        header = {"name": name, "in": "header", "description": text, "schema": shape}
        yield {**header, "required": True} if route.upgrades else header
