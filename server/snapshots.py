"""Copies of large projects in Redis, for cold starts that are faster than the tables.

A copy is a hint: whoever finds one checks it against the log (`actors.loader`). It is
made in the background, in slices, and one at a time; a load waits for Redis a quarter
of a second at most, and while Redis is away not at all.
"""

import asyncio
import time
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import structlog
from aiohttp import web
from redis.exceptions import RedisError

from actors.domain.model import Comment, Member, Project, ProjectId, Task
from actors.domain.state import ProjectState
from server import keys
from server.hints import REDIS_SECONDS, Client
from server.seals import Seal
from sql.values import by_task

_log = structlog.get_logger(__name__)

_T = TypeVar("_T")

FORMAT = 1  # of what is kept: another one is never read as this one
LIFETIME_SECONDS = 24 * 3600
# Tasks and comments. With fewer the tables are as fast (`python -m loadtests.memory`).
LEAST_ITEMS = 500
_MOST_BYTES = 8 << 20
_AWAY_SECONDS = 5.0  # until Redis is tried again
_SLICE = 500  # things made at a time: 1 to 3 ms
_SLICE_BYTES = 16 << 20  # of such a slice, unpacked
_LEVEL = 1  # a third of the bytes, in a tenth of the time that the tables take
_WAITING = 16  # copies to be made; each holds its state's tasks in memory
_ASKING = 8  # loads that ask Redis at a time; the others do not wait for their turn
_KEPT_VERSIONS = 10_000


class _Sheet(msgspec.Struct, frozen=True, array_like=True):
    format: int
    database: str
    version: int
    tip: bytes
    project: Project
    members: list[bytes]
    tasks: list[bytes]
    comments: list[bytes]


class _Slices(Generic[_T]):
    """Many things as packed slices, and back; others have their turn in between."""

    def __init__(self, kind: type[_T]):
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[list[_T]] = msgspec.msgpack.Decoder(
            list[kind]  # type: ignore[valid-type]  # it is what the caller names
        )

    async def pack(self, things: Sequence[_T]) -> list[bytes]:
        """Make slices; raises ValueError if they are too large."""
        packed = []
        for start in range(0, len(things), _SLICE):
            plain = self._encoder.encode(things[start : start + _SLICE])
            if len(plain) > _SLICE_BYTES:
                raise ValueError("a slice is too large")
            packed.append(zlib.compress(plain, _LEVEL))
            await asyncio.sleep(0)
        return packed

    async def unpack(self, packed: Sequence[bytes]) -> list[_T]:
        """Read slices; raises ValueError or zlib.error for what is none."""
        things: list[_T] = []
        for part in packed:
            plain = zlib.decompressobj().decompress(part, _SLICE_BYTES)
            things += self._decoder.decode(plain)
            await asyncio.sleep(0)
        return things


_encoder = msgspec.msgpack.Encoder()
_sheets = msgspec.msgpack.Decoder(_Sheet)
_members, _tasks, _comments = _Slices(Member), _Slices(Task), _Slices(Comment)


@dataclass(frozen=True, slots=True)
class _Copy:
    """What a state was at one moment: its values are never changed, only replaced."""

    project_id: ProjectId
    version: int
    tip: bytes
    project: Project
    members: Sequence[Member]
    tasks: Sequence[Task]
    comments: Sequence[Comment]


async def opened(app: web.Application) -> AsyncIterator[None]:
    """Keep copies of the projects of the application's database."""
    identity = await app[keys.STORE].identity()
    seal = Seal(app[keys.CONFIG].jwt_secret, b"snapshots")
    app[keys.SNAPSHOTS] = snapshots = Snapshots(app[keys.REDIS], identity, seal)
    snapshots.start()
    yield
    await snapshots.close()


