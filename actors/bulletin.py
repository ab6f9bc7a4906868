"""What this node has told of each project: every version once, and in order.

Events reach a node in three ways: it commits them, another node sends them, or they are
found in the log. All of them go through here, so whoever is told has one source.
"""

from collections import OrderedDict
from collections.abc import Sequence

from actors.domain.events import Entry
from actors.domain.model import ProjectId
from actors.ports import Audience, Feed

_KEPT_HEADS = 200_000  # about 150 bytes each


class Bulletin:
    """A feed in front of the others. Nothing here waits."""

    def __init__(self, *feeds: Feed):
        self._feeds = feeds
        self._heads: OrderedDict[ProjectId, int] = OrderedDict()

    def head(self, project_id: ProjectId) -> int | None:
        """Give the last version that was told; None if that is not known."""
        return self._heads.get(project_id)

    def publish(self, audience: Audience, entries: Sequence[Entry]) -> None:
        """Pass on what has not been told yet."""
        project_id, last = entries[0].event.project_id, entries[-1].event.version
        head = self._heads.get(project_id, 0)
        if last <= head:
            return
        if entries[0].event.version <= head:
            entries = [entry for entry in entries if entry.event.version > head]
        self._reach(project_id, last)
        for feed in self._feeds:
            feed.publish(audience, entries)

    def begin(self, project_id: ProjectId, version: int) -> None:
        """Go on from the version that a project was read at, be it less than before."""
        self._reach(project_id, version)
        for feed in self._feeds:
            feed.begin(project_id, version)

    def doubt(self) -> None:
        """Pass on that something may be committed that nobody was told of."""
        for feed in self._feeds:
            feed.doubt()

    def forget(self) -> None:
        """Start anew: nobody knows any more what was told of what there is."""
        self._heads.clear()
        self.doubt()

    def _reach(self, project_id: ProjectId, version: int) -> None:
        self._heads[project_id] = version
        self._heads.move_to_end(project_id)
        if len(self._heads) > _KEPT_HEADS:
            self._heads.popitem(last=False)
