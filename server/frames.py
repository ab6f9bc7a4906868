"""WebSocket frames as bytes (RFC 6455, section 5.2), made once for many sockets."""

import struct
from collections.abc import Iterator

FRAGMENT_BYTES = 16 * 1024

_FINAL, _TEXT, _MORE = 0x80, 0x1, 0x0
_CLOSE, _PING, _PONG = 0x88, 0x89, 0x8A
_SHORT, _MEDIUM = 125, 0xFFFF


def text_frame(payload: bytes) -> bytes:
    """Frame UTF-8 text as a server sends it: whole, unmasked, uncompressed."""
    return _framed(_FINAL | _TEXT, payload)


def text_frames(payload: bytes) -> tuple[bytes, ...]:
    """Frame text, in fragments if it is long: a slow reader takes them one by one."""
    if len(payload) <= FRAGMENT_BYTES:
        return (text_frame(payload),)
    return tuple(_fragments(payload))


def close_frame(code: int, reason: str) -> bytes:
    """Frame a goodbye; of the reason there is room for 123 bytes."""
    payload = struct.pack(">H", code) + reason.encode()
    if len(payload) > _SHORT:
        raise ValueError(f"the reason is too long: {reason}")
    return _framed(_CLOSE, payload)


def pong_frame(payload: bytes) -> bytes:
    """Frame the answer to a ping, which has to repeat what the ping said."""
    return _framed(_PONG, payload)


def _fragments(payload: bytes) -> Iterator[bytes]:
    opcode = _TEXT
    for start in range(0, len(payload), FRAGMENT_BYTES):
        part = payload[start : start + FRAGMENT_BYTES]
        is_last = start + FRAGMENT_BYTES >= len(payload)
        yield _framed(opcode | (_FINAL if is_last else 0), part)
        opcode = _MORE


def _framed(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length <= _SHORT:
        return bytes((first, length)) + payload
    if length <= _MEDIUM:
        return struct.pack(">BBH", first, 126, length) + payload
    return struct.pack(">BBQ", first, 127, length) + payload


PING_FRAME = _framed(_PING, b"")
