"""Local fan-out: one frame an event, written to every socket that may see it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from actors.domain.events import Entry
from actors.domain.model import Caller, UserId, UserRole
from actors.domain.permissions import sees_everywhere
from actors.ports import Audience


class Subscriber(Protocol):
    """One socket, as the hub sees it."""

    @property
    def caller(self) -> Caller:
        """Whose socket it is."""
        ...

    @property
    def session_id(self) -> int:
        """The session that it was opened with."""
        ...

    def deliver(self, frames: bytes) -> None:
        """Write without waiting; never raises."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin to close; never waits, never raises."""
        ...


class Hub:
    """The sockets of this node, by user. All methods are synchronous."""

    def __init__(self, frame: Callable[[bytes], bytes]):
        self._frame = frame
        self._by_user: defaultdict[UserId, set[Subscriber]] = defaultdict(set)
        self._by_role: defaultdict[UserRole, set[UserId]] = defaultdict(set)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def attach(self, subscriber: Subscriber) -> None:
        """Begin to deliver; the next event of the user's is the first."""
        caller = subscriber.caller
        self._by_user[caller.id].add(subscriber)
        self._by_role[caller.role].add(caller.id)
        self._count += 1

    def detach(self, subscriber: Subscriber) -> None:
        """Deliver nothing more; harmless if it was never attached."""
        caller = subscriber.caller
        sockets = self._by_user.get(caller.id)
        if sockets is None or subscriber not in sockets:
            return
        sockets.discard(subscriber)
        self._count -= 1
        if not any(other.caller.role is caller.role for other in sockets):
            self._by_role[caller.role].discard(caller.id)
        if not sockets:
            del self._by_user[caller.id]

    def publish(self, audience: Audience, entries: Sequence[Entry]) -> None:
        """Write the events to all who may see them: encoded once, framed once."""
        if not self._by_user:
            return
        frames = b"".join([self._frame(entry.body) for entry in entries])
        for subscriber in self._subscribers(audience):
            subscriber.deliver(frames)

    def doubt(self) -> None:
        """Go on: what was missed comes in its order, or the versions tell."""

    def close_sessions(
        self, session_ids: frozenset[int], code: int, reason: str
    ) -> None:
        """Deliver nothing more to these sessions, and close their sockets."""
        for subscriber in list(self):
            if subscriber.session_id in session_ids:
                self.detach(subscriber)
                subscriber.close(code, reason)

    def __iter__(self) -> Iterator[Subscriber]:
        for sockets in self._by_user.values():
            yield from sockets

    def _subscribers(self, audience: Audience) -> list[Subscriber]:
        users = {user for user in audience.members if user in self._by_user}
        users.update(user for user in audience.others if user in self._by_user)
        for role, holders in self._by_role.items():
            if sees_everywhere(role, is_inbox=audience.is_inbox):
                users |= holders
        return [socket for user in users for socket in self._by_user[user]]
