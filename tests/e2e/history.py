"""What clients asked, were told and saw, and what the database holds in the end.

All times are of one monotonic clock, the test process's. Everything goes by the
request's id: it stands in each event that the request caused. `tests.e2e.judge` says
what has to be true of a `History` beside a `Log`.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.e2e.past import Past

LONGEST_WAIT_SECONDS = 10.0
SETUP = "setup"  # the id of requests that are not recorded

_SERVER_ERROR = 500
_CLIENT_ERROR = 400
_FRESH_SECONDS = 1.5
_RECOVERY_SECONDS = 5.0  # after a node or the database is back
# The server says with these that nothing was changed, and is held to it.
_UNCHANGED = frozenset(
    {"database_unavailable", "mailbox_full", "deadline_exceeded", "actor_stopped"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One request and its answer; a status of None means that none came.

    `place` is the project and version that it answered with, `shown` the thing.
    """

    request_id: str
    started: float
    ended: float
    node: str = ""
    status: int | None = None
    code: str = ""
    media_type: str = ""
    is_replay: bool = False
    place: tuple[int, int] | None = None
    shown: Mapping[str, Any] | None = None

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

    `kinds` are the types of the events that it is to cause, `if_match` the version of
    the task that it is to rest on.
    """

    project_id: int
    kinds: tuple[str, ...]
    key: str | None = None
    if_match: int | None = None
    tries: list[Try] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """It was acknowledged at least once."""
        return any(attempt.is_done for attempt in self.tries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A look at a task, at all tasks of a project, or at its log (`head`, `events`).

    `wants` is the version that it named, 0 if none. `tasks` are those that it was
    shown; it was refused, or a task was not there, when there are none. A page that is
    not `is_whole` tells nothing.
    """

    request_id: str
    started: float
    ended: float
    project_id: int
    node: str = ""
    user_id: int | None = None
    status: int | None = None
    code: str = ""
    wants: int = 0
    task_id: int | None = None
    tasks: Sequence[Mapping[str, Any]] = ()
    head: int | None = None
    events: Sequence[Mapping[str, Any]] = ()
    is_whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How long after a commit was acknowledged another node showed it, and to whom."""

    project_id: int
    version: int
    node: str
    what: str
    committed: float
    seen: float

    @property
    def seconds(self) -> float:
        """Never less than none: a watcher may know before the writer does."""
        return max(0.0, self.seen - self.committed)


@dataclass(slots=True, kw_only=True)
class Watch:
    """One WebSocket, from its opening to its end: the frames as they came.

    `project_id` is what it subscribed to, from after `since`; without it, it listens.
    A user of None sees everything.
    """

    name: str
    node: str = ""
    user_id: int | None = None
    project_id: int | None = None
    since: int | None = None
    opened: float = 0.0
    frames: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    is_open: bool = True
    close_code: int | None = None
    last: dict[int, int] = field(default_factory=dict)
    arrived: dict[tuple[int, int], float] = field(default_factory=dict)

    def take(self, frame: str, at: float) -> None:
        """Keep a message."""
        self.frames.append(frame)
        self.times.append(at)
        message = json.loads(frame)
        for event in message.get("events", [message]):
            if "by" in event:
                self.arrived[event["project_id"], event["version"]] = at
        version = message.get("to", message.get("version"))
        if version is not None:
            self.last[message["project_id"]] = version


@dataclass(slots=True, kw_only=True)
class Fault:
    """Something that was done to the cluster, until it was undone.

    `is_of_truth` says that a node or the database could not do its part meanwhile.
    """

    kind: str
    began: float
    healed: float = float("inf")
    is_of_truth: bool = True


@dataclass(slots=True, kw_only=True)
class History:
    """Everything that the clients of a round know."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    lags: list[Lag] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """The number of writes that were acknowledged."""
        return sum(write.is_done for write in self.writes)

    @property
    def tries(self) -> Iterator[Try]:
        """Every request for a change."""
        return (attempt for write in self.writes for attempt in write.tries)

    @property
    def projects(self) -> frozenset[int]:
        """What was written into."""
        return frozenset(write.project_id for write in self.writes)

    def is_calm(self, since: float, until: float) -> bool:
        """Say whether nodes and database were well all the time."""
        return not any(
            fault.is_of_truth
            and fault.began < until
            and since < fault.healed + _RECOVERY_SECONDS
            for fault in self.faults
        )

    def has_to_be_seen_at(self, moment: float) -> float:
        """Say before when an acknowledged write has to be known to all nodes."""
        long_ago = moment - _FRESH_SECONDS
        return long_ago if self.is_calm(long_ago, moment) else float("-inf")


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
    def by_place(self) -> Mapping[tuple[int, int], Entry]:
        """Each event by its project and version."""
        return {(entry.project_id, entry.version): entry for entry in self.entries}

    @cached_property
    def pasts(self) -> Mapping[int, Past]:
        """Each project as it was at any version."""
        events: dict[int, list[Mapping[str, Any]]] = {key: [] for key in self.heads}
        for entry in self.entries:
            events.setdefault(entry.project_id, []).append(entry.event)
        return {project_id: Past(found) for project_id, found in events.items()}

    def of_tasks(self, project_id: int) -> Iterator[Entry]:
        """Everything that happened to the tasks of a project."""
        for entry in self.entries:
            if entry.project_id == project_id and "task" in entry.event:
                yield entry

    def tasks(self, project_id: int) -> Mapping[int, Mapping[str, Any]]:
        """Say which tasks there must be, from nothing but the log."""
        return self.pasts[project_id].at(self.heads[project_id]).tasks
