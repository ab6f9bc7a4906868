"""What happened during a run, in a few lines."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.e2e.history import Fault, History, Lag


def summary(history: History) -> str:
    """Count what was asked and done, and say how soon and how late."""
    requests = [*history.tries, *history.reads]
    slowest = max((r.ended - r.started for r in requests), default=0.0)
    done, reads, sockets = history.acknowledged, history.reads, history.watches
    return "\n".join(
        (
            f"{len(history.writes)} writes, {done} acknowledged",
            f"{len(reads)} reads, {len(sockets)} sockets",
            f"answers: {_counted(str(r.status) for r in requests)}",
            f"refusals: {_counted(r.code for r in requests if r.code)}",
            f"faults: {', '.join(_faults(history.faults))}",
            f"slowest request: {slowest:.2f} s",
            *_freshness(history),
        )
    )


def _counted(words: Iterator[str]) -> str:
    return ", ".join(f"{n} {word}" for word, n in Counter(words).most_common())


def _faults(faults: Sequence[Fault]) -> Iterator[str]:
    for kind, number in Counter(fault.kind for fault in faults).most_common():
        seconds = max(f.healed - f.began for f in faults if f.kind == kind)
        yield f"{number} {kind} for up to {seconds:.1f} s"


def _freshness(history: History) -> Iterator[str]:
    for what in sorted({lag.what for lag in history.lags}):
        lags = [lag for lag in history.lags if lag.what == what]
        calm = [lag for lag in lags if history.is_calm(lag.committed, lag.seen)]
        with_hints = [lag for lag in calm if not _is_redis_away(history, lag)]
        without = [lag for lag in calm if _is_redis_away(history, lag)]
        yield f"from commit to {what} elsewhere: {_distribution(lags)}"
        yield f"  nodes and database well, with Redis: {_distribution(with_hints)}"
        yield f"  nodes and database well, without Redis: {_distribution(without)}"


def _is_redis_away(history: History, lag: Lag) -> bool:
    return any(
        not fault.is_of_truth and fault.began < lag.committed < fault.healed
        for fault in history.faults
    )


def _distribution(lags: Sequence[Lag]) -> str:
    if not lags:
        return "none"
    found = sorted(lag.seconds for lag in lags)
    p50, p99 = (found[int(len(found) * part)] for part in (0.5, 0.99))
    return f"p50 {p50:.3f}, p99 {p99:.3f}, max {found[-1]:.3f} s of {len(found)}"
