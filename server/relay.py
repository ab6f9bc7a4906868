"""Hints between nodes: what was committed, and which sessions to look at again.

They make the others quick, never right: what is lost here is found in the log, or by
the sweep of sessions. So nothing waits for them. They are sealed, because what a node
hears is taken as committed.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec
import structlog

from actors.domain.events import Entry
from actors.domain.model import UserId
from actors.ports import Audience, Codec
from server.seals import Seal

Committed = Callable[[Audience, Sequence[Entry]], None]
Changed = Callable[[frozenset[int]], None]

_NODE_BYTES = 8
_KEPT_MEMBERS = 1024

_log = structlog.get_logger(__name__)


class Bus(Protocol):
    """Carries messages to all nodes: soon, or never, or in another order."""

    def offer(self, place: int, message: bytes) -> None:
        """Send by one of many ways; never waits and never raises."""
        ...


class _Committed(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Consecutive events of one project, and who is to hear of them."""

    bodies: list[bytes]
    members: msgspec.Raw
    others: Collection[UserId]
    is_inbox: bool
    owner_id: UserId | None
    bystanders: Collection[UserId]
    lost: Collection[UserId]


class _Changed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Sessions that have ended, or whose users have another role now."""

    session_ids: frozenset[int]


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Committed | _Changed] = msgspec.msgpack.Decoder(
    _Committed | _Changed
)
_members_decoder = msgspec.msgpack.Decoder(frozenset[UserId])


class Relay:
    """Sends hints to the other nodes by a bus, and says what theirs mean."""

    def __init__(self, codec: Codec, seal: Seal):
        self._codec = codec
        self._seal = seal
        self._has_complained = False
        self._on_committed: Committed = _nobody
        self._on_changed: Changed = _nobody
        self._node = secrets.token_bytes(_NODE_BYTES)
        self._bus: Bus | None = None
        # The members of a project are replaced and never changed: packed once.
        self._packed: OrderedDict[int, tuple[object, bytes]] = OrderedDict()

    def connect(
        self, bus: Bus, *, on_committed: Committed, on_changed: Changed
    ) -> None:
        """Send by this bus from now on; before, nothing is sent.

        `on_committed` and `on_changed` are called with what others send; they may not
        wait.
        """
        self._bus = bus
        self._on_committed, self._on_changed = on_committed, on_changed

    def tell(self, audience: Audience, entries: Sequence[Entry]) -> None:
        """Send what this node committed."""
        message = _Committed(
            bodies=[entry.body for entry in entries],
            members=msgspec.Raw(self._pack(audience.members)),
            others=audience.others,
            is_inbox=audience.is_inbox,
            owner_id=audience.owner_id,
            bystanders=audience.bystanders,
            lost=audience.lost,
        )
        self._send(entries[0].event.project_id, message)

    def tell_of_sessions(self, session_ids: frozenset[int]) -> None:
        """Send that these sessions have changed in the database."""
        self._send(0, _Changed(session_ids))

    def receive(self, message: bytes) -> None:
        """Take what came by the bus, our own apart; what is no message is dropped."""
        if message.startswith(self._node):
            return
        try:
            hint = _decoder.decode(self._seal.open(message[_NODE_BYTES:]))
            if isinstance(hint, _Changed):
                self._on_changed(hint.session_ids)
            else:
                self._on_committed(_audience(hint), self._entries(hint))
        except (msgspec.DecodeError, ValueError, IndexError) as error:
            if not self._has_complained:
                _log.warning("relay.not_understood", error=str(error))
            self._has_complained = True

    def _send(self, place: int, message: _Committed | _Changed) -> None:
        if self._bus is not None:
            sealed = self._seal.close(_encoder.encode(message))
            self._bus.offer(place, self._node + sealed)

    def _pack(self, members: Collection[UserId]) -> bytes:
        key = id(members)
        known = self._packed.get(key)
        if known is not None and known[0] is members:
            return known[1]
        packed = _encoder.encode(list(members))
        self._packed[key] = (members, packed)
        self._packed.move_to_end(key)
        if len(self._packed) > _KEPT_MEMBERS:
            self._packed.popitem(last=False)
        return packed

    def _entries(self, hint: _Committed) -> list[Entry]:
        decode = self._codec.decode
        if not hint.bodies:
            raise ValueError("a hint of no event")
        return [Entry(event=decode(body), body=body) for body in hint.bodies]


def _nobody(*hint: object) -> None:
    """Take a hint that nobody is there for yet."""


def _audience(hint: _Committed) -> Audience:
    return Audience(
        members=_members_decoder.decode(hint.members),
        others=frozenset(hint.others),
        is_inbox=hint.is_inbox,
        owner_id=hint.owner_id,
        bystanders=frozenset(hint.bystanders),
        lost=frozenset(hint.lost),
    )
