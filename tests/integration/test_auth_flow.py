"""Registering, logging in and out, and everything that ends a session."""

import asyncio
from typing import Any

import pytest

from server import answers, keys
from tests.running_app import Answer, Board, Listener, Person, running

ADA = {
    "email": "ada@example.com",
    "username": "ada",
    "password": "correct horse battery",
    "first_name": "Ada",
}
REFUSED = (401, "invalid_token")


def person_of(board: Board, answer: Answer) -> Person:
    """Whoever logged in with this answer."""
    tokens = {
        "access": answer.json["access_token"],
        "refresh": answer.json["refresh_token"],
    }
    return Person(board, board.nobody.caller, tokens)


async def log_in(board: Board, **body: str) -> Person:
    given = body or {"username": "ada", "password": ADA["password"]}
    answer = await board.nobody.post("/auth/login", given)
    assert answer.status == 200, answer
    return person_of(board, answer)


async def refresh(person: Person, token: str = "") -> Answer:
    body = {"refresh_token": token or person.refresh_token}
    return await person.board.nobody.post("/auth/refresh", body)


async def test_from_registering_to_logging_out(board: Board) -> None:
    made = await board.nobody.post("/auth/register", ADA)
    ada = await log_in(board, email="ADA@example.com", password=ADA["password"])
    me = await ada.get("/users/me")
    task = await ada.task()
    out = await ada.post("/auth/logout")

    assert made.status == 201
    answers.User().load(made.json)
    assert made.headers["Location"] == f"/users/{made.json['id']}"
    assert me.json == made.json
    assert b"password" not in made.body
    assert task["created_by"] == made.json["id"]
    assert (out.status, out.body) == (204, b"")
    assert (await ada.get("/users/me")).refusal == REFUSED
    assert (await refresh(ada)).refusal == REFUSED


async def test_tokens_are_never_stored_by_caches(board: Board) -> None:
    await board.nobody.post("/auth/register", ADA)
    body = {"username": "ada", "password": ADA["password"]}

    login = await board.nobody.post("/auth/login", body)
    ada = person_of(board, login)
    answered = [login, await refresh(ada), await ada.post("/ws/tickets")]

    assert [a.headers["Cache-Control"] for a in answered] == ["no-store"] * 3
    answers.TokenPair().load(login.json)
    answers.Ticket().load(answered[2].json)


async def test_a_taken_name_and_a_weak_password_are_refused(board: Board) -> None:
    await board.nobody.post("/auth/register", ADA)
    other = ADA | {"email": "b@example.com", "username": "bob"}

    async def register(**fields: str) -> tuple[int, str]:
        return (await board.nobody.post("/auth/register", other | fields)).refusal

    assert await register(email="ADA@EXAMPLE.COM") == (409, "email_taken")
    assert await register(username="AdA") == (409, "username_taken")
    assert await register(password="password1") == (422, "password_refused")
    assert await register(password="x") == (422, "invalid_request")
    assert await register(role="admin") == (422, "invalid_request")
    assert await register(email="b@localhost") == (422, "invalid_request")
    assert await register(username="b b") == (422, "invalid_request")


async def test_every_wrong_login_is_the_same(
    board: Board,
) -> None:
    await board.nobody.post("/auth/register", ADA)
    await board.nobody.post(
        "/auth/register", ADA | {"email": "b@example.com", "username": "bob"}
    )
    await board.execute("UPDATE users SET is_active = false WHERE username = 'bob'")
    tries = [
        {"username": "ada", "password": "wrong horse battery"},
        {"username": "eve", "password": ADA["password"]},
        {"username": "bob", "password": ADA["password"]},
        {"username": "ada@example.com", "password": ADA["password"]},
        {"email": "' OR 1=1 --", "password": "x"},
    ]

    refused = [await board.nobody.post("/auth/login", body) for body in tries]

    bodies = []
    for answer in refused:
        assert answer.refusal == (401, "invalid_credentials")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="boardcast"'
        bodies.append({**answer.json, "request_id": ""})
    assert all(body == bodies[0] for body in bodies)
    both = {"username": "ada", "email": "a@b.cc", "password": "x"}
    assert (await board.nobody.post("/auth/login", both)).status == 422


async def test_a_refresh_token_works_in_the_body_and_as_bearer(board: Board) -> None:
    ada = await board.person()
    nobody = board.nobody

    first = person_of(board, await refresh(ada))
    bearer = {"Authorization": f"Bearer {first.refresh_token}"}
    second = await nobody.ask("POST", "/auth/refresh", headers=bearer)
    none = await nobody.post("/auth/refresh")
    empty = await nobody.post("/auth/refresh", {})

    assert second.status == 200
    assert (await person_of(board, second).get("/users/me")).status == 200
    assert none.refusal == empty.refusal == REFUSED
    assert (await refresh(ada, ada.access_token)).refusal == REFUSED


async def test_twenty_who_refresh_at_once_get_the_same_successor(board: Board) -> None:
    ada = await board.person()

    pairs = await asyncio.gather(*(refresh(ada) for _ in range(20)))

    assert {pair.status for pair in pairs} == {200}
    assert len({pair.json["refresh_token"] for pair in pairs}) == 1
    assert (await refresh(person_of(board, pairs[0]))).status == 200


