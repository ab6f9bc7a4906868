"""Tasks are changed without a touch of their indexes, unless their words change."""

import pytest

from actors.domain.commands import CreateProject, CreateTask, UpdateTask
from actors.domain.model import TaskPriority, TaskStatus
from actors.domain.state import ProjectState
from sql.database import Database
from sql.store import Store
from tests.factories import ADA, PROJECT, insert_users, make_batch, make_command

LONG = " ".join(str(number) for number in range(4000))


async def hot_updates(database: Database) -> tuple[int, int]:
    """How often tasks were changed, and how often so without their indexes."""
    async with database.connection() as connection:
        await connection.fetch("SELECT pg_stat_force_next_flush()")
        row = await connection.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE relname = 'tasks'"
        )
    return row["n_tup_upd"], row["n_tup_hot_upd"]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("description", [None, "short", LONG])
async def test_what_leaves_the_words_leaves_the_indexes(
    database_url: str, description: str | None, *, at_once: bool
) -> None:
    """Also where the description is so long that it lies in a table of its own."""
    database = await Database.open(database_url, size=1, timeout_seconds=10)
    await insert_users(database, ADA)
    store, state = Store(database, at_once=at_once), ProjectState(project_id=PROJECT)
    made = make_command(CreateTask, description=description)
    await store.append([make_batch(state, make_command(CreateProject), made)])

    for fields in (
        {"status": TaskStatus.IN_PROGRESS},
        {"priority": TaskPriority.URGENT},
        {"status": TaskStatus.COMPLETED},
    ):
        await store.append([make_batch(state, make_command(UpdateTask, **fields))])
    unchanged = await hot_updates(database)
    await store.append([make_batch(state, make_command(UpdateTask, title="New"))])

    assert unchanged == (3, 3)
    assert await hot_updates(database) == (4, 3)
    await database.close()
