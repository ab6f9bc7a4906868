"""The watchers of the bench: they read every byte, and notice whatever is wrong."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from loadtests.watchers import (
    Ledger,
    Watcher,
    frame_size,
    handshake,
    head_size,
    masked_frame,
)
from server.frames import FRAGMENT_BYTES, close_frame, text_frame, text_frames

_ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Line:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


async def watcher(ledger: Ledger, last: int = 0) -> Watcher:
    made = Watcher(ledger, last, asyncio.get_running_loop().create_future())
    made.connection_made(Line())
    feed(made, _ACCEPTED)
    return made


def feed(watcher: Watcher, data: bytes, *, at_once: int = 1_000_000) -> None:
    """Let a watcher read, so many bytes at a time."""
    for start in range(0, len(data), at_once):
        part = data[start : start + at_once]
        watcher.get_buffer(-1)[: len(part)] = part
        watcher.buffer_updated(len(part))


def event(version: int, title: str = "0") -> dict[str, Any]:
    return {"type": "task_updated", "version": version, "task": {"title": title}}


def single(version: int, title: str = "0") -> bytes:
    return said(event(version, title))


def several(first: int, last: int, versions: Iterable[int] | None = None) -> bytes:
    events = [event(version) for version in versions or range(first, last + 1)]
    return said({"type": "events", "from": first, "to": last, "events": events})


def said(message: dict[str, Any]) -> bytes:
    return text_frame(json.dumps(message).encode())


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_frame_is_as_long_as_it_says_and_not_read_before(size: int) -> None:
    frame = text_frame(b"x" * size)
    buffer = bytearray(b"." + frame + b"\x81\x01")

    assert frame_size(buffer, 1, len(buffer)) == len(frame)
    for end in range(1, len(frame) + 1, max(1, len(frame) // 50)):
        assert frame_size(buffer, 1, end) is None


@pytest.mark.parametrize("size", [0, 125, 126, 65535])
def test_a_client_masks_what_it_sends(size: int) -> None:
    payload = b"x" * size

    frame = masked_frame(0x81, payload)

    head = head_size(frame[1] & 0x7F)
    assert frame[1] & 0x80
    assert frame[head : head + 4] == bytes(4)
    assert frame[head + 4 :] == payload


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100, 1_000_000])
async def test_versions_in_order_are_no_problem_in_whatever_pieces(
    at_once: int,
) -> None:
    ledger = Ledger()
    first, second = await watcher(ledger, 4), await watcher(ledger, 4)
    stream = single(5) + several(6, 9) + single(10)

    for reader in (first, second):
        feed(reader, stream, at_once=at_once)

    assert [first.last, second.last] == [10, 10]
    assert ledger.problems == []
    frames = [frame for frames in ledger.after.values() for frame in frames]
    assert [len(frame.arrivals) for frame in frames] == [2, 2, 2]


@pytest.mark.parametrize("at_once", [1000, FRAGMENT_BYTES, 1_000_000])
async def test_fragments_are_joined_and_what_is_between_them_answered(
    at_once: int,
) -> None:
    ledger = Ledger()
    first, second = await watcher(ledger, 4), await watcher(ledger, 4)
    events = [event(version, "5" * FRAGMENT_BYTES) for version in (5, 6)]
    message = {"type": "events", "from": 5, "to": 6, "events": events}
    begin, *between, end = text_frames(json.dumps(message).encode())

    feed(first, b"".join((begin, *between, end)), at_once=at_once)
    feed(second, b"".join((begin, *between, b"\x89\x02hi", end)), at_once=at_once)

    assert [first.last, second.last] == [6, 6]
    assert second.transport.written == masked_frame(0x8A, b"hi")
    assert ledger.problems == []


@pytest.mark.parametrize(
    "stream",
    [
        single(6) + single(8),
        single(6) + single(6),
        single(7) + single(6),
        several(7, 8),
        several(5, 6),
        several(6, 8, [6, 8]),
        several(6, 7, [7, 6]),
        several(6, 7, [6]),
    ],
    ids=["gap", "repeat", "disorder", "late", "early", "hole", "turned", "short"],
)
async def test_whatever_is_not_the_next_version_is_a_problem(stream: bytes) -> None:
    ledger = Ledger()
    await watcher(ledger)

    feed(await watcher(ledger, 5), stream)

    assert ledger.problem_count > 0


async def test_what_another_had_does_not_excuse_what_is_missing() -> None:
    ledger = Ledger()
    feed(await watcher(ledger, 5), single(6) + single(7))

    feed(await watcher(ledger, 5), single(7))

    assert ledger.problems == ["after 5 came 7 to 7: [7]"]


async def test_a_frame_that_differs_from_anothers_is_read_itself() -> None:
    ledger = Ledger()
    feed(await watcher(ledger, 5), several(6, 7))

    feed(await watcher(ledger, 5), several(6, 7, [6, 6]))

    assert ledger.problem_count == 1


async def test_the_delay_is_from_the_time_in_the_title_for_each_socket() -> None:
    ledger = Ledger()
    for reader in (await watcher(ledger), await watcher(ledger)):
        feed(reader, single(1, "12.5"))
    (frame,) = ledger.after[0]
    frame.arrivals[:] = type(frame.arrivals)("d", [12.75, 13.5])

    assert ledger.delays() == {2500: 1, 10_000: 1}
    assert ledger.had_by_all(1, 2) == 13.5
    assert ledger.had_by_all(1, 3) is None


async def test_a_socket_is_ready_when_it_is_subscribed() -> None:
    ledger, ready = Ledger(), asyncio.get_running_loop().create_future()
    reader = Watcher(ledger, 5, ready)
    reader.connection_made(Line())

    feed(reader, _ACCEPTED + single(6))
    was_ready = ready.done()
    feed(reader, said({"type": "subscribed", "project_id": 7, "version": 6}))

    assert not was_ready
    assert ready.done()
    assert ledger.problems == []


async def test_a_position_that_was_not_sent_is_a_problem() -> None:
    ledger = Ledger()
    reader = await watcher(ledger, 5)

    feed(reader, said({"type": "tick", "heads": {"7": 5}}))
    before = list(ledger.problems)
    feed(reader, said({"type": "tick", "heads": {"7": 6}}))
    feed(reader, said({"type": "subscribed", "version": 4}))
    feed(reader, said({"type": "error", "code": "malformed"}))

    assert before == []
    assert ledger.problem_count == 3


async def test_who_is_refused_or_cut_off_is_told() -> None:
    loop = asyncio.get_running_loop()
    refused, cut = loop.create_future(), loop.create_future()

    feed(Watcher(Ledger(), 0, refused), b"HTTP/1.1 503 Busy\r\n\r\n")
    Watcher(Ledger(), 0, cut).connection_lost(None)

    assert "503 Busy" in str(refused.exception())
    assert isinstance(cut.exception(), ConnectionError)


async def test_pings_and_goodbyes_are_answered() -> None:
    ledger = Ledger()
    reader = await watcher(ledger)

    feed(reader, b"\x89\x02hi" + close_frame(4008, "slow"))

    answers = masked_frame(0x8A, b"hi") + masked_frame(0x88, b"\x0f\xa8")
    assert reader.transport.written == answers
    assert ledger.closed == {4008: 1}


def test_the_handshake_names_the_subprotocol() -> None:
    request = handshake("/ws?project_id=7", "secret").decode()

    assert request.startswith("GET /ws?project_id=7 HTTP/1.1\r\n")
    assert "\r\nAuthorization: Bearer secret\r\n" in request
    assert "\r\nSec-WebSocket-Protocol: boardcast.v1\r\n" in request
    assert request.endswith("\r\n\r\n")
