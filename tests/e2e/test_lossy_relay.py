"""A relay that loses 30 % of its messages, and reorders: nobody notices for long.

`BOARDCAST_LOSSY_SECONDS` is how long.
"""

import asyncio
import random
from pathlib import Path

import pytest

from server.valkey import Valkey
from tests.e2e.cluster import Cluster
from tests.e2e.lossy import Lossy
from tests.e2e.trial import named, seeds, trial

_SECONDS = named("BOARDCAST_LOSSY_SECONDS", 5)

pytestmark = pytest.mark.timeout(90 + 2 * _SECONDS)


@pytest.mark.parametrize("seed", seeds(1))
async def test_what_a_relay_loses_is_repaired(data_dir: Path, seed: int) -> None:
    async with Lossy.open(Valkey.at(data_dir).socket) as lossy:
        lossy.chance = random.Random(seed)  # noqa: S311
        url = f"redis://{lossy.host}:{lossy.port}"
        async with Cluster.start(data_dir, redis_url=url) as cluster:
            async with trial(cluster, seed, "a lossy relay") as history:
                await asyncio.sleep(_SECONDS)
            print(  # noqa: T201
                f"of {lossy.seen} messages {lossy.lost} were lost, "
                f"{lossy.overtaken} overtaken"
            )

    assert lossy.lost > 0.2 * lossy.seen > 0
    assert lossy.overtaken > 0
    assert {lag.what for lag in history.lags} == {"a plain read", "a watcher"}
