"""A line, a socket, and the register of all sockets, without a network."""

import asyncio
import struct
from typing import cast

import pytest
from aiohttp import WSMessage, WSMsgType, web
from aiohttp.test_utils import make_mocked_request
from small_app import ADA

from actors.ports import Ending
from actors.seats import Lag
from server import keys
from server.closing import RESTART, SLOW
from server.frames import pong_frame
from server.lines import MESSAGES_A_SECOND, Allowance, Line, Socket
from server.problems import Problem
from server.sockets import Sockets
from server.tokens import InvalidToken
from server.websocket import _first_token, connect
from tests.running_app import CONFIG, Board
from tests.unit.actors.fakes import settle


class FakeTransport(asyncio.Transport):
    """Keeps what is written, and as much of it in its buffer as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.waiting = 0
        self.is_gone = False
        self.was_aborted = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.is_gone

    def abort(self) -> None:
        self.was_aborted.set()


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def line(transport: FakeTransport) -> Line:
    return Line(transport)


def code_of(frame: bytes) -> int:
    assert frame[0] == 0x88
    (code,) = struct.unpack(">H", frame[2:4])
    return int(code)


async def test_a_line_writes_what_it_is_given_and_says_what_waits(
    line: Line, transport: FakeTransport
) -> None:
    line.write(b"one")
    transport.waiting = 7

    assert transport.written == [b"one"]
    assert line.buffered() == 7


async def test_the_first_reason_counts_and_nothing_follows_it(
    line: Line, transport: FakeTransport
) -> None:
    line.close(RESTART, "first")
    line.close(SLOW)
    line.write(b"late")

    (frame,) = transport.written
    assert (code_of(frame), frame[4:]) == (1012, b"first")
    assert line.buffered() == 0


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending.SLOW, 4008),
        (Ending.FORBIDDEN, 4403),
        (Ending.SESSION_ENDED, 4001),
        (Ending.UNAVAILABLE, 1013),
    ],
)
async def test_each_ending_has_its_code(
    line: Line, transport: FakeTransport, ending: Ending, code: int
) -> None:
    line.end(ending)

    assert code_of(transport.written[0]) == code


async def test_who_is_not_there_is_cut_off_without_a_word(
    line: Line, transport: FakeTransport
) -> None:
    line.abort()
    line.close(SLOW)

    assert transport.was_aborted.is_set()
    assert transport.written == []


async def test_who_does_not_answer_a_goodbye_is_cut_off(
    line: Line, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.lines.CLOSE_SECONDS", 0)

    line.close(RESTART)

    await asyncio.wait_for(transport.was_aborted.wait(), 5)


async def test_a_line_that_is_gone_is_not_written_to(
    line: Line, transport: FakeTransport
) -> None:
    transport.is_gone = True

    line.write(b"late")
    line.close(RESTART)

    assert transport.written == []


async def test_draining_tells_all_when_to_return_and_waits_for_them() -> None:
    sockets, transport = Sockets(), FakeTransport()
    line = sockets.open(transport)
    assert sockets.admit(Socket(line, ADA))
    draining = asyncio.create_task(sockets.drain())
    await settle()
    assert not draining.done()
    assert sockets.is_draining
    hint, goodbye = transport.written
    assert b'"restarting"' in hint
    assert code_of(goodbye) == 1012
    sockets.close(line)
    await draining

    assert len(sockets) == 0


async def test_who_comes_while_others_are_sent_away_follows_them() -> None:
    sockets, transports = Sockets(), [FakeTransport() for _ in range(2)]
    early = sockets.open(transports[0])
    draining = asyncio.create_task(sockets.drain(refuse=False))
    await settle()
    late = sockets.open(transports[1])
    for line in (early, late):
        sockets.close(line)
    await draining

    assert not sockets.is_draining  # who asks is not refused
    for transport in transports:
        assert [code_of(frame) for frame in transport.written] == [1012]


async def test_a_message_under_way_is_not_broken_by_the_hint() -> None:
    sockets, transport = Sockets(), FakeTransport()
    line = sockets.open(transport)
    socket = Socket(line, ADA)
    sockets.admit(socket)
    socket.lag = Lag(0)
    draining = asyncio.create_task(sockets.drain())
    await settle()

    assert [code_of(frame) for frame in transport.written] == [1012]
    sockets.close(line)
    await draining


async def test_draining_is_spread_over_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.sockets._BATCH_SECONDS", 0.001)
    monkeypatch.setattr("server.sockets.CLOSE_SECONDS", 0)
    sockets, transports = Sockets(), [FakeTransport() for _ in range(10)]
    for transport in transports:
        sockets.open(transport)
    pauses: list[int] = []

    async def sleep(seconds: float) -> None:
        pauses.append(sum(bool(transport.written) for transport in transports))

    monkeypatch.setattr("server.sockets.asyncio.sleep", sleep)
    await sockets.drain(0.005)

    assert pauses == [2, 4, 6, 8]
    assert all(transport.written for transport in transports)


async def test_draining_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.sockets.CLOSE_SECONDS", 0)
    sockets = Sockets()
    sockets.open(FakeTransport())
    await sockets.drain()
    assert len(sockets) == 1


async def test_draining_nobody_is_done_at_once() -> None:
    sockets = Sockets()

    await sockets.drain()

    assert sockets.is_draining


async def test_a_user_has_so_many_sockets_and_no_more() -> None:
    sockets = Sockets(most_of_user=2)
    lines = [sockets.open(FakeTransport()) for _ in range(3)]
    admitted = [sockets.admit(Socket(line, ADA)) for line in lines]
    sockets.close(lines[0])
    another = sockets.admit(Socket(lines[2], ADA))

    assert admitted == [True, True, False]
    assert another
    for line in lines:
        sockets.close(line)
    assert not sockets._by_user


async def test_a_socket_is_a_watcher_of_its_session(line: Line) -> None:
    socket = Socket(line, ADA)

    assert (socket.caller, socket.session_id) == (ADA.caller, ADA.session_id)
    assert not hasattr(socket, "__dict__")


@pytest.mark.parametrize("origin", ["null", "http://[", "https://evil", "", "x:y"])
async def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    app = web.Application()
    app[keys.CONFIG] = CONFIG
    headers = {"Origin": origin, "Host": "board.example"}
    request = make_mocked_request("GET", "/ws", headers=headers, app=app)

    with pytest.raises(Problem) as refused:
        await connect(request)

    assert refused.value.code == "origin_refused"


async def test_a_socket_hears_pings_and_closes(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()

    await listener.ws.send_str('{"op": "ping"}')
    assert await listener.next() == {"type": "pong"}
    for text, code in (("x", "malformed"), ("{}", "unknown_op")):
        await listener.ws.send_str(text)
        assert (await listener.next())["code"] == code
    await listener.ws.send_bytes(b"x")
    assert (await listener.next())["code"] == "text_only"
    await ada.task()
    assert await listener.types() == ["task_created"]
    await ada.post("/auth/logout")
    assert await listener.closing() == (4001, "Session ended")


async def test_a_socket_opens_by_ticket_token_and_first_message(board: Board) -> None:
    ada = await board.person()
    ticket = (await ada.post("/ws/tickets")).json["ticket"]
    spoken = await board.connect()
    await spoken.ws.send_json({"op": "auth", "token": ada.access_token})

    assert await spoken.events() == []
    for query in (f"?ticket={ticket}", f"?token={ada.access_token}"):
        assert await (await board.connect(query)).events() == []
    for query in (f"?ticket={ticket}", "?token=x"):
        closing = await (await board.connect(query)).closing()
        assert closing == (4001, "Invalid token")


class Pinging:
    """A client that pings faster than it is read."""

    async def receive(self) -> WSMessage:
        return WSMessage(WSMsgType.PING, b"", None)


async def test_who_only_pings_is_not_waited_for_any_longer(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.websocket._AUTHENTICATION_SECONDS", 0.01)

    with pytest.raises(InvalidToken):
        await _first_token(cast("web.WebSocketResponse", Pinging()), line)


async def test_bad_first_words_close(board: Board) -> None:
    for word in ("x", '{"op": "ping"}', '{"op": "auth", "token": "x"}'):
        listener = await board.connect()
        await listener.ws.send_str(word)
        assert await listener.closing() == (4001, "Invalid token")
    binary = await board.connect()
    await binary.ws.send_bytes(b"x")
    assert await binary.closing() == (4001, "Invalid token")
    basic = await board.connect(headers={"Authorization": "Basic x"})
    assert await basic.closing() == (4001, "Invalid token")


async def test_without_redis_a_shared_ticket_is_tried_again_later(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await board.person()
    ticket = (await ada.post("/ws/tickets")).json["ticket"]

    async def getdel(key: str) -> bytes:
        raise OSError

    monkeypatch.setattr(board.app[keys.REDIS], "getdel", getdel)

    listener = await board.connect(f"?ticket={ticket}")
    assert (await listener.closing())[0] == 1013


def test_pings_of_who_reads_nothing_are_not_answered(
    line: Line, transport: FakeTransport
) -> None:
    line.pong(b"one")
    transport.waiting = 20_000
    line.pong(b"two")

    assert transport.written == [pong_frame(b"one")]


def test_an_allowance_is_used_up_and_grows_again() -> None:
    allowance = Allowance()
    used = [allowance.take(1000.0) for _ in range(2 * MESSAGES_A_SECOND + 1)]

    assert used == [True] * (2 * MESSAGES_A_SECOND) + [False]
    assert allowance.take(1001.0)
