"""Pages of lists: which rows to ask for, and the bytes, tag and link of what was found.

They come with a cursor that is good for the same list and filters only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from yarl import URL

from actors.domain.model import UserId
from server.cursors import Cursors
from server.representations import encode, encode_list
from sql.lists import Key, Page, key_of


class Row(Protocol):
    """What is listed: it has an id, and what the list can be sorted by."""

    @property
    def id(self) -> int: ...  # noqa: D102


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
        """Name the list: whose, of what, which rows in which order; not which part."""
        filters = sorted(
            (key, str(value))
            for key, value in self.query.items()
            if key not in ("limit", "offset", "cursor")
        )
        return repr((self.name, self.user_id, filters))

    @property
    def sort(self) -> str:
        """Name the field that the list is sorted by."""
        return str(self.query["sort"]).removeprefix("-")


class Pages:
    """Cuts lists into pages."""

    def __init__(self, cursors: Cursors):
        self._cursors = cursors

    def page(self, asked: Asked) -> Page:
        """Ask for one row more than the caller, to know whether a page follows."""
        query = asked.query
        page = Page(
            limit=query["limit"] + 1,
            offset=query["offset"],
            sort=asked.sort,
            is_descending=query["sort"].startswith("-"),
        )
        if "cursor" not in query:
            return page
        return _after(page, *self._cursors.read(query["cursor"], asked.scope))

    def answer(self, asked: Asked, found: Sequence[Row], total: int) -> ListAnswer:
        """Write what was found for `page`."""
        limit = asked.query["limit"]
        shown, cursor = found[:limit], None
        if len(found) > limit:
            last = shown[-1]
            key = key_of(last, asked.sort)
            cursor = self._cursors.make(key, last.id, asked.scope)
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


def _after(page: Page, key: Key, row_id: int) -> Page:
    match key:
        case datetime():
            return replace(page, after_at=key, after_id=row_id)
        case int():
            return replace(page, after_rank=key, after_id=row_id)
        case _:
            return replace(page, after_text=key, after_id=row_id)


def digest_tag(body: bytes) -> str:
    """Make an entity tag that is another whenever the bytes are."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def next_link(url: URL, **place: str | int) -> str:
    """Write the Link header of the next page, which begins at another place."""
    query = {**url.query, **place}
    query.pop("offset", None)
    address = URL(url.raw_path, encoded=True).with_query(query)
    return f'<{address}>; rel="next"'
