"""Idempotency keys whose effect is in no project: kept in the transaction of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from actors.domain.commands import IdempotencyKey
from actors.domain.model import ProjectId, UserId
from sql.database import Connection, load_queries

_KEYS = load_queries("idempotency_keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A key, and the first answer; or what it is made of, where it holds secrets.

    `version` is that of the thing in the answer, if it has one.
    """

    key: IdempotencyKey
    body: str = field(repr=False)
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """How the first request with a key was answered, `age_seconds` ago.

    By an event, `version` of `project_id`, or by what `body` says.
    """

    fingerprint: bytes
    status: int
    project_id: ProjectId | None
    version: int | None
    body: str | None = field(repr=False)
    age_seconds: float


T = TypeVar("T")
Receive = Callable[[T], Receipt | None]


async def keep(connection: Connection, receipt: Receipt | None) -> None:
    """Remember a key, if there is one, inside the caller's transaction.

    Raises the driver's error of idempotency_keys_pkey (KeyAlreadyUsed).
    """
    if receipt is None:
        return
    key = receipt.key
    await _KEYS.delete_stale_keys(connection, user_ids=[key.user_id], keys=[key.key])
    await _KEYS.insert_answer(
        connection,
        user_id=key.user_id,
        key=key.key,
        fingerprint=key.fingerprint,
        status=key.status,
        version=receipt.version,
        body=receipt.body,
    )


async def remembered(
    connection: Connection, user_id: UserId, key: str
) -> Remembered | None:
    """How a key was answered, if it was used in the last 24 hours."""
    row = await _KEYS.get_key(connection, user_id=user_id, key=key)
    return None if row is None else Remembered(**row)


async def remembered_of_address(
    connection: Connection, email: str, key: str
) -> Remembered | None:
    """How a key was answered to the account that has this address."""
    row = await _KEYS.get_key_of_address(connection, email=email, key=key)
    return None if row is None else Remembered(**row)
