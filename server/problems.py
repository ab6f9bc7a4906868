"""RFC 9457 problem documents: the one form in which the server refuses or fails."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from urllib.parse import quote

import msgspec
from aiohttp import web

from actors.domain.errors import DomainError, Kind, VersionMismatch
from server.keys import REQUEST_ID

MEDIA_TYPE = "application/problem+json"

_STATUS_BY_KIND: Mapping[Kind, int] = {
    Kind.NOT_FOUND: 404,
    Kind.FORBIDDEN: 403,
    Kind.CONFLICT: 409,
    Kind.INVALID: 422,
    Kind.PRECONDITION: 412,
    Kind.UNAVAILABLE: 503,
}

# What aiohttp itself refuses: code and sentence by status.
_FRAMEWORK: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "The server cannot make sense of this request."),
    401: ("unauthenticated", "Log in, and send the access token as Bearer."),
    403: ("forbidden", "You may not do this."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not know that method."),
    408: ("request_timeout", "The request did not arrive in time."),
    413: ("body_too_large", "The body is larger than the server takes."),
    414: ("address_too_long", "The address is longer than the server takes."),
    415: ("unsupported_media_type", "The body has to be application/json."),
    417: ("expectation_failed", "The server does not meet that expectation."),
    426: ("upgrade_required", "This address speaks WebSocket only."),
    431: ("headers_too_large", "The headers are larger than the server takes."),
}
# It tells of one request, and perhaps of an account: no cache has a use for it.
_HEADERS = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
_PATH = "/%:@!$&'()*+,;=~"  # what a path has besides letters, digits, - . and _
_KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate", "Upgrade")


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one part of the input.

    `pointer` is a JSON pointer into the body, or `?name` for a query parameter.
    """

    pointer: str
    detail: str


class Problem(Exception):
    """An answer of status 400 or more, to be raised anywhere in a request.

    `code` is a stable snake_case word, `detail` a sentence for the person who reads it,
    `members` further fields of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ):
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        if status == HTTPStatus.UNAUTHORIZED:
            self.headers.setdefault("WWW-Authenticate", _challenge(code))

    @property
    def title(self) -> str:
        """The kind of problem, in words that do not vary."""
        return self.code.replace("_", " ").capitalize()

    def document(self, instance: str, request_id: str) -> dict[str, object]:
        """Give the fields of RFC 9457, and ours."""
        document: dict[str, object] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "request_id": request_id,
            **self.members,
        }
        if self.errors:
            document["errors"] = [asdict(error) for error in self.errors]
        return document


def unauthenticated() -> Problem:
    """No credentials were sent where some are needed."""
    return Problem(401, *_FRAMEWORK[401])


def not_found() -> Problem:
    """Nothing is at this address."""
    return Problem(404, *_FRAMEWORK[404])


def invalid(errors: Sequence[FieldError]) -> Problem:
    """Well-formed input that breaks the schema."""
    sentence = "The request is well-formed, but not valid."
    return Problem(422, "invalid_request", sentence, errors=errors)


def internal_error() -> Problem:
    """Something unexpected; the log has the rest."""
    sentence = "Something went wrong on our side; the log has it under this request id."
    return Problem(500, "internal_error", sentence)


def from_domain(error: DomainError) -> Problem:
    """Say what a refusal of the domain means in HTTP."""
    status = _STATUS_BY_KIND[error.kind]
    headers, members, errors = {}, {}, []
    if error.kind is Kind.UNAVAILABLE:
        headers["Retry-After"] = "1"
    if isinstance(error, VersionMismatch):
        members["current_version"] = error.current
        headers["ETag"] = f'"{error.current}"'
    if error.pointer is not None:
        errors.append(FieldError(error.pointer, error.detail))
    return Problem(
        status,
        error.code,
        error.detail,
        errors=errors,
        headers=headers,
        members=members,
    )


def from_http(error: web.HTTPException) -> Problem:
    """Say what aiohttp refused; its own words stay inside."""
    headers = {
        name: error.headers[name] for name in _KEPT_HEADERS if name in error.headers
    }
    return from_status(error.status, headers)


def from_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Say what a status means of which nothing else is known."""
    phrase = HTTPStatus(status).phrase
    code, sentence = _FRAMEWORK.get(
        status, (phrase.lower().replace(" ", "_").replace("-", "_"), f"{phrase}.")
    )
    return Problem(status, code, sentence, headers=headers)


def problem_response(request: web.BaseRequest, problem: Problem) -> web.Response:
    """Make the document; nothing of a server error's cause is in it."""
    instance = quote(request.rel_url.raw_path, safe=_PATH, errors="replace")
    document = problem.document(instance, request.get(REQUEST_ID, ""))
    return web.Response(
        status=problem.status,
        body=msgspec.json.encode(document),
        headers={**_HEADERS, **problem.headers},
    )


def _challenge(code: str) -> str:
    if code.endswith("_token"):
        return 'Bearer realm="boardcast", error="invalid_token"'
    return 'Bearer realm="boardcast"'
