"""How versions are named in queries and headers."""

import re

import pytest
from marshmallow import ValidationError

from server.versions import PATTERN, read_versions


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5", ((None, 5),)),
        ("7:5", ((7, 5),)),
        ("7:5,8:1,3", ((7, 5), (8, 1), (None, 3))),
        ("9" * 18, ((None, int("9" * 18)),)),
    ],
)
def test_versions_are_read(text: str, wanted: object) -> None:
    assert read_versions(text) == wanted
    assert re.search(PATTERN, text)


@pytest.mark.parametrize(
    "text",
    ["", "0", "05", "-1", "7:", ":5", "7:5:1", "5,", "5 ", "5\n", "9" * 19, "\u0665"],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        read_versions(text)
