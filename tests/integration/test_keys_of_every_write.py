"""Idempotency-Key on every POST, PUT and PATCH of the route table."""

from dataclasses import dataclass

import pytest

from server import keys, openapi
from server.route import Route
from server.routes import ROUTES
from server.tokens import InvalidToken
from tests.every_write import OTHER, PASSWORD, World, bodies, make_world, name_of
from tests.running_app import Answer, Board, Person, running

KEY = "k"
WRITES = [
    pytest.param(row, id=name_of(row))
    for row in ROUTES
    if row.method in {"POST", "PUT", "PATCH"}
]

# What a request with an effect changes; a ticket is the only one that is not here.
EFFECTS = """
    SELECT concat_ws('/',
        (SELECT sum(version) FROM project_heads),
        (SELECT count(*) FROM users),
        (SELECT sum(version) FROM users),
        (SELECT md5(string_agg(password_hash, '' ORDER BY id)) FROM users),
        (SELECT count(*) FROM sessions),
        (SELECT count(*) FROM sessions WHERE revoked_at IS NULL),
        (SELECT count(*) FROM refresh_tokens)
    )
"""


@dataclass(frozen=True)
class Asker:
    """Sends the same request, or another with the same key."""

    world: World
    row: Route

    async def ask(self) -> Answer:
        return await self._send(self._who, bodies(self.world)[name_of(self.row)][0])

    async def ask_otherwise(self) -> Answer:
        body = bodies(self.world)[name_of(self.row)][1]
        if body is None:  # what makes it another is the session that asks
            return await self._send(self.world.twin, None)
        return await self._send(self._who, body)

    async def effects(self) -> str:
        found = str(await self.world.board.value(EFFECTS))
        if name_of(self.row) != "create_ticket":
            return found
        redis = self.world.board.app[keys.REDIS]
        return str(len(await redis.keys("boardcast:ticket:*")))

    @property
    def _who(self) -> Person:
        return self.world.board.nobody if self.row.is_public else self.world.ada

    async def _send(self, who: Person, body: object) -> Answer:
        path = self.world.path(self.row)
        headers = {"Idempotency-Key": KEY}
        return await who.ask(self.row.method, path, body, headers)


def shown(answer: Answer) -> tuple[int, bytes, str | None, str | None]:
    return (
        answer.status,
        answer.body,
        answer.headers.get("ETag"),
        answer.headers.get("Location"),
    )


@pytest.mark.parametrize("row", WRITES)
def test_every_write_says_that_it_takes_a_key(row: Route) -> None:
    described = openapi.document([row])["paths"][row.path][row.method.lower()]
    sent = {p["name"] for p in described["parameters"] if p["in"] == "header"}
    done = [reply for status, reply in described["responses"].items() if status < "300"]

    assert "Idempotency-Key" in sent
    assert {"400", "409", "422"} <= described["responses"].keys()
    assert all("Idempotency-Replayed" in reply["headers"] for reply in done)


@pytest.mark.parametrize("row", WRITES)
async def test_a_repeat_gets_the_first_answer_and_does_nothing(
    board: Board, row: Route
) -> None:
    asker = Asker(await make_world(board), row)
    before = await asker.effects()

    first = await asker.ask()
    after = await asker.effects()
    second = await asker.ask()

    assert first.status < 300, first
    assert before != after
    assert shown(second) == shown(first)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert await asker.effects() == after


@pytest.mark.parametrize("row", WRITES)
async def test_another_request_with_the_key_is_refused(
    board: Board, row: Route
) -> None:
    asker = Asker(await make_world(board), row)
    await asker.ask()
    after = await asker.effects()

    other = await asker.ask_otherwise()

    assert other.refusal == (422, "idempotency_key_reused")
    assert await asker.effects() == after


@pytest.mark.parametrize("row", WRITES)
async def test_another_node_gives_the_first_answer_too(
    database_url: str, redis_url: str, row: Route
) -> None:
    async with running(database_url, redis_url) as here:
        world = await make_world(here)
        first = await Asker(world, row).ask()
        async with running(database_url, redis_url) as there:
            for person in (world.ada, world.twin):
                person.board = there
            elsewhere = World(
                board=there, ada=world.ada, twin=world.twin, ids=world.ids
            )
            second = await Asker(elsewhere, row).ask()

    assert shown(second) == shown(first)
    assert second.headers["Idempotency-Replayed"] == "true"


