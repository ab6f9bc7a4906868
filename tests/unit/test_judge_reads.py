"""The judge of reads, and of how late they are, tried with what must not be."""

from typing import Any

import pytest

from tests.e2e.history import Fault, Lag, Read
from tests.e2e.judge import problems_of
from tests.unit.histories import (
    GUEST,
    HEAD,
    OWNER,
    PROJECT,
    STORY,
    TASK,
    story,
    task,
)


def test_reads_that_are_true_have_no_problem() -> None:
    assert _problems(_task(31, task(3)), _task(42, task(4), wants=4)) == []
    assert _problems(_task(29.5, None), _task(92.5, None)) == []
    assert _problems(_list(42, task(4)), _list(92.5)) == []
    assert _problems(_log(91, HEAD, user_id=GUEST)) == []


def test_a_read_without_the_version_that_it_names_is_found() -> None:
    assert _is_found("stale, it shows 5", _task(61.1, task(4), wants=6))
    assert _is_found("stale", _list(41.1, task(3), wants=4))
    assert _is_found("stale", _log(41.1, 3, wants=4))
    assert _is_found("stale", _list(31.1, wants=3))
    assert _is_found("hidden", _task(31.1, None, wants=3))


def test_a_read_that_says_that_the_named_version_is_not_there_is_found() -> None:
    read = _read(41.1, status=409, code="version_not_reached", wants=4)

    assert _is_found("not reached", read)


def test_a_read_of_what_was_acknowledged_long_before_is_found_to_be_stale() -> None:
    assert _is_found("stale", _task(42.6, task(3)))
    assert _is_found("stale", _list(42.6, task(3)))
    assert _is_found("stale", _log(42.6, 3))
    assert _problems(_task(42.4, task(3))) == []


def test_a_read_may_be_stale_while_a_node_or_the_database_is_away() -> None:
    away = Fault(kind="PostgreSQL killed", began=41, healed=43)
    redis = Fault(kind="Valkey killed", began=41, healed=43, is_of_truth=False)

    assert _problems(_task(44, task(3)), faults=[away]) == []
    assert _problems(_task(44, task(3), wants=4), faults=[away]) != []
    assert _problems(_task(50, task(3)), faults=[away]) != []
    assert _problems(_task(44, task(3)), faults=[redis]) != []


def test_a_read_of_what_was_never_committed_is_found() -> None:
    assert _is_found("at no version", _task(41.1, task(4, "Forget it")))
    assert _is_found("at no version", _list(41.1, task(4, "Forget it")))
    forged = {**STORY[3], "task": task(4, "Forget it")}
    assert _is_found("at no version", _log(41.1, 4, forged))


def test_a_read_of_what_was_not_yet_asked_for_is_found() -> None:
    assert _is_found("at no version up to 5", _task(52, task(6)))
    assert _is_found("at no version up to 5", _log(52, 6))


def test_a_list_that_mixes_or_leaves_out_is_found() -> None:
    assert _is_found("at no version", _list(41.1, task(4), task(4)))
    assert _is_found("stale", _list(42.6))


def test_what_somebody_reads_who_was_removed_is_found() -> None:
    assert _problems(_task(52.4, task(4), user_id=GUEST)) == []
    assert _is_found("leak", _task(52.6, task(4), user_id=GUEST))
    assert _is_found("leak", _task(61.1, task(6), user_id=GUEST))
    assert _is_found("leak", _log(61.1, 6, user_id=GUEST))
    assert _problems(_task(71.1, task(6), user_id=GUEST)) == []
    assert _problems(_task(61.1, None, user_id=GUEST)) == []


def test_what_a_member_is_refused_is_found() -> None:
    assert _is_found("hidden", _task(42.6, None, user_id=OWNER))
    assert _is_found("hidden", _task(72.6, None, user_id=GUEST))
    assert _problems(_task(71.1, None, user_id=GUEST)) == []


def test_a_read_without_an_answer_says_nothing() -> None:
    assert _problems(_read(50, status=None), _read(50, status=503)) == []


def test_a_read_that_hung_is_found() -> None:
    read = _read(30, status=None, ended=40.5)

    assert _is_found("hung for 10.5", read)


@pytest.mark.parametrize("what", ["a plain read", "a watcher"])
def test_what_is_seen_late_elsewhere_is_found(what: str) -> None:
    late, soon = _lag(what, 41, 42.6), _lag(what, 41, 42.4)
    away = Fault(kind="node killed", began=30, healed=37)

    assert _problems(lags=[soon, _lag(what, 41, 40.9)]) == []
    assert ["late" in text for text in _problems(lags=[late])] == [True]
    assert _problems(lags=[late], faults=[away]) == []


def _problems(*reads: Read, **more: Any) -> list[str]:
    history, log = story()
    history.reads += reads
    for name, items in more.items():
        getattr(history, name).extend(items)
    return problems_of(history, log)


def _is_found(word: str, read: Read) -> bool:
    return any(word in problem for problem in _problems(read))


def _read(started: float, **options: Any) -> Read:
    given: dict[str, Any] = {"status": 200, "ended": started + 0.1, "user_id": OWNER}
    return Read(
        request_id="read", started=started, project_id=PROJECT, **given | options
    )


def _task(started: float, shown: Any, **options: Any) -> Read:
    """Look at the task; None is shown where it is not found."""
    status = 404 if shown is None else 200
    tasks = [] if shown is None else [shown]
    return _read(started, status=status, task_id=TASK, tasks=tasks, **options)


def _list(started: float, *shown: Any, **options: Any) -> Read:
    return _read(started, tasks=shown, **options)


def _log(started: float, head: int, *events: Any, **options: Any) -> Read:
    return _read(started, head=head, events=events or STORY[:head], **options)


def _lag(what: str, committed: float, seen: float) -> Lag:
    return Lag(
        project_id=PROJECT,
        version=4,
        node="b",
        what=what,
        committed=committed,
        seen=seen,
    )
