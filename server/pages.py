"""Pages of lists: which rows to ask for, and the bytes, tag and link of what was found.

They come with a cursor that is good for the same list and filters only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from yarl import URL

from actors.domain.model import UserId
from server.cursors import Cursors
from server.representations import encode, encode_list
from sql.store import Page


class Row(Protocol):
    """What is listed: it has a place among the others."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def created_at(self) -> datetime: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAnswer:
    """A page as bytes; the ETag changes if and only if the bytes do.

    `link` is the Link header (RFC 8288) that names the next page, if there is one.
    """

    body: bytes
    etag: str
    link: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """The list that somebody asks for, and the address as they wrote it."""

    name: str
    user_id: UserId
    query: Mapping[str, Any]
    url: URL

    @property
    def scope(self) -> str:
        """Name the list: whose, of what, by which filters; not which part of it."""
        filters = sorted(
            (key, str(value))
            for key, value in self.query.items()
            if key not in ("limit", "offset", "cursor")
        )
        return repr((self.name, self.user_id, filters))


class Pages:
    """Cuts lists into pages, newest first."""

    def __init__(self, cursors: Cursors):
        self._cursors = cursors

    def page(self, asked: Asked) -> Page:
        """Ask for one row more than the caller, to know whether a page follows."""
        query = asked.query
        limit, offset = query["limit"] + 1, query["offset"]
        if "cursor" not in query:
            return Page(limit=limit, offset=offset)
        at, row_id = self._cursors.read(query["cursor"], asked.scope)
        return Page(limit=limit, offset=offset, before_at=at, before_id=row_id)

    def answer(self, asked: Asked, found: Sequence[Row], total: int) -> ListAnswer:
        """Write what was found for `page`."""
        limit = asked.query["limit"]
        shown, cursor = found[:limit], None
        if len(found) > limit:
            last = shown[-1]
            cursor = self._cursors.make(last.created_at, last.id, asked.scope)
        body = encode_list(
            asked.name,
            [encode(thing) for thing in shown],
            total=total,
            limit=limit,
            offset=asked.query["offset"],
            next_cursor=cursor,
        )
        return ListAnswer(
            body=body,
            etag=digest_tag(body),
            link=None if cursor is None else next_link(asked.url, cursor=cursor),
        )


def digest_tag(body: bytes) -> str:
    """Make an entity tag that is another whenever the bytes are."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def next_link(url: URL, **place: str | int) -> str:
    """Write the Link header of the next page, which begins at another place."""
    query = {**url.query, **place}
    query.pop("offset", None)
    address = URL(url.raw_path, encoded=True).with_query(query)
    return f'<{address}>; rel="next"'
