"""What clients asked, were told and saw, and what has to be true of it afterwards.

`problems_of` compares a `History` with the `Log` that the database holds. Everything
goes by the request's id: it stands in each event that the request caused.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

LONGEST_WAIT_SECONDS = 10.0

_FOREVER = float("inf")
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
# The server says with these that nothing was changed, and is held to it.
_UNCHANGED = frozenset(
    {"database_unavailable", "mailbox_full", "deadline_exceeded", "actor_stopped"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One request and its answer; a status of None means that none came."""

    request_id: str
    started: float
    ended: float
    status: int | None = None
    code: str = ""
    media_type: str = ""
    is_replay: bool = False
    task: Mapping[str, Any] | None = None

    @property
    def is_done(self) -> bool:
        """It was acknowledged."""
        return self.status is not None and self.status < _CLIENT_ERROR

    @property
    def is_refused(self) -> bool:
        """It was said to have changed nothing."""
        if self.status is None or self.is_done:
            return False
        return self.status < _SERVER_ERROR or self.code in _UNCHANGED


@dataclass(slots=True, kw_only=True)
class Write:
    """A change that somebody wanted, and each time they asked for it.

    `kinds` are the types of the events that it is to cause.
    """

    project_id: int
    kinds: tuple[str, ...]
    key: str | None = None
    tries: list[Try] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """It was acknowledged at least once."""
        return any(attempt.is_done for attempt in self.tries)


@dataclass(slots=True, kw_only=True)
class Watch:
    """One WebSocket, from its opening to its end: the frames as they came."""

    name: str
    frames: list[str] = field(default_factory=list)
    is_open: bool = True
    close_code: int | None = None
    last: dict[int, int] = field(default_factory=dict)

    def take(self, frame: str) -> None:
        """Keep an event."""
        self.frames.append(frame)
        event = json.loads(frame)
        self.last[event["project_id"]] = event["version"]


