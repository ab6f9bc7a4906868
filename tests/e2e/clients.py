"""HTTP and WebSockets as one user, at one server."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from tests.described import DescribedSocket
from tests.e2e.history import LONGEST_WAIT_SECONDS, SETUP, Try
from tests.e2e.proxy import Proxy
from tests.e2e.servers import Served

PASSWORD = "correct horse battery"  # of accounts made here
_IN_FLIGHT = 409
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a client was answered."""

    status: int
    body: bytes
    is_replay: bool


class Api:
    """HTTP as one user; every request is sent once, whatever becomes of it."""

    def __init__(self, session: aiohttp.ClientSession, served: Served | Proxy):
        self._session = session
        self._served = served
        self.node = served.data_dir.name if isinstance(served, Served) else ""
        self.headers: dict[str, str] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, served: Served, username: str) -> AsyncIterator[Self]:
        """Make an account and log in."""
        timeout = aiohttp.ClientTimeout(total=LONGEST_WAIT_SECONDS * 1.5)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            ws_response_class=DescribedSocket,
        ) as session:
            session._retry_connection = False
            api = cls(session, served)
            account = {"username": username, "password": PASSWORD}
            email = {"email": f"{username}@example.com"}
            await api.call("POST", "/auth/register", account | email)
            pair = await api.call("POST", "/auth/login", account)
            api.headers["Authorization"] = f"Bearer {pair['access_token']}"
            yield api

    def at(self, served: Served | Proxy) -> Self:
        """Be the same user at another server of the same secrets and database.

        Or at the same one, on another way.
        """
        other = type(self)(self._session, served)
        other.headers = self.headers
        return other

    async def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> Any:
        """Ask for something that has to succeed, and answer with its JSON, if any."""
        setup = {"X-Request-ID": SETUP}
        async with self._request(method, path, body, setup) as answer:
            text = await answer.text()
            assert answer.ok, f"{method} {path}: {answer.status} {text}"
            return json.loads(text) if text else None

    async def look(self, path: str) -> tuple[int, Any]:
        """Give the status and the JSON of a GET, whatever they are."""
        async with self._request("GET", path, None, {}) as answer:
            return answer.status, json.loads(await answer.text())

    async def post_task(self, key: str, url: str = "") -> "Told | None":
        """Make a task of this title with this key, once the first try is over.

        None if there was no answer. `url` is where else than at the server to ask.
        """
        headers = {**self.headers, "Idempotency-Key": key}
        while True:
            try:
                async with self._session.post(
                    f"{url or self._served.url}/tasks",
                    json={"title": key},
                    headers=headers,
                ) as answer:
                    body = await answer.read()
            except (aiohttp.ClientError, OSError, TimeoutError):
                return None
            if answer.status != _IN_FLIGHT:
                is_replay = "Idempotency-Replayed" in answer.headers
                return Told(status=answer.status, body=body, is_replay=is_replay)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def attempt(self, wish: "Wish", request_id: str) -> Try:
        """Ask for a change once, and say what came of it."""
        headers = {"X-Request-ID": request_id}
        if wish.key is not None:
            headers["Idempotency-Key"] = wish.key
        if wish.if_match is not None:
            headers["If-Match"] = f'"{wish.if_match}"'
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            request = self._request(wish.method, wish.path, wish.body, headers)
            async with request as answer:
                text = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Try(
                request_id=request_id,
                started=started,
                ended=loop.time(),
                node=self.node,
            )
        body = json.loads(text) if text else {}
        return Try(
            request_id=request_id,
            started=started,
            ended=loop.time(),
            node=self.node,
            status=answer.status,
            code="" if answer.ok else body.get("code", ""),
            media_type=answer.content_type,
            is_replay="Idempotency-Replayed" in answer.headers,
            place=_place_in(answer.headers) if answer.ok else None,
            shown=body if answer.ok and body else None,
        )

    async def get(self, path: str, request_id: str) -> tuple[int, Any] | None:
        """Give the status and the JSON of a GET, None if there was no answer."""
        headers = {"X-Request-ID": request_id}
        try:
            async with self._request("GET", path, None, headers) as answer:
                return answer.status, json.loads(await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket by ticket."""
        ticket = await self.call("POST", "/ws/tickets")
        url = f"{self._served.url}/ws?ticket={ticket['ticket']}"
        async with self._session.ws_connect(url) as socket:
            yield socket

    async def open_socket(
        self, query: str, protocols: Sequence[str] = ()
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket by token; who asked for it closes it."""
        url = f"{self._served.url}/ws{query}"
        return await self._session.ws_connect(
            url, headers=self.headers, protocols=protocols
        )

    async def tasks(self, project_id: int) -> list[Any]:
        """Read the whole list of a project's tasks."""
        found: list[Any] = []
        path = f"/tasks?project_id={project_id}&limit=100"
        cursor: str | None = ""
        while cursor is not None:
            page = await self.call("GET", f"{path}&cursor={cursor}" if cursor else path)
            found += page["tasks"]
            cursor = page["next_cursor"]
        return found

    async def log(self, project_id: int) -> list[Any]:
        """Read everything that happened in a project."""
        path, events = f"/projects/{project_id}/events?limit=100", []
        while True:
            page = await self.call("GET", f"{path}&since={len(events)}")
            events += page["events"]
            if len(events) >= page["version"]:
                return events

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str],
    ) -> Any:
        return self._session.request(
            method,
            f"{self._served.url}{path}",
            json=body,
            headers={**self.headers, **headers},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A change, as a request says it; `task_id` is None for a new task."""

    name: str
    method: str
    path: str
    body: Mapping[str, object] | None
    kinds: tuple[str, ...]
    key: str | None = None
    if_match: int | None = None
    task_id: int | None = None


def _place_in(headers: Mapping[str, str]) -> tuple[int, int] | None:
    """Read where in the log a write says that it stands."""
    project_id, colon, version = headers.get("X-Version", "").partition(":")
    return (int(project_id), int(version)) if colon else None
