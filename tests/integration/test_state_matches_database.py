"""Memory and database say the same after every step, whoever writes on which node."""

import asyncio
import itertools
from copy import deepcopy
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from actors.domain.commands import (
    UNSET,
    Command,
    CreateProject,
    CreateTask,
    DeleteProject,
    DeleteTask,
    PutMember,
    RemoveMember,
    UpdateProject,
    UpdateTask,
)
from actors.domain.errors import DomainError
from actors.domain.model import (
    Caller,
    MemberRole,
    ProjectId,
    ProjectStatus,
    TaskPriority,
    TaskStatus,
    UserRole,
)
from actors.domain.state import ProjectState
from actors.journal import Journal
from actors.project import ProjectActor, Surroundings
from actors.registry import Registry
from server.representations import EventCodec
from sql.database import Database
from sql.store import Store
from tests.factories import (
    ADA,
    AT,
    apply_all,
    insert_users,
    make_caller,
    make_command,
    make_key,
)

USERS = range(1, 6)
_NOBODY = 99  # no such user: the database refuses it, not the domain
_CODEC = EventCodec()
_project_ids = itertools.count(1)

_users = st.sampled_from(USERS)
_assignees = st.none() | _users | st.just(_NOBODY)
_tasks = st.integers(1, 5)
_callers = st.builds(Caller, id=_users, role=st.sampled_from(UserRole)) | st.just(
    make_caller(ADA)
)
_times = st.none() | st.integers(0, 3).map(lambda days: AT + timedelta(days=days))
_matches = st.none() | st.tuples(st.integers(1, 6))
_keys = st.none() | st.builds(lambda key: make_key(key), st.sampled_from("abc"))


def _maybe(values: "st.SearchStrategy[object]") -> "st.SearchStrategy[object]":
    return st.just(UNSET) | values


def _commands(kind: type[Command], **fields: object) -> "st.SearchStrategy[Command]":
    named = {"caller": _callers, "if_match": _matches, "key": _keys, **fields}
    return st.fixed_dictionaries(named).map(  # type: ignore[arg-type]  # strategies all
        lambda values: make_command(kind, **values)
    )


COMMANDS = st.one_of(
    _commands(
        CreateTask,
        task_id=_tasks,
        status=st.sampled_from(TaskStatus),
        priority=st.sampled_from(TaskPriority),
        assigned_to=_assignees,
        due_date=_times,
        if_match=st.none(),
    ),
    _commands(
        UpdateTask,
        task_id=_tasks,
        title=_maybe(st.sampled_from("ab")),
        description=_maybe(st.sampled_from((None, "x"))),
        status=_maybe(st.sampled_from(TaskStatus)),
        assigned_to=_maybe(_assignees),
        due_date=_maybe(_times),
    ),
    _commands(DeleteTask, task_id=_tasks),
    _commands(
        PutMember,
        user_id=_users | st.just(_NOBODY),
        role=st.sampled_from(MemberRole),
    ),
    _commands(RemoveMember, user_id=_users),
    _commands(
        UpdateProject,
        name=_maybe(st.sampled_from("ab")),
        owner_id=_maybe(_users),
        status=_maybe(st.sampled_from(ProjectStatus)),
    ),
)


class _Machine(RuleBasedStateMachine):
    """Two nodes without a relay between them: each finds out when it writes."""

    def __init__(self, url: str):
        super().__init__()
        self.runner = asyncio.Runner()
        self.runner.run(self._start(url))

    def teardown(self) -> None:
        with self.runner:
            self.runner.run(self._stop())

    async def _start(self, url: str) -> None:
        self.database = await Database.open(url, size=4)
        self.store = Store(self.database)
        self.journals = [Journal(self.store) for _ in range(2)]
        self.nodes = [
            Registry(Surroundings(store=self.store, journal=journal, codec=_CODEC))
            for journal in self.journals
        ]
        for journal in self.journals:
            journal.start()

    async def _stop(self) -> None:
        for node in self.nodes:
            await node.close()
        for journal in self.journals:
            await journal.close()
        await self.database.close()

    @initialize()
    def create(self) -> None:
        self.project_id = ProjectId(next(_project_ids))
        creation = make_command(CreateProject, project_id=self.project_id)
        self.runner.run(self.nodes[0].create(creation))

    @rule(node=st.integers(0, 1), commands=st.lists(COMMANDS, min_size=1, max_size=5))
    def write(self, node: int, commands: list[Command]) -> None:
        commands = [self._with_own_ids(command) for command in commands]
        self.runner.run(self._write(self.nodes[node], commands))

    @rule(node=st.integers(0, 1), is_first=st.booleans())
    def delete(self, node: int, is_first: bool) -> None:  # noqa: FBT001  # drawn
        commands: list[Command] = [make_command(DeleteProject), self._a_task()]
        if is_first:
            commands.reverse()
        self.runner.run(self._write(self.nodes[node], commands))
        self.create()

    def _a_task(self) -> Command:
        return self._with_own_ids(make_command(CreateTask, task_id=9))

    def _with_own_ids(self, command: Command) -> Command:
        """Make ids and keys this project's own, as sequences do."""
        names = {name: getattr(command, name) for name in _names(command)}
        if "task_id" in names:
            names["task_id"] += self.project_id * 1000
        if command.key is not None:
            names["key"] = make_key(f"{self.project_id}-{command.key.key}")
        return type(command)(**names)

    async def _write(self, node: Registry, commands: list[Command]) -> None:
        actor = await node.get(self.project_id)
        old, before = deepcopy(actor.state), actor.state.version
        answers = await asyncio.gather(
            *(actor.ask(command) for command in commands), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(
                answer, DomainError
            ):
                raise answer
        await self._check(actor, old, before)

    async def _check(
        self, actor: ProjectActor, old: ProjectState, before: int
    ) -> None:
        log = await self.store.events_since(self.project_id, 0, 100_000)
        events = [_CODEC.decode(body) for body in log]
        loaded = await self.store.load(self.project_id)

        assert [e.version for e in events] == list(range(1, len(events) + 1))
        if len(events) > actor.state.version:  # another node wrote, and nobody asked
            assert actor.state == old
            return
        assert apply_all(old, events[before:]) == actor.state
        if loaded is None:
            assert actor.state.project is None
            assert not actor.state.tasks
            assert not actor.state.members
        else:
            assert loaded == actor.state


def _names(command: Command) -> list[str]:
    return list(type(command).__dataclass_fields__)


async def _insert_users(url: str) -> None:
    database = await Database.open(url, size=1)
    await insert_users(database, *USERS)
    await database.close()


def test_state_matches_database(database_url: str) -> None:
    asyncio.run(_insert_users(database_url))

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: _Machine(database_url),
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
