"""A line, a socket, and the register of all sockets, without a network."""

import asyncio
import struct

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from small_app import ADA

from actors.domain.model import UserRole
from actors.hub import Hub
from server import keys
from server.frames import text_frame
from server.problems import Problem
from server.websocket import (
    _MESSAGES_A_SECOND,
    RESTART,
    SLOW,
    SLOW_BYTES,
    Line,
    Socket,
    Sockets,
    _Allowance,
    connect,
    reseat,
)
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


async def test_a_line_writes_what_it_is_given(
    line: Line, transport: FakeTransport
) -> None:
    line.deliver(b"one")
    line.deliver(b"x" * SLOW_BYTES * 2)

    assert transport.written == [b"one", b"x" * SLOW_BYTES * 2]


async def test_a_line_on_which_too_much_waits_is_closed_once(
    line: Line, transport: FakeTransport
) -> None:
    transport.waiting = SLOW_BYTES + 1

    for _ in range(3):
        line.deliver(b"more")

    (frame,) = transport.written
    assert code_of(frame) == SLOW


async def test_the_first_reason_counts_and_nothing_follows_it(
    line: Line, transport: FakeTransport
) -> None:
    line.close(RESTART, "first")
    line.close(SLOW, "second")
    line.deliver(b"late")

    (frame,) = transport.written
    assert (code_of(frame), frame[4:]) == (RESTART, b"first")


async def test_who_does_not_answer_a_goodbye_is_cut_off(
    line: Line, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.websocket._CLOSE_SECONDS", 0)

    line.close(RESTART, "bye")

    await asyncio.wait_for(transport.was_aborted.wait(), 5)


async def test_a_line_that_is_gone_is_not_written_to(
    line: Line, transport: FakeTransport
) -> None:
    transport.is_gone = True

    line.deliver(b"late")
    line.close(RESTART, "later")

    assert transport.written == []


async def test_draining_says_goodbye_to_all_and_waits_for_them() -> None:
    sockets, transport = Sockets(), FakeTransport()
    with sockets.open(transport):
        draining = asyncio.create_task(sockets.drain())
        await settle()
        assert not draining.done()
        assert sockets.is_draining
        assert code_of(transport.written[0]) == RESTART
    await draining

    assert len(sockets) == 0


async def test_draining_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.websocket._CLOSE_SECONDS", 0)
    sockets = Sockets()
    with sockets.open(FakeTransport()):
        await sockets.drain()
        assert len(sockets) == 1


async def test_draining_nobody_is_done_at_once() -> None:
    sockets = Sockets()

    await sockets.drain()

    assert sockets.is_draining


async def test_who_has_another_role_is_seated_anew(line: Line) -> None:
    hub = Hub(text_frame)
    socket = Socket(line, ADA)
    hub.attach(socket)

    reseat(hub, {ADA.session_id: UserRole.ADMIN, 999: UserRole.MANAGER})

    assert socket.caller.role is UserRole.ADMIN
    assert list(hub) == [socket]
    hub.detach(socket)
    assert len(hub) == 0
    assert not any(hub._by_role.values())


async def test_a_socket_is_a_subscriber_of_its_session(line: Line) -> None:
    socket = Socket(line, ADA)

    assert (socket.caller, socket.session_id) == (ADA.caller, ADA.session_id)


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


def test_an_allowance_is_used_up_and_grows_again() -> None:
    allowance = _Allowance()
    used = [allowance.take(1000.0) for _ in range(2 * _MESSAGES_A_SECOND + 1)]

    assert used == [True] * (2 * _MESSAGES_A_SECOND) + [False]
    assert allowance.take(1001.0)
