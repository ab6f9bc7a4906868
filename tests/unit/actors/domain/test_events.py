"""Events and batches."""

from typing import get_args

from actors.domain.commands import CreateTask
from actors.domain.events import (
    EVENT_TYPES,
    CommentEvent,
    MemberEvent,
    ProjectEvent,
    TaskEvent,
)
from tests.factories import make_batch, make_command, make_state


def test_every_event_is_known_by_its_type() -> None:
    families = (TaskEvent, ProjectEvent, MemberEvent, CommentEvent)
    kinds = {kind for family in families for kind in get_args(family)}

    assert set(EVENT_TYPES.values()) == kinds
    assert all(kind.type == name for name, kind in EVENT_TYPES.items())


def test_a_batch_leads_to_the_version_of_its_last_event() -> None:
    commands = [make_command(CreateTask, task_id=number) for number in (1, 2)]

    batch = make_batch(make_state(version=9), *commands)

    assert (batch.expected, batch.version) == (9, 11)
