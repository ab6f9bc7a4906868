"""One sweeper for all sockets: pings, ticks, the dead, and tokens that expire."""

import json
from typing import Any

import pytest
from small_app import ADA
from test_websocket import FakeTransport, code_of

from actors.feed import Feed
from actors.recalls import Source
from actors.seats import Lag
from server.frames import PING_FRAME
from server.lines import Line, Socket
from server.representations import EventCodec
from server.sweeper import BEATS, GRACE_SECONDS, Sweeper
from server.wording import Words
from tests.factories import PROJECT, make_new_state
from tests.unit.actors.fakes import FakeClock, FakeStore, settle


class Scene:
    """A feed of one project that is in memory, and a sweeper."""

    def __init__(self) -> None:
        state = make_new_state(owner_id=ADA.user_id)

        async def find(project_id: object, version: int) -> Any:
            return state

        source = Source(
            log=FakeStore(), codec=EventCodec(), find=find, look=lambda _: state
        )
        self.clock = FakeClock()
        self.clock.now = ADA.expires_at - 1
        self.feed = Feed(source, Words())
        self.sweeper = Sweeper(self.feed, Words(), clock=self.clock)

    def socket(self, *, is_together: bool = False) -> tuple[Socket, FakeTransport]:
        transport = FakeTransport()
        socket = Socket(Line(transport), ADA, is_together=is_together)
        self.feed.attach(socket)
        self.sweeper.add(socket)
        return socket, transport

    def round(self) -> None:
        for _ in range(BEATS):
            self.sweeper.sweep()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def message(frame: bytes) -> Any:
    return json.loads(frame[2:])


async def test_each_socket_is_pinged_once_a_round(scene: Scene) -> None:
    sockets = [scene.socket() for _ in range(BEATS + 5)]

    scene.round()

    assert all(transport.written == [PING_FRAME] for _, transport in sockets)


async def test_sockets_are_spread_over_the_round(scene: Scene) -> None:
    sockets = [scene.socket() for _ in range(2 * BEATS)]

    scene.sweeper.sweep()

    assert sum(bool(transport.written) for _, transport in sockets) == 2


async def test_a_tick_names_the_versions_that_were_written(scene: Scene) -> None:
    socket, transport = scene.socket(is_together=True)
    await scene.feed.subscribe(socket, PROJECT)

    scene.round()

    _, tick, ping = transport.written
    assert message(tick) == {"type": "tick", "heads": {"7": 1}}
    assert ping == PING_FRAME


async def test_who_is_behind_is_pinged_without_a_tick(scene: Scene) -> None:
    socket, transport = scene.socket(is_together=True)
    socket.lag = Lag(0)

    scene.round()

    assert transport.written == [PING_FRAME]
    assert socket.lag.replies == []


async def test_who_does_not_answer_a_ping_is_cut_off(scene: Scene) -> None:
    silent, alive = scene.socket(), scene.socket()

    scene.round()
    alive[0].is_heard = True
    scene.round()

    assert silent[1].was_aborted.is_set()
    assert not alive[1].was_aborted.is_set()
    assert list(scene.feed) == [alive[0]]


async def test_who_does_not_read_either_is_told_why(scene: Scene) -> None:
    _, transport = scene.socket()
    transport.waiting = 100

    scene.round()
    scene.round()

    assert code_of(transport.written[-1]) == 4008


async def test_a_line_that_closes_is_left_alone(scene: Scene) -> None:
    _, transport = scene.socket()
    transport.is_gone = True

    scene.round()

    assert transport.written == []


async def test_who_was_removed_is_looked_after_no_more(scene: Scene) -> None:
    socket, transport = scene.socket()

    scene.sweeper.remove(socket)
    scene.sweeper.remove(socket)
    scene.round()

    assert transport.written == []


async def test_an_expired_token_is_told_of_once_and_then_ends_it(scene: Scene) -> None:
    _, transport = scene.socket()
    scene.sweeper.sweep()
    assert transport.written == []

    scene.clock.advance(1)
    for _ in range(3):
        scene.sweeper.sweep()
    (warning,) = [frame for frame in transport.written if frame != PING_FRAME]
    scene.clock.advance(GRACE_SECONDS)
    scene.sweeper.sweep()

    assert message(warning) == {"type": "expiring", "expires_in": 30}
    assert code_of(transport.written[-1]) == 4001
    assert len(scene.feed) == 0


async def test_it_sweeps_until_it_is_closed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = Sweeper(scene.feed, Words(), beat_seconds=0)
    swept: list[int] = []

    def sweep() -> None:
        swept.append(1)
        raise RuntimeError

    monkeypatch.setattr(sweeper, "sweep", sweep)
    sweeper.start()
    await settle()
    await sweeper.close()
    count = len(swept)
    await settle()

    assert len(swept) == count > 1


async def test_one_that_was_never_started_can_be_closed(scene: Scene) -> None:
    await scene.sweeper.close()
