"""Each acknowledged write has one place in the log, in the order of real time."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.e2e.history import SETUP, Entry, History, Log, Try, Write

_FOREVER = float("inf")
_THINGS = ("task", "comment", "member", "project")


def problems(history: History, log: Log) -> Iterator[str]:
    """Find what was lost, doubled, made up, half done, or is in another order."""
    yield from _not_dense(log)
    for write in history.writes:
        yield from _not_once(write, log)
    yield from _unasked(history, log)
    yield from _out_of_order(history, log)


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
        yield from _lost_update(write, made[0][0], log)


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
        if attempt.shown is not None and attempt.shown != _thing_of(last.event):
            yield f"{attempt.request_id}: the answer is not what the log says"
        if attempt.place not in {None, (last.project_id, last.version)}:
            yield (
                f"{attempt.request_id}: it was told {attempt.place}, "
                f"the log says {last.version}"
            )


def _thing_of(event: Mapping[str, Any]) -> Any:
    return next(event[name] for name in _THINGS if name in event)


def _lost_update(write: Write, first: Entry, log: Log) -> Iterator[str]:
    """Find a write that does not rest on what it was to rest on."""
    if write.if_match is None:
        return
    past, task_id = log.pasts[first.project_id], first.event["task"]["id"]
    before = past.task_at(task_id, first.version - 1)
    version = before["version"] if before is not None else None
    if version != write.if_match:
        yield (
            f"{write.tries[0].request_id}: lost update, it overwrote {version}, "
            f"not {write.if_match}"
        )


def _unasked(history: History, log: Log) -> Iterator[str]:
    asked = {attempt.request_id for attempt in history.tries} | {SETUP}
    for entry in log.entries:
        if entry.project_id not in history.projects:
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
