"""Very many users of a running server, made without the cost of their passwords."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
import argon2

from actors.domain.model import UserId, UserRole
from server.ids import Ids
from server.passwords import Passwords
from server.registration import create_account
from server.sessions import Sessions
from server.tokens import Tokens
from sql.accounts import Accounts
from sql.database import Database
from sql.store import Store
from tests.e2e.clients import Api
from tests.e2e.servers import Served
from tests.factories import AT

SECRETS = {"JWT_SECRET_KEY": "a" * 40, "JWT_REFRESH_SECRET_KEY": "b" * 40}


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody, and one of their sessions."""

    user_id: UserId
    session_id: int
    api: Api


class People:
    """Makes accounts in the database of a server that was started with `SECRETS`."""

    def __init__(
        self, served: Served, client: aiohttp.ClientSession, database: Database
    ):
        self._served = served
        self._client = client
        self._accounts = Accounts(database)
        self._ids = Ids(Store(database))
        weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self._passwords = Passwords(hasher=weak)
        self._tokens = Tokens(
            access_secret=SECRETS["JWT_SECRET_KEY"].encode(),
            refresh_secret=SECRETS["JWT_REFRESH_SECRET_KEY"].encode(),
        )
        self._sessions = Sessions(self._accounts, self._tokens)
        self._count = 0

    @classmethod
    @asynccontextmanager
    async def of(cls, served: Served, database_url: str) -> AsyncIterator[Self]:
        """Have them for as long as the context lasts."""
        database = await Database.open(database_url, size=2)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as client:
            people = cls(served, client, database)
            yield people
        people._passwords.close()
        await database.close()

    async def person(self, role: UserRole = UserRole.USER) -> Account:
        """Make somebody who has a session."""
        self._count += 1
        name = f"user{self._count}"
        user = await create_account(
            self._accounts,
            self._ids,
            self._passwords,
            email=f"{name}@example.com",
            username=name,
            password="correct horse battery",
            role=role,
            at=AT,
            request_id="test",
        )
        return await self.session(user.id)

    async def session(self, user_id: UserId) -> Account:
        """Log somebody in once more."""
        pair = await self._sessions.open(user_id)
        assert pair is not None
        api = Api(self._client, self._served)
        api.headers["Authorization"] = f"Bearer {pair.access_token}"
        session_id = self._tokens.verify(pair.access_token).session_id
        return Account(user_id, session_id, api)
