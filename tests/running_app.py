"""The real application on a socket, for tests: people call it, listeners watch it."""

import asyncio
import functools
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import aiohttp
import argon2
from aiohttp import web

from actors.domain.commands import CreateProject
from actors.domain.model import Caller, ProjectId, UserId, UserRole
from actors.domain.state import ProjectState
from server import app as app_module
from server import keys, openapi
from server.app import Urls, create_app
from server.config import Config
from server.passwords import Passwords
from server.routes import ROUTES
from server.runner import Runner
from sql.accounts import NewUser
from tests.described import DescribedSocket
from tests.factories import AT, make_batch, make_caller, make_command

WAIT_SECONDS = 10
CONFIG = Config(
    jwt_secret=b"an access secret for the tests only",
    jwt_refresh_secret=b"a refresh secret for the tests only",
    access_log="off",
    database_timeout_seconds=10,  # a busy machine is no database that is away
    # On, so that every test runs what limits cost, but out of the way.
    rate_limit_per_minute=1_000_000,
    login_limit_per_minute=100_000,
)
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        assert self.headers["Content-Type"] == "application/problem+json"
        return str(self.json["code"])

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.code

    @property
    def pointers(self) -> list[str]:
        return [error["pointer"] for error in self.json["errors"]]


class Listener:
    """A socket, and what came out of it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse):
        self.ws = ws

    async def receive(self) -> aiohttp.WSMessage:
        """Whatever comes next, the server's pings apart, which are answered."""
        while True:
            message = await self.ws.receive(timeout=WAIT_SECONDS)
            if message.type is not aiohttp.WSMsgType.PING:
                return message
            await self.ws.pong(message.data)

    async def next(self) -> Any:
        """The next message as JSON; fails on a close."""
        return json.loads(await self._text())

    async def _text(self) -> str:
        message = await self.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise TypeError(message)
        return str(message.data)

    async def events(self) -> list[Any]:
        """All that was sent to this socket before now: pings keep their place.

        Not when it is behind: then a reply does not wait for all that it missed.
        """
        await self.ws.send_str("ping")
        found = []
        while (text := await self._text()) != "pong":
            found.append(json.loads(text))
        return found

    async def types(self) -> list[str]:
        return [event["type"] for event in await self.events()]

    async def closing(self) -> tuple[int, str | None]:
        """Wait for a close; its code and reason."""
        message = await self.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return message.data, message.extra


class Person:
    """Somebody with an account, a session and a token; or nobody, without any."""

    def __init__(self, board: "Board", caller: Caller, tokens: Mapping[str, str]):
        self.board = board
        self.caller = caller
        self.access_token = tokens.get("access", "")
        self.refresh_token = tokens.get("refresh", "")

    @property
    def id(self) -> UserId:
        return self.caller.id

    @property
    def headers(self) -> dict[str, str]:
        if not self.access_token:
            return {}
        return {"Authorization": f"Bearer {self.access_token}"}

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        if body is not None:
            options["json"] = body
        sent = self.headers | dict(headers or {})
        async with self.board.client.request(
            method, self.board.url + path, headers=sent, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, headers=_named(headers))

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        return await self.ask("POST", path, body, headers=_named(headers))

    async def put(self, path: str, body: object = None, **headers: str) -> Answer:
        return await self.ask("PUT", path, body, headers=_named(headers))

    async def patch(self, path: str, body: object = None, **headers: str) -> Answer:
        return await self.ask("PATCH", path, body, headers=_named(headers))

    async def delete(self, path: str, **headers: str) -> Answer:
        return await self.ask("DELETE", path, headers=_named(headers))

    async def project(self, name: str = "Apollo") -> Any:
        """A new project of this person's."""
        answer = await self.post("/projects", {"name": name})
        assert answer.status == 201, answer
        return answer.json

    async def task(self, project_id: int | None = None, **fields: object) -> Any:
        """A new task of this person's, in their inbox without a project."""
        given = {"title": "Write it", **fields}
        if project_id is not None:
            given["project_id"] = project_id
        answer = await self.post("/tasks", given)
        assert answer.status == 201, answer
        return answer.json

    async def add(self, project_id: int, member: "Person", role: str) -> None:
        path = f"/projects/{project_id}/members/{member.id}"
        answer = await self.put(path, {"role": role})
        assert answer.status == 200, answer

    async def listen(self, query: str = "") -> Listener:
        """An open socket of this person's, already attached."""
        listener = await self.board.connect(query, headers=self.headers)
        assert await listener.events() == []
        return listener

    async def open_socket(
        self, query: str, protocols: Sequence[str]
    ) -> aiohttp.ClientWebSocketResponse:
        """One that answers pings by itself."""
        listener = await self.board.connect(
            query, headers=self.headers, protocols=protocols, autoping=True
        )
        return listener.ws


