"""Doing something for very many, without keeping the loop from others for long."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import structlog

_T = TypeVar("_T")

SLICE_SECONDS = 0.002

_log = structlog.get_logger()


def _nothing() -> None:
    """Nothing is left to do."""


def in_slices(
    items: Iterable[_T],
    step: Callable[[_T], None],
    done: Callable[[], None] = _nothing,
) -> None:
    """Take a step for each item, then `done`: the first slice is taken at once.

    `done` comes a turn of the loop after the last step: transports send at the end of
    a turn, and that is part of the work. A step that fails is logged, and keeps no
    other from its turn.
    """
    _slice(iter(items), step, done)


def _slice(
    items: Iterator[_T], step: Callable[[_T], None], done: Callable[[], None]
) -> None:
    ends = time.perf_counter() + SLICE_SECONDS
    for item in items:
        try:
            step(item)
        except Exception:  # noqa: BLE001  # one socket must not stop the others
            _log.exception("feed.step_failed")
        if time.perf_counter() > ends:
            asyncio.get_running_loop().call_soon(_slice, items, step, done)
            return
    asyncio.get_running_loop().call_soon(done)
