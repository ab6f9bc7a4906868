"""The end of all logs of a fake store."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from actors.domain.model import ProjectId, Roster, TaskId, UserId
from tests.factories import ADA
from tests.unit.actors.fakes import FakeStore


@dataclass(frozen=True)
class FakeNews:
    seen: str
    changed: Mapping[ProjectId, tuple[int, int]]


class FakeTail:
    """Sees each log's length; `most` is how many events it takes for too many."""

    def __init__(self, store: FakeStore):
        self.store = store
        self.most = 1 << 30
        self.errors: deque[Exception] = deque()
        self.looks = 0
        self.reads = 0
        self._sights: list[dict[ProjectId, int]] = []

    async def news(self, seen: str | None, limit: int) -> FakeNews | None:
        self.looks += 1
        if self.errors:
            raise self.errors.popleft()
        self._sights.append({key: len(log) for key, log in self.store.logs.items()})
        if seen is None:
            return FakeNews(str(len(self._sights) - 1), {})
        before = self._sights[int(seen)]
        changed = {
            key: (before.get(key, 0) + 1, length)
            for key, length in self._sights[-1].items()
            if length > before.get(key, 0)
        }
        if sum(last + 1 - first for first, last in changed.values()) > self.most:
            return None
        return FakeNews(str(len(self._sights) - 1), changed)

    async def events_after(
        self, versions: Mapping[ProjectId, int], limit: int
    ) -> list[tuple[ProjectId, bytes]]:
        self.reads += 1
        return [
            (key, body)
            for key, version in versions.items()
            for body in self.store.logs[key][version : version + limit]
        ]

    async def rosters(
        self, project_ids: Sequence[ProjectId]
    ) -> dict[ProjectId, Roster]:
        return {key: self._roster(key) for key in project_ids}

    def _roster(self, project_id: ProjectId) -> Roster:
        state = self.store.states[project_id]
        return Roster(
            owner_id=ADA if state.project is None else state.project.owner_id,
            is_inbox=False,
            members=frozenset(state.members),
        )

    async def parties(
        self, task_ids: Collection[TaskId]
    ) -> dict[TaskId, Collection[UserId]]:
        tasks = {
            key: task
            for state in self.store.states.values()
            for key, task in state.tasks.items()
        }
        return {key: (tasks[key].created_by,) for key in task_ids}

    async def heads(self, project_ids: Sequence[ProjectId]) -> dict[ProjectId, int]:
        return {key: self.store.states[key].version for key in project_ids}
