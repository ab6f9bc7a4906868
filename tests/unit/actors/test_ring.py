"""The ring: consecutive events, bounded, joined at both ends."""

import pytest

from actors.domain.commands import CreateTask
from actors.domain.decide import decide
from actors.ring import Item, Ring
from tests.factories import make_command, make_entry, make_state


def item(version: int) -> Item:
    state = make_state(version=version - 1)
    (event,) = decide(state, make_command(CreateTask))
    return Item(make_entry(event))


def ring_of(first: int, last: int, **bounds: int) -> Ring:
    ring = Ring(first - 1, **bounds)
    for version in range(first, last + 1):
        ring.append(item(version))
    return ring


def versions(ring: Ring, since: int) -> list[int]:
    return [each.version for each in ring.after(since, ring.head)]


def test_it_gives_what_follows_a_version() -> None:
    ring = ring_of(5, 9)

    assert versions(ring, 6) == [7, 8, 9]
    assert versions(ring, 9) == []
    assert [ring.covers(v) for v in (3, 4, 9, 10)] == [False, True, True, False]


def test_an_empty_ring_covers_its_head_only() -> None:
    ring = Ring(4)

    assert (ring.oldest, ring.covers(4), ring.covers(3)) == (5, True, False)


def test_what_does_not_follow_is_no_event_of_it() -> None:
    ring = ring_of(5, 6)

    for version in (6, 8):
        with pytest.raises(ValueError, match="does not follow"):
            ring.append(item(version))


def test_old_events_go_when_there_are_too_many() -> None:
    ring = ring_of(1, 10, most_events=3)

    assert (len(ring), ring.oldest, ring.head) == (3, 8, 10)


def test_old_events_go_when_they_are_too_large() -> None:
    size = len(item(1).entry.body)
    ring = ring_of(1, 9, most_bytes=2 * size + size // 2)

    assert (len(ring), ring.oldest) == (2, 8)
    assert ring.size_bytes == 2 * size


def test_an_event_that_is_too_large_alone_is_kept() -> None:
    assert len(ring_of(1, 3, most_bytes=1)) == 1


def test_older_events_are_joined_on() -> None:
    ring = ring_of(5, 6)

    ring.prepend([item(version) for version in range(2, 7)])

    assert versions(ring, 1) == [2, 3, 4, 5, 6]


def test_older_events_that_leave_a_gap_are_not_taken() -> None:
    ring = ring_of(5, 6)

    ring.prepend([item(2), item(3)])

    assert ring.oldest == 5


def test_older_events_are_taken_as_far_as_they_fit() -> None:
    ring = ring_of(5, 6, most_events=4)

    ring.prepend([item(version) for version in range(1, 5)])

    assert ring.oldest == 2  # it may have one too many until the next event
    ring.append(item(7))
    assert ring.oldest == 4


def test_it_starts_again_from_another_version() -> None:
    ring = ring_of(5, 6)

    ring.restart(20)

    assert (ring.oldest, ring.head, ring.size_bytes) == (21, 20, 0)
