"""The real servers: one PostgreSQL and Valkey a run, a database of its own a test.

The migrations are applied once, to a template; a test's database is a clone of it.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from redis import Redis

from server import migrate
from server.embedded import Embedded, Servers
from tests.described import take_undescribed

# The cluster is thrown away after the run; nothing that a crash would lose matters.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "checkpoint_timeout": "1h",
}
_MEMORY = Path("/dev/shm")  # noqa: S108 (private directories are made in it)
_MEMORY_BYTES = 1 << 30  # a clone takes 8 MB
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _everything_said_is_described() -> Iterator[None]:
    """Fail where a message on a socket is not as the AsyncAPI document says."""
    yield
    assert take_undescribed() == []


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """An empty data directory that root's PostgreSQL, which is not root, gets to."""
    with _directory(_memory()) as directory:
        yield directory


@pytest.fixture(scope="module")
def module_data_dir() -> Iterator[Path]:
    """One that all tests of a module share."""
    with _directory(_memory()) as directory:
        yield directory


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The URLs of the run's own PostgreSQL and Valkey."""
    with _directory(_memory()) as directory:
        running = _Running(directory)
        yield running.servers
        running.stop()


@pytest.fixture(scope="session")
def template(servers: Servers) -> str:
    """The URL of the migrated database that the others are cloned from."""
    url = servers.database_url or ""
    migrate.migrate(url)
    return url


@pytest.fixture
def database_url(template: str) -> Iterator[str]:
    """A migrated, empty database that belongs to this test."""
    with _clone(template) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(template: str) -> Iterator[str]:
    """One that all tests of a module share."""
    with _clone(template) as url:
        yield url


@pytest.fixture
def empty_database_url(servers: Servers) -> Iterator[str]:
    """A database without any table."""
    with _database(servers.database_url or "", "TEMPLATE template0") as url:
        yield url


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """A Valkey that holds nothing yet."""
    return _flushed(servers)


@pytest.fixture(scope="module")
def module_redis_url(servers: Servers) -> str:
    """One that all tests of a module share."""
    return _flushed(servers)


def _clone(template: str) -> AbstractContextManager[str]:
    return _database(template, f"TEMPLATE boardcast STRATEGY {_strategy()}")


@contextmanager
def _database(url: str, options: str) -> Iterator[str]:
    """Make a database beside the one of `url`, and drop it whoever is connected.

    Not by FORCE: it refuses where a superuser's autovacuum is at work, which a plain
    DROP sends away.
    """
    name = f"test_{next(_numbers)}"
    with closing(migrate.connect(url.replace("/boardcast?", "/postgres?"))) as admin:
        admin.cursor().execute(f"CREATE DATABASE {name} {options}")
        yield url.replace("/boardcast?", f"/{name}?")
        admin.cursor().execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND usename = current_user",
            (name,),
        )
        admin.cursor().execute(f"DROP DATABASE {name}")


def _flushed(servers: Servers) -> str:
    url = servers.redis_url or ""
    with Redis.from_url(url) as client:
        client.flushall()
    return url


def _memory() -> Path | None:
    """Where a clone takes 20 ms instead of 200 to 400: a file system in memory."""
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES else None


def _strategy() -> str:
    # Measured: copying files is twice as fast in memory, and half as fast on a disk.
    return "FILE_COPY" if _memory() else "WAL_LOG"


class _directory:  # noqa: N801 (used like a function)
    """A directory in the system's temporary one: short, and open to pass through."""

    def __init__(self, parent: Path | None = None):
        self._parent = parent

    def __enter__(self) -> Path:
        self._path = Path(tempfile.mkdtemp(prefix="boardcast-", dir=self._parent))
        self._path.chmod(0o711)
        return self._path

    def __exit__(self, *raised: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


class _Running:
    """The servers, in a thread with a loop of its own that outlives every test's."""

    def __init__(self, directory: Path):
        self._started: Future[Servers] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(directory,))
        self._thread.start()
        self.servers = self._started.result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, directory: Path) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(directory))

    async def _serve(self, directory: Path) -> None:
        try:
            async with Embedded(directory, postgres_settings=_FAST) as servers:
                self._started.set_result(servers)
                await self._stop.wait()
        except Exception as error:  # noqa: BLE001 (told by the fixture)
            if not self._started.done():
                self._started.set_exception(error)