class Board:
    """The application, where it listens, and one client for all."""

    def __init__(self, app: web.Application, url: str, client: aiohttp.ClientSession):
        self.app = app
        self.url = url
        self.client = client

    @property
    def nobody(self) -> Person:
        return Person(self, make_caller(0), {})

    async def person(self, role: UserRole = UserRole.USER, name: str = "") -> Person:
        """Make an account with an open session, without the cost of a password."""
        ids, accounts = self.app[keys.IDS], self.app[keys.ACCOUNTS]
        name = name or f"user{next(_numbers)}"
        new = NewUser(
            id=await ids.user(),
            email=f"{name}@example.com",
            username=name,
            password_hash="none",
            role=role,
            at=AT,
        )
        project_id = await ids.project()
        await accounts.create_user(new, _inbox(project_id, new))
        return await self.session(Caller(id=new.id, role=role))

    async def session(self, caller: Caller) -> Person:
        """Log somebody in once more."""
        pair = await self.app[keys.SESSIONS].open(caller.id)
        assert pair is not None
        tokens = {"access": pair.access_token, "refresh": pair.refresh_token}
        return Person(self, caller, tokens)

    async def promote(self, person: Person, role: UserRole) -> None:
        """Change a role behind the application's back, and let it find out."""
        await self.execute("UPDATE users SET role = $1 WHERE id = $2", role, person.id)
        person.caller = replace(person.caller, role=role)
        await self.app[keys.SESSIONS].sweep()

    async def execute(self, sql: str, *values: object) -> None:
        async with self.app[keys.DATABASE].connection() as connection:
            await connection.execute(sql, *values)

    async def value(self, sql: str, *values: object) -> Any:
        async with self.app[keys.DATABASE].connection() as connection:
            return await connection.fetchval(sql, *values)

    async def connect(self, query: str = "", **options: Any) -> Listener:
        options.setdefault("autoping", False)
        return Listener(
            await self.client.ws_connect(f"{self.url}/ws{query}", **options)
        )


@dataclass(frozen=True)
class Nodes:
    """Two of one database, which do not hear of each other by themselves."""

    here: Board
    there: Board

    async def person(self, role: UserRole = UserRole.USER) -> tuple[Person, Person]:
        """Somebody, as a client of either node."""
        person = await self.here.person(role)
        return person, self.there_as(person)

    def there_as(self, person: Person) -> Person:
        return Person(self.there, person.caller, {"access": person.access_token})


@asynccontextmanager
async def running(
    database_url: str, redis_url: str, **settings: Any
) -> AsyncIterator[Board]:
    """Start the application and stop it; `settings` are fields of its Config."""
    with _quickly():
        app = create_app(
            replace(CONFIG, **settings),
            urls=Urls(database=database_url, redis=redis_url),
        )
        runner = Runner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            connector=connector, ws_response_class=DescribedSocket
        ) as client:
            yield Board(app, f"http://{host}:{port}", client)
    finally:
        await runner.cleanup()


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until it is so; the time limit of tests ends what never is."""
    while not is_so():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0)


@contextmanager
def _quickly() -> Iterator[None]:
    """Leave out what makes a start slow, and has tests of its own."""

    async def freeze(app: web.Application) -> None: ...

    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with (
        patch.object(openapi, "rendered", lambda routes: _document()),
        patch.object(app_module, "Passwords", lambda: Passwords(hasher=weak)),
        patch.object(app_module, "_freeze", freeze),
    ):
        yield


_render = openapi.rendered


@functools.cache
def _document() -> Any:
    return _render(ROUTES)


def _inbox(project_id: ProjectId, owner: NewUser) -> Any:
    command = make_command(
        CreateProject,
        project_id=project_id,
        owner_id=owner.id,
        caller=make_caller(owner.id),
        name="Inbox",
        is_inbox=True,
        at=owner.at,
    )
    return make_batch(ProjectState(project_id=project_id), command)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    """`If_Match="..."` as a header's name."""
    return {name.replace("_", "-"): value for name, value in headers.items()}
