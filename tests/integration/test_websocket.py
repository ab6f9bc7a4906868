"""Sockets: how they open, what may be said on them, and how they end."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import WSMsgType

from server import keys
from server.closing import TOO_MANY_MESSAGES
from server.lines import MESSAGES_A_SECOND
from tests.running_app import Board, running, until

BAD = (4001, "Invalid token")


async def refusal(board: Board, query: str = "", **headers: str) -> int:
    """The status of a handshake that is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await board.connect(query, headers=headers)
    return refused.value.status


async def settled(board: Board) -> None:
    """Wait until every handler of a socket that was closed has ended."""
    await until(lambda: not len(board.app[keys.SOCKETS]))


async def test_a_socket_opens_by_each_way_to_say_who_it_is(board: Board) -> None:
    ada = await board.person()
    ticket = (await ada.post("/ws/tickets")).json["ticket"]
    first = await board.connect()
    await first.ws.send_json({"op": "auth", "token": ada.access_token})

    listeners = [
        first,
        await board.connect(headers=ada.headers),
        await board.connect(f"?token={ada.access_token}"),
        await board.connect(f"?ticket={ticket}"),
    ]
    for listener in listeners:
        assert await listener.events() == []
    await ada.task()

    for listener in listeners:
        assert await listener.types() == ["task_created"]


async def test_a_ticket_opens_one_socket(board: Board) -> None:
    ada = await board.person()
    ticket = (await ada.post("/ws/tickets")).json["ticket"]

    opened = await asyncio.gather(
        *(board.connect(f"?ticket={ticket}") for _ in range(5))
    )
    closings = 0
    for listener in opened:
        try:
            await listener.events()
        except TypeError:  # what aiohttp says of a close where text is awaited
            closings += 1

    assert closings == 4


async def test_who_cannot_say_who_it_is_is_closed(board: Board) -> None:
    ada = await board.person()
    await ada.post("/auth/logout")
    for query in ("?token=x", f"?token={ada.access_token}", "?ticket=x", "?ticket=mx"):
        assert await (await board.connect(query)).closing() == BAD, query
    for header in ("Bearer x", "Basic eDp4", "Bearer"):
        listener = await board.connect(headers={"Authorization": header})
        assert await listener.closing() == BAD, header


async def test_a_first_message_that_is_no_token_closes(board: Board) -> None:
    ada = await board.person()
    wrong: list[str | bytes] = [
        "ping",
        "{",
        "[]",
        json.dumps({"op": "auth"}),
        json.dumps({"op": "auth", "token": "x"}),
        json.dumps({"op": "auth", "token": 5}),
        json.dumps({"op": "ping", "token": ada.access_token}),
        ada.access_token.encode(),
    ]
    for message in wrong:
        listener = await board.connect()
        if isinstance(message, str):
            await listener.ws.send_str(message)
        else:
            await listener.ws.send_bytes(message)
        assert await listener.closing() == BAD, message
    await settled(board)


