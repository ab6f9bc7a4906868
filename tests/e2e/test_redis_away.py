"""Redis away, killed or silent: no request fails, and nobody is behind for long.

`BOARDCAST_REDIS_AWAY_SECONDS` is how long.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.faults import valkey_killed, valkey_stopped
from tests.e2e.history import Fault, History
from tests.e2e.trial import named, seeds, trial

_SECONDS = named("BOARDCAST_REDIS_AWAY_SECONDS", 5)
_AROUND_SECONDS = 1.0

pytestmark = pytest.mark.timeout(90 + 2 * _SECONDS)


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("goes", [valkey_killed, valkey_stopped])
async def test_nobody_needs_redis(
    data_dir: Path,
    goes: Callable[[Cluster], AbstractAsyncContextManager[None]],
    seed: int,
) -> None:
    loop = asyncio.get_running_loop()
    async with (
        Cluster.start(data_dir) as cluster,
        trial(cluster, seed, goes.__name__) as history,
    ):
        await asyncio.sleep(_AROUND_SECONDS)
        fault = Fault(kind=goes.__name__, began=loop.time(), is_of_truth=False)
        history.faults.append(fault)
        async with goes(cluster):
            await asyncio.sleep(_SECONDS)
        fault.healed = loop.time()
        await asyncio.sleep(_AROUND_SECONDS)

    assert _failures(history) == []
    assert {lag.what for lag in history.lags} == {"a plain read", "a watcher"}


def _failures(history: History) -> list[str]:
    """Find requests without an answer, or with one that blames the server."""
    return [
        f"{request.request_id}: {request.status} {request.code}"
        for request in (*history.tries, *history.reads)
        if request.status is None or request.status >= 500
    ]
