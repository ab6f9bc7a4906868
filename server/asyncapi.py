"""The AsyncAPI 3.0 document of the WebSocket, made from the types that are written.

What happened and what it happened to are described by the schemas of REST; the
messages around that, by their own types.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import cache
from inspect import getdoc
from typing import Any, get_args

import msgspec

from actors.domain.events import EVENT_TYPES, Event
from server import __version__, answers, queries
from server.closing import CLOSINGS
from server.docs import Asset
from server.messages import (
    REFERENCE,
    Error,
    Events,
    Expiring,
    Restarting,
    ServerMessage,
    Snapshot,
    Subscribed,
    TaskLeft,
    Tick,
    Unsubscribed,
)
from server.openapi import schemas_of
from server.ops import OPS
from server.route import JSON
from server.samples import samples
from server.websocket import TOGETHER

_TEXT = "text/plain"
_INTRODUCTION = """\
Follow projects live, without gaps: the events of a project have consecutive versions,
and whoever comes back with the last one they have is told what they missed.

Connect to `/ws` with an access token as Bearer or as `?token=`, with a `?ticket=` from
`POST /ws/tickets`, or send the op `auth` within ten seconds. Without a subscription
you get the events that you may see, as they happen. Who subscribes gets the projects
they subscribe to and nothing else: all after `since`, or one `snapshot` in place of
what is no longer kept, then `subscribed`, then what happens. A task that stops
matching a `filter` is told of once, by `task_left`.

Name the subprotocol `boardcast.v1` to get events that wait together in one message,
and each 20 seconds a `tick` with the versions that you should have. A token that
expires is told of by `expiring`: send a new one with `auth`. Before the server
restarts, `restarting` says when to come back.

