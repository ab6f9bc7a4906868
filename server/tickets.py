"""Tickets: what a browser opens a WebSocket with, lest a token be in an address."""

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec
import structlog
from redis.exceptions import RedisError

from actors.domain.errors import Unavailable
from actors.domain.model import UserId, UserRole
from server.hints import REDIS_SECONDS, Client
from server.seals import Seal
from server.sessions import Principal
from server.tokens import InvalidToken
from sql.users import SessionId

LIFETIME_SECONDS = 30
_KEPT = 10_000
_TICKET_LENGTH = 64

# Where a ticket is kept is part of it: one that Redis may hold is never looked for in
# memory, nor the other way round, so that no ticket can be redeemed twice.
_SHARED, _LOCAL = "s", "m"

_log = structlog.get_logger(__name__)


class _Holder(msgspec.Struct, frozen=True):
    user_id: int
    role: UserRole
    session_id: int
    expires_at: float


class TicketsUnavailable(Unavailable):
    """Tickets cannot be checked right now; ask for a new one."""

    code = "tickets_unavailable"


class Tickets:
    """Issues tickets that open one socket each, within 30 seconds, on any node.

    While Redis is away they are kept in this process, and redeemed here only; no call
    waits for Redis longer than a quarter of a second.
    """

    def __init__(
        self,
        redis: Client | None,
        seal: Seal,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._redis = redis
        self._seal = seal
        self._clock = clock
        self._is_away = False
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def issue(
        self, principal: Principal, word_of: Callable[[str], str] | None = None
    ) -> str:
        """Make a ticket for this principal, of 256 bits that nobody can guess.

        `word_of` may choose them, others for each place where a ticket is kept.
        """
        holder = _dump(principal)
        word_of = word_of or _any_word
        ticket = _SHARED + word_of(_SHARED)
        if await self._share(ticket, holder):
            return ticket
        ticket = _LOCAL + word_of(_LOCAL)
        self._forget_expired()
        self._kept[_key(ticket)] = (self._clock() + LIFETIME_SECONDS, holder)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return ticket

    async def redeem(self, ticket: str) -> Principal:
        """Use a ticket up and tell whose it was.

        Raises InvalidToken for one that is unknown, used or expired, and
        TicketsUnavailable if it is in Redis and Redis is away.
        """
        if len(ticket) > _TICKET_LENGTH or not ticket.isascii():
            raise InvalidToken
        if ticket.startswith(_LOCAL):
            self._forget_expired()
            holder = self._kept.pop(_key(ticket), (0.0, None))[1]
        else:
            holder = await self._fetch(ticket)
        if holder is None:
            raise InvalidToken
        return _load(holder)

    async def _share(self, ticket: str, holder: bytes) -> bool:
        if self._redis is None:
            return False
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                key = _key(ticket)
                sealed = self._seal.close(holder, key.encode())
                await self._redis.set(key, sealed, ex=LIFETIME_SECONDS)
        except (RedisError, OSError, TimeoutError):
            if not self._is_away:
                _log.warning("tickets.kept_locally", reason="Redis away")
            self._is_away = True
            return False
        self._is_away = False
        return True

    async def _fetch(self, ticket: str) -> bytes | None:
        if self._redis is None:
            return None
        key = _key(ticket)
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                found = await self._redis.getdel(key)
        except (RedisError, OSError, TimeoutError) as error:
            raise TicketsUnavailable from error
        return self._opened(found, key) if isinstance(found, bytes) else None

    def _opened(self, sealed: bytes, key: str) -> bytes:
        try:
            return self._seal.open(sealed, key.encode())
        except ValueError:
            raise InvalidToken from None

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._kept:
            key, (expires_at, _) = next(iter(self._kept.items()))
            if expires_at > now:
                return
            del self._kept[key]


def _any_word(place: str) -> str:
    return secrets.token_urlsafe(32)


def _key(ticket: str) -> str:
    """Name a ticket by its digest: who reads Redis cannot redeem it.

    Nor can who writes there: the holder is sealed, for this ticket only.
    """
    return "boardcast:ticket:" + hashlib.sha256(ticket.encode()).hexdigest()


def _dump(principal: Principal) -> bytes:
    holder = _Holder(
        principal.user_id, principal.role, principal.session_id, principal.expires_at
    )
    return msgspec.json.encode(holder)


def _load(body: bytes) -> Principal:
    holder = msgspec.json.decode(body, type=_Holder)
    return Principal(
        user_id=UserId(holder.user_id),
        role=holder.role,
        session_id=SessionId(holder.session_id),
        expires_at=holder.expires_at,
    )
