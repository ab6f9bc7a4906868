"""Clients that write, each for itself, and keep a history of it."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.e2e.clients import Api, Wish
from tests.e2e.history import History, Try, Write

_FINAL = (400, 401, 403, 404, 412, 422)  # of which no try will make anything else
_PAUSE_SECONDS = 0.02  # between tries of something that fails


@dataclass(slots=True)
class _Task:
    """What a writer knows of a task of its own."""

    version: int
    is_completed: bool = False
    assigned_to: int | None = None
    comments: list[int] = field(default_factory=list)


class Writer:
    """Changes tasks of its own, one after the other.

    It repeats what has an Idempotency-Key until it is acknowledged, each time at the
    next of its servers, and leaves a task alone when it does not know what became of a
    change without one.
    """

    def __init__(  # noqa: PLR0913 (what it is, and how it goes about it)
        self,
        name: str,
        api: Api,
        project_id: int,
        seed: str,
        history: History,
        *,
        elsewhere: Sequence[Api] = (),
        pause_seconds: float = 0.0,
        people: Sequence[int] = (),
    ):
        self._name = name
        self._apis = (api, *elsewhere)
        self._project_id = project_id
        self._random = random.Random(f"{seed} {name}")  # noqa: S311
        self._history = history
        self._pause_seconds = pause_seconds
        self._people = people
        self._tasks: dict[int, _Task] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Write until it is enough."""
        for number in itertools.count():
            if stopping.is_set():
                return
            await self.write(self._wish(f"{self._name}-{number}"))
            await asyncio.sleep(self._random.uniform(0, 2 * self._pause_seconds))

    async def write(self, wish: Wish) -> Write:
        """Ask for it, again and again if that is safe."""
        write = Write(
            project_id=self._project_id,
            kinds=wish.kinds,
            key=wish.key,
            if_match=wish.if_match,
        )
        self._history.writes.append(write)
        for number, api in enumerate(itertools.cycle(self._apis)):
            last = await api.attempt(wish, f"{wish.name}.{number}")
            write.tries.append(last)
            if not last.is_done:
                await asyncio.sleep(_PAUSE_SECONDS)
            if wish.key is None or self._is_enough(last):
                break
        self._learn(wish, last)
        return write

    def farewell(self) -> Wish:
        """Say something that is repeated until it is heard."""
        name = f"{self._name}-farewell"
        return self._creation(name, name)

    def _is_enough(self, last: Try) -> bool:
        if last.is_done:  # now and then it is repeated all the same
            return last.is_replay or self._random.random() < 0.9
        return last.status in _FINAL

    def _wish(self, name: str) -> Wish:
        key = name if self._random.random() < 0.5 else None
        choice = self._random.random()
        if choice < 0.3 or not self._tasks:
            return self._creation(name, key)
        task_id = self._random.choice(list(self._tasks))
        if choice < 0.6:
            return self._change(name, key, task_id)
        if choice < 0.7:
            return self._assignment(name, key, task_id)
        if choice < 0.9:
            return self._comment(name, key, task_id)
        return Wish(
            name=name,
            method="DELETE",
            path=f"/tasks/{task_id}",
            body=None,
            kinds=("task_deleted",),
            task_id=task_id,
        )

    def _creation(self, name: str, key: str | None) -> Wish:
        return Wish(
            name=name,
            method="POST",
            path="/tasks",
            body={"title": name, "project_id": self._project_id},
            kinds=("task_created",),
            key=key,
        )

    def _change(self, name: str, key: str | None, task_id: int) -> Wish:
        body: dict[str, object] = {"title": name}
        kinds: tuple[str, ...] = ("task_updated",)
        if not self._tasks[task_id].is_completed and self._random.random() < 0.3:
            body["status"] = "completed"
            kinds = ("task_updated", "task_completed")
        is_careful = self._random.random() < 0.5
        return Wish(
            name=name,
            method=self._random.choice(("PUT", "PATCH")),
            path=f"/tasks/{task_id}",
            body=body,
            kinds=kinds,
            key=key,
            if_match=self._tasks[task_id].version if is_careful else None,
            task_id=task_id,
        )

    def _assignment(self, name: str, key: str | None, task_id: int) -> Wish:
        known = self._tasks[task_id].assigned_to
        others = [user_id for user_id in (*self._people, None) if user_id != known]
        if not others:
            return self._creation(name, key)
        return Wish(
            name=name,
            method="POST",
            path=f"/tasks/{task_id}/assign",
            body={"assigned_to": self._random.choice(others)},
            kinds=("task_assigned",),
            key=key,
            task_id=task_id,
        )

    def _comment(self, name: str, key: str | None, task_id: int) -> Wish:
        path, known = f"/tasks/{task_id}/comments", self._tasks[task_id].comments
        method, kind, body = "POST", "comment_created", {"comment": name}
        if known and self._random.random() < 0.6:
            path += f"/{self._random.choice(known)}"
            method, kind = "PATCH", "comment_updated"
            if self._random.random() < 0.5:
                return Wish(
                    name=name,
                    method="DELETE",
                    path=path,
                    body=None,
                    kinds=("comment_deleted",),
                    task_id=task_id,
                )
        return Wish(
            name=name,
            method=method,
            path=path,
            body=body,
            kinds=(kind,),
            key=key,
            task_id=task_id,
        )

    def _learn(self, wish: Wish, last: Try) -> None:
        """Keep what an answer tells; forget the task if it is not known any more."""
        thing = last.shown
        if last.is_done and thing is not None and "title" in thing:
            task = self._tasks.setdefault(thing["id"], _Task(thing["version"]))
            task.version, task.assigned_to = thing["version"], thing["assigned_to"]
            task.is_completed = thing["status"] == "completed"
        elif last.is_done and wish.kinds == ("comment_created",):
            self._tasks[thing["task_id"]].comments.append(thing["id"])
        elif last.is_done and wish.kinds == ("comment_deleted",):
            comment_id = int(wish.path.rpartition("/")[2])
            self._tasks[wish.task_id].comments.remove(comment_id)
        elif wish.kinds != ("comment_updated",) and not last.is_refused:
            self._tasks.pop(wish.task_id, None)
