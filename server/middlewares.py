"""What every request passes, outermost first: context, errors, authentication.

context
    gives the request its id, counts and times it, writes its line, sets the headers
    that every answer has, and those that tell a known caller what they have left:
    on refusals too, and after what a 304 cost has been given back.
errors
    turns whatever is raised inside into a problem document.
authentication
    finds out who calls and whether they may ask so often, then checks ids, query and
    body against the route's row: who asks too often costs no more than that.
"""

import itertools
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from time import perf_counter

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import istr

from actors.domain.errors import DomainError
from server import logs
from server.cors import METHODS
from server.freshness import names_version, reached
from server.headers import API, CSP, IDEMPOTENCY_KEY, NOSNIFF, SECURITY
from server.headers import REQUEST_ID as REQUEST_ID_HEADER
from server.keys import (
    ALLOWANCE,
    BODY,
    CORS,
    LIMITS,
    PATH_IDS,
    PRINCIPAL,
    QUERY,
    REQUEST_ID,
    SESSIONS,
    TRACE_ID,
)
from server.limits import announce
from server.metrics import HttpMetrics, Metrics, Timing
from server.problems import (
    Problem,
    from_domain,
    from_http,
    internal_error,
    problem_response,
    unauthenticated,
)
from server.requests import names_tags
from server.sessions import Principal
from server.tokens import InvalidToken
from server.validation import (
    ACCEPT_PATCH,
    BodyReader,
    QueryReader,
    path_ids,
    refuse_too_large,
)

_TRACEPARENT = istr("traceparent")
_SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACE = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_UNMATCHED = "(unmatched)"

_logger = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class Endpoint:
    """What the middlewares know of a registered route; made once, from its row."""

    method: str
    template: str
    is_public: bool
    is_secret: bool = False
    upgrades: bool = False
    has_no_version: bool = False
    ends_session: bool = False
    waits: bool = False
    id_names: tuple[str, ...] = ()
    query: QueryReader
    body: BodyReader | None = None
    timings: dict[int, Timing] = field(default_factory=dict)


Endpoints = Mapping[web.AbstractRoute, Endpoint]


def stack(
    metrics: Metrics, access_log: logs.AccessLog, endpoints: Endpoints
) -> tuple[Middleware, ...]:
    """Make the middlewares in their order; `endpoints` may be filled later."""
    return (_context(metrics.http, access_log, endpoints), errors, _gate(endpoints))


