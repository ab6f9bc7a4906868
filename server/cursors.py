"""Cursors: where a page of a list ended, signed, for this caller and query only."""

import base64
import hashlib
import hmac

import msgspec

from server.problems import Problem
from sql.lists import Key

_TAG_BYTES = 16


class Cursors:
    """Makes and reads cursors; the secret is the server's own."""

    def __init__(self, secret: bytes):
        self._key = hmac.digest(secret, b"boardcast cursor", "sha256")

    def make(self, key: Key, row_id: int, scope: str) -> str:
        """Point behind a row, in the list that `scope` names."""
        place = msgspec.msgpack.encode((key, row_id))
        return base64.urlsafe_b64encode(self._tag(place, scope) + place).decode()

    def read(self, cursor: str, scope: str) -> tuple[Key, int]:
        """Say where a cursor points.

        Raises a 400 problem unless it was made here, for the same `scope`.
        """
        try:
            raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        except ValueError:
            raise _invalid() from None
        tag, place = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(place, scope)):
            raise _invalid()
        key, row_id = msgspec.msgpack.decode(place)  # made here, so of these two types
        return key, row_id

    def _tag(self, place: bytes, scope: str) -> bytes:
        message = hashlib.sha256(scope.encode()).digest() + place
        return hmac.digest(self._key, message, "sha256")[:_TAG_BYTES]


def _invalid() -> Problem:
    return Problem(
        400,
        "invalid_cursor",
        "This cursor was not made for this list, these filters and this order.",
    )
