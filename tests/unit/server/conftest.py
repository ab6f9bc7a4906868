"""Handlers are tried in the real application: what they do is mostly to connect."""

from collections.abc import AsyncIterator

import pytest

from tests.running_app import Board, running


@pytest.fixture
async def board(database_url: str, redis_url: str) -> AsyncIterator[Board]:
    async with running(database_url, redis_url) as board:
        yield board