async def test_who_says_nothing_is_not_waited_for(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.websocket._AUTHENTICATION_SECONDS", 0)

    assert await (await board.connect()).closing() == BAD


async def test_pages_of_other_origins_are_refused(
    database_url: str, redis_url: str
) -> None:
    origins = ("https://app.example",)
    async with running(database_url, redis_url, cors_origins=origins) as board:
        ada = await board.person()
        strange = (
            "https://evil.example",
            "https://app.example.evil.example",
            "null",
            "http://[",
            "",
            "//",
        )
        for origin in strange:
            assert await refusal(board, Origin=origin, **ada.headers) == 403, origin
        for origin in (*origins, board.url):
            opened = await board.connect(headers=ada.headers | {"Origin": origin})
            assert await opened.events() == []


async def test_what_is_no_handshake_is_refused(board: Board) -> None:
    ada = await board.person()

    plain = await ada.get("/ws")
    unknown = await refusal(board, "?tokn=x")
    twice = await refusal(board, "?token=x&token=y")

    assert plain.refusal == (426, "upgrade_required")
    assert (unknown, twice) == (422, 422)


async def test_every_form_of_ping_gets_its_pong(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()
    ws = listener.ws

    for text in ('{"op": "ping"}', '{"type": "ping"}'):
        await ws.send_str(text)
        assert await listener.next() == {"type": "pong"}
    await ws.ping(b"hello")
    message = await listener.receive()

    assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"hello")


async def test_what_is_not_understood_is_said_and_closes_nothing(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()
    sent = {
        "Ping": "malformed",
        "": "malformed",
        "{": "malformed",
        "[]": "malformed",
        '"ping"': "malformed",
        '{"op": 5}': "unknown_op",
        "[" * 5000: "malformed",
        '{"op": "ping", "x": ' + "[" * 5000 + "]" * 5000 + "}": "malformed",
        "{}": "unknown_op",
        '{"op": "drop"}': "unknown_op",
        '{"op": "auth"}': "malformed",
        '{"op": "subscribe", "project_id": "7"}': "malformed",
        '{"op": "subscribe", "project_id": 0}': "malformed",
        '{"op": "subscribe", "project_id": 1, "sinc": 5}': "unknown_field",
        '{"op": "subscribe", "project_id": 1, "status": "x"}': "unknown_field",
        '{"op": "ping", "op ": "ping"}': "unknown_field",
        '{"op": "subscribe", "project_id": 1, "since": -1}': "malformed",
        '{"op": "subscribe", "project_id": 999999}': "project_not_found",
        '{"op": "unsubscribe", "project_id": 1}': "not_subscribed",
    }
    for text, code in sent.items():
        await listener.ws.send_str(text)
        answer = await listener.next()
        assert (answer["type"], answer["code"]) == ("error", code), text[:20]
    await listener.ws.send_bytes(b"ping")
    assert (await listener.next())["code"] == "text_only"
    await ada.task()
    assert await listener.types() == ["task_created"]


async def test_a_message_that_is_too_large_closes_this_socket_only(
    board: Board,
) -> None:
    ada = await board.person()
    large, other = await ada.listen(), await ada.listen()

    await large.ws.send_str("x" * (64 * 1024 + 1))

    assert (await large.closing())[0] == 1009
    await ada.task()
    assert await other.types() == ["task_created"]


async def test_a_frame_that_breaks_the_protocol_closes_this_socket_only(
    board: Board,
) -> None:
    ada = await board.person()
    for wrong in (b"\xff\x80\0\0\0\0", b"\x81\x81\0\0\0\0\xff"):
        broken, other = await ada.listen(), await ada.listen()
        broken.ws._conn.transport.write(wrong)  # type: ignore[union-attr]

        code, _ = await broken.closing()

        assert code in (1002, 1007), wrong
        await ada.task()
        assert await other.types() == ["task_created"]


async def test_nothing_is_left_of_sockets_that_closed(board: Board) -> None:
    app = board.app
    ada = await board.person()
    listeners = [await ada.listen() for _ in range(20)]
    assert len(app[keys.FEED]) == len(app[keys.SOCKETS]) == 20

    for listener in listeners[:10]:
        await listener.ws.close()
    for listener in listeners[10:]:  # without a goodbye
        listener.ws._conn.transport.abort()  # type: ignore[union-attr]
    await settled(board)

    assert len(app[keys.FEED]) == len(app[keys.SOCKETS]) == 0
    assert app[keys.SESSIONS]._watches.session_ids == set()
    assert (await ada.task())["version"] == 2


async def test_logging_out_closes_the_sockets_of_this_session(board: Board) -> None:
    ada = await board.person()
    other = await board.session(ada.caller)
    mine, others = await ada.listen(), await other.listen()

    await ada.post("/auth/logout")

    assert (await mine.closing())[0] == 4001
    await other.task()
    assert await others.types() == ["task_created"]


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("kind", ["send_str", "ping", "pong"])
async def test_a_client_that_floods_is_closed(
    board: Board, kind: str, is_known: bool
) -> None:
    ada = await board.person()
    listener = await board.connect(headers=ada.headers if is_known else {})
    if not is_known and kind == "send_str":
        await listener.ws.send_json({"op": "auth", "token": ada.access_token})
    flood = getattr(listener.ws, kind)

    for _ in range(2 * MESSAGES_A_SECOND + 100):
        await flood("x" if kind == "send_str" else b"x")
    received = [await listener.receive()]
    while received[-1].type in (WSMsgType.TEXT, WSMsgType.PONG):
        received.append(await listener.receive())

    assert received[-1].data == TOO_MANY_MESSAGES.code


async def test_pongs_that_nobody_asked_for_are_messages_too(board: Board) -> None:
    listener = await (await board.person()).listen()

    for _ in range(2 * MESSAGES_A_SECOND + 100):
        await listener.ws.pong()

    assert (await listener.closing())[0] == TOO_MANY_MESSAGES.code


async def test_pings_before_the_token_are_answered(board: Board) -> None:
    ada = await board.person()
    listener = await board.connect()

    await listener.ws.pong(b"alive")
    await listener.ws.ping(b"hello")
    assert (await listener.receive()).data == b"hello"
    await listener.ws.send_json({"op": "auth", "token": ada.access_token})

    assert await listener.events() == []


async def test_a_message_may_have_64_kib(board: Board) -> None:
    listener = await (await board.person()).listen()

    await listener.ws.send_str(" " * 65_521 + '{"op": "ping" }')
    assert await listener.next() == {"type": "pong"}
    await listener.ws.send_str(" " * 65_521 + '{"op": "ping"  }')

    assert (await listener.closing())[0] == 1009


async def test_http_1_0_opens_no_socket(board: Board) -> None:
    headers = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13"
    host, port = board.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    writer.write(f"GET /ws HTTP/1.0\r\n{headers}{key}\r\n\r\n".encode())
    status = (await reader.readline()).split()[1]
    writer.close()
    await writer.wait_closed()

    assert status == b"426"
