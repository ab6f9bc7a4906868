"""Receipts: kept with their effect or not at all, once, and for a day."""

from collections.abc import AsyncIterator

import pytest

from actors.domain.errors import KeyAlreadyUsed, VersionMismatch
from sql.database import Database
from sql.receipts import Receipt, Remembered
from sql.store import Store
from sql.users import User, Users
from tests.factories import ADA, AT, BOB, insert_users, make_key

_AGE = """
    UPDATE idempotency_keys SET created_at = now() - make_interval(secs => $1)
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=2, timeout_seconds=10)
    await insert_users(database, ADA, BOB)
    yield database
    await database.close()


def receipt(body: str = "{}", key: str = "k") -> Receipt:
    return Receipt(key=make_key(key), body=body, version=3)


async def age(database: Database, seconds: float) -> None:
    async with database.connection() as connection:
        await connection.execute(_AGE, seconds)


async def test_what_was_answered_is_remembered_with_its_age(database: Database) -> None:
    store = Store(database)
    await store.keep(receipt('{"a": 1}'))
    await age(database, 60)

    known = await store.remembered(ADA, "k")

    assert known is not None
    assert 60 <= known.age_seconds < 120
    assert known == Remembered(
        fingerprint=b"digest",
        status=201,
        project_id=None,
        version=3,
        body='{"a": 1}',
        age_seconds=known.age_seconds,
    )


async def test_a_key_is_kept_once_and_again_after_a_day(database: Database) -> None:
    store = Store(database)
    await store.keep(receipt("first"))

    with pytest.raises(KeyAlreadyUsed):
        await store.keep(receipt("second"))
    await age(database, 86_401)
    await store.keep(receipt("third"))

    known = await store.remembered(ADA, "k")
    assert known is not None
    assert known.body == "third"


async def test_a_key_is_found_by_the_address_of_its_user(database: Database) -> None:
    store = Store(database)
    await store.keep(receipt())
    async with database.connection() as connection:
        query = "SELECT email FROM users WHERE id = $1"
        email = await connection.fetchval(query, ADA)

    assert await store.remembered_of_address(email.upper(), "k") is not None
    assert await store.remembered_of_address(email, "other") is None
    assert await store.remembered_of_address("eve@example.com", "k") is None


async def test_a_change_and_its_receipt_are_one(database: Database) -> None:
    users, store = Users(database), Store(database)
    fields = {"first_name": "Ada"}

    def receive(user: User) -> Receipt:
        return receipt(user.first_name)

    with pytest.raises(VersionMismatch):
        await users.change(ADA, fields, at=AT, if_match=(9,), receive=receive)
    assert await store.remembered(ADA, "k") is None
    await users.change(ADA, fields, at=AT, receive=receive)
    with pytest.raises(KeyAlreadyUsed):
        await users.change(ADA, {"first_name": "Eve"}, at=AT, receive=receive)

    known, user = await store.remembered(ADA, "k"), await users.get(ADA)
    assert known is not None
    assert user is not None
    assert (known.body, user.first_name) == ("Ada", "Ada")
