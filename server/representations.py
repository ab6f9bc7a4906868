"""JSON of what the domain speaks of: made by msgspec, once where that pays."""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

import msgspec

from actors.domain.events import EVENT_TYPES, Event
from actors.domain.model import Comment, Member, Project, Task, UserId, UserRole

_encoder = msgspec.json.Encoder()
_KEPT_TASKS = 8192  # about 0.5 KB each


class User(Protocol):
    """What is read of an account to show it; the password's hash is not."""

    @property
    def id(self) -> UserId: ...  # noqa: D102
    @property
    def email(self) -> str: ...  # noqa: D102
    @property
    def username(self) -> str: ...  # noqa: D102
    @property
    def first_name(self) -> str: ...  # noqa: D102
    @property
    def last_name(self) -> str: ...  # noqa: D102
    @property
    def role(self) -> UserRole: ...  # noqa: D102
    @property
    def is_active(self) -> bool: ...  # noqa: D102
    @property
    def created_at(self) -> datetime: ...  # noqa: D102
    @property
    def updated_at(self) -> datetime: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102


class _UserView(msgspec.Struct, frozen=True):
    id: int
    email: str
    username: str
    first_name: str
    last_name: str
    role: str
    is_active: bool
    created_at: datetime
    updated_at: datetime
    version: int


class _Tag(msgspec.Struct, frozen=True):
    type: str


class _TaskMemo:
    """Bytes of the tasks shown last, each with the very object it was made from.

    Identity is the key, so a copy from elsewhere can never be answered with the bytes
    of another database's task.
    """

    def __init__(self, size: int):
        self._size = size
        self._kept: OrderedDict[int, tuple[Task, bytes]] = OrderedDict()

    def encode(self, task: Task) -> bytes:
        kept = self._kept.get(task.id)
        if kept is not None and kept[0] is task:
            self._kept.move_to_end(task.id)
            return kept[1]
        body = _encoder.encode(task)
        self._kept[task.id] = (task, body)
        self._kept.move_to_end(task.id)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return body


_tasks = _TaskMemo(_KEPT_TASKS)
_tag_decoder = msgspec.json.Decoder(_Tag)
_event_decoders = {
    name: msgspec.json.Decoder(kind) for name, kind in EVENT_TYPES.items()
}
_event_heads = {
    kind: b'{"type":' + _encoder.encode(name) + b","
    for name, kind in EVENT_TYPES.items()
}


def encode_event(event: Event) -> bytes:
    """Write the event's type, then its fields."""
    return _event_heads[type(event)] + _encoder.encode(event)[1:]


def decode_event(body: bytes) -> Event:
    """Read what `encode_event` wrote; raises ValueError for anything else."""
    name = _tag_decoder.decode(body).type
    try:
        decoder = _event_decoders[name]
    except KeyError:
        raise ValueError(f"no event has the type {name!r}") from None
    return decoder.decode(body)


class EventCodec:
    """The codec that actors and the store are given."""

    def encode(self, event: Event) -> bytes:
        """Write an event as JSON."""
        return encode_event(event)

    def decode(self, body: bytes) -> Event:
        """Read an event from JSON; raises ValueError if it is none."""
        return decode_event(body)


def encode_task(task: Task) -> bytes:
    """Write a task; the same object is written once while it is in use."""
    return _tasks.encode(task)


def encode_project(project: Project) -> bytes:
    """Write a project."""
    return _encoder.encode(project)


def encode_member(member: Member) -> bytes:
    """Write a member of a project."""
    return _encoder.encode(member)


def encode_comment(comment: Comment) -> bytes:
    """Write a comment."""
    return _encoder.encode(comment)


def encode_user(user: User) -> bytes:
    """Write an account without its password's hash."""
    return _encoder.encode(
        _UserView(
            user.id,
            user.email,
            user.username,
            user.first_name,
            user.last_name,
            user.role,
            user.is_active,
            user.created_at,
            user.updated_at,
            user.version,
        )
    )


def encode(value: object) -> bytes:
    """Write any plain value, dataclass or msgspec struct."""
    return _encoder.encode(value)


def encode_list(
    name: str,
    items: Iterable[bytes],
    *,
    total: int,
    limit: int,
    offset: int,
    next_cursor: str | None,
) -> bytes:
    """Join ready items: `{name: [...], "total", "limit", "offset", "next_cursor"}`."""
    cursor = _encoder.encode(next_cursor)
    return b'{"%b":[%b],"total":%d,"limit":%d,"offset":%d,"next_cursor":%b}' % (
        name.encode(),
        b",".join(items),
        total,
        limit,
        offset,
        cursor,
    )
