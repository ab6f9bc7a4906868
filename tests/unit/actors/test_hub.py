"""Fan-out: framed once, written to those who may see it, and to nobody else."""

from collections.abc import Collection

import pytest

from actors.domain.commands import CreateTask
from actors.domain.decide import decide
from actors.domain.events import Entry
from actors.domain.model import UserId, UserRole
from actors.hub import Hub
from actors.ports import Audience
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
from tests.unit.actors.fakes import FakeSocket, frame_line


@pytest.fixture
def hub() -> Hub:
    return Hub(frame_line)


def make_entries(count: int = 1) -> list[Entry]:
    state = make_state()
    entries = []
    for number in range(1, count + 1):
        events = decide(state, make_command(CreateTask, task_id=number))
        apply_all(state, events)
        entries += [make_entry(event) for event in events]
    return entries


def audience(
    members: Collection[UserId] = (),
    others: Collection[UserId] = (),
    *,
    is_inbox: bool = False,
) -> Audience:
    return Audience(
        members=frozenset(members), others=frozenset(others), is_inbox=is_inbox
    )


def attach(
    hub: Hub, user_id: int, role: UserRole = UserRole.USER, session: int = 1
) -> FakeSocket:
    socket = FakeSocket(make_caller(user_id, role), session)
    hub.attach(socket)
    return socket


def test_members_and_parties_hear_and_strangers_do_not(hub: Hub) -> None:
    member, party, stranger = (attach(hub, user) for user in (ADA, BOB, CYD))

    hub.publish(audience([ADA], [BOB]), make_entries())

    assert len(member.frames) == len(party.frames) == 1
    assert stranger.frames == []


def test_who_is_both_member_and_party_hears_once(hub: Hub) -> None:
    socket = attach(hub, ADA)

    hub.publish(audience([ADA], [ADA]), make_entries())

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
def test_roles_hear_of_projects_they_have_no_part_in(
    hub: Hub,
    role: UserRole,
    is_inbox: bool,
    hears: bool,  # a table
) -> None:
    socket = attach(hub, CYD, role)

    hub.publish(audience([ADA], is_inbox=is_inbox), make_entries())

    assert bool(socket.frames) is hears


def test_every_socket_of_a_user_hears(hub: Hub) -> None:
    sockets = [attach(hub, ADA) for _ in range(3)]

    hub.publish(audience([ADA]), make_entries())

    assert [len(socket.frames) for socket in sockets] == [1, 1, 1]
    assert len(hub) == 3


def test_events_that_go_together_are_one_write_in_order(hub: Hub) -> None:
    socket = attach(hub, ADA)
    entries = make_entries(3)

    hub.publish(audience([ADA]), entries)

    assert len(socket.frames) == 1
    assert socket.lines == [entry.body for entry in entries]


def test_a_frame_is_made_once_for_all_sockets() -> None:
    made: list[bytes] = []

    def frame(body: bytes) -> bytes:
        made.append(body)
        return body

    hub = Hub(frame)
    sockets = [attach(hub, user) for user in (ADA, BOB, CYD)]

    hub.publish(audience([ADA, BOB, CYD]), make_entries())

    assert len(made) == 1
    assert len({id(socket.frames[0]) for socket in sockets}) == 1


def test_without_sockets_no_frame_is_made() -> None:
    def frame(body: bytes) -> bytes:
        raise AssertionError

    Hub(frame).publish(audience([ADA]), make_entries())


def test_who_is_detached_hears_nothing_more(hub: Hub) -> None:
    gone, there = attach(hub, ADA), attach(hub, ADA)

    hub.detach(gone)
    hub.detach(gone)
    hub.publish(audience([ADA]), make_entries())

    assert gone.frames == []
    assert len(there.frames) == 1
    assert list(hub) == [there]
    assert len(hub) == 1


def test_detaching_a_socket_that_was_never_there_is_harmless(hub: Hub) -> None:
    attach(hub, ADA)

    hub.detach(FakeSocket(make_caller(ADA)))
    hub.detach(FakeSocket(make_caller(BOB)))

    assert len(hub) == 1


def test_a_role_is_heard_as_long_as_one_socket_has_it(hub: Hub) -> None:
    first, second = (attach(hub, ADA, UserRole.ADMIN) for _ in range(2))
    hub.detach(first)
    hub.publish(audience(), make_entries())

    hub.detach(second)
    hub.publish(audience(), make_entries())

    assert len(second.frames) == 1
    assert len(hub) == 0


def test_closed_sessions_are_told_and_hear_nothing_more(hub: Hub) -> None:
    revoked = [attach(hub, ADA, session=5), attach(hub, ADA, session=5)]
    kept = attach(hub, ADA, session=6)

    hub.close_sessions(frozenset({5, 7}), 4001, "Session revoked")
    hub.publish(audience([ADA]), make_entries())

    assert [socket.closed for socket in revoked] == [(4001, "Session revoked")] * 2
    assert [socket.frames for socket in revoked] == [[], []]
    assert kept.closed is None
    assert len(kept.frames) == 1


def test_audiences_are_the_same_if_they_share_their_members(hub: Hub) -> None:
    members = frozenset({ADA})
    one = Audience(members=members, others=frozenset({BOB}), is_inbox=False)

    assert one.is_same(
        Audience(members=members, others=frozenset({BOB}), is_inbox=False)
    )
    assert not one.is_same(audience([ADA], [CYD]))
