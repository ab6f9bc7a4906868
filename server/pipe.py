"""What the supervisor and a worker say to each other, over a socket that both inherit.

It belongs to nobody else, so settings and secrets may pass; when it ends, so has the
other side.
"""

import asyncio
import socket
from pathlib import Path
from typing import Any, Self

import msgspec

from server.app import Urls
from server.config import Config

_LENGTH_BYTES = 4


class Orders(msgspec.Struct, tag=True, frozen=True):
    """All that a worker has to know, told first of all."""

    config: Config
    urls: Urls


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The worker accepts connections."""


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The worker cannot start, in one line."""

    reason: str


class Count(msgspec.Struct, tag=True, frozen=True):
    """The worker is to show its metrics."""


class Counted(msgspec.Struct, tag=True, frozen=True):
    """The metrics of the worker; the last ones come when it ends."""

    page: bytes


class Gather(msgspec.Struct, tag=True, frozen=True):
    """The worker was asked for the metrics of all."""


class Gathered(msgspec.Struct, tag=True, frozen=True):
    """The metrics of all workers together."""

    page: bytes


Message = Orders | Ready | Failed | Count | Counted | Gather | Gathered


class Pipe:
    """One end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Talk over this end of a pair, which is closed with the pipe."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Message) -> None:
        """Say something, also to who has gone; never waits."""
        body = _encoder.encode(message)
        self._writer.write(len(body).to_bytes(_LENGTH_BYTES) + body)

    async def receive(self) -> Message | None:
        """Wait for the next message; None if the other side has gone."""
        try:
            length = await self._reader.readexactly(_LENGTH_BYTES)
            body = await self._reader.readexactly(int.from_bytes(length))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return _decoder.decode(body)

    async def close(self) -> None:
        """Send what was said, and end."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:  # the other side was quicker
            return


def _to_text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _from_text(kind: type, value: Any) -> Any:
    return kind(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_text)
# A worker of newer code may lack a setting or have one more: both are passed over.
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(
    Message, dec_hook=_from_text
)
