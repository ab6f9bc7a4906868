"""Sessions: who a token speaks for, and that a revoked one soon speaks for nobody.

A token is checked against the database when this process sees it first. From then on
it is trusted until a sweep, or this process itself, finds that its session has ended.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import msgspec
import structlog

from actors.domain.commands import IdempotencyKey
from actors.domain.errors import Unavailable
from actors.domain.model import UserId, UserRole
from server.lookups import Lookups
from server.principals import Principal, PrincipalCache
from server.tokens import Claims, Grant, InvalidToken, TokenPair, Tokens
from server.watches import Watches
from sql.accounts import Accounts, LiveSession, Outcome
from sql.receipts import Receipt, Remembered
from sql.users import ChangedUser, SessionId

__all__ = ["Principal", "Sessions", "TokenPair"]

SWEEP_SECONDS = 2.0
_SWEEP_SLICE = 1000  # about 3 ms of the loop at a time
_KEPT_TOKENS = 50_000  # about 1 KB each

Revoked = Callable[[frozenset[int]], None]
RolesChanged = Callable[[Mapping[int, UserRole]], None]

_log = structlog.get_logger(__name__)


class Sessions:
    """Opens, refreshes, authenticates and ends sessions.

    A session that ends anywhere is refused here within `SWEEP_SECONDS` and the time of
    one query, at once if it ended in this process. While the database is away, tokens
    seen before are accepted until they expire.
    """

    def __init__(
        self,
        accounts: Accounts,
        tokens: Tokens,
        *,
        lifetime_seconds: float = 30 * 86400,
        grace_seconds: float = 10,
        clock: Callable[[], float] = time.time,
    ):
        self._accounts = accounts
        self._tokens = tokens
        self._lifetime_seconds = lifetime_seconds
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._cache = PrincipalCache(_KEPT_TOKENS)
        self._watches = Watches()
        self._lookups = Lookups(accounts.live_sessions)
        self._endings = 0
        self._reseatings = 0
        self._on_revoked: list[Revoked] = []
        self._on_roles_changed: list[RolesChanged] = []
        self._on_changed: list[Revoked] = []
        self._doubted: set[int] = set()
        self._is_doubtful = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        self._is_away = False

    def start(self) -> None:
        """Begin to sweep; `close` ends it."""
        self._sweeper = asyncio.create_task(self._keep_sweeping(), name="sessions")

    async def close(self) -> None:
        """Stop sweeping and looking up."""
        await self._lookups.close()
        if self._sweeper is None:
            return
        self._sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._sweeper
        self._sweeper = None

    def on_revoked(self, callback: Revoked) -> None:
        """Call `callback` with the ids of sessions that ended, cached or watched.

        It hears of a watched one in each sweep until its sockets have closed.
        """
        self._on_revoked.append(callback)

    def on_roles_changed(self, callback: RolesChanged) -> None:
        """Call `callback` with the new roles of watched sessions, if any changed."""
        self._on_roles_changed.append(callback)

    def on_changed(self, callback: Revoked) -> None:
        """Call `callback` with the sessions that this process ended or changed."""
        self._on_changed.append(callback)

    def doubt(self, session_ids: frozenset[int]) -> None:
        """Look at these sessions soon, as far as they are known here."""
        known = self._cache.session_ids | self._watches.session_ids
        self._doubted |= session_ids & known
        if self._doubted:
            self._is_doubtful.set()

    def watch(self, session_id: int, role: UserRole | None = None) -> None:
        """Sweep this session for as long as a socket of it is open; pairs with unwatch.

        `role` is the one that the socket was let in with.
        """
        self._watches.add(session_id, role)

    def unwatch(self, session_id: int) -> None:
        """Say that one socket of this session has closed."""
        self._watches.remove(session_id)

    async def open(
        self,
        user_id: UserId,
        *,
        address: str = "",
        user_agent: str = "",
        password_hash: str | None = None,
        key: IdempotencyKey | None = None,
    ) -> TokenPair | None:
        """Begin a session for a user who has proved who they are.

        None if they are inactive, or if they no longer have the hash that is named.
        Raises KeyAlreadyUsed.
        """
        tokens, seed = self._tokens, self._tokens.new_seed()
        refresh_token = tokens.first_refresh_token(seed)
        session_id = await self._accounts.create_session(
            user_id,
            tokens.digest(refresh_token),
            lifetime_seconds=self._lifetime_seconds,
            address=address,
            user_agent=user_agent,
            password_hash=password_hash,
            receive=None
            if key is None
            else lambda made: _receipt(key, Grant(user_id, made, seed)),
        )
        if session_id is None:
            return None
        return tokens.pair(Grant(user_id, session_id, seed), refresh_token)

    async def open_again(self, known: Remembered) -> TokenPair | None:
        """Give the pair again that a session began with, for the key of its user.

        None once its refresh token was used, or its session has ended: to repeat
        revives nothing.
        """
        grant = _grant(known)
        refresh_token = self._tokens.first_refresh_token(grant.seed)
        if not await self._accounts.is_unused(self._tokens.digest(refresh_token)):
            return None
        return self._tokens.pair(grant, refresh_token, is_replay=True)

    async def refresh(
        self,
        refresh_token: str,
        key_of: Callable[[UserId], IdempotencyKey] | None = None,
    ) -> TokenPair:
        """Use a refresh token up; raises InvalidToken, KeyAlreadyUsed.

        A token that comes again within the grace gets the same successor; one that
        comes later is in two hands, and its session ends (RFC 9700, 4.14.2), whatever
        its key.
        """
        tokens, seed = self._tokens, self._tokens.new_seed()
        successor = tokens.successor(refresh_token)
        rotation = await self._accounts.rotate(
            tokens.digest(refresh_token),
            tokens.digest(successor),
            grace_seconds=self._grace_seconds,
            receive=None
            if key_of is None
            else lambda to, at: _receipt(key_of(to), Grant(to, at, seed)),
        )
        if rotation.outcome is Outcome.REUSED and rotation.session_id is not None:
            _log.warning("session.token_reused", session_id=rotation.session_id)
            self.forget(frozenset((SessionId(rotation.session_id),)))
            raise InvalidToken
        if rotation.user_id is None or rotation.session_id is None:
            raise InvalidToken
        if rotation.known is not None:
            return tokens.pair(_grant(rotation.known), successor, is_replay=True)
        grant = Grant(rotation.user_id, rotation.session_id, seed)
        return tokens.pair(grant, successor)

    def cached(self, token: str) -> Principal | None:
        """Who the token speaks for, if that is known without waiting; about 1 µs."""
        principal = self._cache.get(token)
        if principal is None or principal.expires_at <= self._clock():
            return None
        return principal

    async def authenticate(self, token: str) -> Principal:
        """Tell who the token speaks for; raises InvalidToken.

        Asks the database when it does not know the token, and raises StoreUnavailable
        if that is away.
        """
        principal = self.cached(token)
        if principal is not None:
            return principal
        claims = self._tokens.verify(token)
        before = (self._endings, self._reseatings)
        principal = _principal(claims, await self._lookups.get(claims.session_id))
        if before == (self._endings, self._reseatings):  # else it may be this one
            self._cache.put(token, principal)
        return principal

    def departed(self, token: str) -> Principal:
        """Tell whose genuine token this was, though its session may have ended.

        For the repeat of what ended it, and nothing else. Raises InvalidToken.
        """
        claims = self._tokens.verify(token)
        return Principal(
            user_id=claims.user_id,
            role=UserRole.USER,
            session_id=claims.session_id,
            expires_at=claims.expires_at,
        )

    async def renew(self, principal: Principal) -> Principal:
        """Look up what somebody may do at this moment; raises InvalidToken.

        For one who was let in some time ago, by a ticket. Asks the database.
        """
        session = await self._lookups.get(principal.session_id)
        if session is None or not session.is_active:
            raise InvalidToken
        return replace(principal, role=session.role)

    async def revoke(
        self,
        session_id: int,
        *,
        user_id: UserId | None = None,
        reason: str = "logout",
        receipt: Receipt | None = None,
    ) -> bool:
        """End a session; False if it is not live, or not this user's if one is named.

        It is refused in this process when this returns, elsewhere after a sweep.
        The receipt is kept with its end; raises KeyAlreadyUsed.
        """
        is_ended = await self._accounts.revoke_session(
            session_id, user_id=user_id, reason=reason, receipt=receipt
        )
        if is_ended:
            self.forget(frozenset((SessionId(session_id),)))
        return is_ended

    def learn(self, changed: ChangedUser) -> None:
        """Act on a change that this process made, without waiting for a sweep."""
        self._reseatings += bool(changed.reseated)
        self._change_roles(dict.fromkeys(changed.reseated, changed.user.role))
        self._tell(changed.reseated)
        self.forget(changed.ended)

    def forget(self, session_ids: frozenset[SessionId]) -> None:
        """Refuse sessions that have been ended in the database by this process."""
        self._end(frozenset(session_ids))
        self._tell(session_ids)

    async def sweep(self) -> None:
        """Ask which of the known sessions are still live, and forget the others."""
        self._cache.drop_expired(self._clock())
        await self._look_at(list(self._cache.session_ids | self._watches.session_ids))

    async def _look_at(self, known: Sequence[int]) -> None:
        for start in range(0, len(known), _SWEEP_SLICE):
            await self._sweep_slice(known[start : start + _SWEEP_SLICE])

    async def _sweep_slice(self, known: Sequence[int]) -> None:
        reseatings = self._reseatings
        found = await self._accounts.live_sessions(known)
        live = {key: value for key, value in found.items() if value.is_active}
        if self._reseatings == reseatings:  # else these roles may be those of before
            self._change_roles({key: value.role for key, value in live.items()})
        self._end(frozenset(known).difference(live))

    def _end(self, session_ids: frozenset[int]) -> None:
        if not session_ids:
            return
        self._endings += 1
        for session_id in session_ids:
            self._cache.drop_session(session_id)
        for callback in self._on_revoked:
            callback(session_ids)

    def _change_roles(self, roles: Mapping[int, UserRole]) -> None:
        for session_id, role in roles.items():
            self._cache.set_role(session_id, role)
        changed = self._watches.learn(roles)
        if changed:
            for callback in self._on_roles_changed:
                callback(changed)

    def _tell(self, session_ids: frozenset[SessionId]) -> None:
        if session_ids:
            for callback in self._on_changed:
                callback(frozenset(session_ids))

    async def _keep_sweeping(self) -> None:
        loop = asyncio.get_running_loop()
        sweep_at = loop.time() + SWEEP_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(sweep_at):
                    await self._is_doubtful.wait()
            self._is_doubtful.clear()
            doubted, self._doubted = self._doubted, set()
            try:
                if loop.time() < sweep_at:
                    await self._look_at(list(doubted))
                    continue
                sweep_at = loop.time() + SWEEP_SECONDS
                await self.sweep()
            except Unavailable:
                if not self._is_away:
                    _log.warning("sessions.sweep_failed", reason="database away")
                self._is_away = True
            except Exception:  # noqa: BLE001  # a dead sweeper keeps the revoked alive
                _log.exception("sessions.sweep_broken")
            else:
                self._is_away = False


def _receipt(key: IdempotencyKey, grant: Grant) -> Receipt:
    return Receipt(key=key, body=msgspec.json.encode(grant).decode())


def _grant(known: Remembered) -> Grant:
    return msgspec.json.decode(known.body or "", type=Grant)


def _principal(claims: Claims, live: LiveSession | None) -> Principal:
    if live is None or not live.is_active or live.user_id != claims.user_id:
        raise InvalidToken
    return Principal(
        user_id=live.user_id,
        role=live.role,
        session_id=claims.session_id,
        expires_at=claims.expires_at,
    )
