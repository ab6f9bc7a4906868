"""Users, sessions and refresh tokens, against the real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from actors.domain.commands import CreateProject
from actors.domain.decide import decide
from actors.domain.errors import EmailTaken, UsernameTaken
from actors.domain.events import Batch, Entry
from actors.domain.model import Caller, ProjectId, UserId, UserRole
from actors.domain.state import ProjectState
from server.representations import encode_event
from sql.accounts import Accounts, LiveSession, NewUser, Outcome
from sql.database import Database
from sql.users import SessionId, User

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GRACE = 10.0
HASH = "hash"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=20)
    yield database
    await database.close()


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


def inbox_of(user_id: int, *, project_id: int | None = None) -> Batch:
    project = ProjectId(project_id or 1000 + user_id)
    command = CreateProject(
        caller=Caller(id=UserId(user_id), role=UserRole.USER),
        at=AT,
        request_id="r",
        project_id=project,
        owner_id=UserId(user_id),
        name="Inbox",
        is_inbox=True,
    )
    (event,) = decide(ProjectState(project_id=project), command)
    entry = Entry(event=event, body=encode_event(event))
    return Batch(project_id=project, expected=0, entries=(entry,))


async def make_user(accounts: Accounts, number: int = 1, **fields: object) -> User:
    given = {"email": f"U{number}@Example.com", "username": f"User{number}", **fields}
    new = NewUser(id=UserId(number), password_hash=HASH, at=AT, **given)  # type: ignore[arg-type]  # what a test names
    return await accounts.create_user(new, inbox_of(number))


async def open_session(accounts: Accounts, digest: bytes = b"first") -> SessionId:
    await make_user(accounts)
    session_id = await accounts.create_session(
        UserId(1), digest, lifetime_seconds=3600, address="::1", user_agent="curl"
    )
    assert session_id is not None
    return session_id


async def execute(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        await connection.execute(sql)


async def rotate(accounts: Accounts, digest: bytes, successor: bytes) -> Outcome:
    rotation = await accounts.rotate(digest, successor, grace_seconds=GRACE)
    return rotation.outcome


async def count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608


async def test_a_new_user_is_what_was_asked_for(accounts: Accounts) -> None:
    made = await make_user(accounts, first_name="Ada", role=UserRole.MANAGER)

    expected = User(
        id=UserId(1),
        email="U1@Example.com",
        username="User1",
        first_name="Ada",
        last_name="",
        role=UserRole.MANAGER,
        is_active=True,
        created_at=AT,
        updated_at=AT,
        version=1,
    )
    assert made == expected
    found = await accounts.find_by_login(username="User1")
    assert found is not None
    assert found.user == expected


async def test_a_new_user_has_an_inbox(accounts: Accounts, database: Database) -> None:
    await make_user(accounts)

    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT owner_id, is_inbox FROM projects")
        body = await connection.fetchval("SELECT body FROM project_events")
    assert tuple(row) == (1, True)
    assert body == inbox_of(1).entries[0].body.decode()


@pytest.mark.parametrize(
    ("fields", "error"),
    [({"email": "u1@EXAMPLE.com"}, EmailTaken), ({"username": "uSER1"}, UsernameTaken)],
)
async def test_a_taken_name_is_refused_in_any_case_and_leaves_nothing(
    accounts: Accounts,
    database: Database,
    fields: dict[str, str],
    error: type[Exception],
) -> None:
    await make_user(accounts)

    with pytest.raises(error):
        await make_user(accounts, 2, **fields)
    assert await count(database, "users") == 1
    assert await count(database, "projects") == 1


async def test_a_user_whose_inbox_cannot_be_made_is_not_made(
    accounts: Accounts, database: Database
) -> None:
    await make_user(accounts)
    new = NewUser(
        id=UserId(2), email="b@b.bb", username="bob", password_hash="h", at=AT
    )

    with pytest.raises(asyncpg.UniqueViolationError):
        await accounts.create_user(new, inbox_of(2, project_id=1001))
    assert await count(database, "users") == 1


@pytest.mark.parametrize(
    "login", [{"email": "u1@example.COM"}, {"username": "uSeR1"}], ids=str
)
async def test_a_login_is_found_in_any_case(
    accounts: Accounts, login: dict[str, str]
) -> None:
    user = await make_user(accounts)

    found = await accounts.find_by_login(**login)

    assert found is not None
    assert found.user == user
    assert found.password_hash == HASH
    assert "hash" not in repr(found).replace("password_hash", "")


@pytest.mark.parametrize(
    "login",
    [
        {},
        {"email": "User1"},
        {"username": "U1@Example.com"},
        {"username": "User1\0"},
        {"username": "\ud800"},
        {"email": "' OR true --"},
    ],
    ids=str,
)
async def test_an_unknown_login_is_nobody(
    accounts: Accounts, login: dict[str, str]
) -> None:
    await make_user(accounts)

    assert await accounts.find_by_login(**login) is None


async def test_an_inactive_user_gets_no_session(
    accounts: Accounts, database: Database
) -> None:
    await make_user(accounts)
    await execute(database, "UPDATE users SET is_active = false")

    made = await accounts.create_session(UserId(1), b"d", lifetime_seconds=60)

    assert made is None
    assert await count(database, "refresh_tokens") == 0


async def test_a_header_that_cannot_be_stored_is_cut_to_what_can(
    accounts: Accounts,
) -> None:
    await make_user(accounts)
    odd = "curl\udcff\0\n" + "x" * 1000

    await accounts.create_session(
        UserId(1), b"d", lifetime_seconds=60, user_agent=odd, address="a" * 1000
    )

    (session,), _ = await accounts.list_sessions(UserId(1), limit=1)
    assert session.user_agent == "curl?" + "x" * 295
    assert len(session.address) == 100


async def test_a_token_rotates_once_and_its_successor_after_it(
    accounts: Accounts,
) -> None:
    session_id = await open_session(accounts)

    first = await accounts.rotate(b"first", b"second", grace_seconds=GRACE)
    second = await accounts.rotate(b"second", b"third", grace_seconds=GRACE)

    assert first.outcome is second.outcome is Outcome.ROTATED
    assert (first.session_id, first.user_id) == (session_id, UserId(1))


async def test_a_rotation_is_seen_in_the_list_of_sessions(accounts: Accounts) -> None:
    await open_session(accounts)
    await rotate(accounts, b"first", b"second")

    (session,), _ = await accounts.list_sessions(UserId(1), limit=1)
    assert session.last_used_at > session.created_at


async def test_a_token_may_be_repeated_within_the_grace(
    accounts: Accounts, database: Database
) -> None:
    session_id = await open_session(accounts)
    await rotate(accounts, b"first", b"second")
    await execute(
        database, "UPDATE refresh_tokens SET used_at = used_at - interval '8 s'"
    )

    again = await accounts.rotate(b"first", b"second", grace_seconds=GRACE)

    assert again.outcome is Outcome.REPEATED
    assert (again.session_id, again.user_id) == (session_id, UserId(1))
    assert await rotate(accounts, b"second", b"third") is Outcome.ROTATED


async def test_a_token_used_again_after_the_grace_ends_its_session_only(
    accounts: Accounts, database: Database
) -> None:
    session_id = await open_session(accounts)
    other = await accounts.create_session(UserId(1), b"other", lifetime_seconds=60)
    await rotate(accounts, b"first", b"second")
    await execute(
        database, "UPDATE refresh_tokens SET used_at = used_at - interval '11 s'"
    )

    reused = await accounts.rotate(b"first", b"second", grace_seconds=GRACE)

    assert reused.outcome is Outcome.REUSED
    assert reused.session_id == session_id
    assert await rotate(accounts, b"second", b"third") is Outcome.REFUSED
    assert list(await accounts.live_sessions([session_id, other or 0])) == [other]
    async with database.connection() as connection:
        reason = await connection.fetchval(
            "SELECT revoked_reason FROM sessions WHERE id = $1", session_id
        )
    assert reason == "reuse"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE sessions SET revoked_at = now()",
        "UPDATE sessions SET expires_at = now()",
        "UPDATE users SET is_active = false",
        "DELETE FROM sessions",
    ],
)
@pytest.mark.parametrize("is_used", [False, True])
async def test_a_token_of_a_session_that_ended_is_refused(
    accounts: Accounts, database: Database, sql: str, *, is_used: bool
) -> None:
    await open_session(accounts)
    if is_used:
        await rotate(accounts, b"first", b"second")
    await execute(database, sql)

    assert await rotate(accounts, b"first", b"second") is Outcome.REFUSED
    assert await count(database, "refresh_tokens WHERE used_at IS NULL") <= 1


async def test_an_unknown_token_is_refused(accounts: Accounts) -> None:
    await open_session(accounts)

    assert await rotate(accounts, b"guess", b"second") is Outcome.REFUSED


async def test_of_twenty_concurrent_rotations_one_wins_and_all_get_an_answer(
    accounts: Accounts, database: Database
) -> None:
    await open_session(accounts)

    outcomes = await asyncio.gather(
        *(rotate(accounts, b"first", b"second") for _ in range(20))
    )

    assert sorted(outcomes) == [Outcome.REPEATED] * 19 + [Outcome.ROTATED]
    assert await count(database, "refresh_tokens") == 2


async def test_a_rotation_that_waits_for_one_that_fails_wins(
    accounts: Accounts, database: Database
) -> None:
    await open_session(accounts)

    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE refresh_tokens SET used_at = now()")
        waiting = asyncio.create_task(rotate(accounts, b"first", b"second"))
        while not await _is_anyone_waiting(database):
            pass
        await transaction.rollback()

    assert await waiting is Outcome.ROTATED


async def _is_anyone_waiting(database: Database) -> bool:
    async with database.connection() as connection:
        return bool(
            await connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
            )
        )


async def test_a_session_is_revoked_once_and_by_its_user_only(
    accounts: Accounts,
) -> None:
    session_id = await open_session(accounts)

    by_another = await accounts.revoke_session(
        session_id, user_id=UserId(2), reason="logout"
    )
    still_live = await accounts.live_sessions([session_id])
    by_owner = await accounts.revoke_session(
        session_id, user_id=UserId(1), reason="logout"
    )
    again = await accounts.revoke_session(session_id, reason="logout")

    assert (by_another, by_owner, again) == (False, True, False)
    assert session_id in still_live
    assert await accounts.live_sessions([session_id]) == {}


async def test_live_sessions_tell_whose_they_are_and_what_those_may_do(
    accounts: Accounts, database: Database
) -> None:
    session_id = await open_session(accounts)
    await execute(database, "UPDATE users SET role = 'admin', is_active = false")

    live = await accounts.live_sessions([session_id, session_id + 1])

    assert live == {
        session_id: LiveSession(user_id=UserId(1), role=UserRole.ADMIN, is_active=False)
    }


async def test_an_expired_session_is_not_live(
    accounts: Accounts, database: Database
) -> None:
    session_id = await open_session(accounts)
    await execute(database, "UPDATE sessions SET expires_at = now()")

    assert await accounts.live_sessions([session_id]) == {}
    assert not await accounts.revoke_session(session_id, reason="logout")


async def test_sessions_are_listed_newest_first_a_page_at_a_time(
    accounts: Accounts, database: Database
) -> None:
    first = await open_session(accounts)
    await make_user(accounts, 2)
    await accounts.create_session(UserId(2), b"not mine", lifetime_seconds=60)
    second, third, expired = [
        await accounts.create_session(UserId(1), bytes([n]), lifetime_seconds=60)
        for n in range(3)
    ]
    await execute(
        database,
        f"UPDATE sessions SET expires_at = now() WHERE id = {expired}",  # noqa: S608
    )

    newest, total = await accounts.list_sessions(UserId(1), limit=2)
    rest, _ = await accounts.list_sessions(UserId(1), limit=2, offset=2)

    assert [session.id for session in newest] == [third, second]
    assert [session.id for session in rest] == [first]
    assert total == 3
    assert rest[0].user_agent == "curl"
    assert rest[0].address == "::1"


async def test_sessions_are_forgotten_a_week_after_they_expired(
    accounts: Accounts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sql.accounts._FORGOTTEN_SESSIONS", 2)
    await make_user(accounts)
    for number in range(5):
        await accounts.create_session(UserId(1), bytes([number]), lifetime_seconds=60)
    old = "UPDATE sessions SET expires_at = now() - interval '8 days'"
    await execute(database, old)
    kept = await accounts.create_session(UserId(1), b"other", lifetime_seconds=60)

    await accounts.forget_sessions()

    async with database.connection() as connection:
        left = await connection.fetch("SELECT session_id FROM refresh_tokens")
    assert [row["session_id"] for row in left] == [kept]
