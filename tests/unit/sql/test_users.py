"""Users as they are listed and changed, against the real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from actors.domain.errors import (
    DomainError,
    LastAdmin,
    StoreUnavailable,
    VersionMismatch,
)
from actors.domain.model import UserId, UserRole
from sql import users as sql_users
from sql.accounts import Accounts
from sql.database import Database
from sql.lists import Page, UserFilter
from sql.users import ChangedUser, SessionId, Users
from tests.factories import insert_users

ADA, BOB, CYD = UserId(1), UserId(2), UserId(3)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ADMIN = UserRole.ADMIN


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=20)
    await insert_users(database, ADA, BOB, CYD)
    yield database
    await database.close()


@pytest.fixture
def users(database: Database) -> Users:
    return Users(database)


async def execute(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        await connection.execute(sql)


async def log_in(database: Database, user_id: UserId, digest: bytes) -> SessionId:
    session = await Accounts(database).create_session(
        user_id, digest, lifetime_seconds=3600
    )
    assert session is not None
    return session


async def change(users: Users, user_id: UserId, **fields: object) -> ChangedUser:
    changed = await users.change(user_id, fields, at=AT)
    assert changed is not None
    return changed


async def test_a_change_is_one_version(users: Users) -> None:
    changed = await change(users, ADA, first_name="Ada", role=ADMIN)

    assert (changed.user.first_name, changed.user.version) == ("Ada", 2)
    assert (changed.user.role, changed.user.updated_at) == (ADMIN, AT)
    assert await users.get(ADA) == changed.user


async def test_a_version_that_has_passed_is_refused_with_the_current(
    users: Users,
) -> None:
    await change(users, ADA, first_name="Ada")

    with pytest.raises(VersionMismatch) as refused:
        await users.change(ADA, {"first_name": "x"}, at=AT, if_match=(1, 7))

    assert refused.value.current == 2
    assert await users.change(ADA, {}, at=AT, if_match=(7, 2)) is not None


async def overtaken(
    users: Users, database: Database, if_match: tuple[int, ...] | None
) -> asyncio.Task[ChangedUser | None]:
    """Have a change read the first version, and write when there is a second."""
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE users SET first_name = 'Ada', version = 2 WHERE id = 1"
        )
        fields = {"last_name": "King"}
        late = asyncio.create_task(users.change(ADA, fields, at=AT, if_match=if_match))
        await asyncio.wait({late}, timeout=0.1)
    await asyncio.wait({late})
    return late


async def test_a_change_that_is_overtaken_keeps_what_the_other_wrote(
    users: Users, database: Database
) -> None:
    changed = (await overtaken(users, database, None)).result()

    assert changed is not None
    assert (changed.user.first_name, changed.user.last_name) == ("Ada", "King")
    assert changed.user.version == 3


async def test_a_change_of_one_version_that_is_overtaken_is_refused(
    users: Users, database: Database
) -> None:
    late = await overtaken(users, database, (1,))

    assert isinstance(late.exception(), VersionMismatch)


async def test_nobody_is_neither_read_nor_changed(users: Users) -> None:
    nobody = UserId(99)

    assert await users.get(nobody) is None
    assert await users.credentials(nobody) is None
    assert await users.change(nobody, {"first_name": "x"}, at=AT) is None


async def test_who_becomes_inactive_is_logged_out_everywhere(
    users: Users, database: Database
) -> None:
    hers = {await log_in(database, ADA, digest) for digest in (b"1", b"2")}
    await log_in(database, BOB, b"3")

    changed = await change(users, ADA, is_active=False)

    assert (changed.ended, changed.reseated) == (hers, frozenset())
    await change(users, ADA, is_active=True)
    assert await Accounts(database).live_sessions(hers) == {}


async def test_another_role_names_the_sessions_that_go_on_with_it(
    users: Users, database: Database
) -> None:
    hers = {await log_in(database, ADA, digest) for digest in (b"1", b"2")}

    changed = await change(users, ADA, role=UserRole.MANAGER)

    assert (changed.ended, changed.reseated) == (frozenset(), hers)
    assert (await change(users, ADA, first_name="x")).reseated == frozenset()


async def test_a_log_in_waits_for_who_makes_the_user_inactive(
    users: Users, database: Database
) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE users SET is_active = false WHERE id = 1")
        late = asyncio.create_task(
            Accounts(database).create_session(ADA, b"1", lifetime_seconds=3600)
        )
        done, _ = await asyncio.wait({late}, timeout=0.1)

    assert not done
    assert await late is None


async def test_administrators_who_remove_each_other_leave_one(
    users: Users, database: Database
) -> None:
    for fields in ({"role": UserRole.USER}, {"is_active": False}):
        await execute(database, "UPDATE users SET role = 'admin', is_active = true")

        ends = await asyncio.gather(
            *(users.change(user, fields, at=AT) for user in (ADA, BOB, CYD)),
            return_exceptions=True,
        )

        assert [type(end) for end in ends if isinstance(end, DomainError)] == [
            LastAdmin
        ]
        left, total = await users.list_page(
            UserFilter(role=ADMIN, is_active=True), Page(limit=9)
        )
        assert len(left) == total == 1


async def test_a_page_begins_behind_a_user_and_knows_the_whole_length(
    users: Users,
) -> None:
    cyd = await users.get(CYD)
    assert cyd is not None
    behind_cyd = Page(limit=1, offset=1, after_at=cyd.created_at, after_id=CYD)
    page, total = await users.list_page(UserFilter(), behind_cyd)
    beyond, whole = await users.list_page(UserFilter(), Page(limit=9, offset=9))

    assert ([user.id for user in page], total) == ([ADA], 3)
    assert (beyond, whole) == ([], 3)


async def test_another_password_ends_all_sessions_but_one(
    users: Users, database: Database
) -> None:
    kept, other = [await log_in(database, ADA, digest) for digest in (b"1", b"2")]
    known = await users.credentials(ADA)
    assert known is not None

    ended = await users.change_password(
        ADA, "new", replaced=known.password_hash, kept=kept
    )
    late = await users.change_password(
        ADA, "newer", replaced=known.password_hash, kept=other
    )

    assert (ended, late) == (frozenset({other}), None)
    assert (await Accounts(database).live_sessions([kept, other])).keys() == {kept}
    changed = await users.credentials(ADA)
    assert changed is not None
    assert changed.password_hash == "new"


async def test_a_hash_is_renewed_only_where_it_still_is_the_old_one(
    users: Users,
) -> None:
    known = await users.credentials(ADA)
    assert known is not None

    first = await users.rehash_password(ADA, "new", replaced=known.password_hash)
    second = await users.rehash_password(ADA, "newer", replaced=known.password_hash)

    renewed = await users.credentials(ADA)
    assert (first, second) == (True, False)
    assert renewed is not None
    assert renewed.password_hash == "new"


async def test_a_change_that_is_always_overtaken_is_given_up(
    users: Users, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(*given: object) -> None: ...

    monkeypatch.setattr(sql_users, "_change", lose)

    with pytest.raises(StoreUnavailable):
        await users.change(ADA, {"first_name": "x"}, at=AT)
