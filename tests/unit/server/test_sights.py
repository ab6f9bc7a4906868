"""Stamps: they move whenever what a caller sees does."""

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from typing import Self

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actors.domain.commands import (
    AddComment,
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
from actors.domain.model import Caller, ProjectId, UserId, UserRole
from actors.domain.state import ProjectState
from actors.journal import Journal
from actors.ports import Audience
from actors.project import Surroundings
from actors.registry import Registry
from server.representations import EventCodec
from server.sights import Sights
from sql.lists import Sight
from tests.factories import ADA, BOB, CYD, DAN, make_batch, make_caller, make_command
from tests.unit.actors.fakes import FakeStore, settle

PROJECTS = (ProjectId(7), ProjectId(8))
CALLERS = [
    *(make_caller(user) for user in (ADA, BOB, CYD, DAN)),
    make_caller(5, UserRole.MANAGER),
    make_caller(6, UserRole.ADMIN),
]
ADMIN = make_caller(6, UserRole.ADMIN)

_users = st.sampled_from((ADA, BOB, CYD, DAN))
_tasks = st.integers(1, 3)


class SeenStore(FakeStore):
    """A store in memory that says who sees which projects, and counts the question."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.visible_gate = asyncio.Event()
        self.visible_gate.set()

    async def visible_ids(self, user_id: UserId) -> tuple[ProjectId, ...]:
        self.asked += 1
        found = tuple(
            state.project_id
            for state in self.states.values()
            if state.project is not None
            and (state.project.owner_id == user_id or user_id in state.members)
        )
        await self.visible_gate.wait()
        return found

    def shown_to(self, caller: Caller) -> object:
        """Everything that a caller's lists are made of."""
        states = list(self.states.values())
        return deepcopy(
            [
                (
                    state.visible_project(caller),
                    [
                        task
                        for task in state.tasks.values()
                        if state.visible_task(caller, task.id)
                    ],
                )
                for state in states
            ]
        )


class World:
    """Two projects of Ada's, run by real actors whose feed is `sights`."""

    def __init__(self) -> None:
        self.store = SeenStore()
        for number in PROJECTS:
            self.store.make_project(number)
        self.sights = Sights(self.store)  # type: ignore[arg-type]  # all it asks for
        self.journal = Journal(self.store)
        around = Surroundings(
            store=self.store,
            journal=self.journal,
            codec=EventCodec(),
            feeds=(self.sights,),
        )
        self.registry = Registry(around)

    async def __aenter__(self) -> Self:
        self.journal.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.registry.close()
        await self.journal.close()

    async def do(self, command: Command, project_id: int = PROJECTS[0]) -> None:
        await self.registry.ask(ProjectId(project_id), command)


def by_admin(kind: type[Command], **fields: object) -> Command:
    return make_command(kind, caller=ADMIN, **fields)


commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        lambda number, maker, user: make_command(
            CreateTask,
            task_id=number,
            caller=Caller(id=maker, role=UserRole.ADMIN),
            assigned_to=user,
        ),
        _tasks,
        _users,
        st.none() | _users,
    ),
    st.builds(
        lambda number, user, title: by_admin(
            UpdateTask, task_id=number, assigned_to=user, title=title
        ),
        _tasks,
        st.none() | _users,
        st.sampled_from("ab"),
    ),
    st.builds(lambda number: by_admin(DeleteTask, task_id=number), _tasks),
    st.builds(lambda user: by_admin(PutMember, user_id=user), _users),
    st.builds(lambda user: by_admin(RemoveMember, user_id=user), _users),
    st.builds(lambda user: by_admin(UpdateProject, owner_id=user), _users),
    st.builds(lambda name: by_admin(UpdateProject, name=name), st.sampled_from("ab")),
    st.just(by_admin(DeleteProject)),
)


@settings(
    deadline=None,
    max_examples=150,
    derandomize=True,
    phases=(Phase.generate,),  # to shrink takes longer than a test may
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PROJECTS), st.lists(commands, min_size=1, max_size=3)
        ),
        max_size=8,
    )
)
def test_a_stamp_moves_whenever_what_the_caller_sees_does(
    turns: list[tuple[ProjectId, list[Command]]],
) -> None:
    asyncio.run(_check_stamps(turns))


