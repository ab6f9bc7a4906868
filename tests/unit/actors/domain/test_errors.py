"""Refusals: each has a code of its own and a sentence."""

import pytest

from actors.domain import errors
from actors.domain.errors import DomainError, UserNotFound, VersionMismatch

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, DomainError)
]


def test_every_refusal_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in KINDS]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind is not VersionMismatch]
)
def test_every_refusal_is_a_sentence(kind: type[DomainError]) -> None:
    assert kind().detail.endswith(".")


def test_a_refusal_may_say_more_and_where() -> None:
    error = UserNotFound("Nobody has the id 9.", pointer="/assigned_to")

    assert (error.detail, error.pointer) == ("Nobody has the id 9.", "/assigned_to")
    assert str(error) == "Nobody has the id 9."
