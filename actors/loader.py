"""Reads projects: from a copy and what the log has since, or else from the tables.

A copy is believed only as far as the log confirms it: its last event has to stand
there, byte for byte, at its version. So one that another database left, or that is from
before a backup was restored, is thrown away. The archive is never needed.
"""

import time

import structlog

from actors.domain.model import ProjectId
from actors.domain.state import ProjectState
from actors.ports import Archive
from actors.project import Surroundings

_log = structlog.get_logger()

_EVENTS_LIMIT = 1000  # with more than these the tables are read as fast


class Loader:
    """Gives what `Store.load` would give."""

    def __init__(self, around: Surroundings, archive: Archive):
        self._store = around.store
        self._codec = around.codec
        self._meter = around.meter
        self._archive = archive

    async def load(self, project_id: ProjectId) -> ProjectState | None:
        """Read a project; None if there is none, or no longer. StoreUnavailable."""
        started = time.perf_counter()
        state, source = await self._from_archive(project_id), "snapshot"
        if state is None:
            state, source = await self._store.load(project_id), "database"
            if state is not None:
                self._archive.offer(state)
        if state is None or state.project is None:
            return None
        self._meter.loaded(source, time.perf_counter() - started)
        return state

    async def _from_archive(self, project_id: ProjectId) -> ProjectState | None:
        state = await self._archive.find(project_id)
        if state is None:
            return None
        bodies = await self._store.events_since(
            project_id, state.version - 1, _EVENTS_LIMIT
        )
        if not bodies or bodies[0] != state.tip or len(bodies) == _EVENTS_LIMIT:
            _log.info("snapshot.outdated", id=project_id, version=state.version)
            return None
        try:
            for body in bodies[1:]:
                state.apply(self._codec.decode(body))
        except Exception:  # noqa: BLE001  # whatever it is: the tables go round it
            _log.exception("snapshot.not_continued", id=project_id)
            return None
        state.tip = bodies[-1]
        return state