The ops may be spelt with `type` in place of `op`. REST is described by
`/openapi.json`."""

_SECURITY: Mapping[str, Mapping[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "token": {
        "type": "httpApiKey",
        "in": "query",
        "name": "token",
        "description": "An access token, for clients that cannot set headers.",
    },
    "ticket": {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": "From `POST /ws/tickets`: opens one socket.",
    },
}
_HEADERS: Mapping[str, Any] = {
    "Authorization": {"type": "string", "description": "`Bearer` and an access token."},
    "Origin": {
        "type": "string",
        "description": "Sent by browsers: this server, or one it is configured for.",
    },
    "Sec-WebSocket-Protocol": {
        "const": TOGETHER,
        "description": "Asks for `events` and `tick`.",
    },
}
# The word that the first clients sent, and its answer.
_WORDS: Mapping[str, tuple[str, str]] = {
    "PingWord": ("ping", "Asks for the word `pong`."),
    "PongWord": ("pong", "Answers the word `ping`."),
}
# What is sent without having been asked for there and then.
_SENDS: Mapping[str, tuple[str, Iterable[type]]] = {
    "sendEvent": (
        "tells what happened, one event a message, or what is in its place",
        (*EVENT_TYPES.values(), TaskLeft, Snapshot),
    ),
    "sendEvents": (
        f"tells who named `{TOGETHER}` what waited together, and how far they are",
        (Events, Tick),
    ),
    "sendNotice": (
        "tells what begins, ends or was not done",
        (Subscribed, Unsubscribed, Expiring, Restarting, Error),
    ),
}
_SENT = get_args(ServerMessage)
_OPS = {name: op.kind for name, op in OPS.items()}


@cache
def rendered() -> Asset:
    """Give the document ready to be sent."""
    return Asset.of(msgspec.json.encode(document()), JSON)


def document() -> dict[str, Any]:
    """Describe the WebSocket; it is always the same."""
    described, shapes = _messages(), _schemas()
    query = shapes.pop(queries.WebSocketQuery.__name__)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Boardcast, live",
            "version": __version__,
            "description": _INTRODUCTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": JSON,
        "servers": {protocol: _server(protocol) for protocol in ("ws", "wss")},
        "channels": {"live": _channel(described, query)},
        "operations": _operations(),
        "components": {
            "schemas": shapes,
            "messages": described,
            "securitySchemes": _SECURITY,
        },
    }


def _server(protocol: str) -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": protocol,
        "variables": {"host": {"default": "127.0.0.1:8080"}},
        "security": [_link("securitySchemes", name) for name in _SECURITY],
    }


def _channel(described: Iterable[str], query: Mapping[str, Any]) -> dict[str, Any]:
    rows = [f"| {c.code} | {c.meaning} | {c.reconnect} |" for c in CLOSINGS]
    table = ["| close code | means | reconnect? |", "|---|---|---|", *rows]
    return {
        "address": "/ws",
        "title": "Live events",
        "description": "\n".join(table),
        "messages": {name: _link("messages", name) for name in described},
        "bindings": {
            "ws": {
                "bindingVersion": "0.1.0",
                "method": "GET",
                "query": query,
                "headers": {"type": "object", "properties": _HEADERS},
            }
        },
        "x-subprotocols": [TOGETHER],
        "x-close-codes": [asdict(closing) for closing in CLOSINGS],
    }


def _messages() -> dict[str, Any]:
    """Describe what is sent in either direction, by the names of the types."""
    told = samples()
    kinds: dict[type, str] = {kind: name for name, kind in EVENT_TYPES.items()}
    kinds |= {kind: kind.__struct_config__.tag for kind in _SENT}
    kinds |= {kind: name for name, kind in _OPS.items()}
    return {
        kind.__name__: {
            "name": name,
            "summary": getdoc(kind),
            "contentType": JSON,
            "payload": _link("schemas", kind.__name__),
            "examples": [{"payload": told[kind.__name__]}],
        }
        for kind, name in kinds.items()
    } | {
        key: {
            "name": word,
            "summary": summary,
            "contentType": _TEXT,
            "payload": {"const": word},
        }
        for key, (word, summary) in _WORDS.items()
    }


def _operations() -> dict[str, Any]:
    """Say what the server takes and with what it answers, and what else it sends."""
    taken = {
        f"receive{kind.__name__}": _operation("receive", OPS[op].does, [kind.__name__])
        | {"reply": _part(answer.__name__ for answer in OPS[op].answers)}
        for op, kind in _OPS.items()
    }
    taken["receivePingWord"] = _operation(
        "receive", "asks whether somebody is there", ["PingWord"]
    ) | {"reply": _part(["PongWord"])}
    sent = {
        name: _operation("send", does, [kind.__name__ for kind in kinds])
        for name, (does, kinds) in _SENDS.items()
    }
    return taken | sent


def _schemas() -> dict[str, Any]:
    """Describe the messages and what they are made of."""
    found = schemas_of(answers.Event, queries.WebSocketQuery, queries.TaskFilter)
    event = found.pop(answers.Event.__name__)
    found["TaskFilter"] = _filter(found["TaskFilter"])
    found |= {kind.__name__: _event(kind, event) for kind in EVENT_TYPES.values()}
    _, own = msgspec.json.schema_components(
        [*_OPS.values(), *_SENT], ref_template=REFERENCE
    )
    for kind in _SENT:
        own[kind.__name__]["additionalProperties"] = False
    for op, kind in _OPS.items():
        shape = own[kind.__name__]
        shape["properties"] = {"op": {"const": op}, **shape["properties"]}
        shape["required"] = ["op", *shape["required"]]
    told = (*EVENT_TYPES.values(), TaskLeft)
    happening = {"oneOf": [_link("schemas", kind.__name__) for kind in told]}
    return {**found, **own, "Happening": happening}


def _event(kind: type[Event], event: Mapping[str, Any]) -> dict[str, Any]:
    """Describe one type of event, which has what it happened to for certain."""
    names = [field.name for field in fields(kind)]
    about = {name: event["properties"][name] for name in names}
    return {
        **event,
        "description": getdoc(kind),
        "properties": {"type": {"const": kind.type}, **about},
        "required": ["type", *names],
    }


def _filter(query: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a filter in JSON, where one of several values needs no list."""
    properties = {
        name: {"anyOf": [shape, shape["items"]]} if "items" in shape else shape
        for name, shape in query["properties"].items()
    }
    return {**query, "properties": properties}


def _operation(action: str, does: str, names: Iterable[str]) -> dict[str, Any]:
    return {"action": action, "summary": does, **_part(names)}


def _part(names: Iterable[str]) -> dict[str, Any]:
    """Name messages of the channel."""
    channel = "#/channels/live"
    links = [{"$ref": f"{channel}/messages/{name}"} for name in names]
    return {"channel": {"$ref": channel}, "messages": links}


def _link(part: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{part}/{name}"}
