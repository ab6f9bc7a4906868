"""The application as a whole, on a database of the test's own."""

from collections.abc import AsyncIterator

import pytest

from tests.running_app import Board, Nodes, running


@pytest.fixture
async def board(database_url: str, redis_url: str) -> AsyncIterator[Board]:
    async with running(database_url, redis_url) as board:
        yield board


@pytest.fixture
async def nodes(database_url: str, redis_url: str) -> AsyncIterator[Nodes]:
    async with (
        running(database_url, redis_url) as here,
        running(database_url, redis_url) as there,
    ):
        yield Nodes(here, there)
