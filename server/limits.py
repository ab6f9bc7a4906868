"""Who may ask how often: users in general, accounts and addresses when logging in."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import hdrs, web
from multidict import istr

from actors.domain.model import UserId
from server import keys
from server.addresses import Addresses, bucket
from server.problems import Problem
from server.ratelimit import Allowance, Key, Limit
from server.settlement import Settlement

_POLICY = istr("RateLimit-Policy")
_STATE = istr("RateLimit")
_ADDRESS_FACTOR = 3  # several people may share an address

Refused = Callable[[str], None]


class Limits:
    """All limits of an application; those that are None are off. Nothing here waits.

    Attempts to log in count before the password is looked at, good ones too: no answer
    tells from the limit whether a password was right. A name that is nobody's is
    limited like one that is somebody's.
    """

    def __init__(
        self,
        *,
        requests_per_minute: int = 0,
        logins_per_minute: int = 0,
        refused: Refused = lambda limit: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.users = _limit("default", requests_per_minute, clock)
        self.accounts = _limit("account", logins_per_minute, clock)
        attempts_per_minute = logins_per_minute * _ADDRESS_FACTOR
        self.addresses = _limit("address", attempts_per_minute, clock)
        self._refused = refused

    @property
    def all(self) -> tuple[Limit, ...]:
        """Those that are on."""
        every = (self.users, self.accounts, self.addresses)
        return tuple(limit for limit in every if limit is not None)

    def admit(self, request: web.Request, user_id: UserId) -> None:
        """Count a request of a known caller; raises a 429 problem."""
        if self.users is None:
            return
        allowance = self.users.of(user_id)
        request[keys.ALLOWANCE] = allowance
        if not allowance.take():
            self._refused("user")
            sentence = "You have sent too many requests; the answer says when to go on."
            raise _too_many("rate_limited", sentence, allowance)

    def admit_address(self, address: str) -> None:
        """Count an attempt to log in or to register; raises a 429 problem."""
        self._attempt(self.addresses, bucket(address))

    def check_address(self, address: str) -> None:
        """Raise a 429 problem for an address that may not try again; counts nothing."""
        if self.addresses is None:
            return
        allowance = self.addresses.of(bucket(address))
        if allowance.left < 1:
            raise self._too_many_attempts(allowance)

    def blame_address(self, address: str) -> None:
        """Count what has been refused for another reason."""
        if self.addresses is not None:
            self.addresses.of(bucket(address)).charge()

    def admit_account(
        self, user_id: UserId | None, name: str = "", *, address: str | None = None
    ) -> None:
        """Count an attempt at the password of a user, or of a name that is nobody's.

        Raises a 429 problem; what is refused does not count for the address either.
        """
        try:
            self._attempt(self.accounts, _digest(name) if user_id is None else user_id)
        except Problem:
            if self.addresses is not None and address is not None:
                self.addresses.of(bucket(address)).give_back()
            raise

    def _attempt(self, limit: Limit | None, key: Key) -> None:
        if limit is None:
            return
        allowance = limit.of(key)
        if not allowance.take():
            raise self._too_many_attempts(allowance)

    def _too_many_attempts(self, allowance: Allowance) -> Problem:
        self._refused("login")
        sentence = "There were too many attempts; the answer says when to try again."
        return _too_many("too_many_attempts", sentence, allowance)


def announce(response: web.StreamResponse, allowance: Allowance) -> None:
    """Say in the headers what the caller has left; a 304 gives back what it cost."""
    if response.status == web.HTTPNotModified.status_code:
        allowance.give_back()
    headers = response.headers
    headers[_POLICY] = allowance.limit.policy
    headers[_STATE] = allowance.state


async def opened(app: web.Application) -> AsyncIterator[None]:
    """Limit by the configuration, and settle with the other nodes while it runs."""
    config, metrics = app[keys.CONFIG], app[keys.METRICS]
    app[keys.ADDRESSES] = Addresses(config.trusted_proxies)
    app[keys.LIMITS] = limits = Limits(
        requests_per_minute=config.rate_limit_per_minute,
        logins_per_minute=config.login_limit_per_minute,
        refused=metrics.limited,
    )
    settlement = Settlement(
        app[keys.REDIS], limits.all, on_failure=metrics.unsettled.inc
    )
    metrics.sample(
        "limits_local",
        "1 while limits are not shared, for want of Redis.",
        lambda: float(settlement.is_local),
    )
    settlement.start()
    yield
    await settlement.close()


def _limit(name: str, quota: int, clock: Callable[[], float]) -> Limit | None:
    return Limit(name, quota, clock=clock) if quota else None


def _digest(name: str) -> str:
    """Stand for a name, as long as it may be, that may be told to Redis."""
    folded = name.lower().encode("utf-8", "surrogatepass")
    return hashlib.sha256(folded).hexdigest()[:32]


def _too_many(code: str, sentence: str, allowance: Allowance) -> Problem:
    seconds = str(allowance.retry_after_seconds)
    headers: dict[str, str] = {
        hdrs.RETRY_AFTER: seconds,
        hdrs.CACHE_CONTROL: "no-store",
    }
    return Problem(429, code, sentence, headers=headers)
