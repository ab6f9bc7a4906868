"""Which versions of a project there could be, and had to be known, at a moment."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import accumulate

from tests.e2e.history import History, Log

_Points = list[tuple[float, int]]


class Bounds:
    """The versions of each project by when they were asked for, and acknowledged."""

    def __init__(self, history: History, log: Log):
        self._history = history
        asked: defaultdict[int, _Points] = defaultdict(list)
        acknowledged: defaultdict[int, _Points] = defaultdict(list)
        known = {attempt.request_id: attempt for attempt in history.tries}
        for entry in log.entries:
            attempt = known.get(entry.event["request_id"])
            started = attempt.started if attempt is not None else float("-inf")
            asked[entry.project_id].append((started, entry.version))
            if attempt is not None and attempt.is_done:
                point = (attempt.ended, entry.version)
                acknowledged[entry.project_id].append(point)
        self._asked = {key: _rising(found) for key, found in asked.items()}
        self._acknowledged = {
            key: _rising(found) for key, found in acknowledged.items()
        }

    def least(self, project_id: int, moment: float) -> int:
        """Give the version that each server has to know at a moment."""
        known_before = self._history.has_to_be_seen_at(moment)
        times, versions = self._acknowledged.get(project_id, ([], [0]))
        return versions[bisect_left(times, known_before)]

    def most(self, project_id: int, moment: float) -> int:
        """Give the last version that there can be at a moment."""
        times, versions = self._asked.get(project_id, ([], [0]))
        return versions[bisect_right(times, moment)]


def _rising(found: _Points) -> tuple[list[float], list[int]]:
    """Give times, and the highest version before the first and after each."""
    found.sort()
    highest = accumulate((version for _, version in found), max, initial=0)
    return [time for time, _ in found], [*highest]
