"""Sockets whose every message is held to the AsyncAPI document.

What is not as it says is kept for the end of the test, which then fails whatever
became of the client.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import aiohttp
from jsonschema_rs import Draft7Validator

from actors.domain.model import Caller, UserId, UserRole
from server import asyncapi
from server.filters import criteria_of
from server.messages import Subscribe
from server.ops import NotUnderstood, read

_ANYBODY = Caller(id=UserId(1), role=UserRole.USER)
_undescribed: list[str] = []


class DescribedSocket(aiohttp.ClientWebSocketResponse):
    """A client's end, for `ClientSession(ws_response_class=...)`."""

    async def receive(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        message = await super().receive(timeout)
        if message.type is aiohttp.WSMsgType.TEXT:
            hold_received(message.data)
        elif message.type is aiohttp.WSMsgType.CLOSE:
            hold_closing(message.data)
        return message

    async def send_str(self, data: str, compress: int | None = None) -> None:
        hold_sent(data)
        await super().send_str(data, compress)


def hold_received(text: str | bytes) -> None:
    """Hold what the server said to the document."""
    message = "pong" if text == "pong" else json.loads(text)
    _hold("send", "type", message)


def hold_sent(text: str) -> None:
    """Hold what a client says to the document, if the server understands it."""
    if text == "ping":
        _hold("receive", "op", text)
    elif _is_understood(text):
        message = json.loads(text)
        older = message.pop("type", None)
        message.setdefault("op", older)
        _hold("receive", "op", message)


def hold_closing(code: int) -> None:
    """Hold the code that the server closes a socket with to the document."""
    if code not in _codes():
        _undescribed.append(f"closed with {code}")


def take_undescribed() -> list[str]:
    """Give what was not as described since the last time."""
    taken = [*_undescribed]
    _undescribed.clear()
    return taken


def _hold(action: str, key: str, message: Any) -> None:
    is_word = isinstance(message, str)
    name = message if is_word else message.get(key)
    validator = _validators(action).get((is_word, name))
    if validator is None:
        _undescribed.append(f"no {action}: {message!r}"[:1000])
    elif not validator.is_valid(message):
        reasons = [error.message for error in validator.iter_errors(message)]
        _undescribed.append(f"{action} {name}: {reasons}"[:1000])


def _is_understood(text: str) -> bool:
    try:
        message = read(text)
        if isinstance(message, Subscribe) and message.filter:
            criteria_of(message.filter, _ANYBODY)
    except NotUnderstood:
        return False
    return True


@cache
def _validators(action: str) -> Mapping[tuple[bool, str], Draft7Validator]:
    """What the document says of messages, by whether they are words and their names."""
    document = asyncapi.document()
    messages = document["components"]["messages"]
    found = {}
    for key in _said(document["operations"].values(), action):
        message = messages[key]
        schema = {"allOf": [message["payload"]], "components": document["components"]}
        is_word = message["contentType"] == "text/plain"
        found[is_word, message["name"]] = Draft7Validator(schema, validate_formats=True)
    return found


@cache
def _codes() -> frozenset[int]:
    closings = asyncapi.document()["channels"]["live"]["x-close-codes"]
    return frozenset(closing["code"] for closing in closings)


def _said(operations: Any, action: str) -> Iterator[str]:
    """The keys of what is sent to the server or, also in reply, by it."""
    for operation in operations:
        is_same = operation["action"] == action
        part = operation if is_same else operation.get("reply", {})
        for link in part.get("messages", ()):
            yield link["$ref"].rpartition("/")[2]
