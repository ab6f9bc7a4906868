"""Who a token speaks for, and for how long."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from itertools import chain

import pytest
import structlog

from actors.domain.errors import StoreUnavailable
from actors.domain.model import Caller, UserId, UserRole
from server import sessions as module
from server.principals import PrincipalCache
from server.sessions import Principal, Sessions
from server.tokens import InvalidToken, Tokens
from sql.accounts import LiveSession
from sql.users import ChangedUser, SessionId, User

NOW = 1_800_000_000
ADA, BOB = UserId(1), UserId(2)


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class FakeAccounts:
    """Sessions without a database: which are live is what a test says."""

    def __init__(self) -> None:
        self.live: dict[int, LiveSession] = {}
        self.asked: list[list[int]] = []
        self.is_away = False
        self.refused = asyncio.Semaphore(0)
        self.held: asyncio.Event | None = None
        self.has_read = asyncio.Event()

    def log_in(self, session_id: int, user_id: UserId) -> None:
        self.live[session_id] = LiveSession(
            user_id=user_id, role=UserRole.USER, is_active=True
        )

    def change(
        self, session_id: int, *, role: UserRole, is_active: bool = True
    ) -> None:
        user_id = self.live[session_id].user_id
        self.live[session_id] = LiveSession(
            user_id=user_id, role=role, is_active=is_active
        )

    async def live_sessions(self, ids: Collection[int]) -> Mapping[int, LiveSession]:
        self.asked.append(sorted(ids))
        if self.is_away:
            self.refused.release()
            raise StoreUnavailable
        found = {key: self.live[key] for key in ids if key in self.live}
        self.has_read.set()
        if self.held is not None:
            await self.held.wait()
        return found

    async def revoke_session(
        self,
        session_id: int,
        *,
        user_id: UserId | None = None,
        reason: str,
        receipt: object = None,
    ) -> bool:
        return self.live.pop(session_id, None) is not None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(access_secret=b"a" * 32, refresh_secret=b"r" * 32, clock=clock)


@pytest.fixture
def accounts() -> FakeAccounts:
    accounts = FakeAccounts()
    accounts.log_in(11, ADA)
    accounts.log_in(12, BOB)
    return accounts


@pytest.fixture
def sessions(accounts: FakeAccounts, tokens: Tokens, clock: Clock) -> Sessions:
    return Sessions(accounts, tokens, clock=clock)  # type: ignore[arg-type]  # a fake


@pytest.fixture
def adas(tokens: Tokens) -> str:
    return tokens.issue(ADA, SessionId(11))


@pytest.fixture
def ended(sessions: Sessions) -> list[frozenset[int]]:
    heard: list[frozenset[int]] = []
    sessions.on_revoked(heard.append)
    return heard


async def test_a_token_speaks_for_its_user(sessions: Sessions, adas: str) -> None:
    principal = await sessions.authenticate(adas)

    assert principal == Principal(
        user_id=ADA,
        role=UserRole.USER,
        session_id=SessionId(11),
        expires_at=NOW + 900,
    )
    assert principal.caller == Caller(id=ADA, role=UserRole.USER)


async def test_a_token_is_looked_up_once(
    sessions: Sessions, accounts: FakeAccounts, adas: str
) -> None:
    assert sessions.cached(adas) is None
    first = await sessions.authenticate(adas)

    assert sessions.cached(adas) is first
    assert await sessions.authenticate(adas) is first
    assert accounts.asked == [[11]]


async def test_a_forged_token_never_reaches_the_database(
    sessions: Sessions, accounts: FakeAccounts
) -> None:
    with pytest.raises(InvalidToken):
        await sessions.authenticate("forged")
    assert accounts.asked == []


@pytest.mark.parametrize("what", ["revoked", "inactive", "of another"])
async def test_a_new_token_of_no_live_session_is_refused(
    sessions: Sessions, accounts: FakeAccounts, adas: str, what: str
) -> None:
    if what == "revoked":
        del accounts.live[11]
    elif what == "inactive":
        accounts.change(11, role=UserRole.USER, is_active=False)
    else:
        accounts.log_in(11, BOB)

    with pytest.raises(InvalidToken):
        await sessions.authenticate(adas)
    assert sessions.cached(adas) is None


async def test_a_cached_token_expires_with_the_token(
    sessions: Sessions, clock: Clock, adas: str
) -> None:
    await sessions.authenticate(adas)
    clock.now += 899.9
    assert sessions.cached(adas)
    clock.now = NOW + 900

    assert sessions.cached(adas) is None
    with pytest.raises(InvalidToken):
        await sessions.authenticate(adas)


async def test_without_a_database_new_tokens_wait_and_known_ones_work(
    sessions: Sessions, accounts: FakeAccounts, tokens: Tokens, adas: str
) -> None:
    known = await sessions.authenticate(adas)
    accounts.is_away = True

    with pytest.raises(StoreUnavailable):
        await sessions.authenticate(tokens.issue(BOB, SessionId(12)))
    assert await sessions.authenticate(adas) is known


async def test_a_log_out_is_known_here_at_once_and_told(
    sessions: Sessions, adas: str, ended: list[frozenset[int]]
) -> None:
    await sessions.authenticate(adas)

    assert await sessions.revoke(11)
    assert not await sessions.revoke(11)

    assert sessions.cached(adas) is None
    assert ended == [{11}]


async def test_a_token_looked_up_while_its_session_ends_is_not_kept(
    sessions: Sessions, accounts: FakeAccounts, adas: str
) -> None:
    accounts.held = asyncio.Event()
    looking = asyncio.create_task(sessions.authenticate(adas))
    await accounts.has_read.wait()
    await sessions.revoke(11)
    accounts.held.set()
    await looking

    assert sessions.cached(adas) is None


async def test_a_sweep_finds_what_ended_elsewhere(
    sessions: Sessions,
    accounts: FakeAccounts,
    tokens: Tokens,
    adas: str,
    ended: list[frozenset[int]],
) -> None:
    bobs = tokens.issue(BOB, SessionId(12))
    await sessions.authenticate(adas)
    await sessions.authenticate(bobs)
    del accounts.live[11]
    accounts.asked.clear()

    await sessions.sweep()

    assert accounts.asked == [[11, 12]]
    assert sessions.cached(adas) is None
    assert sessions.cached(bobs) is not None
    assert ended == [{11}]


async def test_a_sweep_ends_the_sessions_of_a_user_who_became_inactive(
    sessions: Sessions, accounts: FakeAccounts, adas: str
) -> None:
    await sessions.authenticate(adas)
    accounts.change(11, role=UserRole.USER, is_active=False)

    await sessions.sweep()

    assert sessions.cached(adas) is None


async def test_a_sweep_gives_known_tokens_their_users_new_role(
    sessions: Sessions, accounts: FakeAccounts, tokens: Tokens, adas: str
) -> None:
    second = tokens.issue(ADA, SessionId(11))
    await sessions.authenticate(adas)
    await sessions.authenticate(second)
    accounts.change(11, role=UserRole.ADMIN)

    await sessions.sweep()

    for token in (adas, second):
        principal = sessions.cached(token)
        assert principal is not None
        assert principal.caller == Caller(id=ADA, role=UserRole.ADMIN)
        assert principal.expires_at == NOW + 900


async def test_a_sweep_forgets_expired_tokens_and_asks_for_nothing(
    sessions: Sessions, accounts: FakeAccounts, clock: Clock, adas: str
) -> None:
    await sessions.authenticate(adas)
    accounts.asked.clear()
    clock.now += 900

    await sessions.sweep()

    assert accounts.asked == []


async def test_a_socket_is_swept_after_its_token_is_forgotten(
    sessions: Sessions,
    accounts: FakeAccounts,
    ended: list[frozenset[int]],
) -> None:
    sessions.watch(11)
    sessions.watch(11)
    sessions.unwatch(11)
    del accounts.live[11]

    await sessions.sweep()
    await sessions.sweep()  # told again, until the socket has closed
    sessions.unwatch(11)
    await sessions.sweep()

    assert ended == [{11}, {11}]


async def test_closing_what_is_not_watched_does_nothing(
    sessions: Sessions, accounts: FakeAccounts
) -> None:
    sessions.unwatch(11)
    await sessions.sweep()

    assert accounts.asked == []


async def test_a_socket_hears_of_a_role_that_is_not_the_one_it_came_with(
    sessions: Sessions, accounts: FakeAccounts
) -> None:
    heard: list[Mapping[int, UserRole]] = []
    sessions.on_roles_changed(heard.append)
    sessions.watch(11, UserRole.USER)
    sessions.watch(12)
    await sessions.sweep()
    accounts.change(11, role=UserRole.MANAGER)
    await sessions.sweep()
    await sessions.sweep()
    sessions.watch(11, UserRole.USER)  # by a ticket from before the change
    await sessions.sweep()

    assert heard == [{11: UserRole.MANAGER}, {11: UserRole.MANAGER}]


async def test_a_newer_socket_does_not_hide_that_an_older_one_has_another_role(
    sessions: Sessions, accounts: FakeAccounts
) -> None:
    heard: list[Mapping[int, UserRole]] = []
    sessions.on_roles_changed(heard.append)
    sessions.watch(11, UserRole.MANAGER)
    sessions.watch(11, UserRole.USER)  # opened after the change, before a sweep
    await sessions.sweep()
    await sessions.sweep()

    assert heard == [{11: UserRole.USER}]


async def test_a_large_sweep_is_asked_in_slices(
    sessions: Sessions, accounts: FakeAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SWEEP_SLICE", 2)
    for session_id in range(5):
        sessions.watch(session_id)

    await sessions.sweep()

    assert sorted(chain(*accounts.asked)) == [0, 1, 2, 3, 4]
    assert max(map(len, accounts.asked)) == 2


async def test_the_sweeper_survives_an_outage_and_says_so_once(
    sessions: Sessions,
    accounts: FakeAccounts,
    monkeypatch: pytest.MonkeyPatch,
    adas: str,
) -> None:
    ended = asyncio.Event()
    sessions.on_revoked(lambda _: ended.set())
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0)
    await sessions.authenticate(adas)
    accounts.is_away = True
    structlog.reset_defaults()

    with structlog.testing.capture_logs() as logged:
        sessions.start()
        for _ in range(3):
            await accounts.refused.acquire()
        known_meanwhile = sessions.cached(adas)
        accounts.is_away = False
        del accounts.live[11]
        await asyncio.wait_for(ended.wait(), 5)
        await sessions.close()

    assert known_meanwhile is not None
    assert sessions.cached(adas) is None
    assert [entry["event"] for entry in logged] == ["sessions.sweep_failed"]


async def test_the_sweeper_survives_a_listener_that_breaks(
    sessions: Sessions, accounts: FakeAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[frozenset[int]] = []
    again = asyncio.Event()

    def hear(session_ids: frozenset[int]) -> None:
        heard.append(session_ids)
        if len(heard) == 1:
            raise RuntimeError
        again.set()

    sessions.on_revoked(hear)
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0)
    structlog.reset_defaults()
    sessions.watch(99)

    with structlog.testing.capture_logs() as logged:
        sessions.start()
        await asyncio.wait_for(again.wait(), 5)
        await sessions.close()

    assert logged[0]["event"] == "sessions.sweep_broken"


async def test_close_stops_the_sweeper(sessions: Sessions) -> None:
    sessions.start()
    await sessions.close()
    await sessions.close()

    assert not [task for task in asyncio.all_tasks() if task.get_name() == "sessions"]


def principal(session_id: int, *, expires_at: float = NOW) -> Principal:
    return Principal(
        user_id=ADA,
        role=UserRole.USER,
        session_id=SessionId(session_id),
        expires_at=expires_at,
    )


def test_the_cache_drops_the_least_recently_used() -> None:
    cache = PrincipalCache(2)
    cache.put("a", principal(1))
    cache.put("b", principal(2))
    cache.get("a")
    cache.put("c", principal(3))

    assert [name for name in "abc" if cache.get(name)] == ["a", "c"]
    assert cache.session_ids == {1, 3}


ADMIN = User(
    id=ADA,
    email="ada@example.com",
    username="ada",
    first_name="",
    last_name="",
    role=UserRole.ADMIN,
    is_active=True,
    created_at=datetime.fromtimestamp(NOW, UTC),
    updated_at=datetime.fromtimestamp(NOW, UTC),
    version=2,
)


async def test_a_socket_that_came_later_does_not_hide_a_new_role_from_others(
    accounts: FakeAccounts, sessions: Sessions
) -> None:
    heard: list[Mapping[int, UserRole]] = []
    sessions.on_roles_changed(heard.append)
    sessions.watch(11, UserRole.ADMIN)
    accounts.change(11, role=UserRole.USER)

    sessions.watch(11, UserRole.USER)  # by a ticket, which asks the database
    await sessions.sweep()
    await sessions.sweep()

    assert heard == [{11: UserRole.USER}]


async def test_a_role_that_was_given_here_needs_no_sweep(
    sessions: Sessions, adas: str
) -> None:
    heard: list[Mapping[int, UserRole]] = []
    sessions.on_roles_changed(heard.append)
    await sessions.authenticate(adas)
    sessions.watch(11, UserRole.USER)

    sessions.learn(ChangedUser(user=ADMIN, reseated=frozenset({SessionId(11)})))

    principal = sessions.cached(adas)
    assert principal is not None
    assert principal.caller == Caller(id=ADA, role=UserRole.ADMIN)
    assert heard == [{11: UserRole.ADMIN}]


async def test_a_role_that_was_read_before_it_changed_is_not_kept(
    sessions: Sessions, accounts: FakeAccounts, adas: str
) -> None:
    accounts.held = asyncio.Event()
    asking = asyncio.create_task(sessions.authenticate(adas))
    await accounts.has_read.wait()

    sessions.learn(ChangedUser(user=ADMIN, reseated=frozenset({SessionId(11)})))
    accounts.held.set()
    await asking

    assert sessions.cached(adas) is None


async def test_a_sweep_that_read_before_a_role_changed_does_not_bring_it_back(
    sessions: Sessions, accounts: FakeAccounts, adas: str
) -> None:
    await sessions.authenticate(adas)
    accounts.has_read.clear()
    accounts.held = asyncio.Event()
    sweeping = asyncio.create_task(sessions.sweep())
    await accounts.has_read.wait()

    sessions.learn(ChangedUser(user=ADMIN, reseated=frozenset({SessionId(11)})))
    accounts.held.set()
    await sweeping

    principal = sessions.cached(adas)
    assert principal is not None
    assert principal.role is UserRole.ADMIN


async def test_sessions_that_a_change_ended_are_refused_at_once(
    sessions: Sessions, adas: str, ended: list[frozenset[int]]
) -> None:
    await sessions.authenticate(adas)

    sessions.learn(ChangedUser(user=ADMIN, ended=frozenset({SessionId(11)})))

    assert sessions.cached(adas) is None
    assert ended == [frozenset({11})]


def test_the_cache_keeps_a_session_for_as_long_as_any_token_of_it() -> None:
    cache = PrincipalCache(9)
    cache.put("a", principal(1, expires_at=NOW))
    cache.put("b", principal(1, expires_at=NOW + 1))
    cache.put("b", principal(1, expires_at=NOW + 1))

    cache.drop_expired(NOW)
    assert cache.session_ids == {1}
    cache.drop_session(1)
    assert cache.session_ids == frozenset()
    assert cache.get("b") is None


async def test_sessions_that_changed_here_are_told_and_elsewhere_looked_at(
    sessions: Sessions, accounts: FakeAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_SECONDS", 3600)
    ended = asyncio.Event()
    sessions.on_revoked(lambda _: ended.set())
    sessions.watch(11)
    sessions.watch(12)
    sessions.start()
    accounts.change(11, role=UserRole.USER, is_active=False)

    sessions.doubt(frozenset((11, 99)))
    async with asyncio.timeout(5):
        await ended.wait()

    assert list(chain(*accounts.asked)) == [11]


async def test_what_this_process_ends_or_changes_is_told_to_others(
    sessions: Sessions,
) -> None:
    told: list[frozenset[int]] = []
    sessions.on_changed(told.append)

    sessions.forget(frozenset({SessionId(11)}))
    sessions.learn(ChangedUser(user=ADMIN, reseated=frozenset({SessionId(12)})))

    assert told == [{11}, {12}]