async def test_twenty_who_refresh_on_two_nodes_share_a_successor_and_a_thief_ends_it(
    database_url: str, redis_url: str
) -> None:
    async with (
        running(database_url, redis_url) as here,
        running(database_url, redis_url) as there,
    ):
        ada = await here.person()
        other = await here.session(ada.caller)
        everywhere = [ada, Person(there, ada.caller, {"access": ada.access_token})]
        twins = [Person(b, ada.caller, {}) for b in (here, there)]
        token = ada.refresh_token
        await there.app[keys.FOLLOWER].look()  # or sockets there hear of her inbox

        pairs = await asyncio.gather(*(refresh(t, token) for t in twins * 10))
        newer = [person_of(t.board, pairs[0]) for t in twins]
        listeners = [await person.listen() for person in (*everywhere, *newer)]
        await here.execute(
            "UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds'"
        )
        async with asyncio.timeout(5):
            reused = await refresh(twins[0], token)
            closed = [await listener.closing() for listener in listeners]
            for person in everywhere:
                while (await person.get("/users/me")).status != 401:
                    pass

        assert {pair.status for pair in pairs} == {200}
        assert len({pair.json["refresh_token"] for pair in pairs}) == 1
        assert reused.refusal == REFUSED
        assert closed == [(4001, "Session ended")] * 4
        for person in newer:
            assert (await person.get("/users/me")).refusal == REFUSED
            assert (await refresh(person)).refusal == REFUSED
        assert (await other.get("/users/me")).status == 200


async def test_a_token_that_comes_again_late_ends_its_session(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url, refresh_grace_seconds=0) as board:
        ada = await board.person()
        other = await board.session(ada.caller)
        listener = await ada.listen()
        newer = person_of(board, await refresh(ada))

        reused = await refresh(ada)

        assert reused.refusal == REFUSED
        assert await listener.closing() == (4001, "Session ended")
        for person in (ada, newer):
            assert (await person.get("/users/me")).refusal == REFUSED
        assert (await refresh(newer)).refusal == REFUSED
        assert (await other.get("/users/me")).status == 200


async def test_sessions_are_listed_and_ended_one_by_one(board: Board) -> None:
    ada = await board.person()
    phone = await board.session(ada.caller)
    listener = await phone.listen()

    listed = await ada.get("/auth/sessions?limit=1")
    whole = (await ada.get("/auth/sessions")).json
    newest, current = whole["sessions"]
    path = f"/auth/sessions/{newest['id']}"
    ended = await ada.delete(path)

    answers.SessionList().load(listed.json)
    assert (listed.json["total"], len(listed.json["sessions"])) == (2, 1)
    assert (newest["is_current"], current["is_current"]) == (False, True)
    assert ended.status == 204
    assert await listener.closing() == (4001, "Session ended")
    assert (await phone.get("/users/me")).refusal == REFUSED
    assert (await ada.delete(path)).refusal == (404, "session_not_found")
    assert (await ada.get("/auth/sessions")).json["total"] == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET is_active = false",
        "UPDATE sessions SET revoked_at = now()",
        "UPDATE sessions SET expires_at = now()",
    ],
)
async def test_what_ends_in_the_database_ends_here_with_the_next_sweep(
    board: Board, change: str
) -> None:
    ada = await board.person()
    listeners = [await ada.listen() for _ in range(2)]

    await board.execute(change)
    await board.app[keys.SESSIONS].sweep()

    for listener in listeners:
        assert await listener.closing() == (4001, "Session ended")
    assert (await ada.get("/users/me")).refusal == REFUSED
    assert (await refresh(ada)).refusal == REFUSED


async def test_the_sweep_comes_by_itself(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.sessions.SWEEP_SECONDS", 0.01)
    async with running(database_url, redis_url) as board:
        ada = await board.person()
        listener = await ada.listen()

        await board.execute("UPDATE users SET is_active = false")

        assert await listener.closing() == (4001, "Session ended")


async def test_an_access_token_that_has_expired_is_refused(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url, access_token_seconds=0) as board:
        ada = await board.person()

        assert (await ada.get("/users/me")).refusal == REFUSED
        assert (await refresh(ada)).json["expires_in"] == 0


async def test_a_token_of_another_installation_is_refused(
    database_url: str, redis_url: str
) -> None:
    other = b"the access secret of somebody else"
    async with running(database_url, redis_url, jwt_secret=other) as board:
        ada = await board.person()
    async with running(database_url, redis_url) as board:
        ada.board = board

        assert (await ada.get("/users/me")).refusal == REFUSED


async def everything_said(
    board: Board, capfd: pytest.CaptureFixture[str], secrets: list[str]
) -> str:
    """Use every secret in every place where it may be sent."""
    listeners: list[Listener] = []
    for secret in secrets:
        bearer = {"Authorization": f"Bearer {secret}"}
        listeners.append(await board.connect(f"?token={secret}"))
        listeners.append(await board.connect(f"?ticket={secret}"))
        await board.nobody.ask("GET", f"/tasks?token={secret}", headers=bearer)
        await board.nobody.ask("GET", f"/nowhere/x?token={secret}", headers=bearer)
        await board.nobody.post("/auth/refresh", {"refresh_token": secret})
        wrong: dict[str, Any] = {"username": "ada", "password": secret, "x": secret}
        await board.nobody.post("/auth/login", wrong)
        listener = await board.connect()
        await listener.ws.send_json({"op": "auth", "token": secret})
        listeners.append(listener)
    for listener in listeners:
        await listener.ws.close()
    return "".join(capfd.readouterr())


async def test_no_secret_is_ever_logged(
    database_url: str, redis_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(database_url, redis_url, access_log="all") as board:
        ada = await board.person()
        ticket = (await ada.post("/ws/tickets")).json["ticket"]
        secrets = [ada.access_token, ada.refresh_token, ticket]
        said = await everything_said(board, capfd, secrets)
    said += "".join(capfd.readouterr())

    assert '"path":"/ws"' in said
    assert '"path":"/tasks"' in said
    for secret in secrets:
        assert secret not in said
