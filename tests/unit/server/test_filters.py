"""Filters of subscriptions: spelt in JSON, or as the query of a list."""

from typing import Any

import pytest

from actors.domain.criteria import Criteria
from actors.domain.model import TaskPriority, TaskStatus
from server.filters import criteria_of
from server.ops import NotUnderstood
from tests.factories import ADA, AT, BOB, make_caller

BOTH = frozenset({TaskStatus.PENDING, TaskStatus.COMPLETED})


@pytest.mark.parametrize(
    ("given", "criteria"),
    [
        ({"status": "pending,completed"}, Criteria(statuses=BOTH)),
        ({"status": ["pending", "completed"]}, Criteria(statuses=BOTH)),
        ({"priority": "low"}, Criteria(priorities=frozenset({TaskPriority.LOW}))),
        ({"assigned_to": "me"}, Criteria(assigned_to=ADA)),
        ({"assigned_to": BOB}, Criteria(assigned_to=BOB)),
        ({"created_by": "2"}, Criteria(created_by=BOB)),
        ({"unassigned": True}, Criteria(is_unassigned=True)),
        ({"overdue": "false"}, Criteria(is_overdue=False)),
        ({"due_date_from": "2026-01-02T03:04:05Z"}, Criteria(due_from=AT)),
        ({"due_date_to": "2026-01-02T03:04:05Z"}, Criteria(due_to=AT)),
        ({"q": "x"}, Criteria(text="x")),
    ],
)
def test_what_is_spelt_like_the_list_means_the_same(
    given: dict[str, Any], criteria: Criteria
) -> None:
    assert criteria_of(given, make_caller()) == criteria


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"state": "x"}, "no fields but these: status"),
        ({"status": "x"}, "status: It must be one of"),
        ({"status": []}, "words, numbers and lists"),
        ({"status": None}, "words, numbers and lists"),
        ({"assigned_to": 0}, "assigned_to: "),
        ({"limit": 5}, "no fields but these"),
    ],
)
def test_what_is_no_filter_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NotUnderstood, match=sentence) as refused:
        criteria_of(given, make_caller())

    assert refused.value.code == "invalid_filter"


def test_what_is_said_of_a_filter_is_shorter_than_the_filter_may_be() -> None:
    given = {f"unknown_{number}": 1 for number in range(1000)}

    with pytest.raises(NotUnderstood) as error:
        criteria_of(given, make_caller(ADA))

    assert len(error.value.detail) <= 500
