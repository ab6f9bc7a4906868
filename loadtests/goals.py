"""A figure beside its goal, and the table of all."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, and the least or the most that it has to be."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether it is good enough."""
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    def __str__(self) -> str:
        sign, limit = (">=", self.least) if self.most is None else ("<=", self.most)
        verdict = "ok" if self.is_met else "MISSED"
        return f"{self.what:<64} {self.value:>9.2f} {sign} {limit:>8.2f} {verdict}"


def report(goals: Sequence[Goal]) -> int:
    """Print the table; the exit status is 1 where a goal is missed."""
    print(f"\n{'what':<64} {'measured':>9}    {'goal':>8}")
    for goal in goals:
        print(goal)
    return 0 if all(goal.is_met for goal in goals) else 1
