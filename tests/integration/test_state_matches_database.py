"""Memory and database say the same after every step, whoever writes on which node."""

import asyncio
import itertools
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import partial

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from actors.domain.commands import (
    UNSET,
    AddComment,
    Command,
    CreateProject,
    CreateTask,
    DeleteComment,
    DeleteProject,
    DeleteTask,
    PutMember,
    RemoveMember,
    UpdateComment,
    UpdateProject,
    UpdateTask,
)
from actors.domain.errors import DomainError
from actors.domain.model import (
    Caller,
    CommentId,
    MemberRole,
    ProjectId,
    ProjectStatus,
    TaskId,
    TaskPriority,
    TaskStatus,
    UserRole,
)
from actors.domain.state import ProjectState
from actors.journal import Journal
from actors.project import ProjectActor, Surroundings
from actors.registry import Registry
from server.representations import EventCodec
from server.seals import Seal
from server.snapshots import Snapshots
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
_ACTIVE = ProjectStatus.ACTIVE
_CODEC = EventCodec()
_SEAL = Seal(b"secret", b"snapshots")
_project_ids = itertools.count(1)

_users = st.sampled_from(USERS)
_assignees = st.sampled_from((None, *USERS, *USERS, _NOBODY))
_tasks = st.integers(0, 30)
_comments = st.integers(0, 5)
_callers = st.one_of(  # mostly those who may
    st.just(make_caller(ADA)),
    st.just(make_caller(5, UserRole.ADMIN)),
    st.builds(Caller, id=_users, role=st.sampled_from(UserRole)),
)
_times = st.none() | st.integers(0, 3).map(lambda days: AT + timedelta(days=days))
_matches = st.sampled_from((None, None, None, None, (2, 3, 4, 5)))
_keys = st.sampled_from((None, None, None, make_key("a"), make_key("b")))


def _maybe(values: "st.SearchStrategy[object]") -> "st.SearchStrategy[object]":
    return st.just(UNSET) | values


def _commands(kind: type[Command], **fields: object) -> "st.SearchStrategy[Command]":
    named = {"caller": _callers, "if_match": _matches, "key": _keys, **fields}
    return st.fixed_dictionaries(named).map(  # type: ignore[arg-type]  # strategies all
        lambda values: make_command(kind, **values)
    )


_changes = _commands(
    UpdateTask,
    task_id=_tasks,
    title=_maybe(st.sampled_from("ab")),
    description=_maybe(st.sampled_from((None, "x"))),
    status=_maybe(st.sampled_from(TaskStatus)),
    priority=_maybe(st.sampled_from(TaskPriority)),
    assigned_to=_maybe(_assignees),
    due_date=_maybe(_times),
)
_additions = _commands(
    AddComment, task_id=_tasks, comment=st.sampled_from("ab"), if_match=st.none()
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
    _changes,
    _changes,
    _changes,
    _commands(DeleteTask, task_id=_tasks),
    _additions,
    _additions,
    _additions,
    _commands(
        UpdateComment,
        task_id=_tasks,
        comment_id=_comments,
        comment=_maybe(st.sampled_from("ab")),
    ),
    _commands(DeleteComment, task_id=_tasks, comment_id=_comments),
    _commands(
        PutMember,
        user_id=st.sampled_from((*USERS, *USERS, _NOBODY)),
        role=st.sampled_from(MemberRole),
    ),
    _commands(RemoveMember, user_id=_users),
    _commands(
        UpdateProject,
        name=_maybe(st.sampled_from("ab")),
        owner_id=_maybe(_users),
        status=_maybe(st.sampled_from((_ACTIVE, _ACTIVE, ProjectStatus.ARCHIVED))),
    ),
)


