"""From a request's bytes to values that handlers may trust, or to a problem."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
from aiohttp import hdrs, web
from marshmallow import Schema, ValidationError

from server.fields import LARGEST_ID
from server.problems import FieldError, Problem, from_status, invalid, not_found
from server.schemas import Request

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
ACCEPT_PATCH = f"{MERGE_PATCH}, {JSON}"  # RFC 5789, 3.1

_BODY_SECONDS = 15.0
_MOST_FIELDS = 100  # many times what any body has
_KEPT_QUERIES = 512  # a route
_KEPT_QUERY_LENGTH = 256
_ID_DIGITS = len(str(LARGEST_ID))

Values = Mapping[str, Any]


def path_ids(request: web.Request, names: tuple[str, ...]) -> Mapping[str, int]:
    """Read the ids in the path; what is no positive 64-bit integer is not there."""
    return {name: _id(request.match_info[name]) for name in names}


def _id(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS:
        number = int(text)
        if text[0] != "0" and number <= LARGEST_ID:
            return number
    raise not_found()


class QueryReader:
    """Reads the query of one route; what is spelt alike is checked once."""

    def __init__(self, schema: Schema):
        self._schema = schema
        self._known: dict[str, Values] = {}

    def read(self, request: web.Request) -> Values:
        """Give the parameters; raises a 422 problem."""
        spelling = request.rel_url.raw_query_string
        known = self._known.get(spelling)
        if known is not None:
            return known
        values = MappingProxyType(self._load(request))
        if len(spelling) <= _KEPT_QUERY_LENGTH:
            self._keep(spelling, values)
        return values

    def _keep(self, spelling: str, values: Values) -> None:
        if len(self._known) >= _KEPT_QUERIES:
            del self._known[next(iter(self._known))]
        self._known[spelling] = values

    def _load(self, request: web.Request) -> dict[str, Any]:
        query = request.query
        parameters = dict(query)
        if len(parameters) != len(query) and self._schema.unknown != "exclude":
            repeated = sorted(name for name in query if len(query.getall(name)) > 1)
            raise invalid(
                [FieldError(f"?{name}", "It is repeated.") for name in set(repeated)]
            )
        try:
            return dict(self._schema.load(parameters))
        except ValidationError as error:
            raise invalid(list(_query_errors(error.messages))) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyReader:
    """Reads the body of one route."""

    schema: Schema
    media_types: frozenset[str]
    is_required: bool = True

    async def read(self, request: web.Request) -> Values:
        """Give the fields; raises a problem: 400, 408, 413, 415 or 422."""
        if request.body_exists:
            self._check_media_type(request)
            refuse_too_large(request)
        body = await received(request)
        if not body and not self.is_required:
            return {}
        document = _decoded(body)
        if not isinstance(document, dict):
            raise invalid([FieldError("", "It must be an object.")])
        if len(document) > _MOST_FIELDS:  # to name each would take long, and be long
            sentence = f"It has more than {_MOST_FIELDS} fields."
            raise invalid([FieldError("", sentence)])
        try:
            return _loaded(self.schema, document)
        except ValidationError as error:
            raise invalid(list(_body_errors(error.messages))) from None

    def _check_media_type(self, request: web.Request) -> None:
        sent = request.headers
        is_plain = sent.get(hdrs.CONTENT_ENCODING, "identity") == "identity"
        if is_plain and sent.get(hdrs.CONTENT_TYPE) in self.media_types:
            return
        charset = request.charset or "utf-8"
        is_known = hdrs.CONTENT_TYPE in sent and (
            request.content_type in self.media_types
        )
        is_utf8 = charset.lower() in ("utf-8", "utf8", "us-ascii")
        if not (is_plain and is_known and is_utf8):
            expected = " or ".join(sorted(self.media_types))
            sentence = f"The body has to be {expected}, in UTF-8 and not packed."
            headers = (
                {"Accept-Patch": ACCEPT_PATCH} if request.method == "PATCH" else {}
            )
            raise Problem(415, "unsupported_media_type", sentence, headers=headers)


def _loaded(schema: Schema, document: dict[str, Any]) -> Values:
    """Load a body; what is in order takes half the time of Schema.load.

    Whatever is not, a missing or an unknown field, goes to Schema.load for its words.
    """
    fields = schema.load_fields
    if (
        isinstance(schema, Request)
        and schema.is_flat
        and fields.keys() >= document.keys()
    ):
        try:
            if all(name in document for name in schema.required_names):
                return {
                    name: fields[name].deserialize(value, name, document)
                    for name, value in document.items()
                }
        except ValidationError:
            pass
    return dict(schema.load(document))


def is_too_large(request: web.Request) -> bool:
    """Tell by its announced length, before any of it is read."""
    length = request.content_length
    return length is not None and length > request.client_max_size


def refuse_too_large(request: web.Request) -> None:
    """Raise a 413 problem for a body that is announced as too large, and hang up."""
    if request.body_exists and is_too_large(request):
        problem = from_status(413)
        problem.headers["Connection"] = "close"  # what is on its way is of no use
        raise problem


async def received(request: web.Request) -> bytes:
    """Wait for the body, but not for long; raises a problem: 400, 408 or 413."""
    try:
        if request.content.is_eof():  # all of it is here: no timer needed
            return await request.read()
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise Problem(
            408,
            "request_timeout",
            "The body did not arrive in time.",
            headers={"Connection": "close"},
        ) from None
    except ConnectionError:
        sentence = "The connection ended before the body did."
        raise Problem(400, "client_disconnected", sentence) from None
    except web.RequestPayloadError:
        sentence = "The body is not encoded as its headers say."
        raise Problem(400, "malformed_body", sentence) from None


def _decoded(body: bytes) -> Any:
    if not body:
        raise Problem(400, "malformed_json", "The body is empty; it has to be JSON.")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        sentence = f"The body is no JSON: {error}."
        raise Problem(400, "malformed_json", sentence) from None
    except RecursionError:
        sentence = "The body is nested too deeply."
        raise Problem(400, "malformed_json", sentence) from None


def _body_errors(messages: Any, pointer: str = "") -> Iterator[FieldError]:
    """Flatten marshmallow's messages; `_schema` holds what concerns the whole."""
    if isinstance(messages, dict):
        for name, inner in messages.items():
            step = "" if name == "_schema" else f"/{_escaped(str(name))}"
            yield from _body_errors(inner, pointer + step)
    elif isinstance(messages, list):
        for message in messages:
            yield FieldError(pointer, str(message))


def _query_errors(messages: Any) -> Iterator[FieldError]:
    for error in _body_errors(messages):
        name = error.pointer.removeprefix("/").replace("~1", "/").replace("~0", "~")
        yield FieldError(f"?{name}", error.detail)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
