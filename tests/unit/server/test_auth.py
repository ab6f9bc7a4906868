"""Accounts and sessions over HTTP, with the real database behind the handlers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal

import argon2
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient

from actors.domain.errors import EmailTaken
from actors.domain.model import UserId, UserRole
from server import accounts as new_accounts
from server import auth, keys, ticketing, users
from server.addresses import Addresses
from server.ids import Ids
from server.limits import Limits
from server.middlewares import errors
from server.passwords import Passwords, PasswordsBusy
from server.registration import create_account
from server.seals import Seal
from server.sessions import Sessions
from server.tickets import Tickets
from server.tokens import Tokens
from sql.accounts import Accounts
from sql.database import Database
from sql.store import Store
from sql.users import Users

ADA = {
    "email": "Ada@Example.com",
    "username": "ada",
    "password": "correct horse",
    "first_name": "Ada",
}
LOGIN = {"username": "ada", "password": "correct horse"}
Client = TestClient[web.Request, web.Application]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CountingHasher(argon2.PasswordHasher):
    def __init__(self, time_cost: int = 1) -> None:
        super().__init__(time_cost=time_cost, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        self.verified += 1
        return super().verify(hash, password)


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """As much of the real one as handlers need: who calls, ids and the body."""
    public = ("/auth/register", "/auth/login", "/auth/refresh")
    if request.path not in public:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        sessions = request.app[keys.SESSIONS]
        request[keys.PRINCIPAL] = await sessions.authenticate(token)
    if "session_id" in request.match_info:
        session_id = int(request.match_info["session_id"])
        request[keys.PATH_IDS] = {"session_id": session_id}
    request[keys.BODY] = await request.json() if request.can_read_body else {}
    request[keys.REQUEST_ID] = "r-1"
    asked = {name: int(text) for name, text in request.query.items()}
    request[keys.QUERY] = {"limit": 20, "offset": 0, **asked}
    return await handler(request)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=20)
    yield database
    await database.close()


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
async def app(
    database: Database, hasher: CountingHasher
) -> AsyncIterator[web.Application]:
    app = web.Application(middlewares=[errors, gate])
    app.router.add_post("/auth/register", new_accounts.register)
    app.router.add_post("/auth/login", auth.login)
    app.router.add_post("/auth/refresh", auth.refresh)
    app.router.add_post("/auth/logout", auth.logout)
    app.router.add_get("/auth/sessions", auth.list_sessions)
    app.router.add_delete("/auth/sessions/{session_id}", auth.end_session)
    app.router.add_get("/users/me", users.get_me)
    app.router.add_post("/ws/tickets", ticketing.create_ticket)
    app[keys.ACCOUNTS] = accounts = Accounts(database)
    app[keys.USERS] = Users(database)
    app[keys.LIMITS], app[keys.ADDRESSES] = Limits(), Addresses()
    app[keys.IDS] = Ids(Store(database))
    tokens = Tokens(access_secret=b"a" * 32, refresh_secret=b"r" * 32)
    app[keys.SESSIONS] = Sessions(accounts, tokens)
    app[keys.PASSWORDS] = passwords = Passwords(hasher=hasher)
    app[keys.TICKETS] = Tickets(None, Seal(b"secret", b"tickets"))
    yield app
    passwords.close()


@pytest.fixture
async def client(
    aiohttp_client: Callable[[web.Application], Awaitable[Client]], app: web.Application
) -> Client:
    return await aiohttp_client(app)


async def register(client: Client, **fields: str) -> dict[str, Any]:
    answer = await client.post("/auth/register", json={**ADA, **fields})
    assert answer.status == 201
    return dict(await answer.json())


async def log_in(client: Client) -> dict[str, Any]:
    answer = await client.post("/auth/login", json=LOGIN)
    assert answer.status == 200
    return dict(await answer.json())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def refresh(client: Client, token: str) -> tuple[int, dict[str, Any]]:
    answer = await client.post("/auth/refresh", json={"refresh_token": token})
    return answer.status, await answer.json()


async def status_of(client: Client, pair: Mapping[str, Any]) -> int:
    answer = await client.get("/users/me", headers=bearer(pair["access_token"]))
    return answer.status


async def execute(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        await connection.execute(sql)


async def test_a_new_user_is_answered_without_the_hash(client: Client) -> None:
    answer = await client.post("/auth/register", json=ADA)

    user = await answer.json()
    assert answer.status == 201
    assert answer.headers["Location"] == f"/users/{user['id']}"
    assert user.keys() == {
        "id", "email", "username", "first_name", "last_name", "role", "is_active",
        "created_at", "updated_at", "version",
    }  # fmt: skip
    assert (user["email"], user["role"], user["last_name"]) == (
        "Ada@Example.com",
        "user",
        "",
    )


async def test_a_new_user_has_an_inbox(client: Client, database: Database) -> None:
    user = await register(client)

    async with database.connection() as connection:
        row = await connection.fetchrow(
            "SELECT owner_id, name, is_inbox, version FROM projects"
        )
        body = await connection.fetchval("SELECT body FROM project_events")
    assert tuple(row) == (user["id"], "Inbox", True, 1)
    assert json.loads(body)["type"] == "project_created"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"username": "bob", "email": "ADA@example.com"}, "email_taken"),
        ({"email": "bob@example.com", "username": "ADA"}, "username_taken"),
    ],
)
async def test_a_taken_name_is_a_conflict(
    client: Client, fields: dict[str, str], code: str
) -> None:
    await register(client)

    answer = await client.post("/auth/register", json={**ADA, **fields})

    assert answer.status == 409
    assert (await answer.json())["code"] == code


async def test_of_concurrent_registrations_one_wins(
    client: Client, database: Database
) -> None:
    answers = await asyncio.gather(
        *(client.post("/auth/register", json=ADA) for _ in range(8))
    )

    assert sorted(answer.status for answer in answers) == [201] + [409] * 7
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM projects") == 1


async def test_a_guessable_password_is_refused(client: Client) -> None:
    answer = await client.post("/auth/register", json={**ADA, "password": "password1"})

    problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "password_refused")
    assert problem["errors"][0]["pointer"] == "/password"


@pytest.mark.parametrize("name", [{"email": "ada@EXAMPLE.com"}, {"username": "ADA"}])
async def test_a_user_logs_in_by_either_name(
    client: Client, name: dict[str, str]
) -> None:
    await register(client)

    answer = await client.post(
        "/auth/login", json={**name, "password": "correct horse"}
    )

    pair = await answer.json()
    assert answer.status == 200
    assert pair.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 900)
    assert await status_of(client, pair) == 200


async def test_no_refused_log_in_tells_why_by_body_or_by_work(
    client: Client, database: Database, hasher: CountingHasher
) -> None:
    await register(client)
    await register(client, email="b@example.com", username="bob")
    await execute(database, "UPDATE users SET is_active = false WHERE username = 'bob'")
    attempts = [
        {**LOGIN, "password": "wrong horse"},
        {**LOGIN, "username": "nobody"},
        {"email": "no@example.com", "password": "correct horse"},
        {**LOGIN, "username": "bob"},
        {**LOGIN, "username": "ada\0"},
    ]

    seen = set()
    for attempt in attempts:
        before = hasher.verified
        answer = await client.post("/auth/login", json=attempt)
        challenge = answer.headers["WWW-Authenticate"]
        body = await answer.text()
        seen.add((answer.status, challenge, body, hasher.verified - before))

    ((status, challenge, body, work),) = seen
    assert (status, work) == (401, 1)
    assert challenge == 'Bearer realm="boardcast"'
    assert json.loads(body)["code"] == "invalid_credentials"


async def test_a_log_in_brings_an_old_hash_up_to_date(
    client: Client, app: web.Application
) -> None:
    await register(client)
    passwords = app[keys.PASSWORDS]
    passwords._hasher = CountingHasher(time_cost=2)
    await log_in(client)

    credentials = await app[keys.ACCOUNTS].find_by_login(username="ada")
    assert credentials is not None
    assert not passwords.is_outdated(credentials.password_hash)
    assert credentials.user.version == 1


async def test_a_log_in_succeeds_where_there_is_no_time_for_a_new_hash(
    client: Client, app: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(client)
    passwords = app[keys.PASSWORDS]
    passwords._hasher = CountingHasher(time_cost=2)

    async def refuse(password: str) -> str:
        raise PasswordsBusy

    monkeypatch.setattr(passwords, "hash", refuse)

    assert await status_of(client, await log_in(client)) == 200


async def test_a_session_remembers_who_opened_it(client: Client) -> None:
    await register(client)
    await client.post("/auth/login", json=LOGIN, headers={"User-Agent": "phone"})
    pair = await log_in(client)

    answer = await client.get("/auth/sessions", headers=bearer(pair["access_token"]))

    listed = await answer.json()
    assert listed["total"] == 2
    assert [session["is_current"] for session in listed["sessions"]] == [True, False]
    assert listed["sessions"][1]["user_agent"] == "phone"
    assert listed["sessions"][1]["address"] == "127.0.0.1"
    assert listed["sessions"][1]["expires_at"].endswith("Z")
    assert "digest" not in await answer.text()


async def test_sessions_are_paged(client: Client) -> None:
    await register(client)
    await log_in(client)
    pair = await log_in(client)

    answer = await client.get(
        "/auth/sessions?limit=1&offset=1", headers=bearer(pair["access_token"])
    )

    listed = await answer.json()
    assert (listed["total"], listed["limit"], listed["offset"]) == (2, 1, 1)
    assert [session["is_current"] for session in listed["sessions"]] == [False]


@pytest.mark.parametrize("in_body", [False, True])
async def test_a_refresh_token_gives_a_new_pair(
    client: Client, *, in_body: bool
) -> None:
    await register(client)
    old = await log_in(client)
    token = old["refresh_token"]
    how: Mapping[str, Any] = (
        {"json": {"refresh_token": token}} if in_body else {"headers": bearer(token)}
    )

    answer = await client.post("/auth/refresh", **how)

    new = await answer.json()
    assert answer.status == 200
    assert new["refresh_token"] != token
    assert new["access_token"] != old["access_token"]
    assert await status_of(client, new) == 200
    assert (await refresh(client, new["refresh_token"]))[0] == 200


async def test_twenty_concurrent_refreshes_get_one_successor(client: Client) -> None:
    await register(client)
    pair = await log_in(client)

    answers = await asyncio.gather(
        *(refresh(client, pair["refresh_token"]) for _ in range(20))
    )

    assert {status for status, _ in answers} == {200}
    assert len({body["refresh_token"] for _, body in answers}) == 1


async def test_a_token_reused_after_the_grace_ends_the_session_at_once(
    client: Client, database: Database
) -> None:
    await register(client)
    pair, other = await log_in(client), await log_in(client)
    _, new = await refresh(client, pair["refresh_token"])
    assert await status_of(client, new) == 200
    await execute(
        database, "UPDATE refresh_tokens SET used_at = used_at - interval '11 s'"
    )

    status, problem = await refresh(client, pair["refresh_token"])

    assert (status, problem["code"]) == (401, "invalid_token")
    assert (await refresh(client, new["refresh_token"]))[0] == 401
    assert await status_of(client, new) == await status_of(client, pair) == 401
    assert await status_of(client, other) == 200


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"headers": bearer("guess")},
        {"headers": bearer("")},
        {"headers": {"Authorization": "Basic Z3Vlc3M="}},
        {"json": {"refresh_token": "\ud800"}},
    ],
    ids=str,
)
async def test_no_refresh_token_or_a_wrong_one_is_refused(
    client: Client, how: Mapping[str, Any]
) -> None:
    answer = await client.post("/auth/refresh", **how)

    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_an_access_token_refreshes_nothing_and_the_other_way_round(
    client: Client,
) -> None:
    await register(client)
    pair = await log_in(client)

    status, _ = await refresh(client, pair["access_token"])
    crossed = await status_of(client, {"access_token": pair["refresh_token"]})

    assert (status, crossed) == (401, 401)


async def test_a_log_out_ends_this_session_and_no_other(client: Client) -> None:
    await register(client)
    pair, other = await log_in(client), await log_in(client)
    assert await status_of(client, pair) == 200

    answer = await client.post("/auth/logout", headers=bearer(pair["access_token"]))

    assert answer.status == 204
    assert await status_of(client, pair) == 401
    assert (await refresh(client, pair["refresh_token"]))[0] == 401
    assert await status_of(client, other) == 200


async def test_a_user_ends_another_session_of_theirs_once(client: Client) -> None:
    await register(client)
    lost, pair = await log_in(client), await log_in(client)
    headers = bearer(pair["access_token"])
    listed = await (await client.get("/auth/sessions", headers=headers)).json()
    path = f"/auth/sessions/{listed['sessions'][1]['id']}"
    assert await status_of(client, lost) == 200

    first = await client.delete(path, headers=headers)
    second = await client.delete(path, headers=headers)

    assert (first.status, second.status) == (204, 404)
    assert await status_of(client, lost) == 401
    assert await status_of(client, pair) == 200


async def test_nobody_ends_the_session_of_another(client: Client) -> None:
    await register(client)
    pair = await log_in(client)
    listed = await (
        await client.get("/auth/sessions", headers=bearer(pair["access_token"]))
    ).json()
    await register(client, email="eve@example.com", username="eve")
    eve = await client.post(
        "/auth/login", json={"username": "eve", "password": "correct horse"}
    )

    answer = await client.delete(
        f"/auth/sessions/{listed['sessions'][0]['id']}",
        headers=bearer((await eve.json())["access_token"]),
    )

    assert answer.status == 404
    assert (await answer.json())["code"] == "session_not_found"
    assert await status_of(client, pair) == 200


async def test_me_is_who_the_token_speaks_for(client: Client) -> None:
    user = await register(client)
    pair = await log_in(client)

    answer = await client.get("/users/me", headers=bearer(pair["access_token"]))

    assert await answer.json() == user
    assert answer.headers["ETag"] == f'"{user["version"]}"'


async def test_a_user_who_is_gone_is_nobody(client: Client, database: Database) -> None:
    await register(client)
    pair = await log_in(client)
    assert await status_of(client, pair) == 200
    await execute(database, "DELETE FROM projects; DELETE FROM users")

    assert await status_of(client, pair) == 401


async def test_a_ticket_speaks_for_who_asked_for_it(
    client: Client, app: web.Application
) -> None:
    user = await register(client)
    pair = await log_in(client)

    answer = await client.post("/ws/tickets", headers=bearer(pair["access_token"]))

    made = await answer.json()
    assert (answer.status, made["expires_in"]) == (201, 30)
    principal = await app[keys.TICKETS].redeem(made["ticket"])
    assert principal.user_id == user["id"]


async def test_an_account_can_be_made_without_a_request(
    client: Client, app: web.Application
) -> None:
    user = await register(client)
    app_parts = app[keys.ACCOUNTS], app[keys.IDS], app[keys.PASSWORDS]
    ada = await app[keys.USERS].get(UserId(user["id"]))
    assert ada is not None

    admin = await create_account(
        *app_parts,
        email="root@example.com",
        username="root",
        password="correct horse",
        role=UserRole.ADMIN,
        at=ada.created_at,
        request_id="cli",
    )

    assert (admin.role, admin.created_at) == (UserRole.ADMIN, ada.created_at)
    with pytest.raises(EmailTaken):
        await create_account(
            *app_parts,
            email="root@example.com",
            username="other",
            password="correct horse",
            at=ada.created_at,
            request_id="cli",
        )


async def test_nothing_secret_is_logged(client: Client, database: Database) -> None:
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logged:
        await register(client)
        pair = await log_in(client)
        _, new = await refresh(client, pair["refresh_token"])
        await execute(
            database, "UPDATE refresh_tokens SET used_at = used_at - interval '11 s'"
        )
        await refresh(client, pair["refresh_token"])

    assert [entry["event"] for entry in logged] == ["session.token_reused"]
    for pair_of in (pair, new):
        assert pair_of["access_token"] not in repr(logged)
        assert pair_of["refresh_token"] not in repr(logged)
