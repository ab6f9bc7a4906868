"""What is said on a socket: a type for each message, in both directions.

Events themselves are `actors.domain.events`; here are the messages around them. The
AsyncAPI document is made of these types and what they say of their fields.
"""

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, field, json

from actors.feed import ASKED, DELETED, FORBIDDEN
from server.fields import LARGEST_ID

REFERENCE = "#/components/schemas/{name}"


def _is(name: str) -> Meta:
    """Say which schema of the document describes it: it is ready JSON here."""
    return Meta(extra_json_schema={"$ref": REFERENCE.format(name=name)})


_ENDINGS = {"enum": [ASKED, DELETED, FORBIDDEN]}
_INT64 = {"format": "int64"}
_Id = Annotated[int, Meta(ge=1, le=LARGEST_ID, extra_json_schema=_INT64)]
_Version = Annotated[int, Meta(ge=0, le=LARGEST_ID, extra_json_schema=_INT64)]
_Seconds = Annotated[int, Meta(description="Seconds.")]
_ProjectId = Annotated[_Id, Meta(description="The project.")]


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """Say who you are: first of all, or later to stay longer."""

    token: Annotated[str, Meta(description="An access token.")]


class Ping(Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for a `pong`."""


class Subscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """Follow a project: from after `since`, or with a snapshot, or from now.

    `filter` takes the fields of `GET /tasks`.
    """

    project_id: _ProjectId
    since: Annotated[
        _Version | None, Meta(description="The last version that you have.")
    ] = None
    snapshot: Annotated[
        bool, Meta(description="Without `since`: begin with the state of the project.")
    ] = False
    filter: Annotated[
        Annotated[dict[str, Any], _is("TaskFilter")] | None,
        Meta(description="Which tasks are of interest; without it all."),
    ] = None


class Unsubscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """Follow a project no more."""

    project_id: _ProjectId


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """Answers `ping`."""


class Authenticated(Struct, frozen=True, tag_field="type", tag="authenticated"):
    """You may stay for so many seconds with this token."""

    expires_in: _Seconds


class Expiring(Struct, frozen=True, tag_field="type", tag="expiring"):
    """Your token has expired: send a new one within so many seconds."""

    expires_in: _Seconds


class Subscribed(Struct, frozen=True, tag_field="type", tag="subscribed"):
    """You have everything up to this version; what comes later follows."""

    project_id: _ProjectId
    version: Annotated[_Version, Meta(description="The project's version.")]


class Unsubscribed(Struct, frozen=True, tag_field="type", tag="unsubscribed"):
    """You get nothing more of this project."""

    project_id: _ProjectId
    reason: Annotated[str, Meta(description="Why.", extra_json_schema=_ENDINGS)]


class Snapshot(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """A project as it is at this version, in place of the events up to it."""

    project_id: _ProjectId
    version: Annotated[_Version, Meta(description="The last version that is in it.")]
    project: Annotated[Raw, _is("Project")]
    members: Annotated[
        list[Annotated[Raw, _is("Member")]],
        Meta(description="All but the owner."),
    ]
    tasks: Annotated[
        list[Annotated[Raw, _is("Task")]],
        Meta(description="All that match the filter."),
    ]
    comments: Annotated[
        list[Annotated[Raw, _is("Comment")]],
        Meta(description="All that was said of these tasks."),
    ]


class Events(Struct, frozen=True, tag_field="type", tag="events"):
    """All that you are to know of these versions, which waited together."""

    project_id: _ProjectId
    first: Annotated[_Version, Meta(description="The first version.")] = field(
        name="from"
    )
    last: Annotated[_Version, Meta(description="The last version.")] = field(name="to")
    events: Annotated[
        list[Annotated[Raw, _is("Happening")]],
        Meta(description="In order; without a filter one for each version."),
    ]


class TaskLeft(Struct, frozen=True, tag_field="type", tag="task_left"):
    """A task that you were told of does not match your filter any more."""

    project_id: _ProjectId
    version: Annotated[_Version, Meta(description="That of the event it replaces.")]
    task_id: Annotated[_Id, Meta(description="The task.")]


class Tick(Struct, frozen=True, tag_field="type", tag="tick"):
    """You have everything if you have these versions, by project."""

    heads: Annotated[
        dict[str, _Version], Meta(description="Versions by the ids of projects.")
    ]


class Restarting(Struct, frozen=True, tag_field="type", tag="restarting"):
    """The server restarts: come back after so many seconds."""

    return_in: Annotated[float, Meta(description="Seconds.")]


class Error(Struct, frozen=True, tag_field="type", tag="error", omit_defaults=True):
    """What you sent was not done."""

    code: Annotated[str, Meta(description="A stable word to program against.")]
    detail: Annotated[str, Meta(description="A sentence for people.")]
    op: Annotated[str | None, Meta(description="The op that was not done.")] = None
    project_id: Annotated[int | None, Meta(description="What it was about.")] = None


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
