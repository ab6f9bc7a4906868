"""What is a token, and what is none."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import jwt
import pytest

from actors.domain.model import UserId
from server.tokens import Claims, InvalidToken, Tokens
from sql.users import SessionId

ACCESS = b"a" * 32
REFRESH = b"r" * 32
NOW = 1_800_000_000
GOOD = {
    "iss": "boardcast",
    "aud": "boardcast",
    "sub": "5",
    "sid": 9,
    "jti": "x",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 900,
}


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(access_secret=ACCESS, refresh_secret=REFRESH, clock=clock)


def signed(
    payload: object,
    *,
    typ: str | None = "at+jwt",
    key: bytes = ACCESS,
    **header: object,
) -> str:
    """Sign anything at all, the way a library would not."""
    head = {"alg": "HS256", "typ": typ, **header}
    parts = [json.dumps(part).encode() for part in (head, payload)]
    signing = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mac = hmac.new(key, signing, hashlib.sha256).digest()
    return (signing + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def test_a_token_says_whose_it_is_until_when(tokens: Tokens) -> None:
    token = tokens.issue(UserId(5), SessionId(9))

    assert tokens.verify(token) == Claims(
        user_id=UserId(5), session_id=SessionId(9), expires_at=NOW + 900
    )


def test_two_tokens_of_one_second_differ(tokens: Tokens) -> None:
    first, second = (tokens.issue(UserId(5), SessionId(9)) for _ in range(2))

    assert first != second


def test_a_token_has_every_claim_and_names_its_type(tokens: Tokens) -> None:
    token = tokens.issue(UserId(5), SessionId(9))

    payload = jwt.decode(token, options={"verify_signature": False})
    assert payload | {"jti": "x"} == GOOD
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "at+jwt"}


def test_what_the_tests_sign_is_accepted(tokens: Tokens) -> None:
    assert tokens.verify(signed(GOOD)).user_id == 5


def test_a_token_ends_at_its_very_second(tokens: Tokens, clock: Clock) -> None:
    token = tokens.issue(UserId(5), SessionId(9))
    clock.now += 899.9
    tokens.verify(token)
    clock.now = NOW + 900

    with pytest.raises(InvalidToken):
        tokens.verify(token)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_clock_may_be_five_seconds_ahead_and_no_more(
    tokens: Tokens, claim: str
) -> None:
    tokens.verify(signed(GOOD | {claim: NOW + 5}))

    with pytest.raises(InvalidToken):
        tokens.verify(signed(GOOD | {claim: NOW + 6}))


@pytest.mark.parametrize("claim", list(GOOD))
def test_no_claim_may_be_missing(tokens: Tokens, claim: str) -> None:
    payload = {name: value for name, value in GOOD.items() if name != claim}

    with pytest.raises(InvalidToken):
        tokens.verify(signed(payload))


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "other"},
        {"iss": ["boardcast"]},
        {"aud": "other"},
        {"aud": ["boardcast", "other"]},
        {"sub": 5},
        {"sub": ""},
        {"sub": "0"},
        {"sub": "-5"},
        {"sub": "5\n"},
        {"sub": "\u0665"},
        {"sub": "9" * 30},
        {"sid": "9"},
        {"sid": 0},
        {"sid": True},
        {"sid": 2**63},
        {"jti": ""},
        {"exp": str(NOW + 900)},
        {"exp": None},
        {"exp": float("inf")},
        {"iat": "soon"},
    ],
    ids=str,
)
def test_a_claim_that_is_not_as_we_write_it_is_refused(
    tokens: Tokens, wrong: dict[str, object]
) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(signed(GOOD | wrong))


@pytest.mark.parametrize(
    "forge",
    [
        lambda: signed(GOOD, typ="JWT"),
        lambda: signed(GOOD, typ=None),
        lambda: signed(GOOD, key=b"b" * 32),
        lambda: signed(GOOD, key=REFRESH),
        lambda: signed(GOOD, key=b""),
        lambda: signed(GOOD, alg="none"),
        lambda: signed(GOOD, alg="HS512"),
        lambda: signed(GOOD, alg=["HS256"]),
        lambda: signed(GOOD, crit=["exp"]),
        lambda: jwt.encode(GOOD, None, algorithm="none", headers={"typ": "at+jwt"}),
        lambda: jwt.encode(GOOD, ACCESS * 2, "HS512", headers={"typ": "at+jwt"}),
        lambda: signed(GOOD, key=b"x" * 32, jwk={"kty": "oct", "k": "eHh4"}, kid="x"),
        lambda: signed([GOOD]),
        lambda: signed("text"),
        lambda: signed(GOOD).rpartition(".")[0] + ".",
        lambda: signed(GOOD)[:-4] + "AAAA",
        lambda: signed(GOOD) + ".x",
        lambda: signed(GOOD).replace(".", "", 1),
        lambda: "",
        lambda: "...",
        lambda: "é.è.à",
        lambda: "\ud800",
        lambda: "a" * 4000,
    ],
)
def test_what_is_not_a_token_of_ours_is_refused(
    tokens: Tokens, forge: Callable[[], str]
) -> None:
    with pytest.raises(InvalidToken) as caught:
        tokens.verify(forge())
    assert (caught.value.status, caught.value.code) == (401, "invalid_token")
    assert 'error="invalid_token"' in caught.value.headers["WWW-Authenticate"]


def test_a_token_of_more_than_4_kib_is_not_even_parsed(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = signed(GOOD | {"padding": "x" * 4096})
    parsed: list[str] = []
    monkeypatch.setattr(jwt, "decode_complete", lambda *_, **__: parsed.append("x"))

    with pytest.raises(InvalidToken):
        tokens.verify(token)
    assert parsed == []


def test_refresh_tokens_are_long_and_never_the_same(tokens: Tokens) -> None:
    made = {tokens.first_refresh_token(tokens.new_seed()) for _ in range(100)}

    assert len(made) == 100
    assert {len(token) for token in made} == {43}


def test_a_successor_is_always_the_same_and_needs_the_secret(tokens: Tokens) -> None:
    other = Tokens(access_secret=ACCESS, refresh_secret=b"s" * 32)

    assert tokens.successor("token") == tokens.successor("token")
    assert tokens.successor("token") != other.successor("token")
    assert tokens.successor("token") != tokens.successor("token2")
    assert len(tokens.successor("token")) == 43


def test_a_digest_tells_neither_the_token_nor_its_successor(tokens: Tokens) -> None:
    digest = tokens.digest("token")

    assert digest == tokens.digest("token")
    assert digest != hashlib.sha256(b"token").digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != tokens.successor(
        "token"
    )


@pytest.mark.parametrize("token", ["é", "\ud800", "x" * 4097])
def test_what_cannot_be_a_refresh_token_is_refused(tokens: Tokens, token: str) -> None:
    with pytest.raises(InvalidToken):
        tokens.digest(token)
    with pytest.raises(InvalidToken):
        tokens.successor(token)
