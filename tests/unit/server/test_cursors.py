"""Cursors: what was made here for this list is read, everything else is refused."""

import base64
from datetime import UTC, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cursors import Cursors
from server.problems import Problem
from server.queries import LONGEST_CURSOR
from sql.lists import Key
from tests.factories import AT

SECRET = b"s" * 32
CURSORS = Cursors(SECRET)


def is_refused(cursor: str, *, scope: str = "tasks", by: Cursors = CURSORS) -> bool:
    with pytest.raises(Problem) as refusal:
        by.read(cursor, scope)
    return (refusal.value.status, refusal.value.code) == (400, "invalid_cursor")


KEYS = st.one_of(
    st.none(),
    st.datetimes(timezones=st.just(UTC)),
    st.integers(1, 9),
    st.text(max_size=9),
)


@given(KEYS, st.integers(-(2**63), 2**63 - 1))
def test_a_cursor_points_where_it_was_made_to_the_microsecond(
    key: Key, row_id: int
) -> None:
    assert CURSORS.read(CURSORS.make(key, row_id, "tasks"), "tasks") == (key, row_id)


@pytest.mark.parametrize("letter", ["a", "\U0001f600", "\\", '"'])
def test_a_cursor_of_the_longest_title_may_be_sent(letter: str) -> None:
    cursor = CURSORS.make(letter * 200, 2**63 - 1, "tasks")

    assert len(cursor) <= LONGEST_CURSOR


def test_a_cursor_goes_into_an_address_as_it_is() -> None:
    for row_id in range(100):
        cursor = CURSORS.make(AT, row_id, "tasks")
        assert set(cursor).isdisjoint("+/&?# ")


def test_a_cursor_is_for_its_own_list() -> None:
    assert is_refused(CURSORS.make(AT, 1, "tasks"), scope="projects")


def test_a_cursor_of_another_server_is_refused() -> None:
    assert is_refused(Cursors(b"t" * 32).make(AT, 1, "tasks"))


def test_servers_with_one_secret_read_each_others_cursors() -> None:
    cursor = Cursors(SECRET).make(AT, 1, "tasks")

    assert CURSORS.read(cursor, "tasks") == (AT, 1)


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "AAAA", "!" * 44, "A" * 44, "A" * 4000, "a b", "\0"]
)
def test_rubbish_is_refused(cursor: str) -> None:
    assert is_refused(cursor)


def test_a_cursor_with_any_bit_changed_is_refused() -> None:
    raw = base64.urlsafe_b64decode(CURSORS.make(AT, 7, "tasks"))

    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        assert is_refused(base64.urlsafe_b64encode(bytes(changed)).decode())


def test_neighbours_in_time_have_cursors_of_their_own() -> None:
    later = AT + timedelta(microseconds=1)

    assert CURSORS.make(AT, 1, "tasks") != CURSORS.make(later, 1, "tasks")
