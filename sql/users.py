"""Accounts as they are shown, listed and changed; see `sql.accounts` for log-ins."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NewType

from actors.domain.errors import LastAdmin, StoreUnavailable, VersionMismatch
from actors.domain.model import UserId, UserRole
from sql.database import Connection, Database, load_queries, row_count
from sql.lists import Page, UserFilter, params
from sql.receipts import Receipt, Receive, keep

SessionId = NewType("SessionId", int)

_USERS = load_queries("users")
_SESSIONS = load_queries("sessions")
_TRIES = 20  # each one that is lost was won by another change of the same user


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account as it may be shown."""

    id: UserId
    email: str
    username: str
    first_name: str
    last_name: str
    role: UserRole
    is_active: bool
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def is_active_admin(self) -> bool:
        """Whether this is one of those who can administer."""
        return self.is_active and self.role is UserRole.ADMIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account, and what its password is verified against."""

    user: User
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedUser:
    """A user after a change, and what it means for those who are logged in.

    `ended` are the sessions that it ended, `reseated` those that go on with another
    role.
    """

    user: User
    ended: frozenset[SessionId] = frozenset()
    reseated: frozenset[SessionId] = frozenset()


class Users:
    """Every method may wait, and raises StoreUnavailable when the database is away."""

    def __init__(self, database: Database, *, lists: Database | None = None):
        self._database = database
        self._lists = lists or database

    async def get(self, user_id: UserId) -> User | None:
        """Read the account, active or not."""
        async with self._database.connection() as connection:
            return await _get(connection, user_id)

    async def list_page(self, wanted: UserFilter, page: Page) -> tuple[list[User], int]:
        """Give a page of the accounts, and the whole list's length."""
        given = params(wanted) | params(page)
        async with self._lists.connection() as connection:
            rows = [row async for row in _USERS.list_users(connection, **given)]
        found = [user_of(row) for row in rows if row["id"] is not None]
        return found, rows[0]["total"]

    async def change(
        self,
        user_id: UserId,
        fields: Mapping[str, Any],
        *,
        at: datetime,
        if_match: Collection[int] | None = None,
        receive: Receive[User] | None = None,
    ) -> ChangedUser | None:
        """Change the named fields of a user; None if there is no such user.

        What changes nothing makes no version. Who becomes inactive is logged out.
        `receive` makes the receipt that is kept with the change. Raises
        VersionMismatch, LastAdmin, EmailTaken, UsernameTaken, KeyAlreadyUsed.
        """
        for _ in range(_TRIES):
            async with self._database.transaction() as connection:
                admins = await _held_admins(connection, fields)
                current = await _get(connection, user_id)
                if current is None:
                    return None
                _match(current, if_match)
                changed = await _change(connection, current, fields, at)
                if changed is None:
                    continue  # somebody else was faster: look again
                if _is_without_admin(current, changed, admins):
                    raise LastAdmin
                await keep(connection, None if receive is None else receive(changed))
                return await _with_sessions(connection, current, changed)
        raise StoreUnavailable

    async def credentials(self, user_id: UserId) -> Credentials | None:
        """Read what the user's password is verified against."""
        async with self._database.connection() as connection:
            row = await _USERS.get_credentials(connection, user_id=user_id)
        return None if row is None else credentials_of(row)

    async def rehash_password(
        self, user_id: UserId, password_hash: str, *, replaced: str
    ) -> bool:
        """Hash the same password anew; False if it was changed in the meantime."""
        async with self._database.connection() as connection:
            status = await _USERS.replace_password_hash(
                connection,
                user_id=user_id,
                password_hash=password_hash,
                replaced=replaced,
            )
        return row_count(status) == 1

    async def change_password(  # each is a condition or an effect
        self,
        user_id: UserId,
        password_hash: str,
        *,
        replaced: str,
        kept: SessionId,
        if_match: Collection[int] | None = None,
        receipt: Receipt | None = None,
    ) -> frozenset[SessionId] | None:
        """Set another password, and end all of the user's sessions but one.

        Names the sessions that it ended; None if `replaced` is no longer the hash.
        Raises VersionMismatch, KeyAlreadyUsed.
        """
        async with self._database.transaction() as connection:
            status = await _USERS.replace_password_hash(
                connection,
                user_id=user_id,
                password_hash=password_hash,
                replaced=replaced,
            )
            if row_count(status) == 0:
                return None
            current = await _get(connection, user_id)
            if current is not None:
                _match(current, if_match)
            await keep(connection, receipt)
            return await _end_sessions(connection, user_id, kept, "password_changed")


def user_of(row: Mapping[str, Any]) -> User:
    """Read the columns that every query of users gives."""
    return User(
        id=UserId(row["id"]),
        email=row["email"],
        username=row["username"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        role=UserRole(row["role"]),
        is_active=row["is_active"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def credentials_of(row: Mapping[str, Any]) -> Credentials:
    """Read the same columns, and the hash."""
    return Credentials(user=user_of(row), password_hash=row["password_hash"])


async def _get(connection: Connection, user_id: UserId) -> User | None:
    row = await _USERS.get_user(connection, user_id=user_id)
    return None if row is None else user_of(row)


def _match(current: User, if_match: Collection[int] | None) -> None:
    if if_match is not None and current.version not in if_match:
        raise VersionMismatch(current.version)


async def _held_admins(
    connection: Connection, fields: Mapping[str, Any]
) -> frozenset[int]:
    """Hold all administrators, in the order of their ids, if one may go.

    So two who remove each other take turns, and the second is refused.
    """
    if not fields.keys() & {"role", "is_active"}:
        return frozenset()
    rows = [row async for row in _USERS.list_active_admins(connection)]
    return frozenset(row["id"] for row in rows)


async def _change(
    connection: Connection, current: User, fields: Mapping[str, Any], at: datetime
) -> User | None:
    """Give the user after the change; None if it is no longer what it was."""
    if all(getattr(current, name) == value for name, value in fields.items()):
        return current
    values = {
        name: fields.get(name, getattr(current, name))
        for name in (
            "email",
            "username",
            "first_name",
            "last_name",
            "role",
            "is_active",
        )
    }
    row = await _USERS.update_user(
        connection, user_id=current.id, at=at, version=current.version, **values
    )
    return None if row is None else user_of(row)


def _is_without_admin(before: User, after: User, admins: frozenset[int]) -> bool:
    is_one_less = before.is_active_admin and not after.is_active_admin
    return is_one_less and admins <= {before.id}


async def _with_sessions(
    connection: Connection, before: User, after: User
) -> ChangedUser:
    if before.is_active and not after.is_active:
        ended = await _end_sessions(connection, after.id, None, "deactivated")
        return ChangedUser(user=after, ended=ended)
    if before.role is after.role:
        return ChangedUser(user=after)
    rows = _SESSIONS.list_session_ids(connection, user_id=after.id)
    reseated = frozenset([SessionId(row["id"]) async for row in rows])
    return ChangedUser(user=after, reseated=reseated)


async def _end_sessions(
    connection: Connection, user_id: UserId, kept: SessionId | None, reason: str
) -> frozenset[SessionId]:
    rows = _SESSIONS.revoke_sessions(
        connection, user_id=user_id, kept=kept, reason=reason
    )
    return frozenset([SessionId(row["id"]) async for row in rows])
