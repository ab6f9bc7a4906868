"""How the nodes share limits through Redis, without a request ever waiting for it.

Each node decides on what it knows (server/ratelimit.py). In the background it tells
Redis what it let through, and learns what all nodes did: 0.1 s after the first request
that is not settled, or at once when one user's are a twentieth of the quota.

The error bound: when a node lets a request through, it lacks nothing of the others'
but what they let through since it settled last, or had not settled by then. So a user
gets at most the quota and what the *other* nodes let through in two settlements:
usually a twentieth of the quota each or two, never more than the quota each. The
excess is owed: it counts against what comes later, up to one window's worth. With one
node there is none.

Only differences and durations are exchanged, so the nodes' clocks do not matter. While
Redis is away each node counts for itself.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from redis.exceptions import InvalidResponse, NoScriptError, RedisError

from server.hints import REDIS_SECONDS, Client
from server.ratelimit import Allowance, Limit

_PERIOD_SECONDS = 0.1
_RETRY_SECONDS = 1.0
_BATCH = 256  # about 1 ms of Redis' time
_WINDOWS_KEPT = 2  # a clock that is set back in Redis may lock nobody out for longer
_MICROSECONDS = 1_000_000
_STALE_SECONDS = 1.0

# A key holds when everything is back, by Redis' clock, and expires then. Where there is
# none, Redis may have lost it: what the node knows is taken instead.
_SETTLE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answers = {}
for i, key in ipairs(KEYS) do
  local used, known, most = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local full_at = tonumber(redis.call('GET', key))
  if full_at then
    full_at = math.max(full_at, now) + used
  else
    full_at = now + math.max(used, known)
  end
  local left = math.max(0, math.min(full_at - now, tonumber(most)))
  if left > 0 then
    local milliseconds = math.ceil(left / 1000)
    redis.call('SET', key, string.format('%.0f', now + left), 'PX', milliseconds)
  else
    redis.call('DEL', key)
  end
  answers[i] = left
end
return answers
"""
_SHA = hashlib.sha1(_SETTLE.encode(), usedforsecurity=False).hexdigest()

_log = structlog.get_logger(__name__)


class Settlement:
    """Settles some limits with the other nodes, in one task; `close` ends it.

    Allowances that are settled together travel in one call; a call that fails is not
    repeated, since it may have had its effect.
    """

    def __init__(
        self,
        redis: Client,
        limits: Iterable[Limit],
        *,
        on_failure: Callable[[], None],
    ):
        self._redis = redis
        self._limits = tuple(limits)
        self._on_failure = on_failure
        self._noted, self._urged = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False
        self.is_local = False

    def start(self) -> None:
        """Begin to settle."""
        for limit in self._limits:
            limit.noted, limit.urged = self._noted.set, self._urged.set
        self._task = asyncio.create_task(self._keep_settling(), name="settlement")

    async def close(self) -> None:
        """Stop; what is not settled by now never will be."""
        if self._task is None:
            return
        # redis-py 8.1 swallows a third of all cancellations: it is told twice.
        self._is_closing = True
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def settle(self) -> None:
        """Settle everything that is not; waits for Redis 0.25 s at most for each 256.

        After a failure the rest counts for this node alone.
        """
        waiting = [(limit, limit.unsettled_now()) for limit in self._limits]
        for limit, found in waiting:
            for start in range(0, len(found), _BATCH):
                if not await self._settle(limit, found[start : start + _BATCH]):
                    return

    async def _settle(self, limit: Limit, batch: Sequence[Allowance]) -> bool:
        keys, arguments = [], []
        most = _microseconds(limit.window_seconds * _WINDOWS_KEPT)
        for allowance in batch:
            keys.append(f"{{boardcast:limits}}:{limit.name}:{allowance.key}")
            arguments += [*_told(limit, allowance), most]
            allowance.ahead = 0
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answers = await self._run(keys, arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._fail(error)
            return False
        self._succeed()
        for allowance, answer in zip(batch, answers, strict=True):
            allowance.settled(answer / _MICROSECONDS)
        return True

    async def _run(self, keys: Sequence[str], arguments: Sequence[int]) -> list[int]:
        # Not a registered script of redis-py: that loads it into any one of a Cluster.
        answer: Any
        try:
            answer = await self._redis.evalsha(_SHA, len(keys), *keys, *arguments)
        except NoScriptError:
            answer = await self._redis.eval(_SETTLE, len(keys), *keys, *arguments)
        if not isinstance(answer, list) or len(answer) != len(keys):
            raise InvalidResponse("it is no list of this length")
        if not all(isinstance(one, int) for one in answer):
            raise InvalidResponse("it is no list of numbers")
        return answer

    async def _keep_settling(self) -> None:
        while not self._is_closing:
            await self._noted.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PERIOD_SECONDS):
                    await self._urged.wait()
            if self.is_local:
                await asyncio.sleep(_RETRY_SECONDS)
            self._noted.clear()
            self._urged.clear()
            try:
                await self.settle()
            except Exception:  # noqa: BLE001  # without it, nodes never share again
                _log.exception("limits.settlement_broken")

    def _fail(self, error: Exception) -> None:
        self._on_failure()
        if not self.is_local:
            _log.warning("limits.local", reason=f"Redis: {type(error).__name__}")
        self.is_local = True

    def _succeed(self) -> None:
        if self.is_local:
            _log.info("limits.shared")
        self.is_local = False


def _told(limit: Limit, allowance: Allowance) -> tuple[int, int]:
    """Say what was used since last time, and what is known to be used in all.

    What was used long ago, while Redis was away, has come back meanwhile.
    """
    known = allowance.used_seconds
    used = min(allowance.ahead * limit.interval_seconds, known + _STALE_SECONDS)
    return _microseconds(used), _microseconds(known)


def _microseconds(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)
