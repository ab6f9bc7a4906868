"""Small applications made of the real middlewares and a few routes of a test's own."""

import io
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from marshmallow import Schema, fields

from actors.domain.model import UserId, UserRole
from actors.domain.permissions import Action
from server import keys
from server.limits import Limits
from server.logs import AccessLog
from server.metrics import Metrics
from server.middlewares import Endpoint, stack
from server.queries import NoQuery
from server.route import Reply, Route
from server.routes import register
from server.schemas import Request
from server.sessions import Principal
from server.tokens import InvalidToken

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ADA = Principal(
    user_id=UserId(7), role=UserRole.USER, session_id=3, expires_at=4_000_000_000
)
BEARER = {"Authorization": "Bearer adas-token"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    log_level: str = "info"
    log_format: str = "json"
    access_log: str = "all"
    monitoring_token: str | None = None


class FakeSessions:
    """Knows one token from the start, and another only when it is asked to wait."""

    def cached(self, token: str) -> Principal | None:
        return ADA if token == "adas-token" else None

    async def authenticate(self, token: str) -> Principal:
        if token == "adas-new-token":
            return ADA
        raise InvalidToken


class Note(Request):
    text = fields.String(required=True)
    tags = fields.List(fields.Integer(strict=True))


async def say_ok(request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def echo(request: web.Request) -> web.Response:
    return web.json_response(dict(request[keys.BODY]))


def route(  # noqa: PLR0913
    handler: Handler = say_ok,
    *,
    method: str = "GET",
    path: str = "/things",
    is_public: bool = True,
    body: type[Schema] | None = None,
    query: type[Schema] = NoQuery,
    is_body_required: bool = True,
    upgrades: bool = False,
) -> Route:
    return Route(
        method=method,
        path=path,
        handler=handler,
        actions=(Action.VISIT,) if is_public else (Action.SEE_TASK,),
        summary="Do it",
        tag="tasks",
        body=body,
        query=query,
        is_body_required=is_body_required,
        upgrades=upgrades,
        replies={200: Reply(description="Done.")},
    )


def small_app(
    *routes: Route,
    settings: Settings | None = None,
    lines: io.StringIO | None = None,
    body_limit_bytes: int = 1024**2,
    limits: Limits | None = None,
) -> web.Application:
    settings = settings or Settings(access_log="all" if lines else "off")
    endpoints: dict[web.AbstractRoute, Endpoint] = {}
    metrics = Metrics()
    access_log = AccessLog(settings, lines)
    app = web.Application(
        middlewares=stack(metrics, access_log, endpoints),
        client_max_size=body_limit_bytes,
    )
    app[keys.METRICS] = metrics
    app[keys.LIMITS] = limits or Limits()
    app[keys.ENDPOINTS] = endpoints
    app[keys.CONFIG] = settings  # type: ignore[assignment]  # the part that is read
    app[keys.SESSIONS] = FakeSessions()  # type: ignore[assignment]
    register(app, routes)

    async def flush(app: web.Application) -> None:
        access_log.flush()

    app.on_cleanup.append(flush)
    return app


def logged(lines: io.StringIO) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]
