"""A socket as the feed sees it, and its place in a project's stream of events."""

from collections import deque
from typing import TYPE_CHECKING

from actors.domain.criteria import Criteria
from actors.domain.model import Caller, ProjectId, UserId
from actors.parcels import Kind
from actors.ports import Frames, Outlet

if TYPE_CHECKING:
    from actors.channels import Channel

# The position of who is owed a snapshot before anything else.
NOWHERE = -1

_PLAIN, _TOGETHER = Kind(is_together=False), Kind(is_together=True)


class Lag:
    """What is kept for a socket while it is behind."""

    __slots__ = ("buffered", "pieces", "replies", "reply_bytes", "since")

    def __init__(self, now: float):
        self.since = now  # when it last read something
        self.buffered = 0
        self.pieces: deque[bytes] = deque()  # under way: nothing may come between
        self.replies: list[Frames] = []
        self.reply_bytes = 0


class Watcher:
    """One socket. It has `lag` only while it is behind, and `seats` if it subscribed.

    `is_together`: what waits together comes in one message. Who `listens` gets
    everything that the user may see.
    """

    __slots__ = (
        "caller",
        "is_gone",
        "is_together",
        "lag",
        "listens",
        "outlet",
        "seats",
        "session_id",
    )

    def __init__(
        self,
        caller: Caller,
        session_id: int,
        outlet: Outlet,
        *,
        is_together: bool = False,
    ):
        self.caller = caller
        self.session_id = session_id
        self.outlet = outlet
        self.is_together = is_together
        self.is_gone = False
        self.listens = False
        self.seats: tuple[Seat, ...] = ()
        self.lag: Lag | None = None

    @property
    def user_id(self) -> UserId:
        """Whose socket it is."""
        return self.caller.id

    def seat_in(self, project_id: ProjectId) -> "Seat | None":
        """Find its seat in a project."""
        for seat in self.seats:
            if seat.channel.project_id == project_id:
                return seat
        return None


class Seat:
    """Where a socket stands in the stream of one project.

    All up to `position` is written, or is nothing to this reader; the reader was told
    so up to `told`. While `greeting` is set, the subscription is confirmed when that
    version is reached. `is_waiting`: the log or a snapshot is being fetched. While it
    `is_doubtful`, its reader may have been shut out by what was not published here.
    """

    __slots__ = (
        "channel",
        "greeting",
        "is_doubtful",
        "is_gone",
        "is_waiting",
        "kind",
        "position",
        "told",
        "watcher",
    )

    def __init__(
        self,
        watcher: Watcher,
        channel: "Channel",
        position: int,
        criteria: Criteria | None = None,
    ):
        self.watcher = watcher
        self.channel = channel
        self.position = position
        self.told = position
        self.greeting: int | None = None
        self.is_waiting = False
        self.is_doubtful = False
        self.is_gone = False
        self.kind = _TOGETHER if watcher.is_together else _PLAIN
        if criteria is not None:
            self.kind = self.kind._replace(criteria=criteria)

    def stand_at(self, version: int) -> None:
        """Be told of all up to a version."""
        self.position = self.told = version
