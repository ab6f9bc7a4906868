"""Which tasks a subscriber wants: the fields of `GET /tasks`, judged in memory.

What an event means to a filter follows from the event alone, because it says what each
field was before; so a stream can be taken up at any place of the log.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from functools import cached_property
from typing import Any

from actors.domain.events import TaskCreated, TaskDeleted, TaskEvent
from actors.domain.model import Task, TaskPriority, TaskStatus, UserId

_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r'(-?)(?:"([^"]*)(?:"|$)|(\S+))')


class Outcome(Enum):
    """What an event is to who wants certain tasks only."""

    TOLD = auto()
    LEFT = auto()
    SILENT = auto()


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What has to be true of a task; None does not restrict.

    Both ends of the dates are included. What is overdue is judged when a task changes.
    """

    statuses: frozenset[TaskStatus] | None = None
    priorities: frozenset[TaskPriority] | None = None
    assigned_to: UserId | None = None
    is_unassigned: bool | None = None
    created_by: UserId | None = None
    due_from: datetime | None = None
    due_to: datetime | None = None
    is_overdue: bool | None = None
    text: str | None = None

    def matches(self, task: Task, at: datetime) -> bool:
        """Say whether the task is wanted at this moment."""
        return (
            (self.statuses is None or task.status in self.statuses)
            and (self.priorities is None or task.priority in self.priorities)
            and self._matches_people(task)
            and self._matches_dates(task, at)
            and (self._query is None or self._query.matches(task))
        )

    def outcome(self, event: TaskEvent) -> Outcome:
        """Say what the event is to who was told of all events before it."""
        is_before = not isinstance(event, TaskCreated) and self.matches(
            _before(event), event.at
        )
        if isinstance(event, TaskDeleted):
            return Outcome.TOLD if is_before else Outcome.SILENT
        if self.matches(event.task, event.at):
            return Outcome.TOLD
        return Outcome.LEFT if is_before else Outcome.SILENT

    def _matches_people(self, task: Task) -> bool:
        return (
            (self.assigned_to is None or task.assigned_to == self.assigned_to)
            and (self.created_by is None or task.created_by == self.created_by)
            and self.is_unassigned in (None, task.assigned_to is None)
        )

    def _matches_dates(self, task: Task, at: datetime) -> bool:
        due = task.due_date
        if self.due_from is not None and (due is None or due < self.due_from):
            return False
        if self.due_to is not None and (due is None or due > self.due_to):
            return False
        is_done = task.status is TaskStatus.COMPLETED
        is_overdue = due is not None and due < at and not is_done
        return self.is_overdue in (None, is_overdue)

    @cached_property
    def _query(self) -> "_Query | None":
        return None if self.text is None else _Query(self.text)


class _Query:
    """A web search: words, "phrases", -without, and `or` between alternatives.

    A word is letters and digits. The lists find addresses and numbers as a whole only.
    """

    def __init__(self, text: str):
        self._alternatives: list[list[tuple[bool, list[str]]]] = [[]]
        given = _PART.findall(text.lower())
        for number, (minus, phrase, word) in enumerate(given):
            is_between = 0 < number < len(given) - 1
            if word == "or" and not minus and is_between:
                self._alternatives.append([])
            elif words := _WORD.findall(phrase or word):
                self._alternatives[-1].append((not minus, words))

    def matches(self, task: Task) -> bool:
        """Look for the words in the title and description."""
        words = _WORD.findall(f"{task.title} {task.description or ''}".lower())
        return any(
            parts and all(_contains(words, part) is has for has, part in parts)
            for parts in self._alternatives
        )


def _contains(words: list[str], part: list[str]) -> bool:
    size = len(part)
    return any(
        words[start : start + size] == part for start in range(len(words) - size + 1)
    )


def _before(event: TaskEvent) -> Task:
    """Give the task as it was, so far as a filter can tell."""
    old: dict[str, Any] = {name: each.old for name, each in event.changes.items()}
    for name, read in _READERS.items():
        if old.get(name) is not None:
            old[name] = read(old[name])
    return replace(event.task, **old)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


_READERS: dict[str, Any] = {
    "status": TaskStatus,
    "priority": TaskPriority,
    "due_date": _moment,
    "completed_at": _moment,
}
