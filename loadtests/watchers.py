"""WebSocket clients, ten thousand in a process, that check all they are sent.

They have to cost less than the server. All read into one buffer; a frame that another
socket had before, after the same version, is known by its bytes, and only the first is
decoded. So each socket is held to each byte, for the price of a comparison.
"""

import asyncio
import struct
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import msgspec

from loadtests.generator import http_request

V1 = "boardcast.v1"

_BUFFER_BYTES = 4 * 1024 * 1024
_HEAD_END = b"\r\n\r\n"
_BEGUN, _LAST = 0x01, 0x80  # of a text in fragments
_CLOSE, _PING, _PONG = 0x88, 0x89, 0x8A
_MASKED = 0x80
_NO_EVENTS = frozenset(("subscribed", "snapshot", "tick", "error", "pong"))
_NO_MASK = bytes(4)  # a mask of zeros leaves the payload as it is
_KEPT_PROBLEMS = 5


class _Task(msgspec.Struct):
    title: str = ""


class _Message(msgspec.Struct, rename={"first": "from"}):
    """What a server says, as far as it matters here; an event is one too."""

    type: str
    version: int = 0
    task: _Task | None = None
    first: int = 0
    to: int = 0
    events: "list[_Message]" = []
    heads: dict[str, int] = {}


_decode = msgspec.json.Decoder(_Message).decode


@dataclass(slots=True, eq=False)
class Frame:
    """A message with events, the times that they were sent at, and who had it when."""

    whole: bytes
    to: int
    sent: list[float]
    arrivals: "array[float]" = field(default_factory=lambda: array("d"))


