"""Lists of tasks and projects, across all that the caller may see.

They come from SQL and are kept as ready bytes with the stamp of before the query; see
`server.sights` for why that is never stale.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from yarl import URL

from actors.domain.errors import StoreUnavailable
from actors.domain.model import Caller
from server.pages import Asked, ListAnswer, Pages
from server.sights import Sights, Stamp
from sql.lists import ProjectFilter, TaskFilter
from sql.store import Store

_KEPT_BYTES = 64 * 1024 * 1024
_KEPT_ADDRESS_LENGTH = 256
_OVERHEAD_BYTES = 1024  # of the key and the objects around a body
_Key = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: Stamp
    answer: ListAnswer

    @property
    def bytes(self) -> int:
        """About what it takes: the body, and its key and objects."""
        return len(self.answer.body) + _OVERHEAD_BYTES


class Lists:
    """Answers list requests; `count` is told "hit" or "miss" of every cacheable one."""

    def __init__(
        self,
        store: Store,
        sights: Sights,
        pages: Pages,
        *,
        count: Callable[[str], None] = lambda outcome: None,
        kept_bytes: int = _KEPT_BYTES,
    ):
        self._store = store
        self._sights = sights
        self._pages = pages
        self._count = count
        self._limit_bytes = kept_bytes
        self._bytes = 0
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._making: dict[tuple[_Key, Stamp], asyncio.Future[ListAnswer]] = {}

    async def tasks(
        self, caller: Caller, query: Mapping[str, Any], url: URL
    ) -> ListAnswer:
        """Give a page of tasks; `url` is the address as the caller wrote it."""
        if "overdue" in query:  # depends on the time of day: no stamp knows of it
            return await self._list_tasks(caller, query, url)
        return await self._cached(
            caller, url, lambda: self._list_tasks(caller, query, url)
        )

    async def projects(
        self, caller: Caller, query: Mapping[str, Any], url: URL
    ) -> ListAnswer:
        """Give a page of projects; `url` is the address as the caller wrote it."""
        return await self._cached(
            caller, url, lambda: self._list_projects(caller, query, url)
        )

    async def _cached(
        self, caller: Caller, url: URL, make: Callable[[], Awaitable[ListAnswer]]
    ) -> ListAnswer:
        key = (caller.id, caller.role, url.raw_path_qs)
        stamp = self._sights.stamp(caller)
        kept = self._kept.get(key)
        if kept is not None and kept.stamp == stamp:
            self._kept.move_to_end(key)
            self._count("hit")
            return kept.answer
        self._count("miss")
        if stamp is None:
            await self._sights.sight(caller)
            stamp = self._sights.stamp(caller)
        if stamp is None or len(key[2]) > _KEPT_ADDRESS_LENGTH:
            return await make()
        return await self._made_once(key, stamp, make)

    async def _made_once(
        self, key: _Key, stamp: Stamp, make: Callable[[], Awaitable[ListAnswer]]
    ) -> ListAnswer:
        """Make the answer, or wait for who makes the very same one already."""
        making = self._making.get((key, stamp))
        if making is not None:
            return await asyncio.shield(making)
        making = asyncio.get_running_loop().create_future()
        self._making[key, stamp] = making
        try:
            answer = await make()
        except BaseException as error:
            making.set_exception(_shared_error(error))
            making.exception()  # there may be nobody who waits
            raise
        else:
            making.set_result(answer)
            self._keep(key, _Kept(stamp, answer))
            return answer
        finally:
            del self._making[key, stamp]

    def _keep(self, key: _Key, kept: _Kept) -> None:
        old = self._kept.pop(key, None)
        self._bytes += kept.bytes - (old.bytes if old else 0)
        self._kept[key] = kept
        while self._bytes > self._limit_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.bytes

    async def _list_tasks(
        self, caller: Caller, query: Mapping[str, Any], url: URL
    ) -> ListAnswer:
        sight = await self._sights.sight(caller)
        wanted = TaskFilter(
            project_id=query.get("project_id"),
            statuses=query.get("status"),
            priorities=query.get("priority"),
            assigned_to=_user(query.get("assigned_to"), caller),
            is_unassigned=query.get("unassigned"),
            created_by=_user(query.get("created_by"), caller),
            due_from=query.get("due_date_from"),
            due_to=query.get("due_date_to"),
            is_overdue=query.get("overdue"),
            overdue_at=datetime.now(UTC),
            text=query.get("q"),
        )
        asked = Asked("tasks", caller.id, query, url)
        found, total = await self._store.list_tasks(
            sight, wanted, self._pages.page(asked)
        )
        return self._pages.answer(asked, found, total)

    async def _list_projects(
        self, caller: Caller, query: Mapping[str, Any], url: URL
    ) -> ListAnswer:
        sight = await self._sights.sight(caller)
        wanted = ProjectFilter(statuses=query.get("status"), text=query.get("q"))
        asked = Asked("projects", caller.id, query, url)
        found, total = await self._store.list_projects(
            sight, wanted, self._pages.page(asked)
        )
        return self._pages.answer(asked, found, total)


def _shared_error(error: BaseException) -> BaseException:
    """Say it to others too, except that the one who asked first has gone."""
    return error if isinstance(error, Exception) else StoreUnavailable()


def _user(value: int | str | None, caller: Caller) -> Any:
    return caller.id if value == "me" else cast("int | None", value)
