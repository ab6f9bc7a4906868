"""Tells of what was found in the log: to actors, and for projects not in memory."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import structlog

from actors.audiences import audience_of_late, joined
from actors.bulletin import Bulletin
from actors.domain.events import CommentEvent, Entry, ProjectDeleted
from actors.domain.model import ProjectId, Roster, TaskId, UserId
from actors.ports import Codec
from actors.project import ProjectActor
from actors.registry import Registry

_PAGE_EVENTS = 2000

_log = structlog.get_logger()


class Logs(Protocol):
    """What is read to tell of events. All may wait, and raise StoreUnavailable."""

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


class Teller:
    """Has each event told once: by the project's actor, or else by the bulletin."""

    def __init__(
        self, logs: Logs, codec: Codec, bulletin: Bulletin, registry: Registry
    ):
        self._logs = logs
        self._codec = codec
        self._bulletin = bulletin
        self._registry = registry

    async def tell(self, behind: Mapping[ProjectId, tuple[int, int]]) -> None:
        """Tell of projects from after a version up to another one; StoreUnavailable."""
        page: dict[ProjectId, int] = {}
        events = 0
        for project_id, (version, last) in behind.items():
            page[project_id] = version
            events += last - version
            if events >= _PAGE_EVENTS:
                await self._tell_page(page)
                page, events = {}, 0
        if page:
            await self._tell_page(page)

    async def _tell_page(self, versions: dict[ProjectId, int]) -> None:
        while versions:
            read = await self._logs.events_after(versions, _PAGE_EVENTS)
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
            rosters = await self._logs.rosters(list(found))
            parties = await self._logs.parties(_tasks_spoken_of(found.values()))
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
