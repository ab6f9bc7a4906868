"""The demo company: what it is made of."""

from collections.abc import Mapping
from typing import Any

from server import keys
from server.demo import PASSWORD, PEOPLE, Demo
from server.migrate import migrate
from server.passwords import refuse_weak
from tests.running_app import Board, running


async def fill(board: Board, tasks: int) -> bool:
    app = board.app
    demo = Demo(
        app[keys.STORE],
        app[keys.ACCOUNTS],
        app[keys.REGISTRY],
        app[keys.IDS],
        app[keys.PASSWORDS],
    )
    return await demo.fill(tasks=tasks)


async def company(board: Board) -> Mapping[str, Any]:
    return {
        "users": await board.value("SELECT count(*) FROM users"),
        "projects": await board.value(
            "SELECT string_agg(name, ',' ORDER BY id) FROM projects"
        ),
        "members": await board.value(
            "SELECT string_agg(project_id || ' ' || user_id || role, ','"
            " ORDER BY project_id, user_id) FROM members"
        ),
        "tasks": await board.value(
            "SELECT string_agg(concat_ws('|', title, status, assigned_to), ','"
            " ORDER BY id) FROM tasks"
        ),
    }


async def test_it_is_filled_once_and_with_as_many_tasks_as_asked(
    board: Board,
) -> None:
    assert await fill(board, 30)
    assert not await fill(board, 30)

    assert await board.value("SELECT count(*) FROM tasks") == 30
    assert await board.value("SELECT count(*) FROM users") == len(PEOPLE)


async def test_what_anybody_has_is_left_alone(board: Board) -> None:
    await board.person()

    assert not await fill(board, 30)
    assert await board.value("SELECT count(*) FROM tasks") == 0


async def test_it_is_the_same_every_time(
    board: Board, empty_database_url: str, redis_url: str
) -> None:
    await fill(board, 40)
    first = await company(board)
    migrate(empty_database_url)
    async with running(empty_database_url, redis_url) as other:
        await fill(other, 40)
        assert await company(other) == first


async def test_those_who_work_on_a_task_may(board: Board) -> None:
    await fill(board, 100)

    strangers = await board.value(
        """
        SELECT count(*) FROM tasks t
        WHERE NOT EXISTS (
            SELECT FROM members m
            WHERE m.project_id = t.project_id AND m.role <> 'viewer'
                AND m.user_id IN (t.created_by, coalesce(t.assigned_to, t.created_by))
        ) AND NOT EXISTS (
            SELECT FROM projects p
            WHERE p.id = t.project_id AND p.owner_id IN (t.created_by, t.assigned_to)
        )
        """
    )
    assert strangers == 0


def test_the_password_is_one_that_the_server_accepts() -> None:
    for person in PEOPLE:
        email = f"{person.username}@demo.example"
        refuse_weak(PASSWORD, email=email, username=person.username)
