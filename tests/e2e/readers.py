"""Clients that read at any node, and one that waits for a write to be seen there."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from typing import Any

from tests.e2e.clients import Api, Wish
from tests.e2e.history import History, Lag, Read, Write

_OK = 200
_PAGE = 100
_PROBE_SECONDS = 0.02
_LONGEST_PROBE_SECONDS = 10.0


class Reader:
    """Reads tasks, lists and the log of a project, naming versions now and then.

    Of a list only pages that hold all of it are kept. A guest, who may have to stay
    outside, reads no lists: whoever sees nothing gets an empty one.
    """

    def __init__(  # noqa: PLR0913 (who it is, and where it looks)
        self,
        name: str,
        apis: Sequence[Api],
        user_id: int,
        project_id: int,
        history: History,
        *,
        seed: str,
        is_guest: bool = False,
    ):
        self._name = name
        self._apis = apis
        self._user_id = user_id
        self._project_id = project_id
        self._history = history
        self._random = random.Random(f"{seed} {name}")  # noqa: S311
        self._kinds = ("task", "log") if is_guest else ("task", "log", "list")

    async def run(self, stopping: asyncio.Event, pause_seconds: float) -> None:
        """Read until it is enough."""
        for number in itertools.count():
            if stopping.is_set():
                return
            await self._read(f"{self._name}-{number}")
            await asyncio.sleep(self._random.uniform(0, 2 * pause_seconds))

    async def _read(self, request_id: str) -> None:
        version, task_id = self._known()
        wants = version if self._random.random() < 0.5 else 0
        kind = self._random.choice(self._kinds)
        named = f"min_version={self._project_id}:{wants}" if wants else ""
        paths = {
            "task": f"/tasks/{task_id}?{named}",
            "list": f"/tasks?project_id={self._project_id}&limit={_PAGE}&{named}",
            "log": f"/projects/{self._project_id}/events?since={max(0, version - 5)}"
            f"&limit={_PAGE}&{named}",
        }
        if kind == "task" and task_id is None:
            return
        api, loop = self._random.choice(self._apis), asyncio.get_running_loop()
        started = loop.time()
        answer = await api.get(paths[kind].rstrip("?&"), request_id)
        read: dict[str, Any] = {
            "request_id": request_id,
            "started": started,
            "ended": loop.time(),
            "project_id": self._project_id,
            "node": api.node,
            "user_id": self._user_id,
            "wants": wants,
            "task_id": task_id if kind == "task" else None,
        }
        if answer is not None:
            read |= _seen(kind, *answer)
        self._history.reads.append(Read(**read))

    def _known(self) -> tuple[int, int | None]:
        """Give the newest version that was acknowledged, and a task lately changed."""
        version, tasks = 0, []
        for write in reversed(self._history.writes[-100:]):
            for attempt in write.tries:
                if attempt.place is None or attempt.place[0] != self._project_id:
                    continue
                version = max(version, attempt.place[1])
                if attempt.shown is not None and "title" in attempt.shown:
                    tasks.append(attempt.shown["id"])
        return version, self._random.choice(tasks) if tasks else None


def _seen(kind: str, status: int, body: Any) -> dict[str, Any]:
    if status != _OK:
        return {"status": status, "code": body["code"]}
    match kind:
        case "task":
            return {"status": status, "tasks": [body]}
        case "log":
            head, events = body["version"], body["events"]
            is_whole = not events or events[-1]["version"] == head
            seen = {"head": head, "events": events}
        case _:
            is_whole = body["total"] == len(body["tasks"])
            seen = {"tasks": body["tasks"]}
    return {"status": status, "is_whole": is_whole, **seen}


class Prober:
    """Writes at a node, and looks at the others, plainly, until they show it.

    It writes at each of `writes_at` in turn.
    """

    def __init__(
        self,
        writes_at: Sequence[Api],
        apis: Sequence[Api],
        project_id: int,
        path: str,
        history: History,
    ):
        self._writes_at = writes_at
        self._apis = apis
        self._project_id = project_id
        self._path = path
        self._history = history

    async def run(self, stopping: asyncio.Event, pause_seconds: float) -> None:
        """Do so until it is enough."""
        for number, writer in enumerate(itertools.cycle(self._writes_at)):
            if stopping.is_set():
                return
            wish = Wish(
                name=f"probe-{self._project_id}-{number}",
                method="PATCH",
                path=self._path,
                body={"title": f"probe {number}"},
                kinds=("task_updated",),
            )
            write = Write(project_id=self._project_id, kinds=wish.kinds)
            self._history.writes.append(write)
            done = await writer.attempt(wish, wish.name)
            write.tries.append(done)
            if done.place is not None:
                version, at = done.place[1], done.ended
                async with asyncio.TaskGroup() as group:
                    for api in self._apis:
                        if api.node != writer.node:
                            group.create_task(self._await(api, version, at))
            await asyncio.sleep(pause_seconds)

    async def _await(self, api: Api, version: int, committed: float) -> None:
        loop, seen = asyncio.get_running_loop(), 0
        while seen < version and loop.time() - committed < _LONGEST_PROBE_SECONDS:
            answer = await api.get(self._path, "probe")
            seen = answer[1]["version"] if answer and answer[0] == _OK else 0
            if seen < version:
                await asyncio.sleep(_PROBE_SECONDS)
        self._history.lags.append(
            Lag(
                project_id=self._project_id,
                version=version,
                node=api.node,
                what="a plain read",
                committed=committed,
                seen=loop.time(),
            )
        )
