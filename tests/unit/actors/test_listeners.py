"""Fan-out: framed once, written to those who may see it, and to nobody else."""

import asyncio
from collections.abc import Collection
from typing import NoReturn

import pytest

from actors.domain.commands import CreateTask
from actors.domain.decide import decide
from actors.domain.events import Entry
from actors.domain.model import UserId, UserRole
from actors.feed import Feed
from actors.ports import Audience, Ending, Frames
from actors.recalls import Source
from server.representations import EventCodec
from tests.factories import (
    ADA,
    BOB,
    CYD,
    apply_all,
    make_caller,
    make_command,
    make_entry,
    make_state,
)
from tests.unit.actors.fakes import FakeSocket, FakeStore, LineWording, settle, until


class Stage:
    """A feed without actors: what is published is all that happens."""

    def __init__(self, wording: LineWording | None = None) -> None:
        async def find(project_id: object, version: int) -> NoReturn:
            raise AssertionError

        source = Source(
            log=FakeStore(), codec=EventCodec(), find=find, look=lambda project_id: None
        )
        self.feed = Feed(source, wording or LineWording())
        self.version = 9

    async def publish(self, audience: Audience, count: int = 1) -> list[Entry]:
        state = make_state(version=self.version)
        entries = []
        for number in range(1, count + 1):
            events = decide(state, make_command(CreateTask, task_id=number))
            apply_all(state, events)
            entries += [make_entry(event) for event in events]
        self.version = state.version
        self.feed.publish(audience, entries)
        await settle()
        return entries

    def attach(
        self,
        user_id: int,
        role: UserRole = UserRole.USER,
        session: int = 1,
        *,
        is_together: bool = False,
    ) -> FakeSocket:
        socket = FakeSocket(
            make_caller(user_id, role), session, is_together=is_together
        )
        self.feed.attach(socket)
        return socket


@pytest.fixture
def stage() -> Stage:
    return Stage()


def audience(
    members: Collection[UserId] = (),
    others: Collection[UserId] = (),
    *,
    is_inbox: bool = False,
) -> Audience:
    return Audience(
        members=frozenset(members), others=frozenset(others), is_inbox=is_inbox
    )


async def test_members_and_parties_hear_and_strangers_do_not(stage: Stage) -> None:
    member, party, stranger = (stage.attach(user) for user in (ADA, BOB, CYD))

    await stage.publish(audience([ADA], [BOB]))

    assert len(member.frames) == len(party.frames) == 1
    assert stranger.frames == []


async def test_who_is_both_member_and_party_hears_once(stage: Stage) -> None:
    socket = stage.attach(ADA)

    await stage.publish(audience([ADA], [ADA]))

    assert len(socket.frames) == 1


@pytest.mark.parametrize(
    ("role", "is_inbox", "hears"),
    [
        (UserRole.USER, False, False),
        (UserRole.MANAGER, False, True),
        (UserRole.MANAGER, True, False),
        (UserRole.ADMIN, False, True),
        (UserRole.ADMIN, True, True),
    ],
)
async def test_roles_hear_of_projects_they_have_no_part_in(
    stage: Stage,
    role: UserRole,
    is_inbox: bool,
    hears: bool,  # a table
) -> None:
    socket = stage.attach(CYD, role)

    await stage.publish(audience([ADA], is_inbox=is_inbox))

    assert bool(socket.frames) is hears


async def test_every_socket_of_a_user_hears(stage: Stage) -> None:
    sockets = [stage.attach(ADA) for _ in range(3)]

    await stage.publish(audience([ADA]))

    assert [len(socket.frames) for socket in sockets] == [1, 1, 1]
    assert len(stage.feed) == 3


async def test_events_that_go_together_are_one_write_in_order(stage: Stage) -> None:
    socket = stage.attach(ADA)

    entries = await stage.publish(audience([ADA]), 3)

    assert len(socket.frames) == 1
    assert socket.frames[0].splitlines() == [entry.body for entry in entries]


class CountingWording(LineWording):
    def __init__(self) -> None:
        self.made = 0

    def event(self, body: bytes) -> Frames:
        self.made += 1
        return super().event(body)


async def test_a_frame_is_made_once_for_all_sockets() -> None:
    wording = CountingWording()
    stage = Stage(wording)
    sockets = [stage.attach(user) for user in (ADA, BOB, CYD)]

    await stage.publish(audience([ADA, BOB, CYD]))

    assert wording.made == 1
    assert len({id(socket.frames[0]) for socket in sockets}) == 1


async def test_without_sockets_no_frame_is_made() -> None:
    wording = CountingWording()

    await Stage(wording).publish(audience([ADA]))

    assert wording.made == 0


async def test_who_is_detached_hears_nothing_more(stage: Stage) -> None:
    gone, there = stage.attach(ADA), stage.attach(ADA)

    stage.feed.detach(gone)
    stage.feed.detach(gone)
    await stage.publish(audience([ADA]))

    assert gone.frames == []
    assert len(there.frames) == 1
    assert list(stage.feed) == [there]
    assert len(stage.feed) == 1


async def test_detaching_what_was_never_there_is_harmless(stage: Stage) -> None:
    stage.attach(ADA)

    stage.feed.detach(FakeSocket(make_caller(ADA)))
    stage.feed.detach(FakeSocket(make_caller(BOB)))

    assert len(stage.feed) == 1


async def test_a_role_is_heard_as_long_as_one_socket_has_it(stage: Stage) -> None:
    first, second = (stage.attach(ADA, UserRole.ADMIN) for _ in range(2))
    stage.feed.detach(first)
    await stage.publish(audience())

    stage.feed.detach(second)
    await stage.publish(audience())

    assert len(second.frames) == 1
    assert len(stage.feed) == 0


