"""WebSocket frames as bytes (RFC 6455, section 5.2), made once for many sockets."""

import struct

_TEXT = 0x81  # FIN and opcode 1
_CLOSE = 0x88  # FIN and opcode 8
_SHORT, _MEDIUM = 125, 0xFFFF


def text_frame(payload: bytes) -> bytes:
    """Frame UTF-8 text as a server sends it: whole, unmasked, uncompressed."""
    length = len(payload)
    if length <= _SHORT:
        return bytes((_TEXT, length)) + payload
    if length <= _MEDIUM:
        return struct.pack(">BBH", _TEXT, 126, length) + payload
    return struct.pack(">BBQ", _TEXT, 127, length) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Frame a goodbye; of the reason there is room for 123 bytes."""
    payload = struct.pack(">H", code) + reason.encode()
    if len(payload) > _SHORT:
        raise ValueError(f"the reason is too long: {reason}")
    return bytes((_CLOSE, len(payload))) + payload
