"""A believable company to look at: nine people, twelve projects, two thousand tasks.

Everything goes through the same commands as a user's, so the demo has a log, dense
versions and a history like any other data. The same database gets the same company.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from actors.domain.commands import (
    Command,
    CreateProject,
    CreateTask,
    PutMember,
    UpdateProject,
    UpdateTask,
)
from actors.domain.model import (
    Caller,
    MemberRole,
    ProjectId,
    TaskPriority,
    TaskStatus,
    UserRole,
)
from actors.registry import Registry
from server.ids import Ids
from server.passwords import Passwords
from server.registration import create_account
from sql.accounts import Accounts
from sql.store import Store
from sql.users import User

PASSWORD = "boardcast-demo"  # noqa: S105  # printed at the start, on purpose
TASKS = 2000

_REQUEST_ID = "demo"
_SEED = 20_260_101
_AT_ONCE = 64


class Person(NamedTuple):
    """Somebody who works at the demo company."""

    username: str
    first_name: str
    last_name: str
    role: UserRole


PEOPLE: Sequence[Person] = (
    Person("ada", "Ada", "Okafor", UserRole.ADMIN),
    Person("bruno", "Bruno", "Keller", UserRole.ADMIN),
    Person("chiara", "Chiara", "Rossi", UserRole.ADMIN),
    Person("david", "David", "Lindqvist", UserRole.MANAGER),
    Person("elif", "Elif", "Demir", UserRole.MANAGER),
    Person("farid", "Farid", "Haddad", UserRole.MANAGER),
    Person("grace", "Grace", "Mensah", UserRole.USER),
    Person("hugo", "Hugo", "Silva", UserRole.USER),
    Person("ines", "Inès", "Moreau", UserRole.USER),
)

_PROJECTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "Web shop relaunch": (
        "The new shop, live before the autumn sales.",
        ("checkout", "product page", "search results", "wish list", "order mail"),
    ),
    "Warehouse move": (
        "Everything from the old hall to the new one, without a day of standstill.",
        ("shelf plan", "loading dock", "forklift lease", "fire safety", "inventory"),
    ),
    "Mobile app 3.0": (
        "Offline first, and half the size.",
        ("sign-in", "offline store", "push messages", "settings", "crash reports"),
    ),
    "Annual report": (
        "Figures, pictures, print.",
        ("balance sheet", "cover", "foreword", "proofreading", "print run"),
    ),
    "Customer support": (
        "What customers ask for, and what it takes to answer.",
        ("refund case", "delivery delay", "help page", "phone rota", "reply template"),
    ),
    "Hiring 2027": (
        "Six people by the summer.",
        ("job advert", "interview plan", "offer letter", "welcome kit", "trial day"),
    ),
    "Data platform": (
        "One place for the numbers that everybody quotes.",
        ("event pipeline", "sales model", "dashboard", "access rights", "backfill"),
    ),
    "Spring campaign": (
        "Posters, podcasts and a tram.",
        ("poster", "podcast spot", "landing page", "newsletter", "tram wrap"),
    ),
    "Security audit": (
        "Close what the auditors found.",
        (
            "key rotation",
            "backup test",
            "access review",
            "patch plan",
            "incident drill",
        ),
    ),
    "Office move": (
        "Third floor, more daylight.",
        ("desk plan", "network cabling", "kitchen", "moving company", "door badges"),
    ),
    "Payments": (
        "Cards, invoices and fewer failed charges.",
        ("card flow", "invoice layout", "dunning", "refund flow", "tax rules"),
    ),
    "Partner API": (
        "Let partners order without a phone call.",
        ("order endpoint", "sandbox", "webhooks", "quota", "reference guide"),
    ),
}
_VERBS = (
    "Draft", "Review", "Fix", "Test", "Plan", "Measure", "Simplify", "Translate",
    "Document", "Estimate", "Prepare", "Clean up",
)  # fmt: skip
_DETAILS = (
    "for the pilot group", "with the new supplier", "before the board meets",
    "after last week's outage", "in all four languages", "for the Lisbon office",
    "as agreed on Monday", "so that it works on phones",
)  # fmt: skip
_NOTES = (
    None,
    "Ask Grace first: she knows the history.",
    "See the minutes of the last meeting.",
    "The budget is agreed; only the date is open.",
)


class Demo:
    """Fills an empty database."""

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        registry: Registry,
        ids: Ids,
        passwords: Passwords,
    ):
        self._store = store
        self._accounts = accounts
        self._registry = registry
        self._ids = ids
        self._passwords = passwords
        self._random = random.Random(_SEED)  # noqa: S311  # a demo is to be the same
        self._now = datetime.now(UTC)

    async def fill(self, *, tasks: int = TASKS) -> bool:
        """Make the company, or what is missing of one that was interrupted.

        False, and nothing done, if anything else is there already.
        """
        if await self._store.count_projects() > 0 and not await self._is_begun():
            return False
        people = [await self._hire(person) for person in PEOPLE]
        share, rest = divmod(tasks, len(_PROJECTS))
        for number, name in enumerate(_PROJECTS):
            project_id = await self._found(people, name, number)
            await self._plan(people, project_id, name, share + (number < rest))
            await self._describe(people, project_id, name)
        return True

    async def _is_begun(self) -> bool:
        """Say whether a demo was begun here and not ended: what ends it comes last."""
        first = await self._accounts.find_by_login(email=email_of(PEOPLE[0]))
        if first is None:
            return False
        return not await self._store.has_described_project([*_PROJECTS][-1])

    async def _describe(
        self, people: Sequence[User], project_id: ProjectId, name: str
    ) -> None:
        """Describe a project when all of it is there."""
        project = (await self._registry.get(project_id)).state.project
        owners = [user for user in people if project and user.id == project.owner_id]
        command = UpdateProject(
            caller=_caller(owners[0]),
            at=self._now - timedelta(days=100),
            request_id=_REQUEST_ID,
            description=_PROJECTS[name][0],
        )
        await self._registry.ask(project_id, command)

    async def _hire(self, person: Person) -> User:
        known = await self._accounts.find_by_login(email=email_of(person))
        if known is not None:
            return known.user
        return await create_account(
            self._accounts,
            self._ids,
            self._passwords,
            email=email_of(person),
            username=person.username,
            password=PASSWORD,
            first_name=person.first_name,
            last_name=person.last_name,
            role=person.role,
            at=self._now - timedelta(days=120),
            request_id=_REQUEST_ID,
        )

    async def _found(self, people: Sequence[User], name: str, number: int) -> ProjectId:
        owner = people[number % len(people)]
        for project_id in await self._store.visible_ids(owner.id):
            project = (await self._registry.get(project_id)).state.project
            if project and project.owner_id == owner.id and project.name == name:
                return project_id
        founded = self._now - timedelta(days=110 - number)
        project_id = await self._ids.project()
        await self._registry.create(
            CreateProject(
                caller=_caller(owner),
                at=founded,
                request_id=_REQUEST_ID,
                project_id=project_id,
                owner_id=owner.id,
                name=name,
            )
        )
        others = [person for person in people if person.id != owner.id]
        roles = (MemberRole.MAINTAINER, *[MemberRole.MEMBER] * 3, MemberRole.VIEWER)
        for person, role in zip(self._random.sample(others, 5), roles, strict=True):
            await self._registry.ask(
                project_id,
                PutMember(
                    caller=_caller(owner),
                    at=founded,
                    request_id=_REQUEST_ID,
                    user_id=person.id,
                    role=role,
                ),
            )
        return project_id

    async def _plan(
        self, people: Sequence[User], project_id: ProjectId, name: str, count: int
    ) -> None:
        """Write a project's tasks, and let some of them have moved on since."""
        actor = await self._registry.get(project_id)
        team = [user for user in people if _works(actor.state.role_of(user.id))]
        project = actor.state.project
        if project is not None:
            team += [user for user in people if user.id == project.owner_id]
        count -= len(actor.state.tasks)
        made = [await self._task(team, name) for _ in range(count)]
        await self._ask_all(project_id, made)
        moved = [step for task in made for step in self._progress(task)]
        await self._ask_all(project_id, moved)

    async def _task(self, team: Sequence[User], name: str) -> CreateTask:
        pick = self._random.choice
        age = timedelta(minutes=self._random.randrange(60, 100 * 24 * 60))
        title = f"{pick(_VERBS)} {pick(_PROJECTS[name][1])} {pick(_DETAILS)}"
        due = self._now - age + timedelta(days=self._random.randrange(10, 140))
        return CreateTask(
            caller=_caller(pick(team)),
            at=self._now - age,
            request_id=_REQUEST_ID,
            task_id=await self._ids.task(),
            title=title,
            description=pick(_NOTES),
            priority=self._random.choices(list(TaskPriority), (3, 5, 3, 1))[0],
            assigned_to=self._random.choice([None, *(user.id for user in team)]),
            due_date=due.replace(hour=16, minute=0, second=0, microsecond=0)
            if self._random.random() < 0.7  # noqa: PLR2004
            else None,
        )

    def _progress(self, task: CreateTask) -> list[Command]:
        """Say what became of a task: half of them are started, most of those done."""
        steps: list[Command] = []
        for status in (TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED):
            if self._random.random() < 0.4:  # noqa: PLR2004
                break
            later = timedelta(hours=self._random.randrange(1, 48))
            steps.append(
                UpdateTask(
                    caller=task.caller,
                    at=min(task.at + later * (len(steps) + 1), self._now),
                    request_id=_REQUEST_ID,
                    task_id=task.task_id,
                    status=status,
                )
            )
        return steps

    async def _ask_all(
        self, project_id: ProjectId, commands: Sequence[Command]
    ) -> None:
        for start in range(0, len(commands), _AT_ONCE):
            await asyncio.gather(
                *(
                    self._registry.ask(project_id, command)
                    for command in commands[start : start + _AT_ONCE]
                )
            )


def email_of(person: Person) -> str:
    """Give the address that somebody of the demo company logs in with."""
    return f"{person.username}@demo.example"


def _caller(user: User) -> Caller:
    return Caller(id=user.id, role=user.role)


def _works(role: MemberRole | None) -> bool:
    return role in (MemberRole.MEMBER, MemberRole.MAINTAINER)
