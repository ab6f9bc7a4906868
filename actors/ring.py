"""The last events of a project, ready to be told again without asking the database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actors.domain.events import Entry
from actors.ports import Audience

RING_EVENTS = 8192
RING_BYTES = 4 << 20


@dataclass(slots=True, eq=False)
class Item:
    """An event in a ring. Who was to hear of it is kept while listeners may need it.

    It holds the members of that moment: a thousand changes of them would be as many
    copies. What comes from the log never says it.
    """

    entry: Entry
    audience: Audience | None = None

    @property
    def version(self) -> int:
        """The event's version."""
        return self.entry.event.version


class Ring:
    """Events of consecutive versions up to `head`, bounded by number and bytes.

    What does not fit any more is dropped from the old end.
    """

    __slots__ = ("_items", "_most_bytes", "_most_events", "head", "size_bytes")

    def __init__(
        self,
        head: int,
        *,
        most_events: int = RING_EVENTS,
        most_bytes: int = RING_BYTES,
    ):
        self.head = head
        self.size_bytes = 0
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._items: dict[int, Item] = {}

    def __len__(self) -> int:
        return len(self._items)

    @property
    def oldest(self) -> int:
        """The oldest version that it has; the next one to come if it is empty."""
        return self.head - len(self._items) + 1

    @property
    def is_full(self) -> bool:
        """Whether nothing older is taken any more."""
        return (
            len(self._items) > self._most_events or self.size_bytes > self._most_bytes
        )

    def append(self, item: Item) -> None:
        """Take the next event: its version is `head` and one more."""
        if item.version != self.head + 1:
            raise ValueError(f"event {item.version} does not follow {self.head}")
        self.head = item.version
        self._put(item)
        while self.is_full and len(self._items) > 1:
            self._drop_oldest()

    def prepend(self, items: Sequence[Item]) -> None:
        """Take older events, as far as they join on and fit; the newest go first."""
        for item in reversed(items):
            if item.version >= self.oldest:
                continue
            if item.version != self.oldest - 1 or self.is_full:
                return
            self._put(item)

    def covers(self, version: int) -> bool:
        """Say whether everything after this version is here."""
        return self.oldest - 1 <= version <= self.head

    def after(self, version: int, last: int) -> Iterator[Item]:
        """Give what follows a version up to another one; it has to be covered."""
        return (self._items[number] for number in range(version + 1, last + 1))

    def restart(self, head: int) -> None:
        """Forget everything and go on after another version."""
        self._items.clear()
        self.head = head
        self.size_bytes = 0

    def _put(self, item: Item) -> None:
        self._items[item.version] = item
        self.size_bytes += len(item.entry.body)

    def _drop_oldest(self) -> None:
        dropped = self._items.pop(self.oldest)
        self.size_bytes -= len(dropped.entry.body)
