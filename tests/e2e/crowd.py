"""Many clients at once: the load under which a server is killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from tests.e2e.clients import Api
from tests.e2e.history import History
from tests.e2e.servers import Served, until
from tests.e2e.watchers import Watcher
from tests.e2e.writers import Writer

PROJECTS = 3
WRITERS_A_PROJECT = 4
LOAD_SECONDS = 30.0


class Crowd:
    """Two users with three projects, each with writers, and their watchers."""

    def __init__(self, name: str, seed: int, owner: Api, member: Api):
        self.history = History()
        self.projects: list[int] = []
        self.owner = owner
        self._name = name
        self._seed = f"{name} {seed}"
        self._apis = (owner, member)
        self._writers: list[Writer] = []
        self._watchers = [
            Watcher(f"{name}-watcher-{number}", api, self.history)
            for number, api in enumerate((owner, member, member))
        ]
        self._stopping = asyncio.Event()
        self._working: list[asyncio.Task[None]] = []

    @classmethod
    @asynccontextmanager
    async def gather(cls, served: Served, name: str, seed: int) -> AsyncIterator[Self]:
        """Have everybody there, and at work for as long as the context lasts."""
        async with (
            Api.open(served, f"ada-{name}") as owner,
            Api.open(served, f"bob-{name}") as member,
        ):
            crowd = cls(name, seed, owner, member)
            await crowd._make_projects()
            async with asyncio.TaskGroup() as group:
                watching = [group.create_task(w.run()) for w in crowd._watchers]
                await until(crowd._all_watch, "everybody watches")
                crowd._working = [
                    group.create_task(writer.run(crowd._stopping))
                    for writer in crowd._writers
                ]
                try:
                    yield crowd
                finally:
                    crowd._stopping.set()
                    for task in watching:
                        task.cancel()

    async def reach(self, acknowledged: int) -> None:
        """Wait until so many writes have been acknowledged."""
        await until(
            lambda: self.history.acknowledged >= acknowledged,
            f"{acknowledged} acknowledged writes",
            seconds=LOAD_SECONDS,
        )

    async def finish(self) -> None:
        """Stop writing, and have all that was written be seen."""
        self._stopping.set()
        await until(self._is_quiet, "no write is under way", seconds=LOAD_SECONDS)
        await until(self._all_watch, "everybody watches again")
        last = [await w.write(w.farewell()) for w in self._writers[::WRITERS_A_PROJECT]]
        heads = {
            write.project_id: write.tries[-1].shown["version"]
            for write in last
            if write.tries[-1].shown is not None
        }
        await until(
            lambda: all(watcher.has_seen(heads) for watcher in self._watchers),
            f"everybody has seen {heads}",
        )

    async def _make_projects(self) -> None:
        owner, member = self._apis
        member_id = (await member.call("GET", "/users/me"))["id"]
        for number in range(PROJECTS):
            body = {"name": f"{self._name} {number}"}
            project_id = (await owner.call("POST", "/projects", body))["id"]
            path = f"/projects/{project_id}/members/{member_id}"
            await owner.call("PUT", path, {"role": "member"})
            self.projects.append(project_id)
            for place in range(WRITERS_A_PROJECT):
                name = f"{self._name}-{number}-{place}"
                api = self._apis[place % 2]
                self._writers.append(
                    Writer(name, api, project_id, self._seed, self.history)
                )

    def _all_watch(self) -> bool:
        return all(watcher.watch is not None for watcher in self._watchers)

    def _is_quiet(self) -> bool:
        return all(task.done() for task in self._working)
