"""What to let go first: a segmented LRU (Karedla, Love and Wherry, 1994).

An entry is on probation until it is used again, then it is protected. Room is made
among those on probation only, so going through everything once never drives out what
is used repeatedly. When the protected take more than their share, those of them that
were used least recently go back on probation.

Uses that follow the first at once belong to it (the correlated references of LRU-K,
O'Neil, O'Neil and Weikum, 1993): one request asks several times.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

_PROTECTED_SHARE = 0.8
_ONE_USE_SECONDS = 1.0


@dataclass(slots=True)
class _Entry(Generic[_V]):
    value: _V
    weight: int
    since: float
    used_at: float
    is_protected: bool = field(default=False)


class SegmentedLru(Generic[_K, _V]):
    """At most `size` entries of `weight` together; whoever holds it makes the room."""

    def __init__(self, size: int, weight: int):
        self._size = size
        self._limit = weight
        self._entries: OrderedDict[_K, _Entry[_V]] = OrderedDict()  # by last use
        self._probation: OrderedDict[_K, None] = OrderedDict()
        self._protected: OrderedDict[_K, None] = OrderedDict()
        self._protected_weight = 0
        self.weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[_V]:
        return iter([entry.value for entry in self._entries.values()])

    @property
    def is_over(self) -> bool:
        """Whether there is too much."""
        return len(self._entries) > self._size or self.weight > self._limit

    def find(self, key: _K) -> _V | None:
        """Look without using."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def used_at(self, key: _K) -> float:
        """Say when an entry that is there was last used."""
        return self._entries[key].used_at

    def put(self, key: _K, value: _V, now: float, weight: int) -> None:
        """Take a new entry in, on probation."""
        self.pop(key)
        self._entries[key] = _Entry(value, weight, now, now)
        self._probation[key] = None
        self.weight += weight

    def use(self, key: _K, now: float, weight: int) -> None:
        """Note a use of an entry that is there, and what it weighs now."""
        entry = self._entries[key]
        entry.used_at = now
        self._entries.move_to_end(key)
        self.weight += weight - entry.weight
        if entry.is_protected:
            self._protected.move_to_end(key)
            self._protected_weight += weight - entry.weight
        entry.weight = weight
        if entry.is_protected:
            self._hold_share()
        elif now - entry.since >= _ONE_USE_SECONDS and self._fits_protected(weight):
            del self._probation[key]
            self._protected[key] = None
            self._protected_weight += weight
            entry.is_protected = True
            self._hold_share()
        else:
            self._probation.move_to_end(key)

    def pop(self, key: _K) -> _V | None:
        """Let an entry go; harmless if there is none."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self.weight -= entry.weight
        if entry.is_protected:
            del self._protected[key]
            self._protected_weight -= entry.weight
        else:
            del self._probation[key]
        return entry.value

    def first(self, count: int) -> list[_K]:
        """Name some of those that are to go before others, the first of them first."""
        return list(islice(self._probation, count))

    def unused_since(self, moment: float, count: int) -> list[_K]:
        """Name some of those not used since a moment, the least recently used first."""
        found = []
        for key, entry in islice(self._entries.items(), count):
            if entry.used_at >= moment:
                break
            found.append(key)
        return found

    def _fits_protected(self, weight: int) -> bool:
        """Tell whether one could be protected without driving all others out."""
        return weight <= self._limit * _PROTECTED_SHARE

    def _hold_share(self) -> None:
        while (
            len(self._protected) > self._size * _PROTECTED_SHARE
            or self._protected_weight > self._limit * _PROTECTED_SHARE
        ):
            key, _ = self._protected.popitem(last=False)
            entry = self._entries[key]
            entry.is_protected = False
            self._protected_weight -= entry.weight
            self._probation[key] = None
