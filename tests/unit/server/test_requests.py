"""Conditions, keys and answers: what handlers share."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from actors.domain.model import UserId, UserRole
from server import keys
from server.principals import Principal
from server.requests import (
    ANY_VERSION,
    answer,
    caller_of,
    is_known,
    project_id_of,
    stamp_of,
    task_id_of,
)
from sql.users import SessionId

ADA = Principal(
    user_id=UserId(7), role=UserRole.USER, session_id=SessionId(3), expires_at=4e9
)
ETAG = '"2"'


def request_of(method: str = "GET", **headers: str) -> web.Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    app = web.Application()
    request = make_mocked_request(method, "/tasks", headers=named, app=app)
    request[keys.PRINCIPAL] = ADA
    request[keys.REQUEST_ID] = "r-1"
    request[keys.PATH_IDS] = {"task_id": 5, "project_id": 6}
    return request


def test_who_and_what_is_in_the_path() -> None:
    request = request_of()

    assert caller_of(request) is ADA.caller
    assert (task_id_of(request), project_id_of(request)) == (5, 6)


@pytest.mark.parametrize(
    ("named", "is_one"),
    [
        (ETAG, True),
        ('W/"2"', True),
        ('"1", "2"', True),
        (" * ", True),
        ('"1"', False),
        ("2", False),
        ('"2', False),
        ("", False),
    ],
)
def test_a_tag_is_known_if_it_is_named(named: str, is_one: bool) -> None:
    assert is_known(request_of(If_None_Match=named), ETAG) is is_one


def test_only_reading_knows_tags() -> None:
    assert is_known(request_of("HEAD", If_None_Match=ETAG), ETAG)
    assert not is_known(request_of("PUT", If_None_Match=ETAG), ETAG)
    assert not is_known(request_of(), ETAG)


@pytest.mark.parametrize(
    ("named", "versions"),
    [
        (None, None),
        ("*", ANY_VERSION),
        (ETAG, (2,)),
        ('"1","2"', (1, 2)),
        ('W/"2", "3"', (3,)),
        ('W/"2"', ()),
        ("2", ()),
        ("", ()),
        ('"02"', ()),
        ('"0"', ()),
        ('"-1"', ()),
        ('"x"', ()),
        ('"\u0662"', ()),
        (f'"{"9" * 5000}"', ()),
    ],
)
def test_only_strong_tags_of_versions_match(
    named: str | None, versions: tuple[int, ...] | None
) -> None:
    headers = {} if named is None else {"If_Match": named}

    assert stamp_of(request_of("PUT", **headers))["if_match"] == versions


def test_a_stamp_says_who_asks_and_when() -> None:
    stamp = stamp_of(request_of())

    assert (stamp["caller"], stamp["request_id"]) == (ADA.caller, "r-1")
    assert stamp["at"].tzinfo is not None
    assert stamp["key"] is None


def test_what_is_new_has_its_place() -> None:
    made = answer(request_of("POST"), b"{}", 2, location="/tasks/5")

    assert (made.status, made.body) == (201, b"{}")
    assert made.headers["Location"] == "/tasks/5"
    assert made.headers["ETag"] == ETAG


def test_what_is_known_is_not_sent_again() -> None:
    known = answer(request_of(If_None_Match=ETAG), b"{}", 2)
    other = answer(request_of(If_None_Match=ETAG), b"{}", 3)

    assert (known.status, known.body, known.headers["ETag"]) == (304, None, ETAG)
    assert (other.status, other.body, other.headers["ETag"]) == (200, b"{}", '"3"')


def test_json_says_that_it_is() -> None:
    made = answer(request_of(), b"{}", 2)

    assert made.headers["Content-Type"] == "application/json; charset=utf-8"