class Snapshots:
    """The archive of `actors.ports` in Redis; `database` names where the states are."""

    def __init__(
        self,
        redis: Client,
        database: str,
        seal: Seal,
        *,
        least_items: int = LEAST_ITEMS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._redis = redis
        self._database = database
        self._seal = seal
        self._least_items = least_items
        self._clock = clock
        self._away_until = 0.0
        self._is_away = False
        self._asking = 0
        self._has_complained = False
        self._kept: OrderedDict[ProjectId, int] = OrderedDict()
        self._offers: asyncio.Queue[_Copy] = asyncio.Queue(_WAITING)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep what is offered."""
        self._task = asyncio.create_task(self._run(), name="snapshots")

    async def close(self) -> None:
        """Stop; what was not kept yet is not kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def find(self, project_id: ProjectId) -> ProjectState | None:
        """Give what was kept of a project; None also for anything unexpected."""
        if self._asking >= _ASKING or self._clock() < self._away_until:
            return None
        self._asking += 1
        try:
            packed = await self._fetch(project_id)
            if packed is None:
                self._kept.pop(project_id, None)
                return None
            state = await self._read(project_id, packed)
        except (ValueError, zlib.error) as error:
            if not self._has_complained:
                _log.warning("snapshots.unreadable", id=project_id, error=repr(error))
            self._has_complained = True
            return None
        finally:
            self._asking -= 1
        if state is not None:
            self._remember(project_id, state.version)
        return state

    def offer(self, state: ProjectState) -> None:
        """Take the state of this moment, if it is large and not what is kept."""
        if (
            state.project is None
            or not state.tip
            or self._kept.get(state.project_id) == state.version
            or self._offers.full()
            or self._clock() < self._away_until
        ):
            return
        said = [c for spoken in state.comments.values() for c in spoken.values()]
        if len(state.tasks) + len(said) < self._least_items:
            return
        self._offers.put_nowait(
            _Copy(
                state.project_id,
                state.version,
                state.tip,
                state.project,
                list(state.members.values()),
                list(state.tasks.values()),
                said,
            )
        )

    async def _run(self) -> None:
        while True:
            await self._keep(await self._offers.get())

    async def _keep(self, copy: _Copy) -> None:
        try:
            packed = await self._written(copy)
        except ValueError as error:
            _log.warning("snapshots.skipped", id=copy.project_id, error=repr(error))
        except Exception:  # noqa: BLE001  # the next one may be kept
            _log.exception("snapshots.failed", id=copy.project_id)
        else:
            if await self._store(copy.project_id, packed):
                self._remember(copy.project_id, copy.version)

    async def _written(self, copy: _Copy) -> bytes:
        """Write a copy; raises ValueError if it is too large."""
        sheet = _Sheet(
            FORMAT,
            self._database,
            copy.version,
            copy.tip,
            copy.project,
            await _members.pack(copy.members),
            await _tasks.pack(copy.tasks),
            await _comments.pack(copy.comments),
        )
        packed = self._seal.close(_encoder.encode(sheet))
        if len(packed) > _MOST_BYTES:
            raise ValueError("it is too large")
        return packed

    async def _read(self, project_id: ProjectId, packed: bytes) -> ProjectState | None:
        sheet = _sheets.decode(self._seal.open(packed))
        if (sheet.format, sheet.database) != (FORMAT, self._database):
            return None
        if sheet.project.id != project_id:
            raise ValueError("it is of another project")
        members = await _members.unpack(sheet.members)
        tasks = await _tasks.unpack(sheet.tasks)
        comments = await _comments.unpack(sheet.comments)
        return ProjectState(
            project_id=project_id,
            version=sheet.version,
            project=sheet.project,
            members={member.user_id: member for member in members},
            tasks={task.id: task for task in tasks},
            comments=by_task(comments),
            tip=sheet.tip,
        )

    async def _fetch(self, project_id: ProjectId) -> bytes | None:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                found = await self._redis.get(self._key(project_id))
        except (RedisError, OSError, TimeoutError) as error:
            self._leave_alone(error)
            return None
        self._is_away = False
        return found if isinstance(found, bytes) else None

    async def _store(self, project_id: ProjectId, packed: bytes) -> bool:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                key = self._key(project_id)
                await self._redis.set(key, packed, ex=LIFETIME_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._leave_alone(error)
            return False
        self._is_away = False
        return True

    def _leave_alone(self, error: Exception) -> None:
        self._away_until = self._clock() + _AWAY_SECONDS
        if not self._is_away:
            _log.warning("snapshots.unavailable", error=repr(error))
        self._is_away = True

    def _key(self, project_id: ProjectId) -> str:
        return f"boardcast:snapshot:{self._database}:{project_id}"

    def _remember(self, project_id: ProjectId, version: int) -> None:
        self._kept[project_id] = version
        self._kept.move_to_end(project_id)
        if len(self._kept) > _KEPT_VERSIONS:
            self._kept.popitem(last=False)
