"""The feed under stress: seeded scenarios in which every client checks what it gets."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from server import keys
from server.lines import Socket
from tests.dashboards import Dashboard, spelt, whole_log
from tests.integration.test_slow_readers import Sleeper
from tests.running_app import Board, Person, running, until

SEEDS = range(4)
seeds = pytest.mark.parametrize("seed", SEEDS)
STATUSES = ("pending", "in_progress", "completed")


class Writers:
    """People who change a project in every way there is."""

    def __init__(self, seed: int, person: Person, project_id: int):
        self.random = random.Random(seed)  # noqa: S311
        self.person = person
        self.project_id = project_id
        self.task_ids: list[int] = []
        self.version = 0

    async def write(self, count: int, at_once: int = 4) -> int:
        """Make changes, some at a time; answers with the version after them."""
        for _ in range(0, count, at_once):
            await asyncio.gather(*(self._write_one() for _ in range(at_once)))
        answer = await self.person.get(f"/projects/{self.project_id}/events?limit=1")
        self.version = answer.json["version"]
        return self.version

    async def _write_one(self) -> None:
        chance = self.random.random()
        if chance < 0.3 or not self.task_ids:
            task = await self.person.task(
                self.project_id, status=self.random.choice(STATUSES)
            )
            self.task_ids.append(task["id"])
            return
        task_id = self.random.choice(self.task_ids)
        if chance < 0.4:
            self.task_ids.remove(task_id)
            await self.person.delete(f"/tasks/{task_id}")
        elif chance < 0.5:
            await self.person.post(f"/tasks/{task_id}/comments", {"comment": "x"})
        else:
            await self.person.put(f"/tasks/{task_id}", self._change())

    def _change(self) -> dict[str, Any]:
        change: dict[str, Any] = {"status": self.random.choice(STATUSES)}
        if self.random.random() < 0.3:
            change["assigned_to"] = self.random.choice([None, self.person.id])
        if self.random.random() < 0.3:
            change["title"] = f"Title {self.random.randrange(5)}"
        if self.random.random() < 0.1:
            change["description"] = "x" * self.random.randrange(20_000)
        return change


class Scene:
    """An application, a project in it, and who writes there."""

    def __init__(self, board: Board, ada: Person, project_id: int, seed: int):
        self.board = board
        self.ada = ada
        self.project_id = project_id
        self.random = random.Random(seed)  # noqa: S311
        self.writers = Writers(seed, ada, project_id)
        self.dashboards: list[Dashboard] = []

    async def dashboard(
        self, person: Person | None = None, *, snapshot: bool = True, **options: Any
    ) -> Dashboard:
        """Somebody who follows the project from its state on."""
        options.setdefault("is_together", self.random.random() < 0.5)
        made = Dashboard(person or self.ada, self.project_id, **options)
        self.dashboards.append(made)
        await made.connect(snapshot=snapshot)
        await asyncio.wait_for(made.subscribed.wait(), 10)
        return made

    async def check(self) -> None:
        """Have all who are connected reach the end, and compare them with the truth."""
        log = await whole_log(self.board, self.ada, self.project_id)
        by_version = {event["version"]: event for event in log}
        state = await self.board.app[keys.REGISTRY].get(self.project_id)  # type: ignore[arg-type]
        for each in self.dashboards:
            if not each.reading.done() and each.wanted is None:
                await each.reach(log[-1]["version"])
                assert set(each.tasks) == set(state.state.tasks)
            assert each.problems == []
            assert all(
                event["type"] == "task_left" or event == by_version[event["version"]]
                for event in each.log
            )
        for each in self.dashboards:
            await each.close()


@pytest.fixture
async def scene(
    database_url: str, redis_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[Scene]:
    seed = request.node.callspec.params["seed"]
    async with _scene(database_url, redis_url, seed) as scene:
        yield scene


@asynccontextmanager
async def _scene(database_url: str, redis_url: str, seed: int) -> AsyncIterator[Scene]:
    async with running(database_url, redis_url) as board:
        ada = await board.person()
        project = await ada.project()
        yield Scene(board, ada, project["id"], seed)


@seeds
async def test_resuming_at_every_point_of_a_stream(scene: Scene, seed: int) -> None:
    last = await scene.writers.write(20)
    for since in range(last + 1):
        each = Dashboard(scene.ada, scene.project_id, is_together=since % 2 == 0)
        each.version = since
        await each.connect()
        await asyncio.wait_for(each.subscribed.wait(), 10)
        versions = [event["version"] for event in each.log]
        assert versions == list(range(since + 1, last + 1))
        assert each.problems == []
        await each.close()


@seeds
async def test_connections_that_break_again_and_again(scene: Scene, seed: int) -> None:
    boards = [await scene.dashboard() for _ in range(4)]
    writing = asyncio.create_task(scene.writers.write(60))
    while not writing.done():
        each = scene.random.choice(boards)
        await each.cut()
        await asyncio.sleep(scene.random.random() / 100)
        await each.connect()
    await writing

    await scene.check()
    assert all(each.snapshots == 1 for each in boards)


@seeds
async def test_a_server_that_forgets_and_starts_again(
    database_url: str, redis_url: str, seed: int
) -> None:
    dashboards: list[Dashboard] = []
    ada: Person | None = None
    for _ in range(2):
        async with running(database_url, redis_url) as board:
            if ada is None:
                ada = await board.person()
                project_id = (await ada.project())["id"]
            ada.board = board
            scene = Scene(board, ada, project_id, seed)
            for each in dashboards:
                await each.connect()
            scene.dashboards = dashboards
            if not dashboards:
                await scene.dashboard(is_together=True)
                await scene.dashboard(is_together=False)
            await scene.writers.write(12)
            for each in dashboards:
                await each.reach(scene.writers.version)
            await asyncio.gather(
                board.app.shutdown(), *(d.closed() for d in dashboards)
            )
            assert {each.close_code for each in dashboards} == {1012}
            expected = [e["version"] for e in await whole_log(board, ada, project_id)]
    for each in dashboards:
        assert [event["version"] for event in each.log] == expected[1:]
        assert [p for p in each.problems if "restarting" not in p] == []


@seeds
async def test_projects_that_are_stopped_under_their_watchers(
    scene: Scene, seed: int
) -> None:
    for _ in range(3):
        await scene.dashboard()
    registry = scene.board.app[keys.REGISTRY]
    for _ in range(8):
        await scene.writers.write(4)
        for actor in registry:
            await registry.drop(actor.project_id)

    await scene.check()


@seeds
async def test_subscribing_and_unsubscribing_all_the_time(
    scene: Scene, seed: int
) -> None:
    each = await scene.dashboard()
    writing = asyncio.create_task(scene.writers.write(40))
    while not writing.done():
        await asyncio.sleep(0.02)  # a hundred messages a second are too many
        if scene.random.random() < 0.5:
            op = {"op": "unsubscribe", "project_id": scene.project_id}
            await each.ws.send_json(op)
            await until(lambda: each.is_unsubscribed)
            each.is_unsubscribed = False
        each.subscribed.clear()
        since = each.version
        await each.subscribe()
        await asyncio.wait_for(each.subscribed.wait(), 10)
        assert each.version is not None
        assert since is not None
        assert each.version >= since
        # A subscription in place of another may begin with what came meanwhile.
        each.problems = [p for p in each.problems if "task" not in p or each.wanted]
    await writing
    await each.subscribe()
    log = await whole_log(scene.board, scene.ada, scene.project_id)
    await each.reach(log[-1]["version"])

    seen = {event["version"] for event in each.log}
    first = min(seen, default=0)
    assert seen >= set(range(first, log[-1]["version"] + 1))
    await each.close()


@seeds
async def test_slow_readers_do_not_slow_others(scene: Scene, seed: int) -> None:
    await scene.writers.write(4)
    query = f"?project_id={scene.project_id}&since=0"
    healthy = [await scene.dashboard() for _ in range(3)]
    async with Sleeper(scene.board, scene.ada, query) as sleeper:
        path = f"/tasks/{(await scene.ada.task(scene.project_id))['id']}"
        while sleeper.watcher.lag is None:
            await scene.ada.put(path, {"description": "y" * 15_000})
            await scene.ada.put(path, {"description": "z" * 15_000})
        last = await scene.writers.write(8)
        for each in healthy:
            await each.reach(last)
        messages = await sleeper.messages_until(last)
        found = [m for m in messages if isinstance(m, dict) and "version" in m]
        versions = [m["version"] for m in found if m["type"] != "subscribed"]

        assert versions == list(range(versions[0], last + 1))
    await scene.check()


@seeds
async def test_stalled_and_half_open_sockets_are_let_go(
    scene: Scene, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.latecomers.SLOW_SECONDS", 1.0)
    monkeypatch.setattr("server.lines.CLOSE_SECONDS", 0.05)
    healthy = await scene.dashboard()
    sockets = scene.board.app[keys.SOCKETS]
    query = f"?project_id={scene.project_id}"
    async with (
        Sleeper(scene.board, scene.ada, query) as stalled,
        Sleeper(scene.board, scene.ada) as mute,
    ):
        path = f"/tasks/{(await scene.ada.task(scene.project_id))['id']}"
        for _ in range(2):  # a ping, and no answer to it
            scene.board.app[keys.SWEEPER]._touch(mute.watcher)
        while len(sockets) > 1:
            size = scene.random.randrange(10_000, 20_000)
            await scene.ada.put(path, {"description": "x" * size})
        assert stalled.watcher.is_gone
        assert mute.watcher.is_gone
    await healthy.reach((await scene.ada.get(path)).json["version"])
    await scene.check()


@seeds
async def test_nonsense_hurts_only_who_says_it(scene: Scene, seed: int) -> None:
    await scene.dashboard()
    for _ in range(12):
        listener = await scene.board.connect(headers=scene.ada.headers)
        match scene.random.randrange(4):
            case 0:
                await listener.ws.send_str("x" * (64 * 1024 + 1))
                assert (await listener.closing())[0] == 1009
            case 1:
                listener.ws._conn.transport.write(  # type: ignore[union-attr]
                    scene.random.randbytes(scene.random.randrange(20, 200))
                )
                while (await listener.receive()).type is not (aiohttp.WSMsgType.CLOSE):
                    listener.ws._conn.transport.write(b"\xff" * 64)  # type: ignore[union-attr]
            case 2:
                await listener.ws.send_bytes(scene.random.randbytes(50))
                assert (await listener.next())["code"] == "text_only"
            case _:
                word = scene.random.choice(("null", "0", '"x"', "{}", '{"op":[]}', "{"))
                await listener.ws.send_str(word)
                assert (await listener.next())["type"] == "error"
        await listener.ws.close()
    await scene.writers.write(8)
    await scene.check()
    await until(lambda: not len(scene.board.app[keys.SOCKETS]))


@seeds
async def test_the_revoked_get_nothing_of_a_later_version(
    scene: Scene, seed: int
) -> None:
    people = [await scene.board.person() for _ in range(6)]
    for person in people:
        await scene.ada.add(scene.project_id, person, "member")
    boards = [await scene.dashboard(person) for person in people]
    await scene.dashboard()
    writing = asyncio.create_task(scene.writers.write(60, at_once=8))
    removed: dict[int, int] = {}
    for person in scene.random.sample(people, 4):
        await asyncio.sleep(scene.random.random() / 20)
        path = f"/projects/{scene.project_id}/members/{person.id}"
        assert (await scene.ada.delete(path)).status == 204
    await writing
    for event in await whole_log(scene.board, scene.ada, scene.project_id):
        if event["type"] == "member_removed":
            removed[event["member"]["user_id"]] = event["version"]
    assert len(removed) == 4

    for person, each in zip(people, boards, strict=True):
        if person.id in removed:
            assert await each.closed() == 4403
            assert each.is_unsubscribed
            assert each.log[-1]["version"] <= removed[person.id]
    await scene.check()


@seeds
async def test_ended_sessions_and_lost_roles_get_nothing_more(
    scene: Scene, seed: int
) -> None:
    from actors.domain.model import UserRole  # noqa: PLC0415

    boss = await scene.board.person(UserRole.MANAGER)
    another = await scene.board.session(scene.ada.caller)
    boards = [await scene.dashboard(boss), await scene.dashboard(another)]
    writing = asyncio.create_task(scene.writers.write(40))
    await asyncio.sleep(scene.random.random() / 10)
    await another.post("/auth/logout")
    seen_by_another = len(boards[1].log)
    await scene.board.promote(boss, UserRole.USER)
    await writing

    assert await boards[0].closed() == 4403
    assert await boards[1].closed() == 4001
    assert len(boards[1].log) <= seen_by_another + 64  # what was on its way
    last = len(boards[0].log), len(boards[1].log)
    await scene.writers.write(4)
    assert (len(boards[0].log), len(boards[1].log)) == last
    await scene.check()


@seeds
async def test_tokens_expire_and_are_renewed_in_band(scene: Scene, seed: int) -> None:
    renewed, lapsed = await scene.dashboard(), await scene.dashboard()
    feed, sweeper = scene.board.app[keys.FEED], scene.board.app[keys.SWEEPER]
    now = max(w.expires_at for w in feed if isinstance(w, Socket))
    sweeper._clock = lambda: now + scene.random.random()
    sweeper.sweep()
    pair = await scene.board.app[keys.SESSIONS].open(scene.ada.id)
    assert pair is not None
    await renewed.ws.send_json({"op": "auth", "token": pair.access_token})
    await until(lambda: any("authenticated" in p for p in renewed.problems))
    for watcher in feed:
        assert isinstance(watcher, Socket)
        watcher.expires_at += 100 * (not watcher.is_warned)
    sweeper._clock = lambda: now + 31
    sweeper.sweep()

    assert await lapsed.closed() == 4001
    assert any("expiring" in problem for problem in lapsed.problems)
    assert not renewed.reading.done()
    for each in (renewed, lapsed):
        words = ("authenticated", "expiring")
        each.problems = [p for p in each.problems if not any(w in p for w in words)]
    await scene.writers.write(4)
    await scene.check()


@seeds
async def test_a_storm_of_returning_clients_asks_the_database_once(
    scene: Scene, seed: int
) -> None:
    await scene.writers.write(20)
    boards = [await scene.dashboard() for _ in range(60)]
    for each in boards:
        await each.cut()
    await scene.writers.write(20)
    store = scene.board.app[keys.STORE]
    reads: list[int] = []
    read = store.events_since

    async def counted(*asked: Any) -> list[bytes]:
        reads.append(1)
        return await read(*asked)

    store.events_since = counted  # type: ignore[method-assign]
    if seed % 2:  # as after a restart: nothing is in memory
        channel = scene.board.app[keys.FEED]._channels.get(scene.project_id)  # type: ignore[arg-type]
        assert channel is not None
        channel.ring.restart(channel.head)
    await asyncio.gather(*(each.connect() for each in boards))
    for each in boards:
        await each.reach(scene.writers.version)

    assert len(reads) <= 2 * (seed % 2)
    await scene.check()
    assert all(each.snapshots == 1 for each in boards)


FILTERS: tuple[dict[str, Any], ...] = (
    {"status": "pending"},
    {"status": ["pending", "in_progress"], "unassigned": True},
    {"assigned_to": "me"},
    {"q": "title -2"},
)


@seeds
async def test_a_filter_shows_what_the_list_shows(scene: Scene, seed: int) -> None:
    wanted = FILTERS[seed]
    each = await scene.dashboard(wanted=wanted)
    for turn in range(6):
        last = await scene.writers.write(8)
        if turn % 3 == 2:
            await each.cut()
            await each.connect()
        await each.ws.send_str('{"op": "ping"}')
        await until(lambda: any("pong" in problem for problem in each.problems))
        each.problems = [p for p in each.problems if "pong" not in p]
        query = "&".join(f"{name}={spelt(value)}" for name, value in wanted.items())
        path = f"/tasks?project_id={scene.project_id}&limit=100&{query}"
        listed = await scene.ada.get(path)
        assert set(each.tasks) == {task["id"] for task in listed.json["tasks"]}, last
    await scene.check()
