"""Log-ins: new accounts, sessions and refresh tokens, straight from the database.

Passing time is told by the database, so that nodes whose clocks differ agree.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from actors.domain.errors import KeyAlreadyUsed
from actors.domain.events import Batch
from actors.domain.model import UserId, UserRole
from sql.database import (
    Connection,
    Database,
    delete_all,
    load_queries,
    row_count,
)
from sql.journal import append_on
from sql.receipts import Receipt, Receive, Remembered, keep, remembered
from sql.users import Credentials, SessionId, User, credentials_of, user_of

_USERS = load_queries("users")
_SESSIONS = load_queries("sessions")
_ADDRESS_LENGTH = 100
_USER_AGENT_LENGTH = 300
_FORGOTTEN_SESSIONS = 100  # in one statement; each may have thousands of tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """An account to be made; `at` is the time it is made."""

    id: UserId
    email: str
    username: str
    password_hash: str = field(repr=False)
    first_name: str = ""
    last_name: str = ""
    role: UserRole = UserRole.USER
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A log-in that has not ended."""

    id: SessionId
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    user_agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSession:
    """Whose session it is, and what they may do at this moment."""

    user_id: UserId
    role: UserRole
    is_active: bool


class Outcome(StrEnum):
    """What became of an attempt to use a refresh token."""

    ROTATED = "rotated"
    REPEATED = "repeated"  # again within the grace: the answer was lost, or two raced
    REUSED = "reused"  # again after the grace: its session is revoked now
    REFUSED = "refused"  # unknown, or its session has ended, or its user is inactive


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The outcome, and whose session it was; both ids are None for a refusal.

    `known` is how the first request with the same key was answered.
    """

    outcome: Outcome
    session_id: SessionId | None = None
    user_id: UserId | None = None
    known: Remembered | None = None


class Accounts:
    """Every method may wait, and raises StoreUnavailable when the database is away.

    `on_created` is given the inbox of each account that was made here; it may not wait.
    """

    def __init__(
        self,
        database: Database,
        *,
        on_created: Callable[[Batch], None] = lambda inbox: None,
    ):
        self._database = database
        self._on_created = on_created

    async def create_user(
        self, new: NewUser, inbox: Batch, *, receive: Receive[User] | None = None
    ) -> User:
        """Make the user and their inbox project in one transaction.

        `receive` makes the receipt that is kept with them. Raises EmailTaken or
        UsernameTaken, whatever the case of the letters.
        """
        async with self._database.transaction() as connection:
            row = await _USERS.create_user(
                connection,
                user_id=new.id,
                email=new.email,
                username=new.username,
                password_hash=new.password_hash,
                first_name=new.first_name,
                last_name=new.last_name,
                role=new.role,
                at=new.at,
            )
            if inbox.project_id not in await append_on(connection, [inbox]):
                msg = f"project {inbox.project_id} exists before its owner"
                raise RuntimeError(msg)
            user = user_of(row)
            await keep(connection, None if receive is None else receive(user))
        self._on_created(inbox)
        return user

    async def find_by_login(
        self, *, email: str | None = None, username: str | None = None
    ) -> Credentials | None:
        """Find whose address or name this is; what cannot be stored is nobody's."""
        login = email if email is not None else username
        if login is None or not _is_storable(login):
            return None
        async with self._database.connection() as connection:
            if email is not None:
                row = await _USERS.get_credentials_by_email(connection, email=login)
            else:
                row = await _USERS.get_credentials_by_username(
                    connection, username=login
                )
        if row is None:
            return None
        return credentials_of(row)

    async def create_session(  # noqa: PLR0913  # a session has that many parts
        self,
        user_id: UserId,
        digest: bytes,
        *,
        lifetime_seconds: float,
        address: str = "",
        user_agent: str = "",
        password_hash: str | None = None,
        receive: Receive[SessionId] | None = None,
    ) -> SessionId | None:
        """Log a user in with their first refresh token.

        None if they are inactive, or no longer have the hash that is named. `receive`
        makes the receipt that is kept with the session; raises KeyAlreadyUsed.
        """
        async with self._lent(with_receipt=receive is not None) as connection:
            session_id = await _SESSIONS.create_session(
                connection,
                user_id=user_id,
                password_hash=password_hash,
                digest=digest,
                lifetime_seconds=lifetime_seconds,
                address=_printable(address, _ADDRESS_LENGTH),
                user_agent=_printable(user_agent, _USER_AGENT_LENGTH),
            )
            if session_id is not None and receive is not None:
                await keep(connection, receive(SessionId(session_id)))
        return None if session_id is None else SessionId(session_id)

    async def is_unused(self, digest: bytes) -> bool:
        """Say whether a refresh token is good: live, and never used."""
        async with self._database.connection() as connection:
            row = await _SESSIONS.get_refresh_token(
                connection, digest=digest, grace_seconds=0.0
            )
        return row is not None and row["is_live"] and not row["is_used"]

    async def rotate(
        self,
        digest: bytes,
        successor: bytes,
        *,
        grace_seconds: float,
        receive: Callable[[UserId, SessionId], Receipt] | None = None,
    ) -> Rotation:
        """Use a refresh token up and leave its successor.

        Of any number of callers with one token one rotates it. `successor` has to be
        a function of the token, so that those who repeat it can be given the same.
        `receive` makes the receipt that is kept with it; raises KeyAlreadyUsed if its
        key went with something else.
        """
        async with self._database.transaction() as connection:
            row = await _SESSIONS.rotate_refresh_token(
                connection, digest=digest, successor=successor
            )
            if row is not None:
                await keep(
                    connection, receive and receive(row["user_id"], row["session_id"])
                )
                return _rotation(Outcome.ROTATED, row)
            row = await _SESSIONS.get_refresh_token(
                connection, digest=digest, grace_seconds=grace_seconds
            )
            if row is None or not row["is_live"] or not row["is_used"]:
                return Rotation(outcome=Outcome.REFUSED)
            if row["is_in_grace"]:
                known = await _known(
                    connection, receive and receive(row["user_id"], row["session_id"])
                )
                return _rotation(Outcome.REPEATED, row, known)
            await _revoke(connection, row["session_id"], None, "reuse")
            return _rotation(Outcome.REUSED, row)

    async def revoke_session(
        self,
        session_id: int,
        *,
        user_id: UserId | None = None,
        reason: str,
        receipt: Receipt | None = None,
    ) -> bool:
        """End a session; False if it is not live, or not of the user who is named.

        The receipt is kept if it was ended; raises KeyAlreadyUsed.
        """
        async with self._lent(with_receipt=receipt is not None) as connection:
            is_ended = await _revoke(connection, session_id, user_id, reason)
            if is_ended:
                await keep(connection, receipt)
        return is_ended

    async def list_sessions(
        self, user_id: UserId, *, limit: int, offset: int = 0
    ) -> tuple[list[Session], int]:
        """Read a page of the user's live sessions, newest first, and their number."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SESSIONS.list_sessions.sql, user_id, limit, offset
            )
            total = await _SESSIONS.count_sessions(connection, user_id=user_id)
        return [Session(**row) for row in rows], total

    async def forget_sessions(self) -> None:
        """Delete the sessions that expired a week ago, revoked or not."""
        delete = _SESSIONS.delete_ended_sessions
        await delete_all(self._database, delete, _FORGOTTEN_SESSIONS)

    async def live_sessions(
        self, session_ids: Collection[int]
    ) -> Mapping[int, LiveSession]:
        """Those of the sessions that are neither revoked nor expired; one query."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SESSIONS.list_live_sessions.sql, list(session_ids)
            )
        return {row["id"]: _live_session(row) for row in rows}

    def _lent(self, *, with_receipt: bool) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection: two statements need a transaction, one is its own."""
        database = self._database
        return database.transaction() if with_receipt else database.connection()


async def _revoke(
    connection: Connection, session_id: int, user_id: UserId | None, reason: str
) -> bool:
    status = await _SESSIONS.revoke_session(
        connection, session_id=session_id, user_id=user_id, reason=reason
    )
    return row_count(status) == 1


def _live_session(row: Mapping[str, Any]) -> LiveSession:
    return LiveSession(
        user_id=UserId(row["user_id"]),
        role=UserRole(row["role"]),
        is_active=row["is_active"],
    )


async def _known(connection: Connection, receipt: Receipt | None) -> Remembered | None:
    """How the receipt's key was answered; from now on by this receipt, if never."""
    if receipt is None:
        return None
    known = await remembered(connection, receipt.key.user_id, receipt.key.key)
    if known is None:
        await keep(connection, receipt)
    elif known.fingerprint != receipt.key.fingerprint:
        raise KeyAlreadyUsed
    return known


def _rotation(
    outcome: Outcome, row: Mapping[str, Any], known: Remembered | None = None
) -> Rotation:
    return Rotation(
        known=known,
        outcome=outcome,
        session_id=SessionId(row["session_id"]),
        user_id=UserId(row["user_id"]),
    )


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _printable(text: str, length: int) -> str:
    """Cut a header down to what is worth keeping and can be stored."""
    whole = text.encode(errors="replace").decode()
    return "".join(letter for letter in whole if letter.isprintable())[:length]
