"""Who does not read: what it costs, how it ends, and that others do not notice."""

import asyncio
import socket

import pytest

from server import keys
from server.websocket import SLOW_BYTES
from tests.running_app import Board, Person, until


class Sleeper:
    """A client that opens a socket and never reads from it."""

    def __init__(self, board: Board, ada: Person):
        self._board = board
        self._ada = ada

    async def __aenter__(self) -> socket.socket:
        host, port = self._board.url.removeprefix("http://").split(":")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)  # noqa: FBT003
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, (host, int(port)))
        head = (
            f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {self._ada.access_token}\r\n\r\n"
        )
        await loop.sock_sendall(self._socket, head.encode())
        answer = await loop.sock_recv(self._socket, 4096)
        assert answer.startswith(b"HTTP/1.1 101")
        await until(lambda: len(self._board.app[keys.HUB]) > 0)
        return self._socket

    async def __aexit__(self, *error: object) -> None:
        self._socket.close()


async def test_a_slow_reader_is_closed_and_costs_little(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.websocket._CLOSE_SECONDS", 0.05)
    ada = await board.person()
    task = await ada.task()
    path = f"/tasks/{task['id']}"
    async with Sleeper(board, ada) as sleeper:
        (line,) = board.app[keys.SOCKETS]._lines
        transport = line._transport
        most = 0
        other = await ada.listen()
        written = 0
        while not line._is_closing:
            body = {"description": f"{written:020000}"}
            assert (await ada.put(path, body)).status == 200
            most = max(most, transport.get_write_buffer_size())
            written += 1
            assert written < 2000
        heard = await other.events()
        await until(transport.is_closing)

        received = await drained(sleeper)

    assert [event["version"] for event in heard] == list(range(3, 3 + written))
    one_event = 3 * 20_000 + 2000
    assert most <= SLOW_BYTES + one_event
    assert len(received) < written * one_event
    await until(lambda: len(board.app[keys.HUB]) == 1)


async def drained(sleeper: socket.socket) -> bytes:
    """Everything that still comes, up to the end or the abort."""
    loop, found = asyncio.get_running_loop(), b""
    try:
        while data := await loop.sock_recv(sleeper, 2**20):
            found += data
    except ConnectionResetError:
        pass
    return found


async def test_a_slow_reader_that_wakes_up_is_told_why(board: Board) -> None:
    goodbye = b"\x0f\xa8Too slow: come back and read what you missed"
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"
    async with Sleeper(board, ada) as sleeper:
        (line,) = board.app[keys.SOCKETS]._lines
        number = 0
        while not line._is_closing:
            number += 1
            await ada.put(path, {"description": f"{number:020000}"})

        loop, received = asyncio.get_running_loop(), b""
        while not received.endswith(goodbye):
            received += await loop.sock_recv(sleeper, 2**20)

    assert received.count(b"task_updated") <= number