@dataclass(slots=True, kw_only=True)
class History:
    """Everything that the clients of a round know."""

    writes: list[Write] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """The number of writes that were acknowledged."""
        return sum(write.is_done for write in self.writes)

    @property
    def tries(self) -> Iterator[Try]:
        """Every request."""
        return (attempt for write in self.writes for attempt in write.tries)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the log."""

    project_id: int
    version: int
    text: str

    @cached_property
    def event(self) -> Mapping[str, Any]:
        """The event itself."""
        found: Mapping[str, Any] = json.loads(self.text)
        return found


@dataclass(frozen=True, kw_only=True)
class Log:
    """What the database holds: the log by project and version, heads, and keys."""

    entries: Sequence[Entry]
    heads: Mapping[int, int]
    keys: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @cached_property
    def by_request(self) -> Mapping[str, Sequence[Entry]]:
        """The events that each request caused."""
        found: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            found[entry.event["request_id"]].append(entry)
        return found

    @cached_property
    def texts(self) -> Mapping[tuple[int, int], str]:
        """Each event as text, by its place."""
        return {(entry.project_id, entry.version): entry.text for entry in self.entries}

    def of_tasks(self, project_id: int) -> Iterator[Entry]:
        """Everything that happened to the tasks of a project."""
        for entry in self.entries:
            if entry.project_id == project_id and "task" in entry.event:
                yield entry

    def tasks(self, project_id: int) -> dict[int, Mapping[str, Any]]:
        """Say which tasks there must be, from nothing but the log."""
        found: dict[int, Mapping[str, Any]] = {}
        for entry in self.of_tasks(project_id):
            task = entry.event["task"]
            found[task["id"]] = task
            if entry.event["type"] == "task_deleted":
                del found[task["id"]]
        return found


def problems_of(history: History, log: Log) -> list[str]:
    """Name everything that must not be; an empty list is what is wanted."""
    return [
        *_not_dense(log),
        *(text for write in history.writes for text in _not_once(write, log)),
        *_unasked(history, log),
        *_out_of_order(history, log),
        *(text for watch in history.watches for text in _misseen(watch, log)),
        *_hanging(history),
    ]


def _not_dense(log: Log) -> Iterator[str]:
    versions: dict[int, list[int]] = {project_id: [] for project_id in log.heads}
    for entry in log.entries:
        versions.setdefault(entry.project_id, []).append(entry.version)
        if entry.event["version"] != entry.version:
            yield f"project {entry.project_id}: {entry.version} is not its own version"
    for project_id, found in versions.items():
        head = log.heads.get(project_id)
        if head is None or sorted(found) != list(range(1, head + 1)):
            yield (
                f"project {project_id}: {len(found)} events up to "
                f"{max(found, default=0)} are not 1 to the head, {head}"
            )


def _not_once(write: Write, log: Log) -> Iterator[str]:
    effects = [log.by_request.get(attempt.request_id, ()) for attempt in write.tries]
    for attempt, effect in zip(write.tries, effects, strict=True):
        yield from _mismatch(write, attempt, effect)
    made = [effect for effect in effects if effect]
    name = write.tries[0].request_id if write.tries else "nothing"
    if len(made) > 1:
        yield f"{name}: doubled, {len(made)} of its tries had an effect"
    if write.is_done and not made:
        yield f"{name}: lost, it was acknowledged and is not in the log"
    if write.key is not None:
        place = (made[0][-1].project_id, made[0][-1].version) if made else None
        if log.keys.get(write.key) != place:
            yield f"{name}: its key says {log.keys.get(write.key)}, the log {place}"
    if made:
        yield from _wrong_answers(write, made[0][-1])


def _mismatch(write: Write, attempt: Try, effect: Sequence[Entry]) -> Iterator[str]:
    kinds = tuple(entry.event["type"] for entry in effect)
    name = attempt.request_id
    if attempt.is_refused or attempt.is_replay:
        if kinds:
            yield f"{name}: it was told {attempt.code or 'of a replay'}, but {kinds}"
    elif attempt.is_done:
        if kinds != write.kinds:
            word = "doubled" if len(kinds) > len(write.kinds) else "lost"
            yield f"{name}: {word}, acknowledged {write.kinds} but logged {kinds}"
    elif kinds not in {(), write.kinds}:
        yield f"{name}: a half or more than a whole of {write.kinds}: {kinds}"
    if any(entry.project_id != write.project_id for entry in effect):
        yield f"{name}: in another project than {write.project_id}"


def _wrong_answers(write: Write, last: Entry) -> Iterator[str]:
    for attempt in write.tries:
        if attempt.task is not None and attempt.task != last.event["task"]:
            yield f"{attempt.request_id}: the answer is not what the log says"


def _unasked(history: History, log: Log) -> Iterator[str]:
    projects = {write.project_id for write in history.writes}
    asked = {attempt.request_id for attempt in history.tries}
    for entry in log.entries:
        if entry.project_id not in projects or "task" not in entry.event:
            continue
        if entry.event["request_id"] not in asked:
            yield f"project {entry.project_id}: nobody asked for {entry.version}"


def _out_of_order(history: History, log: Log) -> Iterator[str]:
    """Find writes that began after another was acknowledged, but come before it."""
    spans: defaultdict[int, list[tuple[float, float, int, str]]] = defaultdict(list)
    for attempt in history.tries:
        for entry in log.by_request.get(attempt.request_id, ())[:1]:
            ended = attempt.ended if attempt.is_done else _FOREVER
            span = (attempt.started, ended, entry.version, attempt.request_id)
            spans[entry.project_id].append(span)
    for found in spans.values():
        yield from _overtaken(found)


def _overtaken(spans: Iterable[tuple[float, float, int, str]]) -> Iterator[str]:
    by_start = sorted(spans)
    by_end = iter(sorted(by_start, key=lambda span: span[1]))
    ended, highest, holder = next(by_end), 0, ""
    for started, _, version, name in by_start:
        while ended[1] < started:
            if ended[2] > highest:
                highest, holder = ended[2], ended[3]
            ended = next(by_end)
        if version < highest:
            yield f"{name}: reordered, {version} began after {holder}, {highest}, ended"


def _misseen(watch: Watch, log: Log) -> Iterator[str]:
    last: dict[int, int] = {}
    for frame in watch.frames:
        event = json.loads(frame)
        project_id, version = event["project_id"], event["version"]
        before = last.get(project_id, version - 1)
        if version != before + 1:
            word = "gap" if version > before else "repeat or disorder"
            yield f"{watch.name}: {word} in {project_id}, {version} after {before}"
        if log.texts.get((project_id, version)) != frame:
            yield f"{watch.name}: saw {project_id}, {version} otherwise than committed"
        last[project_id] = version
    if watch.is_open:
        for project_id, version in last.items():
            if version != log.heads.get(project_id):
                yield f"{watch.name}: saw {project_id} up to {version} only"


def _hanging(history: History) -> Iterator[str]:
    for attempt in history.tries:
        if (waited := attempt.ended - attempt.started) > LONGEST_WAIT_SECONDS:
            yield f"{attempt.request_id}: it hung for {waited:.1f} s"