async def _check_stamps(turns: Sequence[tuple[ProjectId, list[Command]]]) -> None:
    async with World() as world:
        for project_id, batch in turns:
            before = {}
            for caller in CALLERS:
                await world.sights.sight(caller)
                before[caller] = (
                    world.sights.stamp(caller),
                    world.store.shown_to(caller),
                )
            answers = await asyncio.gather(
                *(world.do(command, project_id) for command in batch),
                return_exceptions=True,
            )
            assert all(a is None or isinstance(a, DomainError) for a in answers)
            for caller, (stamp, shown) in before.items():
                assert stamp is not None
                if world.store.shown_to(caller) != shown:
                    assert world.sights.stamp(caller) != stamp


async def test_a_stamp_stays_while_nothing_changes() -> None:
    async with World() as world:
        await world.sights.sight(make_caller(ADA))
        stamp = world.sights.stamp(make_caller(ADA))
        for number in (1, 2):
            await world.do(make_command(UpdateProject, name="Apollo"), PROJECTS[0])
            assert world.sights.stamp(make_caller(ADA)) == stamp, number


async def test_comments_move_no_stamp_for_no_list_shows_them() -> None:
    async with World() as world:
        await world.do(make_command(CreateTask, assigned_to=BOB))
        callers = [make_caller(BOB), ADMIN]
        for caller in callers:
            await world.sights.sight(caller)
        before = [world.sights.stamp(caller) for caller in callers]

        await world.do(make_command(AddComment))

        assert [world.sights.stamp(caller) for caller in callers] == before


async def test_what_happens_to_a_project_counts_wherever_it_stands_in_a_batch() -> None:
    async with World() as world:
        task = make_command(CreateTask, assigned_to=BOB)
        await world.do(task)
        bob = make_caller(BOB)
        await world.sights.sight(bob)
        before = world.sights.stamp(bob)

        await asyncio.gather(
            world.do(make_command(CreateTask, task_id=2)),
            world.do(make_command(DeleteProject)),
        )

        assert world.sights.stamp(bob) != before


async def test_a_change_elsewhere_moves_only_the_stamps_of_those_concerned() -> None:
    async with World() as world:
        callers = [make_caller(user) for user in (BOB, CYD)]
        for caller in callers:
            await world.sights.sight(caller)
        before = [world.sights.stamp(caller) for caller in callers]

        await world.do(make_command(CreateTask, assigned_to=BOB))

        after = [world.sights.stamp(caller) for caller in callers]
        assert after[0] != before[0]
        assert after[1] == before[1]


async def test_a_caller_is_looked_up_once_until_their_projects_change() -> None:
    async with World() as world:
        bob = make_caller(BOB)
        for _ in range(3):
            assert (await world.sights.sight(bob)).project_ids == ()
        assert world.store.asked == 1

        await world.do(make_command(CreateTask))
        await world.sights.sight(bob)
        assert world.store.asked == 1

        await world.do(make_command(PutMember, user_id=BOB))
        assert world.sights.stamp(bob) is None
        assert (await world.sights.sight(bob)).project_ids == (7,)
        assert world.store.asked == 2


async def test_an_answer_that_was_overtaken_is_not_kept() -> None:
    async with World() as world:
        bob = make_caller(BOB)
        world.store.visible_gate.clear()
        looking = asyncio.create_task(world.sights.sight(bob))
        await settle()

        await world.do(make_command(PutMember, user_id=BOB))
        world.store.visible_gate.set()
        await looking

        assert world.sights.stamp(bob) is None
        assert (await world.sights.sight(bob)).project_ids == (7,)


async def test_who_had_a_task_in_a_deleted_project_sees_it_go() -> None:
    async with World() as world:
        bob = make_caller(BOB)
        await world.do(make_command(CreateTask, assigned_to=BOB))
        await world.sights.sight(bob)
        before = world.sights.stamp(bob)

        await world.do(make_command(DeleteProject))

        assert world.sights.stamp(bob) != before


