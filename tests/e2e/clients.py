"""A client that writes, and one that watches; both keep a history of it."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from tests.described import DescribedSocket
from tests.e2e.history import LONGEST_WAIT_SECONDS, History, Try, Watch, Write
from tests.e2e.proxy import Proxy
from tests.e2e.servers import Served

PASSWORD = "correct horse battery"  # of accounts made here
_FINAL = (400, 401, 403, 404, 422)  # of which no try will make anything else
_IN_FLIGHT = 409
_PAUSE_SECONDS = 0.02  # between tries of something that fails


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
        async with self._request(method, path, body, {}) as answer:
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
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            request = self._request(wish.method, wish.path, wish.body, headers)
            async with request as answer:
                text = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Try(request_id=request_id, started=started, ended=loop.time())
        body = json.loads(text) if text else {}
        return Try(
            request_id=request_id,
            started=started,
            ended=loop.time(),
            status=answer.status,
            code="" if answer.ok else body.get("code", ""),
            media_type=answer.content_type,
            is_replay="Idempotency-Replayed" in answer.headers,
            task=body if answer.ok and body else None,
        )

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
    task_id: int | None = None


class Writer:
    """Changes tasks of its own, one after the other.

    It repeats what has an Idempotency-Key until it is acknowledged, and leaves a task
    alone when it does not know what became of a change without one.
    """

    def __init__(
        self, name: str, api: Api, project_id: int, seed: str, history: History
    ):
        self._name = name
        self._api = api
        self._project_id = project_id
        self._random = random.Random(f"{seed} {name}")  # noqa: S311
        self._history = history
        self._tasks: dict[int, bool] = {}  # and whether it is completed

    async def run(self, stopping: asyncio.Event) -> None:
        """Write until it is enough."""
        for number in itertools.count():
            if stopping.is_set():
                return
            await self.write(self._wish(f"{self._name}-{number}"))

    async def write(self, wish: Wish) -> Write:
        """Ask for it, again and again if that is safe."""
        write = Write(project_id=self._project_id, kinds=wish.kinds, key=wish.key)
        self._history.writes.append(write)
        for number in itertools.count():
            last = await self._api.attempt(wish, f"{wish.name}.{number}")
            write.tries.append(last)
            if not last.is_done:
                await asyncio.sleep(_PAUSE_SECONDS)
            if wish.key is None or self._is_enough(last):
                break
        self._learn(wish, last)
        return write

    def farewell(self) -> Wish:
        """Say something that is repeated until it is heard."""
        name = f"{self._name}-farewell"
        return self._creation(name, name)

    def _is_enough(self, last: Try) -> bool:
        if last.is_done:  # now and then it is repeated all the same
            return last.is_replay or self._random.random() < 0.9
        return last.status in _FINAL

    def _wish(self, name: str) -> Wish:
        key = name if self._random.random() < 0.5 else None
        choice = self._random.random()
        if choice < 0.4 or not self._tasks:
            return self._creation(name, key)
        task_id = self._random.choice(list(self._tasks))
        if choice < 0.9:
            return self._change(name, key, task_id)
        return Wish(
            name=name,
            method="DELETE",
            path=f"/tasks/{task_id}",
            body=None,
            kinds=("task_deleted",),
            task_id=task_id,
        )

    def _creation(self, name: str, key: str | None) -> Wish:
        return Wish(
            name=name,
            method="POST",
            path="/tasks",
            body={"title": name, "project_id": self._project_id},
            kinds=("task_created",),
            key=key,
        )

    def _change(self, name: str, key: str | None, task_id: int) -> Wish:
        body: dict[str, object] = {"title": name}
        kinds: tuple[str, ...] = ("task_updated",)
        if not self._tasks[task_id] and self._random.random() < 0.3:
            body["status"] = "completed"
            kinds = ("task_updated", "task_completed")
        return Wish(
            name=name,
            method="PUT",
            path=f"/tasks/{task_id}",
            body=body,
            kinds=kinds,
            key=key,
            task_id=task_id,
        )

    def _learn(self, wish: Wish, last: Try) -> None:
        if last.is_done and last.task is not None:
            self._tasks[last.task["id"]] = last.task["status"] == "completed"
        elif wish.task_id is not None and not last.is_refused:
            self._tasks.pop(wish.task_id, None)


class Watcher:
    """Watches what its user may see, and comes back when it is cut off."""

    def __init__(self, name: str, api: Api, history: History):
        self._name = name
        self._api = api
        self._history = history
        self.watch: Watch | None = None

    async def run(self) -> None:
        """Watch for ever."""
        for number in itertools.count():
            try:
                async with self._api.socket() as socket:
                    await self._read(socket, f"{self._name}.{number}")
            except (aiohttp.ClientError, AssertionError, OSError, TimeoutError):
                await asyncio.sleep(_PAUSE_SECONDS)

    def has_seen(self, versions: Mapping[int, int]) -> bool:
        """Say whether its open socket got these versions of projects."""
        if self.watch is None:
            return False
        last = self.watch.last
        return all(last.get(key, 0) >= version for key, version in versions.items())

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, name: str) -> None:
        watch = Watch(name=name)
        self._history.watches.append(watch)
        await socket.send_str("ping")
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            if message.data == "pong":  # who is answered is also told of events
                self.watch = watch
            else:
                watch.take(message.data)
        self.watch = None
        watch.is_open = False
        watch.close_code = socket.close_code
