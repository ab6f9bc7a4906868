"""Pages of a list that has one order only, the oldest first.

Each thing in it has a place, a time and a number; a cursor names the place of the last
one shown, so what comes or goes elsewhere moves nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from aiohttp import web

from server import keys
from server.pages import ListAnswer, digest_tag, next_link
from server.representations import encode_list
from server.requests import answer_list, caller_of

Place = tuple[datetime, int]

# For what is ordered by its number alone.
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_START = (NO_TIME, 0)


def place_before(request: web.Request) -> Place:
    """Say behind which place the page begins: behind none without a cursor.

    Raises a 400 problem unless the cursor was made for this caller and address.
    """
    cursor = request[keys.QUERY].get("cursor")
    if cursor is None:
        return _START
    at, number = request.app[keys.CURSORS].read(cursor, _scope(request))
    return (at if isinstance(at, datetime) else NO_TIME), number


def answer_page(
    request: web.Request, name: str, found: Sequence[tuple[Place, bytes]], total: int
) -> web.Response:
    """Show a page of ready items; one more than `limit` tells that another follows."""
    query = request[keys.QUERY]
    shown, cursor = found[: query["limit"]], None
    if len(found) > len(shown):
        cursors = request.app[keys.CURSORS]
        cursor = cursors.make(*shown[-1][0], _scope(request))
    body = encode_list(
        name,
        [item for _, item in shown],
        total=total,
        limit=query["limit"],
        offset=query["offset"],
        next_cursor=cursor,
    )
    link = None if cursor is None else next_link(request.rel_url, cursor=cursor)
    return answer_list(request, ListAnswer(body=body, etag=digest_tag(body), link=link))


def _scope(request: web.Request) -> str:
    return repr((request.path, caller_of(request).id))
