"""What has to be true of what clients were told, beside the log in the database."""

from collections.abc import Iterator

from tests.e2e import judge_reads, judge_watches, judge_writes
from tests.e2e.history import LONGEST_WAIT_SECONDS, History, Log

_LONGEST_LAG_SECONDS = 1.5


def problems_of(history: History, log: Log) -> list[str]:
    """Name everything that must not be; an empty list is what is wanted."""
    return [
        *judge_writes.problems(history, log),
        *judge_watches.problems(history, log),
        *judge_reads.problems(history, log),
        *_late(history),
        *_hanging(history),
    ]


def _late(history: History) -> Iterator[str]:
    for lag in history.lags:
        is_late = lag.seconds > _LONGEST_LAG_SECONDS
        if is_late and history.is_calm(lag.committed, lag.seen):
            yield (
                f"late: {lag.project_id}, {lag.version} reached {lag.what} "
                f"at {lag.node} after {lag.seconds:.2f} s"
            )


def _hanging(history: History) -> Iterator[str]:
    for request in (*history.tries, *history.reads):
        if (waited := request.ended - request.started) > LONGEST_WAIT_SECONDS:
            meanwhile = [
                f"{fault.kind} from {fault.began - request.started:.1f} "
                f"to {fault.healed - request.started:.1f} s"
                for fault in history.faults
                if fault.began < request.ended and request.started < fault.healed
            ]
            yield (
                f"{request.request_id} at {request.node}: it hung for {waited:.1f} s, "
                f"answered {request.status}; meanwhile {meanwhile}"
            )