async def test_closed_sessions_are_told_and_hear_nothing_more(stage: Stage) -> None:
    revoked = [stage.attach(ADA, session=5), stage.attach(ADA, session=5)]
    kept = stage.attach(ADA, session=6)

    stage.feed.end_sessions(frozenset({5, 7}))
    await stage.publish(audience([ADA]))

    assert [socket.ended for socket in revoked] == [Ending.SESSION_ENDED] * 2
    assert [socket.frames for socket in revoked] == [[], []]
    assert kept.ended is None
    assert len(kept.frames) == 1


async def test_what_waits_together_is_one_message_a_project(stage: Stage) -> None:
    socket = stage.attach(ADA, is_together=True)

    await stage.publish(audience([ADA]), 3)

    (message,) = socket.messages
    assert (message["type"], message["from"], message["to"]) == ("events", 10, 12)
    assert [event["version"] for event in message["events"]] == [10, 11, 12]


async def test_who_falls_behind_gets_what_it_missed_in_order(stage: Stage) -> None:
    slow, other = stage.attach(ADA), stage.attach(ADA)
    slow.fake.is_stuck = True
    slow.fake.kept = 40 * 1024  # a little more does not fit

    for _ in range(40):
        await stage.publish(audience([ADA]))
    missed = len(slow.versions)
    slow.fake.is_stuck = False
    slow.fake.read()
    await until(lambda: not slow.seats and slow.lag is None)
    await stage.publish(audience([ADA]))

    assert missed < 40
    assert slow.versions == other.versions == list(range(10, 51))
    assert stage.feed.behind == 0


async def test_who_is_behind_gets_nothing_that_was_not_meant_for_them(
    stage: Stage,
) -> None:
    slow = stage.attach(ADA)
    slow.fake.kept = 48 * 1024

    await stage.publish(audience([ADA]))
    await stage.publish(audience([BOB]))
    await stage.publish(audience([ADA]))
    slow.fake.read()
    await until(lambda: not slow.seats and slow.lag is None)

    assert slow.versions == [10, 12]


async def test_heads_are_those_of_what_one_sees_all_of(stage: Stage) -> None:
    member, party = stage.attach(ADA), stage.attach(BOB)

    await stage.publish(audience([ADA], [BOB]), 2)

    assert stage.feed.heads(member) == ((7, 11),)
    assert stage.feed.heads(party) == ()


async def test_audiences_are_the_same_if_they_share_their_members(stage: Stage) -> None:
    members = frozenset({ADA})
    one = Audience(members=members, others=frozenset({BOB}), is_inbox=False)

    assert one.is_same(
        Audience(members=members, others=frozenset({BOB}), is_inbox=False)
    )
    assert not one.is_same(audience([ADA], [CYD]))


async def test_more_than_a_buffer_at_once_comes_once_and_in_order(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.rounds.SLICE_SECONDS", -1)  # a socket a slice
    sockets = [stage.attach(ADA) for _ in range(50)]

    await stage.publish(audience([ADA]), 200)
    for _ in range(5):
        await stage.publish(audience([ADA]))
    await until(lambda: all(len(socket.versions) >= 205 for socket in sockets))
    await settle()

    assert all(socket.versions == list(range(10, 215)) for socket in sockets)


async def test_one_that_cannot_be_served_keeps_no_other_waiting(stage: Stage) -> None:
    def broken() -> NoReturn:
        raise RuntimeError

    sockets = [stage.attach(ADA) for _ in range(8)]
    for socket in sockets[:4]:
        socket.fake.buffered = broken  # type: ignore[method-assign]  # a fake

    await stage.publish(audience([ADA]), 200)
    await until(lambda: all(len(s.versions) == 200 for s in sockets[4:]))


async def test_others_have_their_turns_while_many_catch_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.rounds.SLICE_SECONDS", -1)  # a socket a slice
    sockets = [stage.attach(ADA) for _ in range(20)]
    seen = set()

    publishing = asyncio.create_task(stage.publish(audience([ADA]), 200))
    while any(len(socket.frames) == 0 for socket in sockets):
        await asyncio.sleep(0)
        seen.add(sum(len(socket.frames) > 0 for socket in sockets))
    await publishing

    assert len(seen) > 10


async def test_versions_of_long_ago_are_forgotten(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = stage.attach(ADA)
    await stage.publish(audience([ADA]))
    stage.feed.tidy()
    kept = stage.feed.heads(member)

    monkeypatch.setattr("actors.listeners._RECENT_SECONDS", -1)
    stage.feed.tidy()

    assert kept == ((7, 10),)
    assert not stage.feed._listeners._recent


async def test_who_has_not_caught_up_yet_gets_no_newer_event_first(
    stage: Stage,
) -> None:
    slow = stage.attach(ADA)
    slow.fake.kept = 48 * 1024
    await stage.publish(audience([ADA]))
    stage.feed._listeners._is_passing = True  # as if another pass had begun

    slow.fake.read()
    await until(lambda: slow.lag is None)
    stage.feed._listeners._is_passing = False
    await stage.publish(audience([ADA]))
    await until(lambda: not slow.seats)

    assert slow.versions == [10, 11]


async def test_members_of_the_past_are_kept_for_who_is_behind_only(
    stage: Stage,
) -> None:
    def kept() -> list[bool]:
        (channel,) = stage.feed._channels
        items = channel.ring.after(9, channel.head)
        return [item.audience is not None for item in items]

    await stage.publish(audience([ADA]))
    slow = stage.attach(ADA)
    await stage.publish(audience([ADA]))
    slow.fake.kept = 48 * 1024
    await stage.publish(audience([ADA]))

    assert kept() == [False, False, True]
