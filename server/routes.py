"""The one table of routes: it feeds the router, the guard and the OpenAPI document."""

import re
from collections.abc import Iterable

from aiohttp import web

from server import asyncapi, openapi
from server.keys import DOCUMENT, ENDPOINTS, LIVE_DOCUMENT
from server.middlewares import Endpoint, complete, identify
from server.problems import Problem, problem_response
from server.route import Route
from server.rows import (
    auth,
    comments,
    live,
    members,
    operations,
    projects,
    tasks,
    users,
)
from server.validation import JSON, MERGE_PATCH, BodyReader, QueryReader, is_too_large

ROUTES = (
    *auth.ROWS,
    *users.ROWS,
    *tasks.ROWS,
    *comments.ROWS,
    *projects.ROWS,
    *members.ROWS,
    *live.ROWS,
    *operations.ROWS,
)


def register(app: web.Application, routes: Iterable[Route] = ROUTES) -> None:
    """Add the routes, tell the middlewares about them, and keep the documents.

    A GET answers HEAD as well. `app[ENDPOINTS]` is the mapping that the middlewares
    were made with.
    """
    routes = tuple(routes)
    resources: dict[str, web.Resource] = {}
    for route in routes:
        resource = resources.get(route.path)
        if resource is None:
            resource = resources[route.path] = app.router.add_resource(route.path)
        for method in _methods(route):
            added = resource.add_route(method, route.handler, expect_handler=_expect)
            app[ENDPOINTS][added] = _endpoint(route, method)
    app[DOCUMENT] = openapi.rendered(routes)
    app[LIVE_DOCUMENT] = asyncapi.rendered()


def _methods(route: Route) -> tuple[str, ...]:
    if route.method == "GET" and not route.upgrades:
        return ("GET", "HEAD")
    return (route.method,)


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Let a waiting client go on; aiohttp's own refusal would be no problem document.

    It runs before the middlewares.
    """
    if request.headers.get("Expect", "").lower() != "100-continue":
        sentence = "Only 100-continue can be expected."
        request_id = identify(request)
        problem = Problem(417, "expectation_failed", sentence)
        response = problem_response(request, problem)
        complete(response, request_id)
        return response
    if is_too_large(request):
        return None  # the answer that follows is a refusal
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # what counts is the answer's own beginning
    return None


def _endpoint(route: Route, method: str) -> Endpoint:
    return Endpoint(
        method=method,
        template=route.path,
        is_public=route.is_public,
        is_secret=route.is_secret,
        upgrades=route.upgrades,
        has_no_version="If-Match" in route.request_headers and not route.is_versioned,
        ends_session=route.ends_session,
        waits="X-Min-Version" in route.request_headers,
        id_names=tuple(re.findall(r"{(\w+_id)}", route.path)),
        query=QueryReader(route.query()),
        body=_body_reader(route),
    )


def _body_reader(route: Route) -> BodyReader | None:
    if route.body is None:
        return None
    media_types = {JSON, MERGE_PATCH} if route.method == "PATCH" else {JSON}
    return BodyReader(
        schema=route.body(),
        media_types=frozenset(media_types),
        is_required=route.is_body_required,
    )
