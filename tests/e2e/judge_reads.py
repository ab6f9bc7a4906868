"""A read shows the project as it was at one version, which is not too old for it.

The version is at least the one that the read named, and any that was acknowledged 1.5 s
before it began, unless a node or the database was out of order; and at most one that
was asked for before it ended. The reader may see the project at that very version.
"""

from collections.abc import Iterator

from tests.e2e.bounds import Bounds
from tests.e2e.history import History, Log, Read
from tests.e2e.past import Past

_NOT_FOUND = 404
_NOT_REACHED = "version_not_reached"
_OK = 200


def problems(history: History, log: Log) -> Iterator[str]:
    """Find stale reads, leaks, and reads of what never was."""
    bounds = Bounds(history, log)
    for read in history.reads:
        if read.code == _NOT_REACHED:
            yield f"{read.request_id}: {read.wants} was acknowledged, but not reached"
        elif read.is_whole and read.status in {_OK, _NOT_FOUND}:
            problem = _problem(read, log.pasts[read.project_id], bounds)
            if problem:
                yield f"{read.request_id} at {read.node}: {problem}"


def _problem(read: Read, past: Past, bounds: Bounds) -> str:
    least = max(read.wants, bounds.least(read.project_id, read.started))
    most = bounds.most(read.project_id, read.ended)
    if read.head is not None:
        return _problem_of_log(read, read.head, past, (least, most))
    newest = max((task["version"] for task in read.tasks), default=1)
    fitting = range(max(least, newest), most + 1)
    if any(_shows(read, past, v) and _sees(read, past, v) for v in fitting):
        return ""
    shown = [v for v in range(1, most + 1) if _shows(read, past, v)]
    if read.status == _NOT_FOUND:
        return f"hidden, {read.user_id} may see it from {least} to {most}"
    if any(version >= least for version in shown):
        return f"leak, {read.user_id} saw {shown[-1]}"
    if shown:
        return f"stale, it shows {shown[-1]} instead of {least} or later"
    return f"it shows what was at no version up to {most}"


def _problem_of_log(read: Read, head: int, past: Past, bounds: tuple[int, int]) -> str:
    """Judge a look at the log, which who comes back may read as a whole."""
    least, most = bounds
    if head < least:
        return f"stale, the log ends at {head} instead of {least} or later"
    true = all(past.event(event["version"]) == event for event in read.events)
    if head > most or not true:
        return f"it shows a log that was at no version up to {most}"
    if not any(past.may_see(read.user_id, v) for v in range(head, most + 1)):
        return f"leak, {read.user_id} saw the log up to {head}"
    return ""


def _shows(read: Read, past: Past, version: int) -> bool:
    """Say whether that is how the project was; of a refusal, that it could be."""
    if read.status == _NOT_FOUND:
        return True
    if read.task_id is not None:
        return [*read.tasks] == [past.task_at(read.task_id, version)]
    found = past.tasks_at(version)
    return len(found) == len(read.tasks) and all(
        found.get(task["id"]) == task for task in read.tasks
    )


def _sees(read: Read, past: Past, version: int) -> bool:
    """Say whether the answer is the one for somebody of this user's rights."""
    sees = past.may_see(read.user_id, version)
    if read.status == _OK:
        return sees
    is_there = read.task_id is None or past.task_at(read.task_id, version) is not None
    return not (sees and is_there)
