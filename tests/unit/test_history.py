"""The judge of writes, tried with histories that are doctored."""

import json
from collections.abc import Iterable
from dataclasses import replace

from tests.e2e.history import (
    Entry,
    History,
    Log,
    Try,
    Watch,
    Write,
)
from tests.e2e.judge import problems_of

_PROJECT = 7


def test_a_true_history_has_no_problem() -> None:
    log = _log("a", "b", "b", "c", keys={"k": (_PROJECT, 4)})
    history = _history(
        _write("a"),
        _write("b", kinds=("task_updated", "task_completed")),
        _write("lost on the way", status=None),
        _write("c", key="k"),
        log=log,
    )

    assert problems_of(history, log) == []


def test_an_acknowledged_write_that_is_not_in_the_log_is_found() -> None:
    assert _is_found("lost", _history(_write("a"), _write("b")), _log("a"))


def test_half_a_write_is_found() -> None:
    both = ("task_updated", "task_completed")

    assert _is_found("lost", _history(_write("a", kinds=both)), _log("a"))
    assert _is_found("half", _history(_write("a", both, status=None)), _log("a"))


def test_a_write_that_is_in_the_log_twice_is_found() -> None:
    assert _is_found("doubled", _history(_write("a")), _log("a", "a"))
    unknown = _history(_write("a", status=None))
    assert _is_found("more than a whole", unknown, _log("a", "a"))


def test_two_effects_of_one_idempotency_key_are_found() -> None:
    write = _write("first", key="k", status=None)
    write.tries += _write("second").tries
    log = _log("first", "second", keys={"k": (_PROJECT, 1)})

    assert _is_found("doubled", _history(write), log)


def test_an_effect_without_its_idempotency_key_is_found() -> None:
    assert _is_found("its key says None", _history(_write("a", key="k")), _log("a"))


def test_an_idempotency_key_without_its_effect_is_found() -> None:
    history = _history(_write("a", key="k", status=None))

    assert _is_found("its key says (7, 1)", history, _log(keys={"k": (_PROJECT, 1)}))


def test_a_replay_with_an_effect_is_found() -> None:
    write = _write("first", key="k")
    write.tries.append(replace(_write("second").tries[0], is_replay=True))
    log = _log("first", "second", keys={"k": (_PROJECT, 1)})

    assert _is_found("told of a replay", _history(write), log)


def test_an_effect_of_what_was_said_to_change_nothing_is_found() -> None:
    refused = _write("a", status=503, code="database_unavailable")

    assert _is_found("told database_unavailable", _history(refused), _log("a"))


def test_a_gap_in_the_log_is_found() -> None:
    log = _log("a", "b", "c")
    with_gap = replace(log, entries=[log.entries[0], log.entries[2]])

    assert _is_found("are not 1 to the head", _history(_write("a")), with_gap)


def test_a_head_beside_the_log_is_found() -> None:
    log = replace(_log("a"), heads={_PROJECT: 2})

    assert _is_found("are not 1 to the head", _history(_write("a")), log)


def test_an_event_that_nobody_asked_for_is_found() -> None:
    assert _is_found("nobody asked", _history(_write("a")), _log("a", "b"))


def test_a_write_before_one_that_had_ended_is_found() -> None:
    late, early = _write("late"), _write("early")
    early.tries = [replace(early.tries[0], started=0, ended=1)]
    late.tries = [replace(late.tries[0], started=2, ended=3)]

    assert _is_found("reordered", _history(early, late), _log("late", "early"))


def test_writes_at_the_same_time_may_have_either_order() -> None:
    one, two = _write("one"), _write("two")
    one.tries = [replace(one.tries[0], started=0, ended=3)]
    two.tries = [replace(two.tries[0], started=1, ended=2)]

    assert problems_of(_history(two, one), _log("two", "one")) == []
    assert problems_of(_history(one, two), _log("one", "two")) == []


def test_an_answer_that_differs_from_the_log_is_found() -> None:
    write = _write("a")
    write.tries = [replace(write.tries[0], shown={"id": 1, "title": "another"})]

    assert _is_found("the answer is not", _history(write), _log("a"))


