"""The demo company: believable, complete, and the same for everybody."""

from collections.abc import AsyncIterator

import pytest

from actors.domain.model import UserRole
from server.demo import PASSWORD, PEOPLE, TASKS
from tests.running_app import Board, Person, running


@pytest.fixture
async def demo(database_url: str, redis_url: str) -> AsyncIterator[Board]:
    async with running(database_url, redis_url, demo=True) as board:
        yield board


async def log_in(board: Board, username: str) -> Person:
    body = {"username": username, "password": PASSWORD}
    answer = await board.nobody.post("/auth/login", body)
    assert answer.status == 200, answer
    return Person(board, board.nobody.caller, {"access": answer.json["access_token"]})


async def test_the_company_is_what_was_promised(demo: Board) -> None:
    people = {person.username: await log_in(demo, person.username) for person in PEOPLE}
    admin = people["ada"]
    tasks = await admin.get("/tasks?limit=100")
    projects = (await admin.get("/projects?limit=100")).json["projects"]

    roles = [person.role for person in PEOPLE]
    assert {role: roles.count(role) for role in UserRole} == dict.fromkeys(UserRole, 3)
    assert sum(not project["is_inbox"] for project in projects) == 12
    assert tasks.json["total"] == TASKS == 2000
    for project in projects:
        answer = await admin.get(f"/tasks?project_id={project['id']}&limit=1")
        assert (answer.json["total"] > 100) is not project["is_inbox"]
    for query in ("status=completed", "status=in_progress", "overdue=true", "q=draft"):
        assert (await admin.get(f"/tasks?{query}")).json["total"] > 50
    for person in people.values():
        mine = await person.get("/tasks?assigned_to=me")
        assert mine.json["total"] > 20


async def test_its_past_is_in_order_and_it_is_made_once(
    demo: Board, database_url: str, redis_url: str
) -> None:
    wrong = """
        SELECT count(*) FROM tasks
        WHERE updated_at < created_at OR completed_at < created_at
            OR created_at > now() OR due_date < created_at
    """
    gaps = """
        SELECT count(*) FROM project_heads h
        WHERE h.version <> (SELECT count(*) FROM project_events e
                            WHERE e.project_id = h.project_id)
            OR h.version <> (SELECT max(version) FROM project_events e
                             WHERE e.project_id = h.project_id)
    """

    assert await demo.value(wrong) == 0
    assert await demo.value(gaps) == 0
    async with running(database_url, redis_url, demo=True) as again:
        assert await again.value("SELECT count(*) FROM users") == len(PEOPLE)
        assert await again.value("SELECT count(*) FROM tasks") == TASKS


async def test_a_database_that_is_used_is_left_alone(
    database_url: str, redis_url: str
) -> None:
    async with running(database_url, redis_url) as board:
        await board.person()
    async with running(database_url, redis_url, demo=True) as board:
        assert await board.value("SELECT count(*) FROM users") == 1
