"""Hints between nodes: what is sent is what arrives, and nonsense harms nobody."""

import msgspec
import pytest
from structlog.testing import capture_logs

from actors.domain.commands import CreateTask
from actors.domain.events import Entry
from actors.domain.model import UserId
from actors.ports import Audience
from server.relay import Relay
from server.representations import EventCodec
from server.seals import Seal
from tests.factories import ADA, BOB, CYD, PROJECT, make_batch, make_command, make_state

SEAL = Seal(b"secret", b"hints")
AUDIENCE = Audience(
    members={BOB: "a member"},
    others=frozenset((ADA, CYD)),
    is_inbox=True,
    owner_id=ADA,
    bystanders=frozenset((UserId(9),)),
    lost=frozenset((CYD,)),
)


class FakeBus:
    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []

    def offer(self, place: int, message: bytes) -> None:
        self.sent.append((place, message))


class Node:
    """A relay, and what it was told by others."""

    def __init__(self) -> None:
        self.bus = FakeBus()
        self.committed: list[tuple[Audience, list[Entry]]] = []
        self.changed: list[frozenset[int]] = []
        self.relay = Relay(EventCodec(), SEAL)
        self.relay.connect(
            self.bus,
            on_committed=lambda audience, entries: self.committed.append(
                (audience, list(entries))
            ),
            on_changed=self.changed.append,
        )


@pytest.fixture
def here() -> Node:
    return Node()


@pytest.fixture
def there() -> Node:
    return Node()


def entries() -> list[Entry]:
    commands = (make_command(CreateTask, task_id=number) for number in (11, 12))
    return list(make_batch(make_state(), *commands).entries)


def test_events_arrive_with_who_is_to_hear_of_them(here: Node, there: Node) -> None:
    here.relay.tell(AUDIENCE, entries())
    ((place, message),) = here.bus.sent
    there.relay.receive(message)

    ((audience, received),) = there.committed
    assert place == PROJECT
    assert received == entries()
    assert set(audience.members) == {BOB}
    assert audience.others == AUDIENCE.others
    assert audience.bystanders == AUDIENCE.bystanders
    assert audience.lost == AUDIENCE.lost
    assert audience.owner_id == ADA
    assert audience.is_inbox


def test_what_we_said_ourselves_is_no_news(here: Node) -> None:
    here.relay.tell(AUDIENCE, entries())
    here.relay.tell_of_sessions(frozenset((1,)))
    for _, message in here.bus.sent:
        here.relay.receive(message)

    assert here.committed == []
    assert here.changed == []


def test_sessions_that_changed_are_told(here: Node, there: Node) -> None:
    here.relay.tell_of_sessions(frozenset((1, 2)))
    there.relay.receive(here.bus.sent[0][1])

    assert there.changed == [frozenset((1, 2))]


def test_the_members_of_a_project_are_packed_once(
    here: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.relay.tell(AUDIENCE, entries())
    first = here.relay._pack(AUDIENCE.members)

    assert here.relay._pack(AUDIENCE.members) is first
    assert here.relay._pack({CYD: "another"}) == msgspec.msgpack.encode([CYD])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        msgspec.msgpack.encode([1, ["no event"], [], [], 1, 2, [], []]),
        msgspec.msgpack.encode([9]),
        msgspec.msgpack.encode([1, [b"{}"], [1], [], False, None, [], []]),
        msgspec.msgpack.encode([1, [], [1], [], False, None, [], []]),
    ],
)
def test_what_is_no_hint_is_dropped(there: Node, body: bytes) -> None:
    there.relay.receive(b"12345678" + SEAL.close(body))

    assert there.committed == []
    assert there.changed == []


@pytest.mark.parametrize("message", [b"", b"short", b"12345678" + 64 * b"x"])
def test_what_nobody_sealed_is_dropped_and_complained_of_once(
    there: Node, message: bytes
) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            there.relay.receive(message)

    assert there.committed == []
    assert [line["event"] for line in logs] == ["relay.not_understood"]


def test_a_hint_that_no_node_sealed_is_not_believed(here: Node, there: Node) -> None:
    here.relay = Relay(EventCodec(), Seal(b"another secret", b"hints"))
    here.relay.connect(here.bus, on_committed=unexpected, on_changed=unexpected)
    here.relay.tell(AUDIENCE, entries())
    here.relay.tell_of_sessions(frozenset((1,)))
    for _, message in here.bus.sent:
        there.relay.receive(message)

    assert there.committed == []
    assert there.changed == []


def unexpected(*hint: object) -> None:
    raise AssertionError(hint)


def test_who_is_not_connected_sends_and_takes_nothing(there: Node) -> None:
    alone = Relay(EventCodec(), SEAL)
    alone.tell(AUDIENCE, entries())
    there.relay.tell(AUDIENCE, entries())
    alone.receive(there.bus.sent[0][1])
