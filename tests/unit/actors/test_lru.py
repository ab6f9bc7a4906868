"""The segmented LRU does what its plain description says, whatever is asked of it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.lru import SegmentedLru

SIZE, WEIGHT = 5, 40


class _Model:
    """The same with lists, the least recently used first; (key, weight, since)."""

    def __init__(self) -> None:
        self.probation: list[int] = []
        self.protected: list[int] = []
        self.weights: dict[int, int] = {}
        self.since: dict[int, float] = {}
        self.used: dict[int, float] = {}

    def put(self, key: int, now: float, weight: int) -> None:
        self.pop(key)
        self.probation.append(key)
        self.weights[key], self.since[key], self.used[key] = weight, now, now

    def use(self, key: int, now: float, weight: int) -> None:
        self.weights[key] = weight
        self.used.pop(key)
        self.used[key] = now
        if key in self.protected:
            self.protected.remove(key)
            self.protected.append(key)
        else:
            self.probation.remove(key)
            is_again = now - self.since[key] >= 1 and weight <= 0.8 * WEIGHT
            (self.protected if is_again else self.probation).append(key)
        while (
            len(self.protected) > 0.8 * SIZE
            or sum(self.weights[key] for key in self.protected) > 0.8 * WEIGHT
        ):
            self.probation.append(self.protected.pop(0))

    def pop(self, key: int) -> None:
        for segment in (self.probation, self.protected):
            if key in segment:
                segment.remove(key)
        for known in (self.weights, self.since, self.used):
            known.pop(key, None)


_keys = st.integers(0, 9)
_weights = st.integers(1, 36)


class _Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lru: SegmentedLru[int, str] = SegmentedLru(SIZE, WEIGHT)
        self.model, self.now = _Model(), 0.0

    @rule(seconds=st.sampled_from((0.25, 1.0, 5.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=_keys, weight=_weights)
    def put(self, key: int, weight: int) -> None:
        self.lru.put(key, str(key), self.now, weight)
        self.model.put(key, self.now, weight)

    @rule(key=_keys, weight=_weights)
    def use(self, key: int, weight: int) -> None:
        if self.lru.find(key) is not None:
            self.lru.use(key, self.now, weight)
            self.model.use(key, self.now, weight)

    @rule(key=_keys)
    def pop(self, key: int) -> None:
        self.lru.pop(key)
        self.model.pop(key)

    @invariant()
    def is_what_the_model_is(self) -> None:
        weights = self.model.weights
        assert self.lru.first(99) == self.model.probation
        assert sorted(self.lru) == sorted(map(str, weights))
        assert len(self.lru) == len(weights)
        assert self.lru.weight == sum(weights.values())
        assert self.lru.is_over is (len(weights) > SIZE or self.lru.weight > WEIGHT)
        for ago in (0.0, 0.5, 3.0):
            old = [k for k, used in self.model.used.items() if used < self.now - ago]
            assert self.lru.unused_since(self.now - ago, 99) == old


TestSegmentedLru = _Machine.TestCase
TestSegmentedLru.settings = settings(
    max_examples=40, stateful_step_count=40, derandomize=True, deadline=None
)


def test_going_through_everything_once_drives_out_nothing_that_is_used_again() -> None:
    lru: SegmentedLru[int, int] = SegmentedLru(10, 1000)
    for moment in (0, 2):
        for key in range(8):
            if moment:
                lru.use(key, moment, 1)
            else:
                lru.put(key, key, moment, 1)

    for key in range(100, 1100):
        lru.put(key, key, 3, 1)
        while lru.is_over:
            lru.pop(lru.first(1)[0])

    assert set(range(8)) < set(lru)


def test_uses_that_follow_the_first_at_once_are_no_second_use() -> None:
    lru: SegmentedLru[int, int] = SegmentedLru(10, 1000)
    lru.put(1, 1, 0, 1)
    lru.put(2, 2, 0, 1)

    lru.use(1, 0.5, 1)
    lru.use(2, 1, 1)

    assert lru.first(9) == [1]


def test_what_alone_takes_more_than_the_share_is_never_protected() -> None:
    lru: SegmentedLru[int, int] = SegmentedLru(10, 100)
    for key, weight in ((1, 10), (2, 90)):
        lru.put(key, key, 0, weight)

    for key, weight in ((1, 10), (2, 90)):
        lru.use(key, 2, weight)

    assert lru.first(9) == [2]
