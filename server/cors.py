"""What pages of other origins may do and read, by aiohttp-cors, at every address.

The library's own adapter knows registered routes only: a page could not read the
answer to a wrong address or method. This one covers all answers, so that no OPTIONS
route stands beside the table of routes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import hdrs, web
from aiohttp_cors import CorsConfig, ResourceOptions
from aiohttp_cors.abc import AbstractRouterAdapter

from server.keys import CORS
from server.problems import Problem

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Prefer",
    "X-Min-Version",
    "X-Request-ID",
    "traceparent",
    "tracestate",
)
EXPOSED = (
    "Accept-Patch",
    "Allow",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
    "X-Version",
)
_MAX_AGE_SECONDS = 7200  # Chromium keeps a preflight's answer no longer

Origins = Mapping[str, ResourceOptions]


class Cors(AbstractRouterAdapter):
    """Says of every address that pages of the listed origins may use it.

    No credentials: tokens travel as Bearer, and a cookie would mean nothing here.
    """

    def __init__(self, app: web.Application, origins: Iterable[str]):
        self._origins: Origins = {}
        self._preflight_handler: Any = None
        options = ResourceOptions(  # type: ignore[no-untyped-call]  # theirs
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=EXPOSED,
            max_age=_MAX_AGE_SECONDS,
        )
        config = CorsConfig(app, router_adapter=self)
        config.add(app, dict.fromkeys(origins, options))

    async def preflight(self, request: web.Request) -> web.Response:
        """Answer a preflight; raises Problem for an origin or a use not allowed."""
        try:
            response: web.Response = await self._preflight_handler(request)
        except web.HTTPForbidden:
            sentence = "Pages of this origin may not send such a request."
            raise Problem(403, "cors_refused", sentence) from None
        response.set_status(204)
        return response

    def is_preflight_request(self, request: web.Request) -> bool:
        """Tell a browser's question from a plain OPTIONS."""
        return (
            request.method == hdrs.METH_OPTIONS
            and hdrs.ORIGIN in request.headers
            and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        )

    def is_cors_enabled_on_request(self, request: web.Request) -> bool:
        """Tell whether a page may have sent it."""
        return hdrs.ORIGIN in request.headers

    def add_preflight_handler(
        self,
        routing_entity: object,
        handler: Any,
        webview: bool = False,  # noqa: FBT001, FBT002 (the library's)
    ) -> None:
        """Take the library's handler, to be called without a route."""
        self._preflight_handler = handler

    def set_config_for_routing_entity(
        self, routing_entity: object, config: Origins
    ) -> None:
        """Take the only configuration."""
        self._origins = config

    async def get_preflight_request_config(
        self, preflight_request: web.Request, origin: str, requested_method: str
    ) -> Origins:
        """Give the configuration; a KeyError refuses the method."""
        if requested_method not in METHODS:
            raise KeyError(requested_method)
        return self._origins

    def get_non_preflight_request_config(self, request: web.Request) -> Origins:
        """Give the only configuration."""
        return self._origins


def install(app: web.Application, origins: Iterable[str]) -> None:
    """Let pages of these origins in; without any, nothing is added to a request."""
    if origins:
        app[CORS] = Cors(app, origins)
        app.on_response_prepare.append(_vary)


async def _vary(request: web.Request, response: web.StreamResponse) -> None:
    """Tell caches, with every answer, that it may differ for another origin."""
    others = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{others}, Origin" if others else hdrs.ORIGIN
