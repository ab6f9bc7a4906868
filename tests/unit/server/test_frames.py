"""WebSocket frames, read back by the rules of RFC 6455."""

import struct

import pytest

from server.frames import (
    FRAGMENT_BYTES,
    close_frame,
    pong_frame,
    text_frame,
    text_frames,
)


def read(frame: bytes) -> tuple[int, bytes]:
    """Take a frame apart: its first byte and its payload."""
    length, start = frame[1], 2
    if length == 126:
        (length,) = struct.unpack(">H", frame[2:4])
        start = 4
    elif length == 127:
        (length,) = struct.unpack(">Q", frame[2:10])
        start = 10
    assert len(frame) == start + length
    return frame[0], frame[start:]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_frame_holds_its_payload_as_one_final_text(size: int) -> None:
    payload = b"x" * size

    assert read(text_frame(payload)) == (0x81, payload)


@pytest.mark.parametrize(
    ("size", "head"), [(125, 2), (126, 4), (65535, 4), (65536, 10)]
)
def test_the_shortest_form_of_the_length_is_used(size: int, head: int) -> None:
    assert len(text_frame(b"x" * size)) == head + size


def test_a_short_frame_byte_by_byte() -> None:
    assert text_frame(b"Hello") == b"\x81\x05Hello"  # the RFC's own example


def test_a_goodbye_holds_its_code_and_its_reason() -> None:
    assert read(close_frame(4001, "Zoë")) == (0x88, b"\x0f\xa1Zo\xc3\xab")


def test_a_reason_has_to_fit_into_a_control_frame() -> None:
    assert len(close_frame(1000, "x" * 123)) == 127

    with pytest.raises(ValueError, match="too long"):
        close_frame(1000, "x" * 124)


def test_a_pong_repeats_its_ping() -> None:
    assert read(pong_frame(b"hello")) == (0x8A, b"hello")


@pytest.mark.parametrize("size", [0, 1, FRAGMENT_BYTES])
def test_what_is_short_is_one_frame(size: int) -> None:
    assert text_frames(b"x" * size) == (text_frame(b"x" * size),)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_is_long_is_one_message_in_fragments(count: int) -> None:
    payload = b"xyz" * (count * FRAGMENT_BYTES // 3 + 1)

    frames = [read(frame) for frame in text_frames(payload)]

    firsts = [first for first, _ in frames]
    assert firsts == [0x01, *[0x00] * (count - 1), 0x80]
    assert b"".join(part for _, part in frames) == payload
    assert all(len(part) <= FRAGMENT_BYTES for _, part in frames)
