"""Tickets open one socket each."""

import asyncio

import pytest
import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from actors.domain.model import UserId, UserRole
from server.seals import Seal
from server.sessions import Principal
from server.tickets import Tickets, TicketsUnavailable
from server.tokens import InvalidToken
from sql.users import SessionId

ADA = Principal(
    user_id=UserId(5),
    role=UserRole.MANAGER,
    session_id=SessionId(9),
    expires_at=1_800_000_900,
)


SEAL = Seal(b"secret", b"tickets")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeRedis:
    """As much of Redis as tickets use; answers, refuses or is silent."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.lifetimes: list[int] = []
        self.refuses = False
        self.is_silent = False
        self.asked = 0

    async def set(self, key: str, value: bytes, *, ex: int) -> None:
        self.kept[key] = value  # even if the answer gets lost
        self.lifetimes.append(ex)
        await self._answer()

    async def getdel(self, key: str) -> bytes | None:
        self.asked += 1
        await self._answer()
        return self.kept.pop(key, None)

    async def _answer(self) -> None:
        if self.refuses:
            raise RedisConnectionError
        if self.is_silent:
            await asyncio.Event().wait()


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(redis: FakeRedis, clock: Clock) -> Tickets:
    return Tickets(redis, SEAL, clock=clock)  # type: ignore[arg-type]  # a fake


async def test_a_ticket_tells_whose_it_is(tickets: Tickets) -> None:
    redeemed = await tickets.redeem(await tickets.issue(ADA))

    assert redeemed == ADA
    assert redeemed.caller == ADA.caller


async def test_a_ticket_is_good_for_30_seconds(
    tickets: Tickets, redis: FakeRedis
) -> None:
    await tickets.issue(ADA)

    assert redis.lifetimes == [30]


async def test_a_ticket_is_redeemed_on_another_node(
    tickets: Tickets, redis: FakeRedis
) -> None:
    other = Tickets(redis, SEAL)  # type: ignore[arg-type]  # a fake

    assert await other.redeem(await tickets.issue(ADA)) == ADA


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_ticket_opens_one_socket(
    tickets: Tickets, redis: FakeRedis, *, refuses: bool
) -> None:
    redis.refuses = refuses
    ticket = await tickets.issue(ADA)
    redis.refuses = False
    await tickets.redeem(ticket)

    with pytest.raises(InvalidToken):
        await tickets.redeem(ticket)


async def test_of_many_who_redeem_one_ticket_in_redis_one_succeeds(
    redis_url: str,
) -> None:
    async with Redis.from_url(redis_url) as redis:
        tickets = Tickets(redis, SEAL)
        ticket = await tickets.issue(ADA)
        (key,) = await redis.keys()
        lifetime = await redis.ttl(key)

        redeemed = await asyncio.gather(
            *(tickets.redeem(ticket) for _ in range(20)), return_exceptions=True
        )

    assert 25 <= lifetime <= 30
    assert [one for one in redeemed if not isinstance(one, InvalidToken)] == [ADA]


async def test_redis_holds_nothing_that_could_be_redeemed(
    tickets: Tickets, redis: FakeRedis
) -> None:
    ticket = await tickets.issue(ADA)

    (key,) = redis.kept
    assert ticket not in key
    assert ticket.encode() not in redis.kept[key]


async def test_a_ticket_that_no_node_sealed_is_not_redeemed(
    tickets: Tickets, redis: FakeRedis
) -> None:
    own, others = await tickets.issue(ADA), await tickets.issue(ADA)
    own_key, others_key = redis.kept
    redis.kept[own_key] = redis.kept[others_key]  # who writes there might be Ada
    with pytest.raises(InvalidToken):
        await tickets.redeem(own)
    redis.kept[others_key] = redis.kept[others_key][16:]
    with pytest.raises(InvalidToken):
        await tickets.redeem(others)


@pytest.mark.parametrize("fault", ["refuses", "is_silent"])
async def test_without_redis_a_ticket_is_kept_in_the_process(
    tickets: Tickets, redis: FakeRedis, fault: str
) -> None:
    setattr(redis, fault, True)
    ticket = await tickets.issue(ADA)

    assert await tickets.redeem(ticket) == ADA
    assert redis.asked == 0


async def test_an_outage_is_logged_once(tickets: Tickets, redis: FakeRedis) -> None:
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logged:
        for refuses in (True, True, False, True):
            redis.refuses = refuses
            await tickets.issue(ADA)

    assert [entry["event"] for entry in logged] == ["tickets.kept_locally"] * 2


async def test_a_ticket_kept_twice_is_still_redeemed_once(
    tickets: Tickets, redis: FakeRedis
) -> None:
    redis.is_silent = True  # but it has kept what it was sent
    ticket = await tickets.issue(ADA)
    redis.is_silent = False
    await tickets.redeem(ticket)

    other = Tickets(redis, SEAL)  # type: ignore[arg-type]  # a fake
    for copy in (ticket, "s" + ticket[1:]):
        with pytest.raises(InvalidToken):
            await other.redeem(copy)
    assert len(redis.kept) == 1


@pytest.mark.parametrize("fault", ["refuses", "is_silent"])
async def test_a_ticket_that_redis_has_cannot_be_redeemed_without_it(
    tickets: Tickets, redis: FakeRedis, fault: str
) -> None:
    ticket = await tickets.issue(ADA)
    setattr(redis, fault, True)

    with pytest.raises(TicketsUnavailable):
        await tickets.redeem(ticket)


async def test_a_ticket_in_the_process_expires_after_30_seconds(clock: Clock) -> None:
    tickets = Tickets(None, SEAL, clock=clock)
    early, late = await tickets.issue(ADA), await tickets.issue(ADA)
    clock.now += 29.9
    await tickets.redeem(early)
    clock.now += 0.1

    with pytest.raises(InvalidToken):
        await tickets.redeem(late)


async def test_the_process_keeps_a_bounded_number_of_tickets(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.tickets._KEPT", 2)
    tickets = Tickets(None, SEAL, clock=clock)
    first, second, third = [await tickets.issue(ADA) for _ in range(3)]

    with pytest.raises(InvalidToken):
        await tickets.redeem(first)
    assert await tickets.redeem(second) == await tickets.redeem(third) == ADA


@pytest.mark.parametrize("ticket", ["", "s", "m", "guess", "é", "\ud800", "s" * 65])
async def test_a_guess_is_refused(tickets: Tickets, ticket: str) -> None:
    with pytest.raises(InvalidToken):
        await tickets.redeem(ticket)