async def test_no_secret_is_kept_with_a_key(board: Board) -> None:
    world = await make_world(board)
    secrets = [PASSWORD, OTHER]
    for name in ("login", "refresh", "create_ticket", "change_password"):
        row = next(row for row in ROUTES if name_of(row) == name)
        path, body = world.path(row), bodies(world)[name][0]
        answer = await world.ada.ask("POST", path, body, {"Idempotency-Key": name})
        assert answer.status < 300, answer
        secrets += (answer.json if answer.body else {}).values()

    kept = await board.value("SELECT string_agg(k::text, ' ') FROM idempotency_keys k")

    assert kept.count("create_ticket") == 1
    texts = [secret for secret in secrets if isinstance(secret, str)]
    assert [text for text in texts if text != "Bearer" and text in kept] == []


async def test_a_log_in_is_repeated_for_the_password_only(board: Board) -> None:
    await make_world(board)
    body = {"username": "ada", "password": PASSWORD}
    await board.nobody.post("/auth/login", body, Idempotency_Key=KEY)

    wrong = await board.nobody.post(
        "/auth/login", body | {"password": OTHER}, Idempotency_Key=KEY
    )
    unknown = await board.nobody.post(
        "/auth/login", body | {"username": "eve"}, Idempotency_Key=KEY
    )

    refusal = (401, "invalid_credentials")
    assert wrong.refusal == unknown.refusal == refusal


async def test_a_repeated_log_in_revives_no_session(board: Board) -> None:
    await make_world(board)
    body = {"username": "ada", "password": PASSWORD}
    ended = await board.nobody.post("/auth/login", body, Idempotency_Key="ended")
    used = await board.nobody.post("/auth/login", body, Idempotency_Key="used")
    bearer = {"Authorization": f"Bearer {ended.json['access_token']}"}
    await board.nobody.ask("POST", "/auth/logout", headers=bearer)
    token = {"refresh_token": used.json["refresh_token"]}
    await board.nobody.post("/auth/refresh", token)

    for key in ("ended", "used"):
        again = await board.nobody.post("/auth/login", body, Idempotency_Key=key)
        assert again.refusal == (409, "idempotency_key_spent"), key


async def test_a_repeated_refresh_after_the_grace_ends_the_session(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url, refresh_grace_seconds=0) as board:
        ada = await board.person()
        body = {"refresh_token": ada.refresh_token}
        first = await board.nobody.post("/auth/refresh", body, Idempotency_Key=KEY)

        again = await board.nobody.post("/auth/refresh", body, Idempotency_Key=KEY)

        assert (first.status, again.refusal) == (200, (401, "invalid_token"))
        assert (await ada.get("/users/me")).status == 401


async def test_a_refused_refresh_uses_no_token_up(board: Board) -> None:
    ada = await board.person()
    other = await board.session(ada.caller)
    first, second = ({"refresh_token": p.refresh_token} for p in (ada, other))
    await board.nobody.post("/auth/refresh", first, Idempotency_Key=KEY)

    refused = await board.nobody.post("/auth/refresh", second, Idempotency_Key=KEY)
    made = await board.nobody.post("/auth/refresh", second)

    assert (refused.status, made.status) == (422, 200)


async def test_a_token_that_logged_out_is_good_for_the_repeat_only(
    board: Board,
) -> None:
    ada = await board.person()
    await ada.post("/auth/logout", Idempotency_Key=KEY)

    again = await ada.post("/auth/logout", Idempotency_Key=KEY)
    refused = [
        await ada.post("/auth/logout"),
        await ada.post("/auth/logout", Idempotency_Key="another"),
        await ada.post("/ws/tickets", Idempotency_Key=KEY),
        await ada.get("/users/me"),
    ]

    assert again.status == 204
    assert [answer.status for answer in refused] == [InvalidToken().status] * 4


async def test_a_ticket_that_is_given_again_opens_one_socket(board: Board) -> None:
    ada = await board.person()
    first = await ada.post("/ws/tickets", Idempotency_Key=KEY)
    listener = await board.connect(f"?ticket={first.json['ticket']}")
    assert await listener.events() == []

    again = await ada.post("/ws/tickets", Idempotency_Key=KEY)
    late = await board.connect(f"?ticket={again.json['ticket']}")

    assert again.json == first.json
    assert (await late.closing())[0] == 4001


async def test_a_ticket_that_has_expired_is_not_given_again(board: Board) -> None:
    ada = await board.person()
    await ada.post("/ws/tickets", Idempotency_Key=KEY)
    await board.execute(
        "UPDATE idempotency_keys SET created_at = now() - interval '31 seconds'"
    )

    again = await ada.post("/ws/tickets", Idempotency_Key=KEY)

    assert again.refusal == (409, "idempotency_key_spent")
