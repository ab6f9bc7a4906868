"""Limits by GCRA, decided in memory on every request without a wait.

Whoever is limited has an allowance: `quota` requests at once, and each one that is
used comes back by itself, one after the other, all of them within the window. What
other nodes let through comes in later, by server/settlement.py, which says how exact
that is.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil

_SIZE = 20_000  # about 300 bytes each
_LEAD = 20
_ROUNDING_SECONDS = 1e-6
# What a settlement may take: until it is done, our clock and Redis' are that far apart.
_MARGIN_SECONDS = 0.25

Key = int | str


class Limit:
    """A quota a window for each of many keys; the least recently used are forgotten.

    `noted` and `urged` are called when there is something to settle at all, and when
    one allowance is a twentieth of its quota ahead of what is settled.
    """

    def __init__(
        self,
        name: str,
        quota: int,
        *,
        window_seconds: float = 60.0,
        size: int = _SIZE,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name = name
        self.quota = quota
        self.window_seconds = window_seconds
        self.interval_seconds = window_seconds / quota
        self.lead = max(1, quota // _LEAD)
        # The value of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10).
        self.policy = f'"{name}";q={quota};w={window_seconds:.0f}'
        self.clock = clock
        self.unsettled: list[Allowance] = []
        self.noted: Callable[[], None] = _nobody
        self.urged: Callable[[], None] = _nobody
        self._size = size
        self._allowances: OrderedDict[Key, Allowance] = OrderedDict()

    def __len__(self) -> int:
        return len(self._allowances)

    def of(self, key: Key) -> "Allowance":
        """Find or make the allowance of a key."""
        found = self._allowances.get(key)
        if found is not None:
            self._allowances.move_to_end(key)
            return found
        made = self._allowances[key] = Allowance(self, key)
        if len(self._allowances) > self._size:
            self._allowances.popitem(last=False)
        return made

    def unsettled_now(self) -> "list[Allowance]":
        """Hand over what has to be settled, to be noted anew from now on."""
        found, self.unsettled = self.unsettled, []
        for allowance in found:
            allowance.is_noted = False
        return found


class Allowance:
    """What one key may still use; `full_at` is when all of it will be back.

    `ahead` is what was used and not yet settled; less than nothing if more was given
    back than used.
    """

    __slots__ = ("ahead", "full_at", "is_noted", "key", "limit")

    def __init__(self, limit: Limit, key: Key):
        self.limit = limit
        self.key = key
        self.full_at = 0.0
        self.ahead = 0
        self.is_noted = False

    def take(self) -> bool:
        """Use one up; False, and nothing used, if there is none. About 0.5 µs."""
        limit = self.limit
        now = limit.clock()
        full_at = max(self.full_at, now) + limit.interval_seconds
        if full_at - now > limit.window_seconds + _ROUNDING_SECONDS:
            self._note(0)  # the others may know of more, or have given some back
            return False
        self.full_at = full_at
        self._note(1)
        return True

    def charge(self) -> None:
        """Use one up, whether there is one or not: what it was for has happened."""
        limit = self.limit
        self.full_at = max(self.full_at, limit.clock()) + limit.interval_seconds
        self._note(1)

    def give_back(self) -> None:
        """Undo a `take`."""
        self.full_at -= self.limit.interval_seconds
        self._note(-1)

    @property
    def used_seconds(self) -> float:
        """How long it takes until everything is back."""
        return max(0.0, self.full_at - self.limit.clock())

    @property
    def left(self) -> int:
        """How many may be used at once."""
        limit = self.limit
        free = limit.window_seconds + _ROUNDING_SECONDS - self.used_seconds
        return max(0, int(free / limit.interval_seconds))

    @property
    def retry_after_seconds(self) -> int:
        """After how many whole seconds `take` succeeds, unless others use it first."""
        limit = self.limit
        excess = self.used_seconds + limit.interval_seconds - limit.window_seconds
        return max(1, ceil(excess + _MARGIN_SECONDS))

    @property
    def state(self) -> str:
        """The value of RateLimit: what is left, and for how long.

        That is until everything is back or, if nothing is left, until something is:
        never later than the Retry-After beside it.
        """
        limit = self.limit
        used = max(0.0, self.full_at - limit.clock())
        free = limit.window_seconds + _ROUNDING_SECONDS - used
        left = int(free / limit.interval_seconds)
        if left < 1:
            return f'"{limit.name}";r=0;t={self.retry_after_seconds}'
        return f'"{limit.name}";r={left};t={ceil(used)}'

    def settled(self, used_seconds: float) -> None:
        """Learn what all nodes have used, ours included but for what is `ahead`."""
        limit = self.limit
        own = self.ahead * limit.interval_seconds
        self.full_at = limit.clock() + used_seconds + own

    def _note(self, number: int) -> None:
        self.ahead += number
        limit = self.limit
        if not self.is_noted:
            self.is_noted = True
            if not limit.unsettled:
                limit.noted()
            limit.unsettled.append(self)
        if self.ahead >= limit.lead:
            limit.urged()


def _nobody() -> None: ...
