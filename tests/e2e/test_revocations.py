"""Who loses sight of a project during a storm of writes gets nothing of what follows.

`BOARDCAST_REVOCATIONS` is how many they are; `BOARDCAST_CHAOS_SEED` repeats an order.
"""

import asyncio
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.domain.model import UserRole
from server.embedded import Servers
from tests.e2e.people import SECRETS, Account, People
from tests.e2e.servers import Served, until
from tests.e2e.storm import Storm, Watcher

_REVOCATIONS = int(os.environ.get("BOARDCAST_REVOCATIONS", "40"))
_SEED = int(os.environ.get("BOARDCAST_CHAOS_SEED") or secrets.randbelow(10**9))
_OTHERS = max(8, _REVOCATIONS // 10)  # who stay, and see no less than before
_WRITES_APART = 300  # before the first revocation, and after the last
_LONGEST_SECONDS = 5.0  # from the answer to the end of the socket
_WAIT_SECONDS = 30.0

pytestmark = pytest.mark.timeout(60 + _REVOCATIONS)


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to lose sight of a project, and how sockets that watched it end.

    `is_of_project` says that who has not subscribed goes on, with other projects.
    """

    name: str
    revoke: Callable[[Storm, Account], Awaitable[None]]
    close_code: int
    is_of_project: bool = False


_KINDS = (
    Kind("removed", Storm.remove, 4403, is_of_project=True),
    Kind("demoted", Storm.demote, 4403, is_of_project=True),
    Kind("logged out", Storm.log_out, 4001),
    Kind("session ended", Storm.end_session, 4001),
    Kind("disabled", Storm.disable, 4001),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A watcher that was revoked; `head` was asked for once that was answered."""

    kind: Kind
    watcher: Watcher
    answered_at: float
    head: int

    @property
    def goes_on(self) -> bool:
        return self.kind.is_of_project and not self.watcher.is_subscribed

    def problems(self, removals: dict[int, int]) -> list[str]:
        """Name what it was given too much, or told too little."""
        watcher, found = self.watcher, []
        most = removals.get(watcher.account.user_id, self.head)
        if watcher.last > most:
            found.append(f"was given {watcher.last} after {most}")
        if not watcher.is_dense or watcher.surprises:
            found.append(f"has a gap, or {watcher.surprises}")
        told = watcher.socket.close_code, watcher.goodbye
        goodbye = "forbidden" if self.kind.is_of_project else None
        if not self.goes_on and told != (self.kind.close_code, goodbye):
            found.append(f"was told {told}")
        return [f"{self.kind.name}: {text}" for text in found]


@pytest.fixture
async def served(
    servers: Servers, database_url: str, tmp_path: Path
) -> AsyncIterator[Served]:
    environ = SECRETS | {
        "DATABASE_URL": database_url,
        "REDIS_URL": servers.redis_url or "",
        "BOARDCAST_ACCESS_LOG": "off",
        "BOARDCAST_LOG_LEVEL": "warning",
        "BOARDCAST_RATE_LIMIT_PER_MINUTE": "0",
    }
    server = Served(tmp_path / "server", environ)
    try:
        await server.start()
        yield server
    finally:
        server.stop()


async def test_nobody_is_told_of_what_follows_their_revocation(
    served: Served, database_url: str
) -> None:
    async with People.of(served, database_url) as people:
        storm = await _storm(people)
        victims, others = await _watchers(people, storm)
        async with _reading([watcher for _, watcher in victims] + others):
            async with storm.rage():
                await storm.go_on(_WRITES_APART)
                started, before = time.monotonic(), storm.writes
                revoked = [await _revoke(storm, *each) for each in _mixed(victims)]
                seconds, writes = time.monotonic() - started, storm.writes - before
                await storm.go_on(_WRITES_APART)
            closed = [each for each in revoked if not each.goes_on]
            await _until(lambda: not any(each.watcher.is_open for each in closed))
            head = await storm.head()
            await _until(lambda: all(watcher.last >= head for watcher in others))
            going_on = [each.watcher for each in revoked if each.goes_on]
            are_open = [watcher.is_open for watcher in (*others, *going_on)]
            log = await storm.log()

    removals = {
        event["member"]["user_id"]: event["version"]
        for event in log
        if event["type"] == "member_removed"
    }
    slowest = max((each.watcher.ended_at or 0) - each.answered_at for each in closed)
    print(  # noqa: T201
        f"seed {_SEED}: {dict(Counter(each.kind.name for each in revoked))} in "
        f"{seconds:.1f} s, {writes / seconds:.0f} writes/s, {len(log)} events; closed "
        f"at most {slowest * 1000:.0f} ms after the answer"
    )
    assert [text for each in revoked for text in each.problems(removals)] == []
    assert slowest <= _LONGEST_SECONDS
    assert are_open == [True] * len(are_open)
    assert all(watcher.is_dense and not watcher.surprises for watcher in others)
    assert {watcher.last for watcher in others} == {len(log)}


async def _storm(people: People) -> Storm:
    owner, admin = await people.person(), await people.person(UserRole.ADMIN)
    project = await owner.api.call("POST", "/projects", {"name": "Apollo"})
    return Storm(owner, admin, project["id"])


async def _watchers(
    people: People, storm: Storm
) -> tuple[list[tuple[Kind, Watcher]], list[Watcher]]:
    """Have those who will be revoked watch, as many of each kind, and the others."""
    victims, others = [], []
    for number in range(_REVOCATIONS):
        kind = _KINDS[number % len(_KINDS)]
        is_manager = kind.revoke is Storm.demote
        role = UserRole.MANAGER if is_manager else UserRole.USER
        account = await people.person(role)
        if not is_manager:
            await storm.add(account)
        victims.append((kind, await _watcher(storm, account, number)))
        if kind.revoke is Storm.end_session and len(others) < _OTHERS // 2:
            second = await people.session(account.user_id)
            others.append(await _watcher(storm, second, number))
    while len(others) < _OTHERS:
        account = await people.person()
        await storm.add(account)
        others.append(await _watcher(storm, account, len(others)))
    return victims, others


async def _watcher(storm: Storm, account: Account, number: int) -> Watcher:
    """Open a socket: every fourth only listens, some get each event by itself."""
    return await Watcher.open(
        account,
        storm.project_id,
        is_together=number % 7 != 0,
        subscribes=number % 4 != 0,
    )


@asynccontextmanager
async def _reading(watchers: list[Watcher]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(watcher.read()) for watcher in watchers]
        await _until(lambda: all(watcher.is_open for watcher in watchers))
        yield
        for task in reading:
            task.cancel()
    await asyncio.gather(*(watcher.socket.close() for watcher in watchers))


def _mixed(victims: list[tuple[Kind, Watcher]]) -> list[tuple[Kind, Watcher]]:
    return random.Random(_SEED).sample(victims, len(victims))  # noqa: S311


async def _revoke(storm: Storm, kind: Kind, watcher: Watcher) -> Revoked:
    await kind.revoke(storm, watcher.account)
    answered_at = time.monotonic()
    return Revoked(
        kind=kind, watcher=watcher, answered_at=answered_at, head=await storm.head()
    )


async def _until(is_so: Callable[[], bool]) -> None:
    await until(is_so, "they are all as far", seconds=_WAIT_SECONDS)
