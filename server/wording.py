"""How the feed's messages are written: JSON in text frames, made once for many."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import TypeVar

from msgspec import Raw

from actors.domain.criteria import Criteria
from actors.domain.model import ProjectId, TaskId
from actors.domain.state import ProjectState
from actors.ports import Frames
from actors.rounds import SLICE_SECONDS
from server.frames import text_frames
from server.messages import (
    Events,
    ServerMessage,
    Snapshot,
    Subscribed,
    TaskLeft,
    Tick,
    Unsubscribed,
    written,
)
from server.representations import (
    encode,
    encode_comment,
    encode_member,
    encode_task,
)

_T = TypeVar("_T")


def framed(message: ServerMessage) -> Frames:
    """Write a message as frames."""
    return text_frames(written(message))


class Words:
    """The wording of the feed; see `actors.ports.Wording`."""

    def event(self, body: bytes) -> Frames:
        """Write one event."""
        return text_frames(body)

    def events(
        self, project_id: ProjectId, first: int, last: int, bodies: Sequence[bytes]
    ) -> Frames:
        """Write in one message all that a subscriber is told of these versions."""
        events = [Raw(body) for body in bodies]
        return framed(
            Events(project_id=project_id, first=first, last=last, events=events)
        )

    def task_left(self, project_id: ProjectId, version: int, task_id: TaskId) -> bytes:
        """Make the body of an event's place: the task matches the filter no more."""
        return written(
            TaskLeft(project_id=project_id, version=version, task_id=task_id)
        )

    async def snapshot(self, state: ProjectState, wanted: Criteria | None) -> Frames:
        """Write the state of the moment of this call, or what is wanted of it.

        The values are collected at once, filtered and encoded in slices.
        """
        version, project = state.version, encode(state.project)
        members, tasks = list(state.members.values()), list(state.tasks.values())
        comments = dict(state.comments)
        if wanted is not None:
            now = datetime.now(UTC)
            tasks = [
                task async for task in _unhurried(tasks) if wanted.matches(task, now)
            ]
        told = chain.from_iterable(
            comments[task.id].values() for task in tasks if task.id in comments
        )
        message = Snapshot(
            project_id=state.project_id,
            version=version,
            project=Raw(project),
            members=[Raw(encode_member(each)) async for each in _unhurried(members)],
            tasks=[Raw(encode_task(each)) async for each in _unhurried(tasks)],
            comments=[Raw(encode_comment(each)) async for each in _unhurried(told)],
        )
        return framed(message)

    def subscribed(self, project_id: ProjectId, version: int) -> Frames:
        """Write that a subscription stands at a version."""
        return framed(Subscribed(project_id=project_id, version=version))

    def unsubscribed(self, project_id: ProjectId, reason: str) -> Frames:
        """Write that a subscription has ended."""
        return framed(Unsubscribed(project_id=project_id, reason=reason))

    def tick(self, heads: Iterable[tuple[ProjectId, int]]) -> Frames:
        """Write which versions a client should have by now."""
        return framed(Tick(heads={str(key): version for key, version in heads}))


async def _unhurried(values: Iterable[_T]) -> AsyncIterator[_T]:
    """Give values one by one, and others the loop now and then."""
    ends = time.perf_counter() + SLICE_SECONDS
    for value in values:
        yield value
        if time.perf_counter() > ends:
            await asyncio.sleep(0)
            ends = time.perf_counter() + SLICE_SECONDS
