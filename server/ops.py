"""What a client may send: one table, which reads messages and documents them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import DecodeError, Struct, ValidationError, json

from server.messages import Auth, Ping, Subscribe, Unsubscribe

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
    """An op: how its message is read, what it does, and what answers it."""

    decoder: json.Decoder[Any]
    does: str
    answer: str


OPS: Mapping[str, Op] = {
    "auth": Op(
        json.Decoder(Auth),
        "says who you are, first of all, or renews the token later",
        "`authenticated` to a later one",
    ),
    "ping": Op(json.Decoder(Ping), "asks whether somebody is there", "`pong`"),
    "subscribe": Op(
        json.Decoder(Subscribe),
        "follows a project from `since`, with a `snapshot` or from now, by a `filter`",
        "events or a `snapshot`, then `subscribed`",
    ),
    "unsubscribe": Op(
        json.Decoder(Unsubscribe), "follows a project no more", "`unsubscribed`"
    ),
}


class _Head(Struct):
    """`type` is what the first clients called `op`."""

    op: str = ""
    type: str = ""


_heads = json.Decoder(_Head)


def read(text: str | bytes) -> ClientMessage:
    """Read a message; raises NotUnderstood."""
    try:
        head = _heads.decode(text)
    except DecodeError:
        sentence = "Send a JSON object with an op, or the word ping."
        raise NotUnderstood("malformed", sentence) from None
    name = head.op or head.type
    op = OPS.get(name)
    if op is None:
        raise NotUnderstood("unknown_op", f"The ops are: {', '.join(OPS)}.")
    try:
        message: ClientMessage = op.decoder.decode(text)
    except ValidationError as error:
        raise NotUnderstood("malformed", f"{error}.", name) from None
    return message
