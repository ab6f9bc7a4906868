"""Everybody who is at work while a cluster is put to the test."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from tests.e2e.clients import Api
from tests.e2e.cluster import Cluster
from tests.e2e.contenders import Doorkeeper, Rival
from tests.e2e.history import History, Lag
from tests.e2e.readers import Prober, Reader
from tests.e2e.servers import until
from tests.e2e.watchers import Listener, Subscriber, Watcher
from tests.e2e.writers import Writer

PROJECTS = 3
_PAUSE_SECONDS = 0.1  # of everybody, on average, between two requests
_QUIET_PAUSE_SECONDS = 0.4
_LAST_SECONDS = 30.0
_SEEN_SECONDS = 10.0


class Company:
    """Two who work, and a guest who comes and goes, in some projects at all servers.

    In each project there are a writer and a rival at each server, readers, a prober, a
    doorkeeper, and a watcher of each kind at one server or another. But in the last one
    all is written at the first server, now and then, and nobody names a version: the
    others hear of it from the first, or find it, or never know.
    """

    def __init__(self, cluster: Cluster, seed: int):
        self.history = History()
        self.projects: list[int] = []
        self.people: dict[str, list[Api]] = {}
        self._cluster = cluster
        self._seed = str(seed)
        self._ids: dict[str, int] = {}
        self._shared: list[tuple[str, str]] = []  # tasks for probes, and for rivals
        self._writers: list[Writer] = []
        self._last_writers: list[Writer] = []
        self._watchers: list[Watcher] = []
        self._stopping = asyncio.Event()
        self._working: list[asyncio.Task[None]] = []

    @classmethod
    @asynccontextmanager
    async def gather(cls, cluster: Cluster, seed: int) -> AsyncIterator[Self]:
        """Have everybody there, and at work for as long as the context lasts."""
        company = cls(cluster, seed)
        async with AsyncExitStack() as stack:
            for name in ("ada", "bob", "eve"):
                await company._hire(stack, name)
            async with asyncio.TaskGroup() as group:
                for number in range(PROJECTS):
                    await company._make_project(number)
                await company._make_quiet_project()
                watching = [group.create_task(w.run()) for w in company._watchers]
                await until(company._all_watch, "everybody watches")
                company._working = [
                    group.create_task(each) for each in company._to_do()
                ]
                try:
                    yield company
                finally:
                    company._stopping.set()
                    for task in watching:
                        task.cancel()

    async def finish(self) -> dict[int, int]:
        """Stop everybody; give the versions that a last write made of the projects."""
        self._stopping.set()
        _, busy = await asyncio.wait(self._working, timeout=_LAST_SECONDS)
        assert not busy, f"still at work, last told {self._last_told()}"
        last = [await w.write(w.farewell()) for w in self._last_writers]
        places = [attempt.place for write in last for attempt in write.tries]
        return dict(place for place in places if place is not None)

    async def have_seen(self, heads: dict[int, int]) -> None:
        """Wait until all watchers who may have seen these versions."""
        staying = [w for w in self._watchers if w.user_id != self._ids["eve"]]
        await until(
            lambda: all(watcher.has_seen(heads) for watcher in staying),
            f"everybody has seen {heads}",
            seconds=_SEEN_SECONDS,
        )

    def measure(self) -> None:
        """Note how soon each write was seen by those who watched at other servers."""
        history = self.history
        for attempt in history.tries:
            if attempt.place is None or attempt.is_replay:
                continue
            for watch in history.watches:
                seen = watch.arrived.get(attempt.place)
                is_live = 0 < watch.opened < attempt.started
                if seen is None or not is_live or watch.node == attempt.node:
                    continue
                history.lags.append(
                    Lag(
                        project_id=attempt.place[0],
                        version=attempt.place[1],
                        node=watch.node,
                        what="a watcher",
                        committed=attempt.ended,
                        seen=seen,
                    )
                )

    def _last_told(self) -> list[str]:
        """Say how the latest requests for changes that were not made were answered."""
        vain = [each for each in self.history.tries if not each.is_done]
        vain.sort(key=lambda each: each.ended)
        return [f"{t.request_id} at {t.node}: {t.status} {t.code}" for t in vain[-9:]]

    @property
    def _nodes(self) -> range:
        return range(len(self._cluster.nodes))

    async def _hire(self, stack: AsyncExitStack, name: str) -> None:
        first, *others = [node.served for node in self._cluster.nodes]
        api = await stack.enter_async_context(Api.open(first, name))
        self.people[name] = [api, *(api.at(served) for served in others)]
        self._ids[name] = (await api.call("GET", "/users/me"))["id"]

    async def _make_project(self, number: int) -> None:
        ada, bob = self.people["ada"], self.people["bob"]
        project_id = await self._begin(f"project {number}")
        for node in self._nodes:
            apis = (ada, bob)[node % 2]
            self._writers.append(
                Writer(
                    f"writer-{number}-{node}",
                    apis[node],
                    project_id,
                    self._seed,
                    self.history,
                    elsewhere=(*apis[node + 1 :], *apis[:node]),
                    pause_seconds=_PAUSE_SECONDS,
                    people=(self._ids["ada"], self._ids["bob"]),
                )
            )
        self._last_writers.append(self._writers[-1])
        self._watchers += self._watchers_of(number, project_id)

    async def _make_quiet_project(self) -> None:
        project_id = await self._begin("a quiet project")
        ada, bob = self.people["ada"][0], self.people["bob"]
        writer = Writer(
            "quiet-writer",
            ada,
            project_id,
            self._seed,
            self.history,
            pause_seconds=_QUIET_PAUSE_SECONDS,
        )
        self._writers.append(writer)
        self._last_writers.append(writer)
        for api in bob[1:]:
            self._watchers.append(
                Subscriber(
                    f"quiet-subscriber-{api.node}",
                    api,
                    self.history,
                    project_id=project_id,
                    user_id=self._ids["bob"],
                )
            )

    async def _begin(self, name: str) -> int:
        """Make a project with a member, and with tasks that some share."""
        ada = self.people["ada"][0]
        project_id = int((await ada.call("POST", "/projects", {"name": name}))["id"])
        path = f"/projects/{project_id}/members/{self._ids['bob']}"
        await ada.call("PUT", path, {"role": "member"})
        self.projects.append(project_id)
        task = {"title": "0", "project_id": project_id}
        made = [await ada.call("POST", "/tasks", task) for _ in range(2)]
        self._shared.append((f"/tasks/{made[0]['id']}", f"/tasks/{made[1]['id']}"))
        return project_id

    def _watchers_of(self, number: int, project_id: int) -> Iterable[Watcher]:
        """Give one of each kind, at servers that another project has for another."""
        node = [(number + kind) % len(self._nodes) for kind in range(4)]
        for kind, name in enumerate(("bob", "ada", "eve")):
            yield Subscriber(
                f"subscriber-{number}-{name}",
                self.people[name][node[kind]],
                self.history,
                project_id=project_id,
                user_id=self._ids[name],
                is_together=kind > 0,
            )
        name = ("ada", "bob", "eve")[number % 3]
        yield Listener(
            f"listener-{number}-{name}",
            self.people[name][node[3]],
            self.history,
            user_id=self._ids[name],
        )

    def _all_watch(self) -> bool:
        """Say whether all who may watch do; the guest is outside."""
        return all(
            watcher.watch is not None
            for watcher in self._watchers
            if watcher.user_id != self._ids["eve"]
        )

    def _to_do(self) -> Iterable[Coroutine[Any, Any, None]]:
        history, stopping, seed = self.history, self._stopping, self._seed
        ada, eve_id = self.people["ada"], self._ids["eve"]
        for writer in self._writers:
            yield writer.run(stopping)
        *busy, quiet = self.projects
        probed, _ = self._shared[-1]
        prober = Prober(ada[:1], ada, quiet, probed, history)
        yield prober.run(stopping, _QUIET_PAUSE_SECONDS)
        for number, project_id in enumerate(busy):
            for name, apis in self.people.items():
                yield Reader(
                    f"reader-{number}-{name}",
                    apis,
                    self._ids[name],
                    project_id,
                    history,
                    seed=seed,
                    is_guest=name == "eve",
                ).run(stopping, _PAUSE_SECONDS)
            probed, contested = self._shared[number]
            prober = Prober(ada, ada, project_id, probed, history)
            yield prober.run(stopping, _PAUSE_SECONDS)
            yield Doorkeeper(
                f"doorkeeper-{number}", ada, project_id, eve_id, seed=seed
            ).run(history, stopping)
            for node, api in enumerate(self.people["bob"]):
                name = f"rival-{number}-{node}"
                rival = Rival(name, api, project_id, contested, seed=seed)
                yield rival.run(history, stopping, 2 * _PAUSE_SECONDS)
