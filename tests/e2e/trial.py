"""One trial of a cluster: everybody at work, something done to it, then the verdict."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.company import Company
from tests.e2e.convergence import differences_of_all, shown_by_now
from tests.e2e.history import History
from tests.e2e.judge import problems_of
from tests.e2e.summary import summary

_WELL_SECONDS = 10.0
_FRESH_SECONDS = 1.5
_SHOWN_PROBLEMS = 30
_SHOWN_LOG = 3000


@asynccontextmanager
async def trial(cluster: Cluster, seed: int, name: str) -> AsyncIterator[History]:
    """Have everybody at work while the context lasts; then fail for what is not so."""
    async with Company.gather(cluster, seed) as company:
        yield company.history
        await _is_well(cluster)
        heads = await company.finish()
        apis = company.people["ada"]
        deadline = asyncio.get_running_loop().time() + _FRESH_SECONDS
        problems = await shown_by_now(apis, heads, deadline)
        try:
            await company.have_seen(heads)
        except AssertionError as error:
            problems.append(str(error))
        log = await cluster.log()
        company.measure()
        problems += problems_of(company.history, log)
        url = cluster.postgres.url
        async for text in differences_of_all(apis, url, log, company.projects):
            problems.append(text)
        print(f"\n{name}, seed {seed}\n{summary(company.history)}")  # noqa: T201
    if problems:
        found = "\n".join(problems[:_SHOWN_PROBLEMS])
        logs = "\n".join(node.served.log[-_SHOWN_LOG:] for node in cluster.nodes)
        pytest.fail(f"seed {seed}: {len(problems)} problems\n{found}\n{logs}")


async def _is_well(cluster: Cluster) -> None:
    """Wait until all servers say so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _WELL_SECONDS
    while not await cluster.is_well():
        assert loop.time() < deadline, "it does not get well"
        await asyncio.sleep(0.05)


def named(variable: str, otherwise: float) -> float:
    """Read how long, or how often, a test is to go on."""
    return float(os.environ.get(variable, otherwise))


def seeds(count: int) -> range:
    """Choose where chance begins; `BOARDCAST_CHAOS_SEED` says where it is to."""
    first = int(os.environ.get("BOARDCAST_CHAOS_SEED") or secrets.randbelow(10**9))
    return range(first, first + count)
