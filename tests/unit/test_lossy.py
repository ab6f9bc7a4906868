"""The proxy that loses messages of Redis, tried with what Redis says."""

import asyncio

import pytest

from tests.e2e.lossy import Lossy, is_message, read_frame

_MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\n\r\n*1\r\n"
_PUSH = b">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\nb\r\n"
_SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
_OTHERS = (
    b"+PONG\r\n",
    b"-ERR message\r\n",
    b":1\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"$7\r\nmessage\r\n",
    b"_\r\n",
    b"%1\r\n$3\r\nkey\r\n*2\r\n:1\r\n$0\r\n\r\n",
    _SUBSCRIBED,
)


@pytest.mark.parametrize("frame", [_MESSAGE, _PUSH, *_OTHERS])
async def test_a_frame_is_read_to_its_end_and_no_further(frame: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(frame + b"+next\r\n")

    assert await read_frame(reader) == frame
    assert await read_frame(reader) == b"+next\r\n"


def test_only_what_comes_by_a_channel_is_a_message() -> None:
    assert is_message(_MESSAGE)
    assert is_message(_PUSH)
    assert not any(is_message(frame) for frame in _OTHERS)


def test_what_is_kept_back_is_overtaken_by_the_next() -> None:
    lossy, held = Lossy(0), []
    lossy.chance.random = iter([0.9, 0.1, 0.1, 0.9]).__next__  # type: ignore[method-assign]

    assert lossy._kept(b"held", held) is None
    assert lossy._kept(b"lost", held) is None
    assert lossy._kept(b"first", held) == b"firstheld"
    assert (lossy.seen, lossy.lost, lossy.overtaken) == (3, 1, 1)
