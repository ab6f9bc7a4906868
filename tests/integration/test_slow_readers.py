"""Who does not read: what it costs, how it ends, and that others do not notice."""

import asyncio
import json
import socket
from typing import Self

import pytest

from actors.latecomers import BUFFER_BYTES
from server import keys
from server.lines import Socket
from tests.running_app import Board, Person, until

# A parcel that is larger than the buffer goes out in pieces of this size.
PIECE_BYTES = 17 * 1024


class Sleeper:
    """A client that opens a socket, and reads from it only when it is told to."""

    def __init__(self, board: Board, ada: Person, query: str = ""):
        self._board = board
        self._ada = ada
        self._query = query
        self._received = b""
        self._close_code: int | None = None

    async def __aenter__(self) -> Self:
        host, port = self._board.url.removeprefix("http://").split(":")
        self._socket = socket.socket()
        # More than a segment of the loopback, or the kernels wait for each other.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        self._socket.setblocking(False)  # noqa: FBT003
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, (host, int(port)))
        head = (
            f"GET /ws{self._query} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {self._ada.access_token}\r\n\r\n"
        )
        before = set(self._board.app[keys.FEED])
        await loop.sock_sendall(self._socket, head.encode())
        answer = await loop.sock_recv(self._socket, 4096)
        assert answer.startswith(b"HTTP/1.1 101")
        self._received = answer.partition(b"\r\n\r\n")[2]
        feed = self._board.app[keys.FEED]
        await until(lambda: len(set(feed) - before) > 0)
        (watcher,) = set(feed) - before
        assert isinstance(watcher, Socket)
        self.watcher = watcher
        return self

    async def __aexit__(self, *error: object) -> None:
        self._socket.close()

    async def messages_until(self, version: int) -> list[object]:
        """Read on until an event of this version; answers with all messages."""
        found: list[object] = []
        while not any(
            isinstance(m, dict) and m.get("version") == version for m in found
        ):
            found += await self.read()
        return found

    async def read(self) -> list[object]:
        """Read what is there, and give the messages that it completes."""
        loop = asyncio.get_running_loop()
        self._received += await loop.sock_recv(self._socket, 2**20)
        return [json.loads(text) for text in self._messages()]

    async def closing(self) -> int:
        """Read on to the close; its code."""
        while self._close_code is None:
            await self.read()
        return self._close_code

    def _messages(self) -> list[bytes]:
        found, text = [], b""
        rest = self._received
        while len(rest) > 1:
            length, start = rest[1], 2
            if length == 126:
                length, start = int.from_bytes(rest[2:4]), 4
            if len(rest) < start + length:
                break
            if rest[0] == 0x88:
                self._close_code = int.from_bytes(rest[start : start + 2])
            elif rest[0] & 0xF < 8:
                text += rest[start : start + length]
                if rest[0] & 0x80:
                    found.append(text)
                    text = b""
                    self._received = rest[start + length :]
            rest = rest[start + length :]
        return found


async def fall_behind(ada: Person, sleeper: Sleeper, path: str) -> int:
    """Write until the sleeper is behind, or gone; answers with the last version."""
    written, version = 0, 0
    watcher = sleeper.watcher
    while written == 0 or (watcher.lag is None and not watcher.is_gone):
        body = {"description": f"{written:015000}"}
        answer = await ada.put(path, body)
        version = answer.json["version"]
        written += 1
        assert written < 500
    return int(version)


@pytest.mark.parametrize("kind", ["listener", "subscriber"])
async def test_a_slow_reader_costs_little_and_gets_everything_when_it_wakes(
    board: Board, kind: str
) -> None:
    ada = await board.person()
    task = await ada.task()
    query = f"?project_id={task['project_id']}" if kind == "subscriber" else ""
    path = f"/tasks/{task['id']}"
    async with Sleeper(board, ada, query) as sleeper:
        other = (
            await ada.listen(query)
            if not query
            else await board.connect(query, headers=ada.headers)
        )
        last = await fall_behind(ada, sleeper, path)
        most = 0
        for number in range(10):
            last = (await ada.put(path, {"title": f"{number}"})).json["version"]
            most = max(most, sleeper.watcher.line.buffered())
        heard = await other.events()
        slept = await sleeper.messages_until(last)
        await until(lambda: sleeper.watcher.lag is None)

    def versions(messages: list[object]) -> list[int]:
        return [m["version"] for m in messages if "task" in m]  # type: ignore[operator,index]

    assert versions(heard) == list(range(3, last + 1))
    assert versions(slept) == list(range(3, last + 1))
    assert most <= BUFFER_BYTES + PIECE_BYTES


async def test_who_sleeps_too_long_is_told_to_come_back(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.latecomers.SLOW_SECONDS", 0.1)
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"
    async with Sleeper(board, ada) as sleeper:
        while not sleeper.watcher.is_gone:
            await fall_behind(ada, sleeper, path)

        assert await sleeper.closing() == 4008
    await until(lambda: not len(board.app[keys.FEED]))


async def test_who_cannot_be_told_either_is_cut_off(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.latecomers.SLOW_SECONDS", 0.1)
    monkeypatch.setattr("server.lines.CLOSE_SECONDS", 0.05)
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"
    async with Sleeper(board, ada) as sleeper:
        while len(board.app[keys.SOCKETS]):
            await fall_behind(ada, sleeper, path)
