"""Who is there, and where their inbox is: asked once."""

from collections.abc import AsyncIterator

import pytest

from actors.domain.commands import UNSET, CreateProject, UpdateProject
from actors.domain.errors import ProjectNotFound, UserNotFound
from actors.domain.model import ProjectId, UserId
from actors.domain.state import ProjectState
from server.people import People
from sql.database import Database
from sql.store import Store
from sql.users import User, Users
from tests.factories import ADA, BOB, CYD, insert_users, make_batch, make_command

INBOX = ProjectId(8)
STATE = ProjectState(project_id=ProjectId(7))
ALLOWED = make_command(CreateProject, project_id=7, owner_id=ADA)


class CountingUsers(Users):
    asked = 0

    async def get(self, user_id: UserId) -> User | None:
        self.asked += 1
        return await super().get(user_id)


class CountingStore(Store):
    asked = 0

    async def inbox_of(self, user_id: UserId) -> ProjectId:
        self.asked += 1
        return await super().inbox_of(user_id)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url)
    await insert_users(database, ADA, BOB)
    yield database
    await database.close()


@pytest.fixture
def users(database: Database) -> CountingUsers:
    return CountingUsers(database)


@pytest.fixture
async def store(database: Database) -> CountingStore:
    store = CountingStore(database)
    for number, owner in ((INBOX, ADA), (9, BOB)):
        state = ProjectState(project_id=ProjectId(number))
        creation = make_command(
            CreateProject, project_id=number, owner_id=owner, is_inbox=True
        )
        await store.append([make_batch(state, creation)])
    return store


@pytest.fixture
def people(users: CountingUsers, store: CountingStore) -> People:
    return People(users, store)


async def test_a_user_who_is_there_is_looked_up_once(
    people: People, users: CountingUsers
) -> None:
    for _ in range(3):
        await people.require(ADA, "/assigned_to", STATE, ALLOWED)

    assert users.asked == 1


@pytest.mark.parametrize("nobody", [None, UNSET])
async def test_nobody_is_not_looked_up(
    people: People, users: CountingUsers, nobody: object
) -> None:
    await people.require(nobody, "/assigned_to", STATE, ALLOWED)

    assert users.asked == 0


async def test_a_user_who_is_not_there_is_named_by_the_field(
    people: People, users: CountingUsers, database: Database
) -> None:
    for _ in range(2):
        with pytest.raises(UserNotFound) as refusal:
            await people.require(CYD, "/assigned_to", STATE, ALLOWED)
        assert refusal.value.pointer == "/assigned_to"

    await insert_users(database, CYD)
    await people.require(CYD, "/assigned_to", STATE, ALLOWED)
    assert users.asked == 3


async def test_what_is_refused_anyway_is_refused_first(people: People) -> None:
    refused = make_command(UpdateProject, name="Mine")

    with pytest.raises(ProjectNotFound):
        await people.require(CYD, "/owner_id", STATE, refused)


async def test_an_inbox_is_looked_up_once(people: People, store: CountingStore) -> None:
    assert [await people.inbox(ADA) for _ in range(3)] == [INBOX] * 3
    assert store.asked == 1


async def test_a_missing_inbox_is_looked_up_again(
    people: People, store: CountingStore
) -> None:
    for _ in range(2):
        with pytest.raises(ProjectNotFound):
            await people.inbox(CYD)

    assert store.asked == 2


async def test_memory_of_people_has_a_limit(
    people: People,
    users: CountingUsers,
    store: CountingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.people._KEPT", 1)

    for user in (ADA, BOB, ADA):
        await people.require(user, "/assigned_to", STATE, ALLOWED)
        await people.inbox(user)

    assert (users.asked, store.asked) == (3, 3)
