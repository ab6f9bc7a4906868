"""Whatever comes between what: each event is told once, in order, to who may know."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from actors import follower, registry
from actors.domain.commands import CreateTask, PutMember, RemoveMember
from actors.domain.errors import DomainError, OutcomeUnknown, StoreUnavailable
from actors.domain.model import ProjectId
from actors.ports import Audience
from tests.factories import ADA, BOB, PROJECT, make_caller, make_command
from tests.unit.actors.fakes import FakeSocket, entries_of, settle
from tests.unit.actors.test_follower import ELSEWHERE, Following, follow

ROUNDS = 25


class World:
    """A node, and others that write too; all that waits does so for a random time."""

    def __init__(self, following: Following, seed: int):
        self.following = following
        self.store = following.store
        self.random = random.Random(seed)  # noqa: S311 (the same each time)
        self.removal = 0
        self.hints: list[asyncio.Task[None]] = []
        for thing, names in (
            (self.store, ("load", "append", "events_since")),
            (following.tail, ("news", "events_after", "rosters", "parties")),
        ):
            for name in names:
                setattr(thing, name, self.slow(getattr(thing, name)))

    def slow(self, inner: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def slowly(*args: object) -> object:
            await self.pause()
            answer = await inner(*args)
            await self.pause()
            return answer

        return slowly

    async def pause(self) -> None:
        for _ in range(self.random.randrange(8)):
            await asyncio.sleep(0)

    def project(self) -> ProjectId:
        return self.random.choice((PROJECT, ELSEWHERE))

    def task(self) -> CreateTask:
        return make_command(CreateTask, task_id=self.random.randrange(1, 1 << 40))

    async def write_elsewhere(self) -> None:
        for number in range(ROUNDS):
            project_id = self.project()
            if number == ROUNDS // 2:
                self.store.write(make_command(RemoveMember, user_id=BOB))
                self.removal = self.store.state().version
            for _ in range(self.random.randrange(1, 3)):
                self.store.write(self.task(), project_id)
            if self.random.random() < 0.8:  # the other hints are lost
                last = len(self.store.logs[project_id])
                first = max(1, last - self.random.randrange(4))
                hint = self.hint(project_id, first, last)
                self.hints.append(asyncio.create_task(hint))
            await self.pause()

    async def hint(self, project_id: ProjectId, first: int, last: int) -> None:
        await self.pause()
        for entry in entries_of(self.store.logs[project_id][first - 1 : last]):
            version = entry.event.version
            is_member = not self.removal or version <= self.removal
            audience = Audience(
                members={BOB} if is_member and project_id == PROJECT else (),
                others=frozenset((ADA,)),
                is_inbox=False,
                lost=frozenset((BOB,) if version == self.removal else ()),
            )
            self.following.follower.hear(audience, [entry])

    async def write_here(self) -> None:
        for _ in range(ROUNDS):
            chance = self.random.random()
            if chance < 0.1:
                self.store.errors.append(OutcomeUnknown())
            elif chance < 0.15:
                self.store.lost.append(OutcomeUnknown())
            elif chance < 0.2:
                self.following.tail.errors.append(StoreUnavailable())
            with suppress(DomainError):
                await self.following.node.registry.ask(self.project(), self.task())
            await self.pause()

    async def let_go(self) -> None:
        for _ in range(4 * ROUNDS):
            await self.pause()
            self.following.node.clock.advance(601)
            await self.following.node.registry.evict_idle()

    async def settle(self) -> None:
        await asyncio.gather(*self.hints)
        for errors in (self.store.errors, self.store.lost, self.following.tail.errors):
            errors.clear()
        for project_id in (PROJECT, ELSEWHERE):
            await self.reach(project_id)
        await settle()

    async def reach(self, project_id: ProjectId) -> None:
        """Have the project loaded and told whole, whatever has failed before."""
        state = None
        while state != self.store.state(project_id):
            with suppress(DomainError):
                await self.following.follower.follow()
                state = (await self.following.node.actor(project_id)).state
            self.following.node.clock.advance(60)
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("seed", range(50))
async def test_each_event_is_told_once_and_in_order_whatever_comes_between(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "SWEEP_SECONDS", 0.002)
    monkeypatch.setattr(follower, "_HURRY_SECONDS", 0.0005)
    monkeypatch.setattr(registry, "_BACKOFF_SECONDS", 0.0005)
    async with follow() as following:
        world, bob = World(following, seed), FakeSocket(make_caller(BOB))
        following.store.make_project(ELSEWHERE)
        following.store.write(make_command(PutMember, user_id=BOB))
        following.node.feed.attach(bob)
        writers = (world.write_elsewhere, world.write_here, world.write_here)

        await asyncio.gather(*(each() for each in writers), world.let_go())
        await world.settle()

        told = [(m["project_id"], m["version"]) for m in following.socket.messages]
        for project_id, first in ((PROJECT, 2), (ELSEWHERE, 1)):
            versions = [version for key, version in told if key == project_id]
            last = following.store.state(project_id).version
            assert versions == list(range(first, last + 1))
        assert bob.messages
        assert max(m["version"] for m in bob.messages) <= world.removal
