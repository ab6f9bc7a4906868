"""Clients that want the same thing, and one that lets people in and out."""

import asyncio
import itertools
import random
from collections.abc import Sequence

from tests.e2e.clients import Api, Wish
from tests.e2e.history import History, Write

_OK = 200
_NOT_FOUND = 404
_PAUSE_SECONDS = 0.05
_STAY_SECONDS = (0.2, 1.5)


class Rival:
    """Counts in the title of a task that others count in too, each on what it saw."""

    def __init__(self, name: str, api: Api, project_id: int, path: str, *, seed: str):
        self._name = name
        self._api = api
        self._project_id = project_id
        self._path = path
        self._random = random.Random(f"{seed} {name}")  # noqa: S311

    async def run(
        self, history: History, stopping: asyncio.Event, pause_seconds: float
    ) -> None:
        """Count until it is enough."""
        for number in itertools.count():
            if stopping.is_set():
                return
            name = f"{self._name}-{number}"
            answer = await self._api.get(self._path, f"{name}-look")
            if answer is not None and answer[0] == _OK:
                task = answer[1]
                wish = Wish(
                    name=name,
                    method="PUT",
                    path=self._path,
                    body={"title": str(int(task["title"]) + 1)},
                    kinds=("task_updated",),
                    if_match=task["version"],
                )
                write = Write(
                    project_id=self._project_id,
                    kinds=wish.kinds,
                    if_match=wish.if_match,
                )
                history.writes.append(write)
                write.tries.append(await self._api.attempt(wish, name))
            await asyncio.sleep(self._random.uniform(0, 2 * pause_seconds))


class Doorkeeper:
    """Lets a guest into a project and out of it, for a while each."""

    def __init__(
        self,
        name: str,
        apis: Sequence[Api],
        project_id: int,
        guest_id: int,
        *,
        seed: str,
    ):
        self._name = name
        self._apis = apis
        self._project_id = project_id
        self._path = f"/projects/{project_id}/members/{guest_id}"
        self._log = f"/projects/{project_id}/events"
        self._since = 0
        self._random = random.Random(f"{seed} {name}")  # noqa: S311

    async def run(self, history: History, stopping: asyncio.Event) -> None:
        """Begin and end with the guest outside."""
        for number in itertools.count():
            if stopping.is_set():
                return
            for wish in self._wishes(f"{self._name}-{number}"):
                await self._have(history, wish)
                await asyncio.sleep(self._random.uniform(*_STAY_SECONDS))

    async def _have(self, history: History, wish: Wish) -> None:
        """Ask at one server after the other until it is so."""
        write = Write(project_id=self._project_id, kinds=wish.kinds, key=wish.key)
        history.writes.append(write)
        for number, api in enumerate(itertools.cycle(self._apis)):
            last = await api.attempt(wish, f"{wish.name}.{number}")
            write.tries.append(last)
            if last.place is not None:
                self._since = last.place[1]
            if last.is_done or await self._was_done(write):
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _was_done(self, write: Write) -> bool:
        """Look for what an earlier try did in the log, which is never behind.

        A server that has not heard of the guest refuses to remove them.
        """
        if write.tries[-1].status != _NOT_FOUND:
            return False
        page = f"{self._log}?limit=100&since={self._since}"
        answer = await self._apis[0].get(page, "look")
        if answer is None or answer[0] != _OK:
            return False
        ids = {attempt.request_id for attempt in write.tries}
        return any(event["request_id"] in ids for event in answer[1]["events"])

    def _wishes(self, name: str) -> tuple[Wish, Wish]:
        enter = Wish(
            name=f"{name}-in",
            method="PUT",
            path=self._path,
            body={"role": "viewer"},
            kinds=("member_added",),
            key=f"{name}-in",
        )
        leave = Wish(
            name=f"{name}-out",
            method="DELETE",
            path=self._path,
            body=None,
            kinds=("member_removed",),
        )
        return enter, leave
