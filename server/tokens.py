"""Access tokens by RFC 8725 and RFC 9068, and refresh tokens that are plain randomness.

A refresh token's successor is computed from it, so a caller who lost the answer can be
given the same one again although only digests are stored.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import jwt
import msgspec

from actors.domain.model import UserId
from server.problems import Problem
from sql.users import SessionId

_ALGORITHM = "HS256"
_TYPE = "at+jwt"
_ISSUER = _AUDIENCE = "boardcast"
_TOKEN_BYTES = 4096
_LEEWAY_SECONDS = 5  # the clock of the node that issued a token may be ahead of ours

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class _Payload(msgspec.Struct, frozen=True):
    """The claims that have to be there, and no others are read."""

    iss: _Text
    aud: _Text
    sub: Annotated[str, msgspec.Meta(pattern=r"\A[1-9][0-9]{0,18}\Z")]
    sid: _Id
    jti: _Text
    iat: _Id
    nbf: _Id
    exp: _Id


class InvalidToken(Problem):
    """A token that is malformed, forged, expired, revoked, or meant for something else.

    Which of them it was is not said.
    """

    def __init__(self) -> None:
        super().__init__(
            401,
            "invalid_token",
            "The token is not valid, or no longer.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a genuine access token says; `expires_at` in seconds since 1970."""

    user_id: UserId
    session_id: SessionId
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """What a client gets when it logs in, and for a refresh token.

    `is_replay` tells that it was given before, for the same Idempotency-Key.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    is_replay: bool = False


class Seed(msgspec.Struct, frozen=True):
    """256 random bits, for secrets to be made of, and since when (seconds)."""

    bits: str
    issued_at: int


class Grant(msgspec.Struct, frozen=True):
    """What a pair was made of: who has the secrets makes the same pair of it again.

    It is no secret itself, so it may be stored where the pair may not.
    """

    user_id: UserId
    session_id: SessionId
    seed: Seed


class Tokens:
    """Makes and checks tokens; never waits."""

    def __init__(
        self,
        *,
        access_secret: bytes,
        refresh_secret: bytes,
        access_seconds: int = 900,
        clock: Callable[[], float] = time.time,
    ):
        self.access_seconds = access_seconds
        self._access_secret = access_secret
        self._refresh_secret = refresh_secret
        self._clock = clock

    def new_seed(self) -> Seed:
        """Begin with what nobody can guess, and nobody without our secrets can use."""
        return Seed(secrets.token_urlsafe(32), int(self._clock()))

    def pair(
        self, grant: Grant, refresh_token: str, *, is_replay: bool = False
    ) -> TokenPair:
        """Make the pair of a grant; its access token is the same each time."""
        return TokenPair(
            access_token=self._access_token(grant),
            refresh_token=refresh_token,
            expires_in=self.access_seconds,
            is_replay=is_replay,
        )

    def issue(self, user_id: UserId, session_id: SessionId) -> str:
        """Make an access token; what its user may do is not in it."""
        return self._access_token(Grant(user_id, session_id, self.new_seed()))

    def verify(self, token: str) -> Claims:
        """Check everything that the token itself shows; raises InvalidToken."""
        if len(token) > _TOKEN_BYTES or not token.isascii():
            raise InvalidToken
        payload = self._decode(token)
        now = self._clock()
        if payload.exp <= now or max(payload.iat, payload.nbf) > now + _LEEWAY_SECONDS:
            raise InvalidToken
        return Claims(
            user_id=UserId(int(payload.sub)),
            session_id=SessionId(payload.sid),
            expires_at=payload.exp,
        )

    def first_refresh_token(self, seed: Seed) -> str:
        """Make the token that a session begins with."""
        return self.derived(b"first", seed.bits)

    def successor(self, refresh_token: str) -> str:
        """Tell the token that follows this one: always the same, known only to us."""
        return self.derived(b"successor", refresh_token)

    def derived(self, purpose: bytes, seed: str) -> str:
        """Make a word of a seed: always the same, and known only to us."""
        mac = self._mac(purpose, seed)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def digest(self, refresh_token: str) -> bytes:
        """Make what is stored in place of a refresh token."""
        return self._mac(b"digest", refresh_token)

    def _access_token(self, grant: Grant) -> str:
        now = grant.seed.issued_at
        payload = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": str(grant.user_id),
            "sid": grant.session_id,
            "jti": self.derived(b"id", grant.seed.bits)[:22],
            "iat": now,
            "nbf": now,
            "exp": now + self.access_seconds,
        }
        return jwt.encode(
            payload, self._access_secret, algorithm=_ALGORITHM, headers={"typ": _TYPE}
        )

    def _mac(self, purpose: bytes, token: str) -> bytes:
        if len(token) > _TOKEN_BYTES or not token.isascii():
            raise InvalidToken
        message = purpose + b":" + token.encode()
        return hmac.new(self._refresh_secret, message, hashlib.sha256).digest()

    def _decode(self, token: str) -> _Payload:
        try:
            decoded = jwt.decode_complete(
                token,
                self._access_secret,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                audience=_AUDIENCE,
                options={
                    # `verify` compares times by the clock that we were given.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            payload = msgspec.convert(decoded["payload"], _Payload)
        except (jwt.PyJWTError, msgspec.ValidationError) as error:
            raise InvalidToken from error
        if decoded["header"].get("typ") != _TYPE:
            raise InvalidToken
        return payload
