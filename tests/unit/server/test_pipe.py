import socket
from pathlib import Path

import msgspec

from server.app import Urls
from server.config import Config
from server.pipe import Counted, Orders, Pipe, Ready

CONFIG = Config(
    data_dir=Path("here"),
    jwt_secret=b"\x00\xff" * 20,
    jwt_refresh_secret=b"b" * 40,
    trusted_proxies=("10.0.0.0/8",),
    monitoring_token="a token",
)
URLS = Urls(database="postgresql://x", redis="redis://y")


async def pair() -> tuple[Pipe, Pipe]:
    one, other = socket.socketpair()
    return await Pipe.over(one), await Pipe.over(other)


async def test_all_settings_arrive_as_they_were():
    one, other = await pair()

    one.send(Orders(CONFIG, URLS))

    assert await other.receive() == Orders(CONFIG, URLS)
    await one.close()
    await other.close()


async def test_messages_stay_apart_and_the_end_is_told():
    one, other = await pair()

    one.send(Ready())
    one.send(Counted(b"x" * 300_000))
    one.send(Counted(b"\xff"))
    received = [await other.receive() for _ in range(3)]
    await one.close()

    assert received == [Ready(), Counted(b"x" * 300_000), Counted(b"\xff")]
    assert await other.receive() is None
    other.send(Ready())  # to nobody
    await other.close()


async def test_a_setting_that_one_side_does_not_know_is_passed_over():
    one, other = await pair()
    config = {"jwt_secret": b"a", "jwt_refresh_secret": b"b", "newer": 1}
    orders = {"type": "Orders", "config": config, "urls": {"database": "", "redis": ""}}
    body = msgspec.msgpack.encode(orders)

    one._writer.write(len(body).to_bytes(4) + body)

    received = await other.receive()
    assert isinstance(received, Orders)
    assert received.config == Config(jwt_secret=b"a", jwt_refresh_secret=b"b")
    await one.close()
    await other.close()
