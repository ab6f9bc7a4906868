"""What handlers ask about users: that they are there, and where their tasks go."""

from collections import OrderedDict

from actors.domain.commands import Unset
from actors.domain.errors import UserNotFound
from actors.domain.model import ProjectId, UserId
from sql.accounts import Accounts
from sql.store import Store

_KEPT = 20_000


class People:
    """Users are never deleted and inboxes never move, so what was found stays true."""

    def __init__(self, accounts: Accounts, store: Store):
        self._accounts = accounts
        self._store = store
        self._there: OrderedDict[UserId, None] = OrderedDict()
        self._inboxes: OrderedDict[UserId, ProjectId] = OrderedDict()

    async def require(self, user_id: object, pointer: str) -> None:
        """Raise UserNotFound with `pointer` if an id is given and nobody has it."""
        if user_id is None or isinstance(user_id, Unset):
            return
        if not await self.knows(UserId(int(str(user_id)))):
            raise UserNotFound(pointer=pointer)

    async def knows(self, user_id: UserId) -> bool:
        """Tell whether somebody has this id."""
        if user_id in self._there:
            return True
        if await self._accounts.get_user(user_id) is None:
            return False
        self._there[user_id] = None
        if len(self._there) > _KEPT:
            self._there.popitem(last=False)
        return True

    async def inbox(self, user_id: UserId) -> ProjectId:
        """Find the user's inbox project."""
        known = self._inboxes.get(user_id)
        if known is not None:
            return known
        found = self._inboxes[user_id] = await self._store.inbox_of(user_id)
        if len(self._inboxes) > _KEPT:
            self._inboxes.popitem(last=False)
        return found
