"""What each recent caller may see, and a stamp that moves whenever that changes.

A stamp makes a cache that needs no invalidation: an answer kept with the stamp of
before its query is right as long as the caller's stamp is still the same. Stamps move
with the events that this node commits, in the same step that makes them visible.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

from actors.domain.events import CommentEvent, Entry, TaskEvent
from actors.domain.model import Caller, ProjectId, UserId, UserRole
from actors.ports import Audience
from sql.lists import Sight
from sql.store import Store

_KEPT_USERS = 10_000
_COUNTED = 200_000
_RENEWED_PROJECTS = 100  # of a caller
_COMMENTS = frozenset(get_args(CommentEvent))
_TASKS_AND_COMMENTS = _COMMENTS | frozenset(get_args(TaskEvent))

Stamp = tuple[int, ...]


class _Known(NamedTuple):
    moves: int
    project_ids: tuple[ProjectId, ...]


class Sights:
    """Who sees which projects, and how often that has changed. A feed of events."""

    def __init__(self, store: Store):
        self._store = store
        self._known: OrderedDict[UserId, _Known] = OrderedDict()
        self._all = 0
        self._epoch = 0
        self._by_project: defaultdict[ProjectId, int] = defaultdict(int)
        self._by_party: defaultdict[UserId, int] = defaultdict(int)
        self._by_membership: defaultdict[UserId, int] = defaultdict(int)
        self._renewed: OrderedDict[UserId, dict[ProjectId, int]] = OrderedDict()

    def publish(self, audience: Audience, entries: Sequence[Entry]) -> None:
        """Move the stamps of all who may see these events, or could before them.

        Comments are in no list of tasks or projects, so they move none.
        """
        kinds = {type(entry.event) for entry in entries}
        if kinds <= _COMMENTS:
            return
        self._all += 1
        self._by_project[entries[0].event.project_id] += 1
        for user_id in (*audience.others, *audience.bystanders):
            self._by_party[user_id] += 1
        if not kinds <= _TASKS_AND_COMMENTS:
            for user_id in (*audience.members, *audience.others):
                self._by_membership[user_id] += 1
        counted = len(self._by_project) + len(self._by_party)
        if counted + len(self._by_membership) > _COUNTED:
            self._start_over()

    def begin(self, project_id: ProjectId, version: int) -> None:
        """Go on: the version of a project that is read anew makes no list stale."""

    def doubt(self) -> None:
        """Move all stamps: more may be committed than was published."""
        self._all += 1
        self._start_over()

    def has_renewed(self, caller: Caller, project_id: ProjectId, version: int) -> bool:
        """Say whether all that this caller is shown is of this version or later."""
        return self._renewed.get(caller.id, {}).get(project_id, 0) >= version

    def renew(self, caller: Caller, reached: Mapping[ProjectId, int]) -> None:
        """Move this caller's stamp, and look up anew what they may see.

        `reached` are versions that are committed, though perhaps not by this node: it
        may have taken them in without events, with an actor that was loaded after them.
        """
        self._all += caller.role is not UserRole.USER
        self._by_membership[caller.id] += 1
        renewed = self._renewed.setdefault(caller.id, {})
        if len(renewed) > _RENEWED_PROJECTS:
            renewed.clear()
        renewed.update(reached)
        self._renewed.move_to_end(caller.id)
        if len(self._renewed) > _KEPT_USERS:
            self._renewed.popitem(last=False)

    def stamp(self, caller: Caller) -> Stamp | None:
        """Give the stamp of what the caller sees; None until `sight` looked it up.

        Never waits, so what it says is of this very moment.
        """
        if caller.role is not UserRole.USER:
            return (self._epoch, self._all)
        known = self._fresh(caller.id)
        if known is None:
            return None
        moved = sum(self._by_project.get(key, 0) for key in known.project_ids)
        return (self._epoch, known.moves, self._by_party.get(caller.id, 0), moved)

    async def sight(self, caller: Caller) -> Sight:
        """Look up what the caller may see; from memory for a recent caller."""
        if caller.role is not UserRole.USER:
            return Sight(user_id=caller.id, role=caller.role, project_ids=())
        known = self._fresh(caller.id)
        if known is None:
            moves = self._moves(caller.id)
            found = await self._store.visible_ids(caller.id)
            known = self._known[caller.id] = _Known(moves, found)
            if len(self._known) > _KEPT_USERS:
                self._known.popitem(last=False)
        return Sight(user_id=caller.id, role=caller.role, project_ids=known.project_ids)

    def _fresh(self, user_id: UserId) -> _Known | None:
        known = self._known.get(user_id)
        if known is None or known.moves != self._moves(user_id):
            return None
        self._known.move_to_end(user_id)
        return known

    def _moves(self, user_id: UserId) -> int:
        return self._epoch + self._by_membership.get(user_id, 0)

    def _start_over(self) -> None:
        """Forget the counts, which grow with all that ever changed; all stamps move."""
        self._epoch += self._all
        for counts in (self._by_project, self._by_party, self._by_membership):
            counts.clear()
        self._known.clear()
