"""What a socket got is the log: consecutive, or interrupted by a true snapshot."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.e2e.bounds import Bounds
from tests.e2e.history import History, Log, Watch

_NOTHING = frozenset(
    {"unsubscribed", "restarting", "error", "authenticated", "expiring"}
)


def problems(history: History, log: Log) -> Iterator[str]:
    """Find gaps, repeats, disorder, untruths, and what was not for this user."""
    bounds = Bounds(history, log)
    for watch in history.watches:
        stream = _Stream(watch, log, bounds)
        yield from stream.problems()
        if watch.is_open:
            yield from stream.unfinished(history.projects)


class _Stream:
    """The messages of one socket; `last` is how far each project has come."""

    def __init__(self, watch: Watch, log: Log, bounds: Bounds):
        self._watch = watch
        self._log = log
        self._bounds = bounds
        self._at = 0.0
        self._last: dict[int, int] = {}
        if watch.project_id is not None and watch.since is not None:
            self._last[watch.project_id] = watch.since

    def problems(self) -> Iterator[str]:
        watch = self._watch
        for at, frame in zip(watch.times, watch.frames, strict=True):
            self._at = at
            message = json.loads(frame)
            for problem in self._problems_with(message, frame):
                yield f"{self._watch.name}: {problem}"

    def unfinished(self, projects: frozenset[int]) -> Iterator[str]:
        """Find projects that moved on without a socket that is open to the end."""
        wanted = projects
        if self._watch.project_id is not None:
            wanted = frozenset({self._watch.project_id})
        for project_id in sorted(wanted):
            head, last = self._log.heads.get(project_id, 0), self._last.get(project_id)
            if last != head and self._sees(project_id, head):
                yield f"{self._watch.name}: saw {project_id} up to {last} only"

    def _problems_with(self, message: Mapping[str, Any], frame: str) -> Iterator[str]:
        match message["type"]:
            case "events":
                yield from self._together(message)
            case "snapshot":
                yield from self._snapshot(message)
            case "subscribed":
                yield from self._subscribed(message)
            case "tick":
                yield from self._tick(message)
            case kind if kind not in _NOTHING:
                entry = self._log.by_place.get(_place_of(message))
                yield from self._event(message)
                if entry is None or entry.text != frame:
                    yield f"saw {_place_of(message)} otherwise than committed"

    def _together(self, message: Mapping[str, Any]) -> Iterator[str]:
        inside = [event["version"] for event in message["events"]]
        is_whole = inside == [*range(message["from"], message["to"] + 1)]
        if self._watch.project_id is not None and not is_whole:
            yield f"gap, {inside} is not {message['from']} to {message['to']}"
        for event in message["events"]:
            yield from self._event(event)
            entry = self._log.by_place.get(_place_of(event))
            if entry is None or entry.event != event:
                yield f"saw {_place_of(event)} otherwise than committed"

    def _event(self, event: Mapping[str, Any]) -> Iterator[str]:
        project_id, version = _place_of(event)
        before = self._last.get(project_id, version - 1)
        if version <= before:
            yield f"repeat or disorder in {project_id}, {version} after {before}"
        elif self._missed(project_id, before, version):
            yield f"gap in {project_id}, {version} after {before}"
        if not self._is_for_them(project_id, version):
            yield f"leak, {self._watch.user_id} was told of {project_id}, {version}"
        self._last[project_id] = version

    def _missed(self, project_id: int, before: int, version: int) -> bool:
        """Say whether what is left out was to be told; a subscriber is told all.

        A listener who was shut out since need not be told what was before: a server
        that finds it in the log asks who may see the project now.
        """
        between = range(before + 1, version)
        past, user_id = self._log.pasts.get(project_id), self._watch.user_id
        if self._watch.project_id is not None or past is None:
            return bool(between)
        by_then = self._bounds.most(project_id, self._at)
        return any(
            all(past.may_see(user_id, v) for v in range(missed, by_then + 1))
            for missed in between
        )

    def _is_for_them(self, project_id: int, version: int) -> bool:
        """Say whether they may know: who was let in by then may read the whole log."""
        past, user_id = self._log.pasts.get(project_id), self._watch.user_id
        if past is None or past.is_told(user_id, version):
            return True
        by_then = self._bounds.most(project_id, self._at)
        return any(past.may_see(user_id, v) for v in range(version, by_then + 1))

    def _subscribed(self, message: Mapping[str, Any]) -> Iterator[str]:
        project_id, version = message["project_id"], message["version"]
        last = self._last.setdefault(project_id, version)
        if last != version:
            yield f"gap, subscribed to {project_id} at {version} after {last}"
        if not self._sees(project_id, version):
            yield f"leak, {self._watch.user_id} subscribed at {version}"

    def _tick(self, message: Mapping[str, Any]) -> Iterator[str]:
        for key, head in message["heads"].items():
            last = self._last.get(int(key), head)
            if last != head:
                yield f"gap, ticked at {head} of {key} after {last}"

    def _snapshot(self, message: Mapping[str, Any]) -> Iterator[str]:
        project_id, version = message["project_id"], message["version"]
        if version < self._last.get(project_id, 0):
            yield f"disorder, a snapshot at {version} after {self._last[project_id]}"
        self._last[project_id] = version
        for what in differences(message, self._log):
            yield f"untrue snapshot of {project_id} at {version}: {what}"
        if not self._sees(project_id, version):
            yield f"leak, {self._watch.user_id} got a snapshot at {version}"

    def _sees(self, project_id: int, version: int) -> bool:
        past = self._log.pasts.get(project_id)
        return past is not None and past.may_see(self._watch.user_id, version)


def differences(snapshot: Mapping[str, Any], log: Log) -> Iterator[str]:
    """Hold a snapshot to the log at its version; names what is not the same."""
    past = log.pasts.get(snapshot["project_id"])
    if past is None:
        yield "there is no such project"
        return
    scene = past.at(snapshot["version"])
    if snapshot["project"] != scene.project:
        yield "the project"
    for name, key, things in (
        ("members", "user_id", scene.members),
        ("tasks", "id", scene.tasks),
        ("comments", "id", scene.comments),
    ):
        if {thing[key]: thing for thing in snapshot[name]} != things:
            yield f"the {name}"
        if len(snapshot[name]) != len(things):
            yield f"the number of {name}"


def _place_of(event: Mapping[str, Any]) -> tuple[int, int]:
    return event["project_id"], event["version"]