class Ledger:
    """What all sockets of a crowd have in common, and what went wrong."""

    def __init__(self) -> None:
        self.buffer = bytearray(_BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.after: dict[int, list[Frame]] = {}
        self.others: Counter[str] = Counter()
        self.closed: Counter[int] = Counter()
        self.problems: list[str] = []
        self.problem_count = 0

    def complain(self, problem: str) -> None:
        """Keep a problem; of many the first few are enough."""
        self.problem_count += 1
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(problem)

    def forget(self) -> None:
        """Begin anew."""
        self.after.clear()
        self.others.clear()
        self.closed.clear()
        self.problems.clear()
        self.problem_count = 0

    def had_by_all(self, version: int, sockets: int) -> float | None:
        """Tell when the last of the sockets had this version, sent alone."""
        frames = self.after.get(version - 1, ())
        if sum(len(frame.arrivals) for frame in frames) < sockets:
            return None
        return max(max(frame.arrivals) for frame in frames)

    def delays(self) -> Counter[int]:
        """Count the times from sending to having, of each event at each socket.

        In tenths of a millisecond.
        """
        return Counter(
            round((arrived - sent) * 10_000)
            for frames in self.after.values()
            for frame in frames
            for sent in frame.sent
            for arrived in frame.arrivals
        )

    def enter(self, whole: bytes, message: _Message, last: int) -> Frame:
        """Keep a frame of events that nobody had after this version."""
        events, first, to = message.events, message.first, message.to
        if message.type != "events":
            events, first, to = [message], message.version, message.version
        versions = [event.version for event in events]
        if first != last + 1 or versions != list(range(first, to + 1)):
            self.complain(f"after {last} came {first} to {to}: {versions[:9]}")
        frame = Frame(whole, to, [_sent(event) for event in events])
        self.after.setdefault(last, []).append(frame)
        return frame


def _sent(event: _Message) -> float:
    """Read the time that the writer made the task's title of."""
    try:
        return float(event.task.title) if event.task else 0.0
    except ValueError:
        return 0.0


class Watcher(asyncio.BufferedProtocol):
    """One socket, which has everything up to the version `last`."""

    __slots__ = (
        *("_ledger", "_ready", "_rest", "_subscribes"),
        *("is_open", "last", "transport"),
    )

    def __init__(
        self,
        ledger: Ledger,
        last: int,
        ready: asyncio.Future[None],
        *,
        subscribes: bool = True,
    ):
        self._ledger = ledger
        self._ready = ready
        self._rest = b""
        self._subscribes = subscribes
        self.last = last
        self.is_open = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection; the handshake is the caller's."""
        # Not checked: uvloop's transports are no subclass of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Notice the end."""
        self.transport = None
        self._settle("closed before it was ready")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the common buffer, behind what is left of an unfinished frame."""
        rest = self._rest
        if not rest:
            return self._ledger.view
        self._ledger.view[: len(rest)] = rest
        return self._ledger.view[len(rest) :]

    def buffer_updated(self, nbytes: int) -> None:
        """Check the frames that came; the last may be unfinished."""
        ledger, now = self._ledger, time.perf_counter()
        buffer, end = ledger.buffer, len(self._rest) + nbytes
        at = 0 if self.is_open else self._open(end)
        while at < end:
            for frame in ledger.after.get(self.last, ()):
                if buffer.startswith(frame.whole, at, end):
                    at += len(frame.whole)
                    break
            else:
                size = message_size(buffer, at, end)
                if size is None or not self.is_open:
                    break
                found = self._read(bytes(ledger.view[at : at + size]))
                at += size
                if found is None:
                    continue
                frame = found
            self.last = frame.to
            frame.arrivals.append(now)
        self._rest = bytes(ledger.view[at:end]) if at < end else b""

    def _open(self, end: int) -> int:
        """Find the end of the handshake; gives where the frames begin."""
        buffer = self._ledger.buffer
        at = buffer.find(_HEAD_END, 0, end)
        if at < 0:
            return 0
        if buffer.startswith(b"HTTP/1.1 101"):
            self.is_open = True
            if not self._subscribes:
                self._settle()
        else:
            self._settle(bytes(buffer[:end]).decode())
        return at + len(_HEAD_END)

    def _settle(self, problem: str = "") -> None:
        """Tell who waits for this socket that it is ready, or why it will not be."""
        if self._ready.done():
            return
        if problem:
            self._ready.set_exception(ConnectionError(problem))
        else:
            self._ready.set_result(None)

    def _read(self, whole: bytes) -> Frame | None:
        text = b""
        for opcode, payload in _parts(whole):
            if opcode == _CLOSE:
                self._ledger.closed[int.from_bytes(payload[:2], "big")] += 1
                self._write(_CLOSE, payload[:2])
            elif opcode == _PING:
                self._write(_PONG, payload)
            else:
                text += payload
        if not text:
            return None
        message = _decode(text)
        if message.type not in _NO_EVENTS:
            return self._ledger.enter(whole, message, self.last)
        self._hear(message)
        return None

    def _hear(self, message: _Message) -> None:
        ledger, last = self._ledger, self.last
        ledger.others[message.type] += 1
        if message.type == "subscribed":
            self._settle()
            if message.version != last:
                ledger.complain(f"subscribed at {message.version}, sent up to {last}")
        elif message.type != "tick":
            ledger.complain(f"an unexpected {message.type} after {last}")
            self.last = max(last, message.version)  # of a snapshot
        elif any(head > last for head in message.heads.values()):
            ledger.complain(f"a tick says {message.heads} to who was sent {last}")

    def _write(self, opcode: int, payload: bytes) -> None:
        if self.transport is not None:
            self.transport.write(masked_frame(opcode, payload))


def head_size(second: int) -> int:
    """Tell the length of a frame's head by its second byte."""
    return {126: 4, 127: 10}.get(second, 2)


def frame_size(buffer: bytes | bytearray, at: int, end: int) -> int | None:
    """Tell the length of the frame that begins there; None if it is not all there."""
    if end - at < 2 or end - at < (head := head_size(buffer[at + 1])):
        return None
    length = buffer[at + 1]
    if head > 2:
        length = int.from_bytes(buffer[at + 2 : at + head], "big")
    return head + length if at + head + length <= end else None


def message_size(buffer: bytes | bytearray, at: int, end: int) -> int | None:
    """Tell the length of a message with all its frames, and those in between."""
    start, is_begun = at, False
    while (size := frame_size(buffer, at, end)) is not None:
        opcode = buffer[at]
        at += size
        is_begun = is_begun or opcode == _BEGUN
        if not is_begun or opcode == _LAST:
            return at - start
    return None


def _parts(whole: bytes) -> Iterator[tuple[int, bytes]]:
    """Take a message apart: the first byte and the payload of each frame."""
    at = 0
    while at < len(whole):
        size = frame_size(whole, at, len(whole))
        assert size is not None
        yield whole[at], whole[at + head_size(whole[at + 1]) : at + size]
        at += size


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """Frame a message as a client has to (RFC 6455, section 5.3)."""
    length = len(payload)
    if length < 126:
        return bytes((opcode, _MASKED | length)) + _NO_MASK + payload
    return struct.pack(">BBH", opcode, _MASKED | 126, length) + _NO_MASK + payload


def handshake(path: str, token: str, *, is_v1: bool = True) -> bytes:
    """Write the request that opens a socket."""
    request = http_request("GET", path, token=token)
    lines = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *((f"Sec-WebSocket-Protocol: {V1}",) if is_v1 else ()),
    )
    head = request.removesuffix(_HEAD_END)
    return b"\r\n".join((head, *(line.encode() for line in lines))) + _HEAD_END
