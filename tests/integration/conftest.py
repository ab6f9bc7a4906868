"""The application as a whole, on a database of the test's own."""

from collections.abc import AsyncIterator

import pytest

from tests.running_app import Board, running


@pytest.fixture
async def board(database_url: str, redis_url: str) -> AsyncIterator[Board]:
    async with running(database_url, redis_url) as board:
        yield board