async def test_a_new_project_is_seen_by_its_owner() -> None:
    async with World() as world:
        cyd = make_caller(CYD)
        await world.sights.sight(cyd)

        await world.registry.create(
            make_command(CreateProject, project_id=9, owner_id=CYD)
        )

        assert world.sights.stamp(cyd) is None
        assert (await world.sights.sight(cyd)).project_ids == (9,)


@pytest.mark.parametrize("role", [UserRole.MANAGER, UserRole.ADMIN])
async def test_who_sees_everything_is_not_looked_up(role: UserRole) -> None:
    async with World() as world:
        caller = make_caller(DAN, role)
        stamp = world.sights.stamp(caller)

        sight = await world.sights.sight(caller)
        await world.do(make_command(CreateTask))

        assert sight == Sight(user_id=DAN, role=role, project_ids=())
        assert world.store.asked == 0
        assert world.sights.stamp(caller) != stamp


async def test_an_inbox_moves_the_stamps_of_its_owner_and_of_who_sees_all() -> None:
    async with World() as world:
        ada, admin = make_caller(ADA), ADMIN
        await world.sights.sight(ada)
        before = [world.sights.stamp(caller) for caller in (ada, admin)]

        inbox = make_command(CreateProject, project_id=9, owner_id=BOB, is_inbox=True)
        batch = make_batch(ProjectState(project_id=ProjectId(9)), inbox)
        audience = Audience(members=(), others=frozenset({BOB}), is_inbox=True)
        world.sights.publish(audience, batch.entries)

        after = [world.sights.stamp(caller) for caller in (ada, admin)]
        assert after[0] == before[0]
        assert after[1] != before[1]


async def test_memory_of_callers_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.sights._KEPT_USERS", 2)
    async with World() as world:
        for user in (ADA, BOB, ADA, CYD):
            await world.sights.sight(make_caller(user))

        kept = [
            user
            for user in (ADA, BOB, CYD)
            if world.sights.stamp(make_caller(user)) is not None
        ]
        assert kept == [ADA, CYD]


async def test_when_the_counts_are_forgotten_every_stamp_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with World() as world:
        seen = set()
        for number in range(1, 4):
            await world.sights.sight(make_caller(BOB))
            for caller in CALLERS:
                await world.sights.sight(caller)
                seen.add((caller, world.sights.stamp(caller)))
            monkeypatch.setattr("server.sights._COUNTED", 0)
            await world.do(make_command(CreateTask, task_id=number))

        assert len(seen) == 3 * len(CALLERS)
        assert world.sights.stamp(make_caller(BOB)) is None


async def test_a_renewed_stamp_moves_and_is_looked_up_again() -> None:
    store = SeenStore()
    sights = Sights(store)  # type: ignore[arg-type]  # a fake
    for caller in (make_caller(ADA), ADMIN):
        await sights.sight(caller)
        before, asked = sights.stamp(caller), store.asked

        sights.renew(caller, {PROJECTS[0]: 5})
        await sights.sight(caller)

        assert sights.stamp(caller) != before
        assert store.asked - asked == (caller.role is UserRole.USER)


async def test_what_was_renewed_holds_for_that_caller_up_to_that_version() -> None:
    sights = Sights(SeenStore())  # type: ignore[arg-type]  # a fake
    ada, bob = make_caller(ADA), make_caller(BOB)
    sights.renew(ada, {PROJECTS[0]: 5})

    assert sights.has_renewed(ada, PROJECTS[0], 5)
    assert not sights.has_renewed(ada, PROJECTS[0], 6)
    assert not sights.has_renewed(ada, PROJECTS[1], 1)
    assert not sights.has_renewed(bob, PROJECTS[0], 5)


async def test_what_was_renewed_is_remembered_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.sights._KEPT_USERS", 2)
    monkeypatch.setattr("server.sights._RENEWED_PROJECTS", 3)
    sights = Sights(SeenStore())  # type: ignore[arg-type]  # a fake
    for number in range(1, 10):
        sights.renew(make_caller(ADA), {ProjectId(number): 1})
        sights.renew(make_caller(number), {})

    assert len(sights._renewed) <= 2
    assert all(len(known) <= 4 for known in sights._renewed.values())
    assert sights.has_renewed(make_caller(ADA), ProjectId(9), 1)
