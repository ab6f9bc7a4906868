"""What is said on a socket: a type for each message, in both directions.

Events themselves are `actors.domain.events`; here are the messages around them.
"""

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, field, json

from server.fields import LARGEST_ID

Id = Annotated[int, Meta(ge=1, le=LARGEST_ID)]
Version = Annotated[int, Meta(ge=0, le=LARGEST_ID)]


class Auth(Struct, frozen=True):
    """Say who you are: first of all, or later to stay longer."""

    token: str


class Ping(Struct, frozen=True):
    """Ask for a `pong`."""


class Subscribe(Struct, frozen=True):
    """Follow a project: from after `since`, or with a snapshot, or from now.

    `filter` takes the fields of `GET /tasks`.
    """

    project_id: Id
    since: Version | None = None
    snapshot: bool = False
    filter: dict[str, Any] | None = None


class Unsubscribe(Struct, frozen=True):
    """Follow a project no more."""

    project_id: Id


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """Answers `ping`."""


class Authenticated(Struct, frozen=True, tag_field="type", tag="authenticated"):
    """You may stay for so many seconds with this token."""

    expires_in: int


class Expiring(Struct, frozen=True, tag_field="type", tag="expiring"):
    """Your token has expired: send a new one within so many seconds."""

    expires_in: int


class Subscribed(Struct, frozen=True, tag_field="type", tag="subscribed"):
    """You have everything up to this version; what comes later follows."""

    project_id: int
    version: int


class Unsubscribed(Struct, frozen=True, tag_field="type", tag="unsubscribed"):
    """You get nothing more of this project."""

    project_id: int
    reason: str


class Snapshot(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """A project as it is at this version, in place of the events up to it."""

    project_id: int
    version: int
    project: Raw
    members: list[Raw]
    tasks: list[Raw]
    comments: list[Raw]


class Events(Struct, frozen=True, tag_field="type", tag="events"):
    """All that you are to know of these versions, which waited together."""

    project_id: int
    first: int = field(name="from")
    last: int = field(name="to")
    events: list[Raw]


class TaskLeft(Struct, frozen=True, tag_field="type", tag="task_left"):
    """A task that you were told of does not match your filter any more."""

    project_id: int
    version: int
    task_id: int


class Tick(Struct, frozen=True, tag_field="type", tag="tick"):
    """You have everything if you have these versions, by project."""

    heads: dict[str, int]


class Restarting(Struct, frozen=True, tag_field="type", tag="restarting"):
    """The server restarts: come back after so many seconds."""

    return_in: float


class Error(Struct, frozen=True, tag_field="type", tag="error", omit_defaults=True):
    """What you sent was not done."""

    code: str
    detail: str
    op: str | None = None
    project_id: int | None = None


ServerMessage = (
    Pong
    | Authenticated
    | Expiring
    | Subscribed
    | Unsubscribed
    | Snapshot
    | Events
    | TaskLeft
    | Tick
    | Restarting
    | Error
)

_encoder = json.Encoder()


def written(message: ServerMessage) -> bytes:
    """Write a message as JSON."""
    return _encoder.encode(message)
