"""A database that is frozen, or gone behind a dead network: no wait is without end.

What is between this side and PostgreSQL holds back every byte, new connections' too.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from actors.domain.commands import CreateProject, CreateTask
from actors.domain.errors import OutcomeUnknown, StoreUnavailable
from actors.domain.events import Batch
from actors.domain.state import ProjectState
from sql.database import Database
from sql.store import Store
from tests.factories import (
    ADA,
    PROJECT,
    insert_users,
    make_batch,
    make_command,
    make_new_state,
)

PATIENCE_SECONDS = 0.4
SLACK_SECONDS = 0.6  # a busy machine


class Wire:
    """What lies between a client and PostgreSQL's socket."""

    def __init__(self, directory: Path, server: Path):
        self._server = server
        self.path = directory / server.name
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    def heal(self) -> None:
        """Serve new connections; those that there are stay frozen for ever."""
        self._thawed = asyncio.Event()
        self._thawed.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, self.path)
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        thawed = self._thawed
        ours, theirs = await asyncio.open_unix_connection(self._server)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, theirs, thawed))
                group.create_task(_pass_on(ours, writer, thawed))
        finally:
            writer.transport.abort()
            theirs.transport.abort()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thawed: asyncio.Event
) -> None:
    with suppress(ConnectionError):
        while said := await reader.read(65536):
            await thawed.wait()
            writer.write(said)
    writer.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="wire-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def wire(database_url: str, directory: Path) -> AsyncIterator[Wire]:
    (host,) = parse_qs(urlsplit(database_url).query)["host"]
    wire = Wire(directory, Path(host) / ".s.PGSQL.5432")
    async with wire.listening():
        yield wire


@pytest.fixture
async def database(database_url: str, wire: Wire) -> AsyncIterator[Database]:
    url = database_url.replace(str(wire._server.parent), str(wire.path.parent))
    database = await Database.open(url, size=4, timeout_seconds=PATIENCE_SECONDS)
    yield database
    await database.close()


@pytest.fixture
async def store(database: Database, wire: Wire) -> Store:
    """One of a database whose connections are all open."""
    await insert_users(database, ADA)
    store = Store(database)
    batch = make_batch(ProjectState(project_id=PROJECT), make_command(CreateProject))
    await store.append([batch])
    await use_all(database)
    return store


async def use_all(database: Database) -> None:
    async def use() -> None:
        async with database.connection() as connection:
            await connection.execute("SELECT pg_sleep(0.02)")

    await asyncio.gather(*(use() for _ in range(4)))


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE_SECONDS + SLACK_SECONDS


def write() -> Batch:
    return make_batch(make_new_state(), make_command(CreateTask))


async def test_a_frozen_database_takes_nobody_longer_than_the_limit(
    store: Store, wire: Wire
) -> None:
    wire.freeze()

    async with in_time():
        answers = await asyncio.gather(
            *(store.ping() for _ in range(12)),
            store.append([write()]),
            store.load(PROJECT),
            return_exceptions=True,
        )

    assert {type(answer) for answer in answers} <= {StoreUnavailable, OutcomeUnknown}


async def test_a_database_that_freezes_within_a_transaction_changed_nothing(
    store: Store, wire: Wire
) -> None:
    async def freeze_within() -> None:
        async with store.exclusive(PROJECT) as held:
            wire.freeze()
            await held.append(write())

    async with in_time():
        with pytest.raises(StoreUnavailable):
            await freeze_within()

    wire.thaw()
    assert await store.events_since(PROJECT, 1, 10) == []


async def test_a_write_that_froze_may_have_happened(store: Store, wire: Wire) -> None:
    wire.freeze()

    with pytest.raises(OutcomeUnknown):
        await store.append([write()])


async def test_who_gives_up_does_not_wait_for_a_frozen_database(
    store: Store, wire: Wire
) -> None:
    wire.freeze()
    began = time.monotonic()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await store.ping()

    assert time.monotonic() - began < PATIENCE_SECONDS


async def test_all_is_well_at_once_when_the_database_is_back(
    store: Store, wire: Wire
) -> None:
    wire.freeze()
    with pytest.raises(StoreUnavailable):
        await store.ping()

    wire.thaw()

    await asyncio.gather(*(store.ping() for _ in range(12)))


async def test_one_lost_connection_tells_of_all(store: Store, wire: Wire) -> None:
    """Those that were open have gone without a word, as with a dead network."""
    wire.freeze()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    wire.heal()

    await asyncio.gather(*(store.ping() for _ in range(4)))


async def test_closing_does_not_wait_for_a_frozen_database(
    database_url: str, store: Store, wire: Wire
) -> None:
    url = database_url.replace(str(wire._server.parent), str(wire.path.parent))
    database = await Database.open(url, size=2, timeout_seconds=PATIENCE_SECONDS)
    wire.freeze()
    began = time.monotonic()

    await database.close()

    assert time.monotonic() - began < 2
