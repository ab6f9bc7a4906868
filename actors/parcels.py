"""What is written at a time: frames made once for all who are owed the same."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from actors.domain.criteria import Criteria
from actors.domain.model import Caller, ProjectId
from actors.ports import Frames, Wording

# Larger than this nothing is joined, so that a slow reader's share stays small.
PARCEL_BYTES = 32 * 1024


class Kind(NamedTuple):
    """Who gets the same bytes for the same versions.

    `reader` is set for who may not see everything in the project.
    """

    is_together: bool
    criteria: Criteria | None = None
    reader: Caller | None = None


class Parcel:
    """Ready frames in few pieces, and the version that its reader stands at then."""

    __slots__ = ("__weakref__", "last", "pieces", "size_bytes")

    def __init__(self, frames: Iterable[bytes], last: int = 0):
        self.pieces = tuple(_joined(frames))
        self.size_bytes = sum(map(len, self.pieces))
        self.last = last


def _joined(frames: Iterable[bytes]) -> Iterable[bytes]:
    waiting: list[bytes] = []
    size = 0
    for frame in frames:
        if waiting and size + len(frame) > PARCEL_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(frame)
        size += len(frame)
    if waiting:
        yield waiting[0] if len(waiting) == 1 else b"".join(waiting)


class Told(NamedTuple):
    """A version that a reader is told of, and in which words."""

    version: int
    body: bytes


def frames_apart(wording: Wording, told: Iterable[Told]) -> Frames:
    """Write each event as a message of its own."""
    return tuple(frame for _, body in told for frame in wording.event(body))


def frames_together(
    wording: Wording, project_id: ProjectId, told: Sequence[Told]
) -> Frames:
    """Write consecutive versions in one message, and others in another."""
    frames: list[bytes] = []
    start = 0
    for end in range(1, len(told) + 1):
        if end < len(told) and told[end].version == told[end - 1].version + 1:
            continue
        run = told[start:end]
        bodies = [body for _, body in run]
        frames += wording.events(project_id, run[0].version, run[-1].version, bodies)
        start = end
    return tuple(frames)
