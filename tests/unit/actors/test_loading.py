"""What other nodes commit while a project is loaded here: told once, in order."""

from collections.abc import Awaitable, Callable

import pytest

from actors.bulletin import Bulletin
from actors.domain.commands import CreateTask
from actors.domain.events import Entry
from actors.domain.model import ProjectId
from actors.journal import Journal
from actors.ports import Audience
from actors.project import Surroundings
from actors.registry import Registry
from server.representations import EventCodec
from tests.factories import PROJECT, make_command
from tests.unit.actors.fakes import FakeStore, Recorder

_CODEC = EventCodec()


class _Elsewhere:
    """Another node, which sends a hint of each task that it makes."""

    def __init__(self, store: FakeStore, bulletin: Bulletin):
        self._store = store
        self._bulletin = bulletin

    def make_task(self) -> Entry:
        number = len(self._store.logs[PROJECT])
        self._store.write(make_command(CreateTask, task_id=number))
        body = self._store.logs[PROJECT][number]
        entry = Entry(event=_CODEC.decode(body), body=body)
        audience = Audience(members=(), others=frozenset(), is_inbox=False)
        self._bulletin.publish(audience, [entry])
        return entry

    def after(
        self, read: Callable[..., Awaitable[list[bytes]]], made: list[Entry]
    ) -> Callable[..., Awaitable[list[bytes]]]:
        """Make one more when the log has been read, and not yet been taken in."""

        async def reading(*what: object) -> list[bytes]:
            found = await read(*what)
            if not made:
                made.append(self.make_task())
            return found

        return reading


async def test_what_is_told_while_a_project_is_loaded_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, recorder = FakeStore(), Recorder()
    store.make_project()
    bulletin, made = Bulletin(recorder), []
    bulletin.begin(PROJECT, 1)
    elsewhere = _Elsewhere(store, bulletin)

    async def follow(project_id: ProjectId) -> int:
        elsewhere.make_task()
        return bulletin.head(project_id) or 0

    monkeypatch.setattr(
        store, "events_since", elsewhere.after(store.events_since, made)
    )
    around = Surroundings(
        store=store,
        journal=Journal(store),
        codec=_CODEC,
        feeds=(bulletin,),
        follow=follow,
    )
    registry = Registry(around)
    actor = await registry.get(PROJECT)
    actor.hear(made)
    await registry.close()

    assert actor.state.version == 3
    assert recorder.versions == [2, 3]
