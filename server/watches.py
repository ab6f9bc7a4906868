"""The sessions that have open sockets, and as what their users were let in."""

from collections.abc import KeysView, Mapping
from dataclasses import dataclass, field

from actors.domain.model import UserRole


@dataclass(slots=True)
class _Watch:
    """The sockets of one session: how many, and which roles they go by."""

    sockets: int = 0
    roles: set[UserRole] = field(default_factory=set)


class Watches:
    """By session; never waits."""

    def __init__(self) -> None:
        self._watches: dict[int, _Watch] = {}

    @property
    def session_ids(self) -> KeysView[int]:
        """The sessions that have a socket."""
        return self._watches.keys()

    def add(self, session_id: int, role: UserRole | None) -> None:
        """Count a socket that was let in with this role."""
        watch = self._watches.setdefault(session_id, _Watch())
        watch.sockets += 1
        if role is not None:
            watch.roles.add(role)

    def remove(self, session_id: int) -> None:
        """Count a socket no more; harmless for a session that has none."""
        watch = self._watches.get(session_id)
        if watch is None:
            return
        watch.sockets -= 1
        if watch.sockets <= 0:
            del self._watches[session_id]

    def learn(self, roles: Mapping[int, UserRole]) -> dict[int, UserRole]:
        """Take note of the roles of now; give those that some socket does not go by."""
        changed: dict[int, UserRole] = {}
        for session_id in self._watches.keys() & roles.keys():
            watch, role = self._watches[session_id], roles[session_id]
            if watch.roles - {role}:
                changed[session_id] = role
            watch.roles = {role}
        return changed