def _context(
    http: HttpMetrics, access_log: logs.AccessLog, endpoints: Endpoints
) -> Middleware:
    @web.middleware
    async def context(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = perf_counter()
        endpoint = endpoints.get(request.match_info.route)
        request_id = identify(request)
        is_counted = endpoint is None or not endpoint.upgrades
        http.in_flight += is_counted
        try:
            response = await handler(request)
        finally:
            http.in_flight -= is_counted
        if not response.prepared:
            if endpoint is not None and endpoint.is_secret:
                response.headers[hdrs.CACHE_CONTROL] = "no-store"
            complete(response, request_id)
            if ALLOWANCE in request:
                announce(response, request[ALLOWANCE])
        seconds = perf_counter() - started
        if is_counted:
            _timing(http, endpoint, request, response.status).observe(seconds)
        if access_log.wants(response.status):
            access_log.write(_exchange(request, endpoint, response.status, seconds))
        return response

    return context


def identify(request: web.BaseRequest) -> str:
    """Take the caller's id if it is safe, else the trace's, else a fresh one."""
    headers = request.headers
    given = headers.get(REQUEST_ID_HEADER)
    request_id = given if given and _SAFE_ID.fullmatch(given) else None
    parent = headers.get(_TRACEPARENT)
    if parent and (trace := _TRACE.match(parent)):
        request[TRACE_ID] = trace[1]
        request_id = request_id or trace[1]
    if request_id is None:
        request_id = f"{_ids_prefix}{next(_ids):x}"
    request[REQUEST_ID] = request_id
    logs.REQUEST_ID.set(request_id)
    return request_id


# Unique among processes and restarts; they need not be hard to guess.
_ids_prefix = os.urandom(8).hex() + "-"
_ids = itertools.count(1)


def complete(response: web.StreamResponse, request_id: str) -> None:
    """Set the headers that every answer has; most of ready JSON's are set."""
    headers = response.headers
    headers[REQUEST_ID_HEADER] = request_id
    if NOSNIFF in headers:
        return
    headers.extend(SECURITY)
    for name in (hdrs.CACHE_CONTROL, CSP):
        headers.setdefault(name, API[name])


def _timing(
    http: HttpMetrics, endpoint: Endpoint | None, request: web.Request, status: int
) -> Timing:
    if endpoint is None:
        return http.timing(request.method, _template(request), status)
    timing = endpoint.timings.get(status)
    if timing is None:
        timing = http.timing(endpoint.method, endpoint.template, status)
        endpoint.timings[status] = timing
    return timing


def _exchange(
    request: web.Request, endpoint: Endpoint | None, status: int, seconds: float
) -> logs.Exchange:
    principal = request.get(PRINCIPAL)
    return logs.Exchange(
        request.method,
        _template(request) if endpoint is None else endpoint.template,
        status,
        seconds,
        request[REQUEST_ID],
        None if principal is None else principal.user_id,
        request.get(TRACE_ID),
    )


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return _UNMATCHED if resource is None else resource.canonical


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a problem whatever was raised; cancellation passes."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if request.method == hdrs.METH_OPTIONS:
            return await _options(request, error)
        return _framework_answer(request, error)
    except Exception as error:
        problem = _problem(error)
        if problem is None:
            path = _template(request)
            _logger.exception("http.failed", method=request.method, path=path)
        if request.writer.output_size > 0:
            raise  # an answer is under way: no other can follow on this connection
        return problem_response(request, problem or internal_error())


def _problem(error: Exception) -> Problem | None:
    if isinstance(error, Problem):
        return error
    if isinstance(error, DomainError):
        return from_domain(error)
    return None


def _framework_answer(request: web.Request, error: web.HTTPException) -> web.Response:
    """Give aiohttp's refusals our form; let redirects pass."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        error.headers[hdrs.ALLOW] = _allowed(error.allowed_methods)
    if error.status >= web.HTTPBadRequest.status_code:
        return problem_response(request, from_http(error))
    return web.Response(status=error.status, headers=error.headers, body=error.body)


async def _options(request: web.Request, error: web.HTTPException) -> web.Response:
    """Answer OPTIONS, which has no routes: a preflight, or what is allowed."""
    cors = request.app.get(CORS)
    if cors is not None and cors.is_preflight_request(request):
        try:
            return await cors.preflight(request)
        except Problem as problem:
            return problem_response(request, problem)
    methods: Collection[str]
    if request.raw_path == "*":  # the server as a whole: RFC 9110, 9.3.7
        methods = METHODS
    elif isinstance(error, web.HTTPMethodNotAllowed):
        methods = error.allowed_methods
    else:
        return _framework_answer(request, error)
    headers: dict[str, str] = {hdrs.ALLOW: _allowed(methods)}
    if hdrs.METH_PATCH in methods:
        headers["Accept-Patch"] = ACCEPT_PATCH
    return web.Response(status=204, headers=headers)


def _allowed(methods: Collection[str]) -> str:
    return ", ".join(sorted({*methods, hdrs.METH_OPTIONS}))


def _gate(endpoints: Endpoints) -> Middleware:
    @web.middleware
    async def authentication(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        endpoint = endpoints.get(request.match_info.route)
        if endpoint is None:  # nothing is there, or not for this method
            return await handler(request)
        if not endpoint.is_public:
            request[PRINCIPAL] = principal = await _principal(request, endpoint)
            request.app[LIMITS].admit(request, principal.user_id)
        if endpoint.has_no_version and names_tags(request):
            sentence = "This has no version that If-Match could name."
            raise Problem(412, "version_mismatch", sentence)
        if endpoint.id_names:
            request[PATH_IDS] = path_ids(request, endpoint.id_names)
        request[QUERY] = query = endpoint.query.read(request)
        if endpoint.waits and names_version(request, query):
            request = await reached(request)
        if endpoint.body is not None:
            request[BODY] = await endpoint.body.read(request)
        else:
            refuse_too_large(request)
        return await handler(request)

    return authentication


async def _principal(request: web.Request, endpoint: Endpoint) -> Principal:
    header = request.headers.get(hdrs.AUTHORIZATION, "")
    if header[:7].lower() != "bearer ":
        raise unauthenticated()
    token = header[7:].strip()
    sessions = request.app[SESSIONS]
    try:
        return sessions.cached(token) or await sessions.authenticate(token)
    except InvalidToken:
        if endpoint.ends_session and IDEMPOTENCY_KEY in request.headers:
            return sessions.departed(token)
        raise
