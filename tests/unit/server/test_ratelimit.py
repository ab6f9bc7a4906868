"""GCRA: how much at once, how soon again, and what is said of it."""

from hypothesis import given
from hypothesis import strategies as st

from server.ratelimit import Limit


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def limit_of(quota: int, clock: Clock, **options: float) -> Limit:
    return Limit("default", quota, clock=clock, **options)


def test_the_quota_may_be_used_at_once_and_no_more():
    allowance = limit_of(5, Clock()).of(1)

    taken = [allowance.take() for _ in range(7)]

    assert taken == [True] * 5 + [False] * 2


def test_one_at_a_time_comes_back():
    clock = Clock()
    allowance = limit_of(6, clock).of(1)
    while allowance.take():
        pass

    clock.now += 9.9
    early = allowance.take()
    clock.now += 0.2
    taken = [allowance.take() for _ in range(2)]

    assert not early
    assert taken == [True, False]


def test_what_is_not_used_does_not_add_up():
    clock = Clock()
    allowance = limit_of(5, clock).of(1)
    allowance.take()

    clock.now += 3600

    assert sum(allowance.take() for _ in range(9)) == 5


def test_a_refusal_costs_nothing():
    clock = Clock()
    allowance = limit_of(6, clock).of(1)
    for _ in range(100):
        allowance.take()

    clock.now += 10

    assert allowance.take()


def test_what_is_given_back_may_be_used_again():
    allowance = limit_of(2, Clock()).of(1)
    for _ in range(100):
        assert allowance.take()
        allowance.give_back()

    assert (allowance.left, allowance.ahead) == (2, 0)


def test_keys_do_not_share():
    limit = limit_of(1, Clock())

    assert [limit.of(key).take() for key in (1, 2, 1)] == [True, True, False]


@given(
    start=st.floats(0, 1e9),
    quota=st.integers(1, 100_000),
    excess=st.floats(1e-5, 60),
)
def test_to_wait_as_long_as_is_said_is_enough_and_hardly_too_long(
    start: float, quota: int, excess: float
):
    clock = Clock(start)
    allowance = limit_of(quota, clock).of(1)
    until_some = 60 - 60 / quota
    allowance.full_at = start + until_some + excess
    assert not allowance.take()

    seconds = allowance.retry_after_seconds
    clock.now = start + seconds

    assert seconds < excess + 1.3
    assert allowance.take()


def test_the_headers_say_what_is_left_and_for_how_long():
    clock = Clock()
    limit = limit_of(60, clock)
    allowance = limit.of(1)

    seen = []
    for _ in range(59):
        assert allowance.take()
    seen.append(allowance.state)
    clock.now += 30
    seen.append(allowance.state)
    while allowance.take():
        pass
    seen.append(allowance.state)

    assert limit.policy == '"default";q=60;w=60'
    assert seen == [
        '"default";r=1;t=59',
        '"default";r=31;t=29',
        f'"default";r=0;t={allowance.retry_after_seconds}',
    ]


def test_what_is_left_agrees_with_what_is_let_through():
    clock = Clock()
    allowance = limit_of(7, clock).of(1)

    for pause in (0, 1, 8.5, 0.1, 20, 3, 60):
        clock.now += pause
        told = allowance.left
        assert sum(allowance.take() for _ in range(20)) == told


def test_only_so_many_keys_are_remembered():
    limit = limit_of(5, Clock(), size=3)
    limit.of(1).take()
    for key in (2, 3, 1, 4):
        limit.of(key)

    assert len(limit) == 3
    assert limit.of(1).left == 4  # it was used after 2


def test_each_allowance_is_noted_once_until_it_is_handed_over():
    limit, noted = limit_of(100, Clock()), []
    limit.noted = lambda: noted.append(1)
    for key in (1, 1, 2):
        limit.of(key).take()

    handed = [allowance.key for allowance in limit.unsettled_now()]
    limit.of(1).take()

    assert handed == [1, 2]
    assert [allowance.key for allowance in limit.unsettled] == [1]
    assert len(noted) == 2


def test_a_twentieth_of_the_quota_is_urgent():
    limit, urged = limit_of(100, Clock()), []
    limit.urged = lambda: urged.append(1)

    for _ in range(4):
        limit.of(1).take()
    before = list(urged)
    limit.of(1).take()

    assert (before, urged) == ([], [1])
