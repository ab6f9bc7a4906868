"""What handlers ask about users: that they are there, and where their tasks go."""

from collections import OrderedDict

from actors.domain.commands import Command, Unset
from actors.domain.decide import decide
from actors.domain.errors import UserNotFound
from actors.domain.model import ProjectId, UserId
from actors.domain.state import ProjectState
from sql.store import Store
from sql.users import Users

_KEPT = 20_000


class People:
    """Users are never deleted and inboxes never move, so what was found stays true."""

    def __init__(self, users: Users, store: Store):
        self._users = users
        self._store = store
        self._there: OrderedDict[UserId, None] = OrderedDict()
        self._inboxes: OrderedDict[UserId, ProjectId] = OrderedDict()

    async def require(
        self, user_id: object, pointer: str, state: ProjectState, command: Command
    ) -> None:
        """Raise UserNotFound with `pointer` if an id is given and nobody has it.

        What else refuses the command goes first: who may not give it learns nothing
        of users.
        """
        if user_id is None or isinstance(user_id, Unset) or user_id in self._there:
            return
        found = UserId(int(str(user_id)))
        if await self._users.get(found) is None:
            decide(state, command)
            raise UserNotFound(pointer=pointer)
        self._there[found] = None
        if len(self._there) > _KEPT:
            self._there.popitem(last=False)

    async def inbox(self, user_id: UserId) -> ProjectId:
        """Find the user's inbox project."""
        known = self._inboxes.get(user_id)
        if known is not None:
            return known
        found = self._inboxes[user_id] = await self._store.inbox_of(user_id)
        if len(self._inboxes) > _KEPT:
            self._inboxes.popitem(last=False)
        return found
