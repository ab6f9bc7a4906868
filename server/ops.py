"""What a client may send: one table, which reads messages and documents them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import DecodeError, Struct, ValidationError, convert, json

from server.messages import (
    Auth,
    Authenticated,
    Error,
    Ping,
    Pong,
    Snapshot,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)

ClientMessage = Auth | Ping | Subscribe | Unsubscribe


class NotUnderstood(Exception):
    """A message that is none; `code` says why in a word."""

    def __init__(self, code: str, detail: str, op: str | None = None):
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.op = op


@dataclass(frozen=True, slots=True)
class Op:
    """An op: the type of its message, what it does, and what answers it."""

    kind: type[ClientMessage]
    does: str
    answer: str
    answers: tuple[type[Struct], ...]


OPS: Mapping[str, Op] = {
    "auth": Op(
        Auth,
        "says who you are, first of all, or renews the token later",
        "`authenticated` to a later one",
        (Authenticated, Error),
    ),
    "ping": Op(Ping, "asks whether somebody is there", "`pong`", (Pong,)),
    "subscribe": Op(
        Subscribe,
        "follows a project from `since`, with a `snapshot` or from now, by a `filter`",
        "events or a `snapshot`, then `subscribed`",
        (Snapshot, Subscribed, Error),
    ),
    "unsubscribe": Op(
        Unsubscribe,
        "follows a project no more",
        "`unsubscribed`",
        (Unsubscribed, Error),
    ),
}


_objects = json.Decoder(dict[str, Any])


def read(text: str | bytes) -> ClientMessage:
    """Read a message; raises NotUnderstood."""
    try:
        given = _objects.decode(text)
    except (DecodeError, RecursionError):
        sentence = "Send a JSON object with an op, or the word ping."
        raise NotUnderstood("malformed", sentence) from None
    older = given.pop("type", None)  # what the first clients called `op`
    name = given.pop("op", older)
    op = OPS.get(name) if isinstance(name, str) else None
    if op is None:
        raise NotUnderstood("unknown_op", f"The ops are: {', '.join(OPS)}.")
    names = op.kind.__struct_fields__
    if not given.keys() <= set(names):
        sentence = f"It has no fields but these: {', '.join(('op', *names))}."
        raise NotUnderstood("unknown_field", sentence, name)
    try:
        return convert(given, op.kind)
    except ValidationError as error:
        raise NotUnderstood("malformed", f"{error}.", name) from None
