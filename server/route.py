"""One row of the route table."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from marshmallow import Schema

from actors.domain.permissions import Action
from server.queries import NoQuery

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One way in which a route answers, other than by a problem.

    `links` are OpenAPI's: what may be asked next with what was answered.
    """

    description: str
    schema: type[Schema] | None = None
    media_type: str = JSON
    headers: tuple[str, ...] = ()
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A row: it registers the handler, guards it, checks its input and documents it.

    `actions` are what the handler has decided in the domain; Action.VISIT alone means
    that nobody has to be logged in. `problems` are the refusals that are its own:
    those that every route shares are added to the document. `path_choices` are the
    values of a variable step of the path that is no id. No answer of one that
    `is_secret` may be stored. What is not `is_versioned` has no version that If-Match
    could name. Who repeats what `ends_session` is let in with the token of that
    session, for the first answer only. `name` tells apart rows that share a handler.
    """

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    actions: tuple[Action, ...]
    summary: str
    tag: str
    replies: Mapping[int, Reply]
    query: type[Schema] = NoQuery
    body: type[Schema] | None = None
    is_body_required: bool = True
    example: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[int, ...] = ()
    request_headers: tuple[str, ...] = ()
    path_choices: tuple[str, ...] = ()
    upgrades: bool = False
    is_secret: bool = False
    is_versioned: bool = True
    ends_session: bool = False
    name: str = ""

    @property
    def is_public(self) -> bool:
        """Tell whether it answers without knowing who calls."""
        return self.actions == (Action.VISIT,)

    @property
    def writes_project(self) -> bool:
        """Tell whether it makes a version of a project."""
        in_projects = self.tag in ("tasks", "comments", "projects")
        return in_projects and self.method != "GET"

    @property
    def operation_id(self) -> str:
        """The handler's name, unless it serves another row as well, as `createTask`.

        Swagger UI complains of links to names with underscores.
        """
        first, *others = (self.name or self.handler.__name__).split("_")
        return first + "".join(word.capitalize() for word in others)


# What many rows say.
READ = ("If-None-Match",)
FRESH = ("If-None-Match", "X-Min-Version")
WRITE = ("If-Match", "Idempotency-Key", "Prefer")
EFFECT = ("If-Match", "Idempotency-Key")
VISIT = (Action.VISIT,)
OWN = (Action.USE_OWN_ACCOUNT,)

UNCHANGED = Reply(description="It still has that tag.", headers=("ETag",))
DONE = Reply(description="Done; there is nothing to say.")
