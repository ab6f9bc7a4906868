"""The common lists are held to their index, and the others to what is visible."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from actors.domain.model import ProjectId, UserId, UserRole
from sql.database import PLANNED_EACH_TIME, Connection, Database, load_queries
from sql.lists import Page, Sight, TaskFilter, params

SEED = """
INSERT INTO users (id, email, username, password_hash)
SELECT i, 'u' || i || '@example.com', 'user' || i, '' FROM generate_series(1, 300) i;
INSERT INTO projects (id, name, owner_id, status, is_inbox, created_at, updated_at, version)
SELECT i, 'p', i, 'active', i % 2 = 0, now(), now(), 1 FROM generate_series(1, 300) i;
INSERT INTO tasks (id, project_id, title, status, priority, created_by, assigned_to, due_date, created_at, updated_at,
    version)
SELECT i, 1 + i % 300, 'Word' || i % 3000, 'pending', 'low', 1 + i % 299, CASE WHEN i % 3 = 0 THEN 1 + i % 293 END,
    CASE WHEN i % 2 = 0 THEN now() + i * 7919 % 10000 * interval '1 hour' END,
    now() + i * interval '1 second', now() + i * 7919 % 30000 * interval '1 second', 1
FROM generate_series(1, 30000) i;
"""  # noqa: E501  # columns beside their values

HERSELF = Sight(user_id=UserId(7), role=UserRole.USER, project_ids=(ProjectId(7),))
ADMIN = replace(HERSELF, role=UserRole.ADMIN, project_ids=())
ANY = TaskFilter()
HER_PROJECT = TaskFilter(project_id=ProjectId(7))
SOON = datetime(2027, 1, 1, tzinfo=UTC)

# Who asks for what in which order, the index that leads, and whether rows are sorted.
HOT: list[tuple[str, Sight, TaskFilter, Page, str, bool]] = [
    ("project", HERSELF, HER_PROJECT, Page(limit=21), "tasks_project_idx", False),
    (
        "project, on",
        HERSELF,
        HER_PROJECT,
        Page(limit=21, after_at=SOON, after_id=9),
        "tasks_project_idx",
        False,
    ),
    (
        "creator",
        ADMIN,
        TaskFilter(created_by=UserId(7)),
        Page(limit=21),
        "tasks_creator_idx",
        False,
    ),
    (
        "assignee",
        ADMIN,
        TaskFilter(assigned_to=UserId(7)),
        Page(limit=21),
        "tasks_assignee_idx",
        False,
    ),
    ("everybody", ADMIN, ANY, Page(limit=21), "tasks_created_idx", False),
    (
        "everybody, the oldest first",
        ADMIN,
        ANY,
        Page(limit=21, is_descending=False, after_at=SOON, after_id=9),
        "tasks_created_idx",
        False,
    ),
    (
        "by due date",
        ADMIN,
        ANY,
        Page(limit=21, sort="due_date", is_descending=False),
        "tasks_due_idx",
        False,
    ),
    (
        "by due date, the latest first, on",
        ADMIN,
        ANY,
        Page(limit=21, sort="due_date", after_at=SOON, after_id=9),
        "tasks_due_idx",
        False,
    ),
    *(
        (f"project by {sort}", HERSELF, HER_PROJECT, page, "tasks_project_idx", True)
        for sort in ("updated_at", "due_date", "priority", "status", "title")
        for page in (Page(limit=21, sort=sort),)
    ),
]
SEARCHES = [
    ("admin", ADMIN, ANY, "word17"),
    ("admin, of what is nowhere", ADMIN, ANY, "nowhere"),
    ("admin, two words", ADMIN, TaskFilter(created_by=UserId(7)), "word1 word2"),
]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(
        database_url, size=1, timeout_seconds=10, settings=PLANNED_EACH_TIME
    )
    yield database
    await database.close()


async def seed(connection: Connection) -> None:
    await connection.execute(SEED)
    await connection.execute("VACUUM ANALYZE tasks")
    await connection.execute("ANALYZE")


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


class Explaining:
    """A connection that tells how a query would be done, instead of doing it."""

    def __init__(self, connection: Connection):
        self._connection = connection

    async def fetch(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        plan = await self._connection.fetchval(
            f"EXPLAIN (FORMAT JSON) {sql}", *arguments
        )
        return [dict(json.loads(plan)[0]["Plan"])]


async def plan_of(
    connection: Connection, sight: Sight, wanted: TaskFilter, page: Page
) -> list[dict[str, Any]]:
    """List the nodes of the plan, as it is for these very values."""
    given = sight.params() | params(wanted) | params(page)
    query = load_queries("task_lists").list_tasks
    (plan,) = [row async for row in query(Explaining(connection), **given)]
    return list(nodes_of(plan))


async def test_common_lists_use_their_index(database: Database) -> None:
    async with database.connection() as connection:
        await seed(connection)
        for label, sight, wanted, page, index, is_sorted in HOT:
            nodes = await plan_of(connection, sight, wanted, page)

            told = f"{label}:\n{json.dumps(nodes[0], indent=1)}"
            leading = [n for n in nodes if n.get("Index Name") == index]
            scans = [n for n in nodes if n["Node Type"] == "Seq Scan"]
            sorts = [n for n in nodes if n["Node Type"] == "Sort"]
            large = [n for n in sorts if n["Plan Rows"] > 2 * page.limit]
            assert leading, told
            assert (scans == []) or sight is ADMIN, told  # the count may read it all
            assert bool(large) == is_sorted, told


async def test_a_search_uses_the_index_of_words_and_no_other_order(
    database: Database,
) -> None:
    async with database.connection() as connection:
        await seed(connection)
        for label, sight, wanted, words in SEARCHES:
            for page in (Page(limit=21), Page(limit=21, sort="due_date")):
                search = replace(wanted, text=words)
                nodes = await plan_of(connection, sight, search, page)

                told = f"{label}:\n{json.dumps(nodes[0], indent=1)}"
                names = {n["Index Name"] for n in nodes if "Index Name" in n}
                assert "tasks_words_idx" in names, told
                assert not names & {"tasks_created_idx", "tasks_due_idx"}, told
                assert not [n for n in nodes if n["Node Type"] == "Seq Scan"], told
