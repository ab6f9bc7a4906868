"""The judge of what sockets got, tried with what must not be."""

from typing import Any

import pytest

from tests.e2e.history import Watch
from tests.e2e.judge import problems_of
from tests.unit.histories import (
    GUEST,
    HEAD,
    OWNER,
    PROJECT,
    STORY,
    event,
    member,
    story,
    task,
    watch_of,
)

_SNAPSHOT = {
    "type": "snapshot",
    "project_id": PROJECT,
    "version": 4,
    "project": {"id": PROJECT, "owner_id": OWNER},
    "members": [member()],
    "tasks": [task(4)],
    "comments": [],
}


def test_streams_that_are_true_have_no_problem() -> None:
    listener = watch_of(*STORY[2:], user_id=OWNER)
    subscriber = _subscriber(*STORY[4:], _subscribed(HEAD), _tick(HEAD), since=4)
    together = _subscriber(_events(2, 5), _events(6, 9), since=1)
    jumped = _subscriber(STORY[1], _SNAPSHOT, *STORY[4:], since=1)

    assert _problems(listener, subscriber, together, jumped) == []


@pytest.mark.parametrize(
    ("versions", "word"),
    [
        ((3, 5), "gap"),
        ((3, 4, 4), "repeat"),
        ((4, 3), "disorder"),
    ],
)
def test_what_was_missed_seen_twice_or_too_late_is_found(
    versions: tuple[int, ...], word: str
) -> None:
    messages = [STORY[version - 1] for version in versions]
    frame = {**_events(1, 1), "from": min(versions), "to": max(versions)}
    together = _subscriber({**frame, "events": messages}, is_open=False)

    assert _is_found(word, watch_of(*messages, is_open=False))
    assert _is_found(word, _subscriber(*messages, is_open=False))
    assert _is_found(word, together)


def test_a_gap_after_since_is_found() -> None:
    assert _is_found("gap", _subscriber(*STORY[5:], since=4))
    assert _is_found("gap", _subscriber(_subscribed(5), since=4, is_open=False))


def test_a_frame_with_a_hole_is_found() -> None:
    frame = _events(2, 4)
    frame["events"] = [frame["events"][0], frame["events"][2]]

    assert _is_found("gap, [2, 4]", _subscriber(frame, since=1, is_open=False))


def test_a_tick_ahead_of_what_came_is_found() -> None:
    assert _is_found("gap, ticked at 5", _subscriber(STORY[3], _tick(5), is_open=False))


def test_a_stream_that_does_not_reach_the_head_is_found() -> None:
    assert _is_found("up to 8 only", _subscriber(*STORY[:8], since=0))
    assert _is_found("up to 8 only", watch_of(*STORY[:8], user_id=OWNER))
    assert _is_found("up to None only", watch_of(user_id=OWNER))
    assert _problems(_subscriber(*STORY[:8], since=0, is_open=False)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"tasks": []},
        {"tasks": [task(3)]},
        {"tasks": [task(4), task(4)]},
        {"members": []},
        {"comments": [{"id": 1, "task_id": 1}]},
        {"project": {"id": PROJECT, "owner_id": GUEST}},
    ],
)
def test_an_untrue_snapshot_is_found(change: dict[str, Any]) -> None:
    assert _is_found("untrue", _subscriber({**_SNAPSHOT, **change}, is_open=False))


def test_a_snapshot_of_the_past_is_found() -> None:
    watch = _subscriber(*STORY[:5], _SNAPSHOT, since=0, is_open=False)

    assert _is_found("disorder", watch)


def test_what_was_never_committed_is_found() -> None:
    other = event("task_updated", 4, task(4, "Forget it"))
    frame = {**_events(4, 4), "events": [other]}
    beyond = event("task_updated", 10, task(10))

    assert _is_found("otherwise", watch_of(other, is_open=False))
    assert _is_found("otherwise", _subscriber(frame, is_open=False))
    assert _is_found("otherwise", watch_of(beyond, is_open=False))


def test_what_somebody_is_told_who_was_removed_is_found() -> None:
    until_removed = STORY[1:5]

    assert _problems(_guest(*until_removed)) == []
    assert _is_found("leak", _guest(*STORY[1:6]))
    assert _is_found("leak", _guest(*STORY[1:6], project_id=PROJECT))
    assert _is_found("leak", _guest(_subscribed(5), project_id=PROJECT))
    outside = {**_SNAPSHOT, "version": 5, "members": []}
    assert _is_found("leak", _guest(outside, project_id=PROJECT))


def test_who_comes_back_may_be_told_of_what_was_meanwhile() -> None:
    subscriber = _guest(*STORY[5:], at=75, project_id=PROJECT, since=5)
    too_soon = _guest(*STORY[5:], at=69, project_id=PROJECT, since=5)

    assert _problems(_guest(*STORY[1:5], *STORY[6:], is_open=True)) == []
    assert _problems(subscriber) == []
    assert _is_found("leak", too_soon)


def test_a_listener_who_is_not_told_of_what_they_may_see_is_found() -> None:
    since_removed = _guest(STORY[1], STORY[4])

    assert _is_found("gap", _guest(STORY[1], STORY[3]))
    assert _is_found("gap", _guest(STORY[6], STORY[8]))
    assert _problems(since_removed) == []


def _problems(*watches: Watch) -> list[str]:
    history, log = story()
    history.watches += watches
    return problems_of(history, log)


def _is_found(word: str, watch: Watch) -> bool:
    return any(word in problem for problem in _problems(watch))


def _subscriber(*messages: Any, **options: Any) -> Watch:
    return watch_of(*messages, project_id=PROJECT, user_id=OWNER, **options)


def _guest(*messages: Any, is_open: bool = False, **options: Any) -> Watch:
    return watch_of(*messages, user_id=GUEST, is_open=is_open, **options)


def _events(first: int, last: int) -> Any:
    return {
        "type": "events",
        "project_id": PROJECT,
        "from": first,
        "to": last,
        "events": [*STORY[first - 1 : last]],
    }


def _subscribed(version: int) -> Any:
    return {"type": "subscribed", "project_id": PROJECT, "version": version}


def _tick(version: int) -> Any:
    return {"type": "tick", "heads": {str(PROJECT): version}}