def test_a_place_that_differs_from_the_log_is_found() -> None:
    write = _write("b")
    right, wrong = (_PROJECT, 2), (_PROJECT, 1)
    write.tries = [replace(write.tries[0], place=right)]
    history = _history(_write("a"), write)

    assert problems_of(history, _log("a", "b")) == []
    write.tries = [replace(write.tries[0], place=wrong)]
    assert _is_found("it was told (7, 1)", history, _log("a", "b"))


def test_a_write_over_another_than_it_named_is_found() -> None:
    write = _write("c")
    history = _history(_write("a"), _write("b"), write)

    write.if_match = 2
    assert problems_of(history, _log("a", "b", "c")) == []
    write.if_match = 1
    assert _is_found("lost update, it overwrote 2", history, _log("a", "b", "c"))


def test_two_answers_to_one_idempotency_key_are_found() -> None:
    write = _write("first", key="k")
    task = {"id": 1, "title": "Write it", "version": 1}
    again = {**task, "title": "another"}
    write.tries = [
        replace(write.tries[0], shown=task),
        replace(write.tries[0], request_id="again", is_replay=True, shown=again),
    ]
    log = _log("first", keys={"k": (_PROJECT, 1)})

    assert _is_found("again: the answer is not", _history(write), log)


def test_what_a_watcher_missed_saw_twice_or_too_late_is_found() -> None:
    log = _log("a", "b", "c")
    writes = [_write(name) for name in "abc"]

    for order, word in (
        ((0, 2), "gap"),
        ((0, 1, 1, 2), "repeat"),
        ((1, 0), "disorder"),
    ):
        seen = Log(entries=[log.entries[n] for n in order], heads={})
        assert _is_found(word, _history(*writes, log=seen), log)


def test_a_watcher_that_was_not_told_the_last_event_is_found() -> None:
    log = _log("a", "b")
    history = _history(_write("a"), _write("b"), log=_log("a"))

    assert _is_found("up to 1 only", history, log)
    history.watches[0].is_open = False
    assert problems_of(history, log) == []


def test_what_a_watcher_saw_before_it_was_committed_is_found() -> None:
    history = _history(_write("a"), _write("b", status=None), log=_log("a", "b"))

    assert _is_found("otherwise than committed", history, _log("a"))


def test_a_request_that_hung_is_found() -> None:
    write = _write("a")
    write.tries = [replace(write.tries[0], started=0, ended=10.5)]

    assert _is_found("hung", _history(write), _log("a"))


def _is_found(word: str, history: History, log: Log) -> bool:
    return any(word in problem for problem in problems_of(history, log))


def _write(
    request_id: str,
    kinds: tuple[str, ...] = ("task_updated",),
    *,
    key: str | None = None,
    status: int | None = 200,
    code: str = "",
) -> Write:
    attempt = Try(
        request_id=request_id, started=0, ended=1, status=status, code=code, shown=None
    )
    return Write(project_id=_PROJECT, kinds=kinds, key=key, tries=[attempt])


def _history(*writes: Write, log: Log | None = None) -> History:
    """Clients that made these writes, and one that saw everything of a log."""
    watches = []
    if log is not None:
        watch = Watch(name="watcher")
        for entry in log.entries:
            watch.take(entry.text, 1.0)
        watches = [watch]
    return History(writes=list(writes), watches=watches)


def _log(*request_ids: str, keys: dict[str, tuple[int, int]] | None = None) -> Log:
    """A log with an event for each of these; the second of a request completes."""
    entries = list(_entries(request_ids))
    return Log(entries=entries, heads={_PROJECT: len(entries)}, keys=keys or {})


def _entries(request_ids: Iterable[str]) -> Iterable[Entry]:
    seen: set[str] = set()
    for version, request_id in enumerate(request_ids, 1):
        kind = "task_completed" if request_id in seen else "task_updated"
        seen.add(request_id)
        event = {
            "type": kind,
            "project_id": _PROJECT,
            "version": version,
            "request_id": request_id,
            "task": {"id": 1, "title": "Write it", "version": version},
        }
        yield Entry(project_id=_PROJECT, version=version, text=json.dumps(event))
