"""What other nodes commit: looked for in the log, whatever was or was not heard of it.

Hints come sooner, but they may be lost, doubled or out of order. So every node asks the
database twice a second what is new anywhere, and at once when a hint does not fit to
what it knows. That alone keeps it right; hints only make it quick.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import structlog

from actors.audiences import audience_of_late, joined
from actors.bulletin import Bulletin
from actors.domain.errors import StateAhead, StoreUnavailable, Unavailable
from actors.domain.events import (
    CommentEvent,
    Entry,
    MemberRemoved,
    ProjectDeleted,
    ProjectUpdated,
)
from actors.domain.model import ProjectId, Roster, TaskId, UserId
from actors.ports import Audience, Codec
from actors.project import ProjectActor
from actors.registry import Registry

SWEEP_SECONDS = 0.5
_HURRY_SECONDS = 0.02
_PAGE_EVENTS = 2000
_MOST_EVENTS = 50_000  # about ten seconds of all that a database can take
_FOLLOW_SECONDS = 2.0

_log = structlog.get_logger()


class News(Protocol):
    """What a look at the logs came to."""

    @property
    def seen(self) -> str:
        """To be given the next time."""
        ...

    @property
    def changed(self) -> Mapping[ProjectId, tuple[int, int]]:
        """The first and the last of the new versions of each project."""
        ...


class Tail(Protocol):
    """The end of all logs together. All may wait, and raise StoreUnavailable."""

    async def news(self, seen: str | None, limit: int) -> News | None:
        """Say what is new since then, None if it is more than so many events.

        Raises StateAhead if that was later than now.
        """
        ...

    async def events_after(
        self, versions: Mapping[ProjectId, int], limit: int
    ) -> Sequence[tuple[ProjectId, bytes]]:
        """Read the logs of projects, each after a version and oldest first."""
        ...

    async def rosters(
        self, project_ids: Sequence[ProjectId]
    ) -> Mapping[ProjectId, Roster]:
        """Say who belongs to projects at present, or did when they were deleted."""
        ...

    async def parties(
        self, task_ids: Collection[TaskId]
    ) -> Mapping[TaskId, Collection[UserId]]:
        """Say who sees tasks because they made them or are to do them."""
        ...

    async def heads(self, project_ids: Sequence[ProjectId]) -> Mapping[ProjectId, int]:
        """Say which versions projects are at."""
        ...


class Follower:
    """Keeps what this node knows as new as the database; it owns one task.

    `lost_track` is called when more was missed than can be told one by one.
    """

    def __init__(
        self,
        tail: Tail,
        codec: Codec,
        bulletin: Bulletin,
        registry: Registry,
        *,
        lost_track: Callable[[], None] = lambda: None,
        missed: Callable[[int], None] = lambda events: None,
    ):
        self._tail = tail
        self._codec = codec
        self._bulletin = bulletin
        self._registry = registry
        self._lost_track = lost_track
        self._missed = missed
        self._seen: str | None = None
        self._wanted = asyncio.Event()
        self._waiting: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_hurrying = False
        self._is_away = False

    async def start(self) -> None:
        """Begin to look; `close` ends it. Nobody may rely on what was read before."""
        await self._try_to_look()
        self._task = asyncio.create_task(
            self._run(), name="follower", context=Context()
        )

    async def close(self) -> None:
        """Look no more; who waits is told that there is no answer."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._release(StoreUnavailable())

    def hear(self, audience: Audience, entries: Sequence[Entry]) -> None:
        """Take a hint of what another node committed; never waits."""
        project_id, last = entries[0].event.project_id, entries[-1].event.version
        actor = self._registry.peek(project_id)
        head = self._bulletin.head(project_id)
        if actor is not None:
            if last > actor.state.version and not (
                _is_all(entries) and actor.hear(entries)
            ):
                self.hurry()
        elif head is None or entries[0].event.version > head + 1:
            self.hurry()
        else:
            self._bulletin.publish(audience, entries)

    def hurry(self) -> None:
        """Look soon: a hint was missed, or may have been."""
        if not self._is_hurrying:
            self._is_hurrying = True
            asyncio.get_running_loop().call_later(_HURRY_SECONDS, self._wanted.set)

    async def follow(self) -> None:
        """Have all told that was committed before this call; may wait.

        Raises StoreUnavailable.
        """
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
        self._wanted.set()
        try:
            async with asyncio.timeout(_FOLLOW_SECONDS):
                await asyncio.shield(self._waiting)
        except TimeoutError:
            raise StoreUnavailable from None

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            self._is_hurrying = False
            waiting, self._waiting = self._waiting, None
            error = await self._try_to_look()
            _settle(waiting, error)

    async def _try_to_look(self) -> Exception | None:
        try:
            if await self.look():
                self._is_away = False
                return None
        except Unavailable as error:
            if not self._is_away:
                _log.warning("follower.waits", reason="database away")
            self._is_away = True
            return error
        except Exception:  # noqa: BLE001  # a node that follows no more would go stale
            _log.exception("follower.failed")
        return StoreUnavailable()

    async def look(self) -> bool:
        """Find what is new anywhere, and tell it; False if nobody knows what that is.

        Then it starts anew, and whatever was read before may be old. Raises
        StoreUnavailable.
        """
        news, is_older = None, False
        if self._seen is not None:
            try:
                news = await self._tail.news(self._seen, _MOST_EVENTS)
            except StateAhead:
                _log.error("follower.database_is_older")
                is_older = True
        if news is None:
            await self._start_anew(is_older=is_older)
            return False
        behind = dict(self._behind(news.changed))
        self._missed(sum(last - version for version, last in behind.values()))
        await self._tell_all(behind)
        self._seen = news.seen
        return True

    def _behind(
        self, changed: Mapping[ProjectId, tuple[int, int]]
    ) -> Iterator[tuple[ProjectId, tuple[int, int]]]:
        """Say of each project that is ahead of us where we are and where it is."""
        for project_id, (first, last) in changed.items():
            version = self._version(project_id)
            version = first - 1 if version is None else version
            if version < last:
                yield project_id, (version, last)

    def _version(self, project_id: ProjectId) -> int | None:
        actor = self._registry.peek(project_id)
        if actor is not None:
            return actor.state.version
        return self._bulletin.head(project_id)

    async def _tell_all(self, behind: Mapping[ProjectId, tuple[int, int]]) -> None:
        page: dict[ProjectId, int] = {}
        events = 0
        for project_id, (version, last) in behind.items():
            page[project_id] = version
            events += last - version
            if events >= _PAGE_EVENTS:
                await self._tell(page)
                page, events = {}, 0
        if page:
            await self._tell(page)

    async def _tell(self, versions: dict[ProjectId, int]) -> None:
        while versions:
            read = await self._tail.events_after(versions, _PAGE_EVENTS)
            found: dict[ProjectId, list[Entry]] = {}
            for project_id, bodies in groupby(read, key=itemgetter(0)):
                async with self._apart(project_id):
                    found[project_id] = [self._entry(body) for _, body in bodies]
            await self._take(found)
            versions = {
                project_id: entries[-1].event.version
                for project_id, entries in found.items()
                if len(entries) == _PAGE_EVENTS
            }

    def _entry(self, body: bytes) -> Entry:
        return Entry(event=self._codec.decode(body), body=body)

    async def _take(self, found: Mapping[ProjectId, Sequence[Entry]]) -> None:
        rosters: Mapping[ProjectId, Roster] = {}
        parties: Mapping[TaskId, Collection[UserId]] = {}
        if any(self._registry.peek(project_id) is None for project_id in found):
            # Of all: actors may be let go until this is known.
            rosters = await self._tail.rosters(list(found))
            parties = await self._tail.parties(_tasks_spoken_of(found.values()))
        for project_id, entries in found.items():
            async with self._apart(project_id):
                actor = self._registry.peek(project_id)
                if actor is not None:
                    self._hand(actor, entries)
                elif project_id in rosters:
                    self._publish(rosters[project_id], entries, parties)

    @asynccontextmanager
    async def _apart(self, project_id: ProjectId) -> AsyncIterator[None]:
        """Have what is wrong with one project stop nobody else: it is read anew.

        It waits only if there is something wrong.
        """
        try:
            yield
        except Exception:  # noqa: BLE001  # else no news would come, and nothing be loaded
            _log.exception("follower.project_failed", id=project_id)
            self._bulletin.doubt()
            await self._registry.drop(project_id)

    def _hand(self, actor: ProjectActor, entries: Sequence[Entry]) -> None:
        if entries[-1].event.version > actor.state.version and not actor.hear(entries):
            raise ValueError("the log has not what comes next")

    def _publish(
        self,
        roster: Roster,
        entries: Sequence[Entry],
        parties: Mapping[TaskId, Collection[UserId]],
    ) -> None:
        """Tell of a project that is not in memory."""
        told = [
            (audience_of_late(roster, entry.event, _concerned(entry, parties)), entry)
            for entry in entries
        ]
        for audience, group in joined(told):
            self._bulletin.publish(audience, group)
        if any(isinstance(entry.event, ProjectDeleted) for entry in entries):
            self._bulletin.doubt()  # who had a part in its tasks is not known any more

    async def _start_anew(self, *, is_older: bool) -> None:
        """Rely on nothing of before: at the start, and when too much was missed.

        In a database that is older, the same version may have been made by others.
        """
        news = await self._tail.news(None, _MOST_EVENTS)
        live = [actor.project_id for actor in self._registry]
        heads = await self._tail.heads(live)
        self._bulletin.forget()
        for project_id in live:
            actor, head = self._registry.peek(project_id), heads.get(project_id, 0)
            if actor is not None and (is_older or actor.state.version != head):
                await self._registry.drop(project_id)
                self._bulletin.begin(project_id, head)
        if self._seen is not None:
            _log.warning("follower.started_anew", projects=len(live))
            self._lost_track()
        self._seen = None if news is None else news.seen

    def _release(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        _settle(waiting, error)


def _is_all(entries: Sequence[Entry]) -> bool:
    """Whether an actor needs no later event of the same commit to tell who is shut out.

    Such a commit comes as several hints; the log gives it whole.
    """
    return not any(
        isinstance(entry.event, MemberRemoved | ProjectUpdated) for entry in entries
    )


def _tasks_spoken_of(found: Iterable[Sequence[Entry]]) -> set[TaskId]:
    return {
        entry.event.comment.task_id
        for entries in found
        for entry in entries
        if isinstance(entry.event, CommentEvent)
    }


def _concerned(
    entry: Entry, parties: Mapping[TaskId, Collection[UserId]]
) -> Collection[UserId]:
    if isinstance(entry.event, CommentEvent):
        return parties.get(entry.event.comment.task_id, ())
    return ()


def _settle(waiting: asyncio.Future[None] | None, error: Exception | None) -> None:
    if waiting is None or waiting.done():
        return
    if error is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(error)
        waiting.exception()  # there may be nobody left who waits
