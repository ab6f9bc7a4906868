"""Three servers, and everything that can befall them: nothing is lost, and all agree.

`BOARDCAST_CHAOS_SECONDS` is how long, `BOARDCAST_CHAOS_SEEDS` how often, one seed after
another; `BOARDCAST_CHAOS_SEED` is the first of them.
"""

from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.faults import Faults
from tests.e2e.trial import named, seeds, trial

_SECONDS = named("BOARDCAST_CHAOS_SECONDS", 15)
_SEEDS = seeds(int(named("BOARDCAST_CHAOS_SEEDS", 1)))

pytestmark = pytest.mark.timeout(120 + 2 * _SECONDS)


@pytest.mark.parametrize("seed", _SEEDS)
async def test_whatever_befalls_three_servers_they_agree(
    data_dir: Path, seed: int
) -> None:
    async with Cluster.start(data_dir) as cluster:
        where = "with" if cluster.namespace is not None else "without"
        async with trial(cluster, seed, f"chaos {where} a namespace") as history:
            await Faults(cluster, history, seed).rage(_SECONDS)