class _Machine(RuleBasedStateMachine):
    """Two nodes without a relay between them: each finds out when it writes.

    Both let their actors go now and then, and start again from copies in Redis.
    """

    def __init__(self, url: str, redis_url: str):
        super().__init__()
        self.runner = asyncio.Runner()
        self.runner.run(self._start(url, redis_url))

    def teardown(self) -> None:
        with self.runner:
            self.runner.run(self._stop())

    async def _start(self, url: str, redis_url: str) -> None:
        self.database = await Database.open(url, size=4, timeout_seconds=10)
        self.store = Store(self.database)
        self.journals = [Journal(self.store) for _ in range(2)]
        self.redis = Redis.from_url(redis_url)
        identity = await self.store.identity()
        self.archive = Snapshots(self.redis, identity, _SEAL, least_items=0)
        self.archive.start()
        self.nodes = [
            Registry(
                Surroundings(store=self.store, journal=journal, codec=_CODEC),
                archive=self.archive,
                idle_seconds=0,
            )
            for journal in self.journals
        ]
        for journal in self.journals:
            journal.start()

    async def _stop(self) -> None:
        for node in self.nodes:
            await node.close()
        for journal in self.journals:
            await journal.close()
        await self.archive.close()
        await self.redis.aclose()
        await self.database.close()

    @initialize()
    def create(self) -> None:
        self.project_id, self.tasks = ProjectId(next(_project_ids)), 0
        self.comments = 0
        creation = make_command(CreateProject, project_id=self.project_id)
        self.runner.run(self.nodes[0].create(creation))
        tasks = [make_command(CreateTask) for _ in range(3)]
        self.write(0, tasks)

    @rule(node=st.integers(0, 1), commands=st.lists(COMMANDS, min_size=1, max_size=5))
    def write(self, node: int, commands: Sequence[Command]) -> None:
        commands = [self._with_own_ids(command) for command in commands]
        self.runner.run(self._write(self.nodes[node], commands))

    @rule(node=st.integers(0, 1), is_kept=st.booleans())
    def let_go(self, node: int, is_kept: bool) -> None:  # drawn
        self.runner.run(self._let_go(self.nodes[node], is_kept))

    @precondition(lambda self: self.tasks > 5)
    @rule(node=st.integers(0, 1), is_first=st.booleans())
    def delete(self, node: int, is_first: bool) -> None:  # drawn
        task = self._with_own_ids(make_command(CreateTask))
        deletion = make_command(DeleteProject, caller=make_caller(5, UserRole.ADMIN))
        commands = [deletion, task] if is_first else [task, deletion]
        self.runner.run(self._write(self.nodes[node], commands))
        self.create()

    def _with_own_ids(self, command: Command) -> Command:
        """Make ids and keys this project's own, as sequences do."""
        if isinstance(command, CreateTask):
            self.tasks += 1
            command = replace(command, task_id=self._task_id(self.tasks))
        elif isinstance(command, UpdateTask | DeleteTask):
            number = 1 + command.task_id % (self.tasks + 1)
            command = replace(command, task_id=self._task_id(number))
        elif isinstance(command, AddComment | UpdateComment | DeleteComment):
            command = self._on_few_tasks(command)
        if command.key is not None:
            key = make_key(f"{self.project_id}-{command.key.key}")
            command = replace(command, key=key)
        return command

    def _on_few_tasks(
        self, command: AddComment | UpdateComment | DeleteComment
    ) -> Command:
        """Have most of what is said met by what is to be changed."""
        if isinstance(command, AddComment):
            self.comments += 1
            number = self.comments
        else:
            number = max(self.comments - command.comment_id, 1)
        return replace(
            command,
            task_id=self._task_id(1 + number // 5 % 3),
            comment_id=CommentId(self.project_id * 1000 + number),
        )

    def _task_id(self, number: int) -> TaskId:
        return TaskId(self.project_id * 1000 + number)

    async def _let_go(self, node: Registry, is_kept: bool) -> None:  # drawn
        """Start again from the database, the last copy, or one of this moment."""
        actor = node.live(self.project_id)
        await node.evict_idle()
        if is_kept and actor is not None and actor.state.project is not None:
            async with asyncio.timeout(5):
                while self.archive._kept.get(self.project_id) != actor.state.version:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        found = (await node.get(self.project_id)).state
        assert found == await self.store.load(self.project_id)

    async def _write(self, node: Registry, commands: Sequence[Command]) -> None:
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

    async def _check(self, actor: ProjectActor, old: ProjectState, before: int) -> None:
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
            assert not actor.state.comments
            assert not actor.state.members
        else:
            assert loaded == actor.state


async def _insert_users(url: str) -> None:
    database = await Database.open(url, size=1, timeout_seconds=10)
    await insert_users(database, *USERS)
    await database.close()


def test_state_matches_database(database_url: str, redis_url: str) -> None:
    asyncio.run(_insert_users(database_url))

    run_state_machine_as_test(
        partial(_Machine, database_url, redis_url),  # type: ignore[arg-type]  # any factory does
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            derandomize=True,
            deadline=None,
            phases=(Phase.generate,),  # to shrink takes longer than a test may
            suppress_health_check=list(HealthCheck),
        ),
    )
