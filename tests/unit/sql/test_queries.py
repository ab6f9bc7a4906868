"""Every query is sound, named by its kind, in use, and the hot ones have an index."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiosql.types import SQLOperationType

from sql import database as sql_database
from sql.database import Connection, Database, load_queries

FOLDER = Path(sql_database.__file__).parent
FILES = sorted(path.stem for path in FOLDER.glob("*.sql"))

ONE_ROW, ONE_VALUE = SQLOperationType.SELECT_ONE, SQLOperationType.SELECT_VALUE
MANY_ROWS = SQLOperationType.SELECT
NO_ROWS = SQLOperationType.INSERT_UPDATE_DELETE
RETURNED_ROW = SQLOperationType.INSERT_RETURNING


class Query(NamedTuple):
    file: str
    name: str
    sql: str
    operation: SQLOperationType


def all_queries() -> Iterator[Query]:
    for file in FILES:
        queries = load_queries(file)
        for name in queries.available_queries:
            if not name.endswith("_cursor"):  # aiosql's twins of those that select
                query = getattr(queries, name)
                yield Query(file, name, query.sql, query.operation)


QUERIES = list(all_queries())


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    database = await Database.open(database_url, size=1, timeout_seconds=10)
    async with database.connection() as connection:
        yield connection
    await database.close()


def test_there_are_queries() -> None:
    assert len(FILES) >= 9
    assert len(QUERIES) >= 40


async def test_every_query_prepares(connection: Connection) -> None:
    failures = {}
    for query in QUERIES:
        try:
            await connection.prepare(query.sql)
        except Exception as error:  # noqa: BLE001  # each is shown
            failures[query.name] = str(error)

    assert failures == {}


async def test_what_gets_one_value_says_so(connection: Connection) -> None:
    """Style rule 26, with one addition: a get_ of a single column is $, not ^."""
    wrong = []
    for query in QUERIES:
        if query.name.startswith("get_"):
            statement = await connection.prepare(query.sql)
            is_scalar = len(statement.get_attributes()) == 1
            if query.operation is not (ONE_VALUE if is_scalar else ONE_ROW):
                wrong.append(query.name)

    assert wrong == []


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_operators_match_names(query: Query) -> None:
    prefix = query.name.split("_")[0]
    reads = {
        "get": {ONE_ROW, ONE_VALUE},
        "count": {ONE_VALUE},
        "next": {ONE_VALUE},
        "lock": {ONE_VALUE},
        "list": {MANY_ROWS},
    }
    is_returning = "RETURNING" in query.sql

    writes = {RETURNED_ROW, MANY_ROWS} if is_returning else {NO_ROWS}
    assert query.operation in reads.get(prefix, writes)
    if prefix == "list":
        assert "ORDER BY" in query.sql


def test_every_query_is_used() -> None:
    used = set()
    for path in FOLDER.glob("*.py"):
        source = path.read_text()
        loaded = re.findall(r'^(_\w+) = load_queries\("(\w+)"\)', source, re.MULTILINE)
        for variable, file in loaded:
            names = re.findall(rf"\b{variable}\.(\w+)", source)
            patterns = re.findall(rf'getattr\({variable}, f"([^"]+)"', source)
            patterns = [re.sub(r"\{\w+\}", r"\\w+", pattern) for pattern in patterns]
            used |= {
                (file, query.name)
                for query in QUERIES
                if query.file == file
                and (
                    query.name in names
                    or any(re.fullmatch(pattern, query.name) for pattern in patterns)
                )
            }

    assert {(query.file, query.name) for query in QUERIES} - used == set()


@pytest.mark.parametrize("file", FILES)
def test_every_query_says_in_one_sentence_what_it_is_for(file: str) -> None:
    text = (FOLDER / f"{file}.sql").read_text()
    comments = re.findall(r"^-- (.*)$", text, re.MULTILINE)

    heads, sentences = comments[::2], comments[1::2]
    assert all(re.fullmatch(r"name: \w+\(.*\)(\^|\$|!|<!)?", head) for head in heads)
    assert all(sentence.endswith(".") for sentence in sentences)
    assert len(heads) == len(sentences)


def test_the_loader_finds_all_that_is_in_a_file() -> None:
    for file in FILES:
        names = re.findall(
            r"^-- name: (\w+)", (FOLDER / f"{file}.sql").read_text(), re.MULTILINE
        )
        assert sorted(names) == sorted(q.name for q in QUERIES if q.file == file)


SEED = """
INSERT INTO users (id, email, username, password_hash)
SELECT i, 'u' || i || '@example.com', 'user' || i, '' FROM generate_series(1, 4000) i;
INSERT INTO projects (id, name, owner_id, status, is_inbox, created_at, updated_at, version)
SELECT i, 'p', i, 'active', i % 2 = 0, now(), now(), 1 FROM generate_series(1, 4000) i;
INSERT INTO project_heads SELECT i, 9 FROM generate_series(1, 4000) i;
INSERT INTO members
SELECT i, 1 + (i * 7 + j) % 4000, 'member', now(), 1
FROM generate_series(1, 4000) i, generate_series(1, 2) j;
INSERT INTO tasks (id, project_id, title, status, priority, created_by, created_at, updated_at, version)
SELECT i, 1 + i % 4000, 't', 'pending', 'low', 1 + i % 4000, now(), now(), 1
FROM generate_series(1, 12000) i;
INSERT INTO project_events (project_id, version, type, task_id, at, body)
SELECT 1 + i % 4000, 1 + i / 4000, 'task_created', 1 + i, now(), '{}' FROM generate_series(0, 11999) i;
INSERT INTO comments (id, task_id, user_id, comment, created_at, updated_at, version)
SELECT i, i, 1, 'c', now(), now(), 1 FROM generate_series(1, 12000) i;
INSERT INTO idempotency_keys
SELECT i, 'k' || i, '', 201, i, 1 FROM generate_series(1, 4000) i;
INSERT INTO sessions (user_id, expires_at)
SELECT i, now() + interval '1 day' FROM generate_series(1, 4000) i;
INSERT INTO refresh_tokens (digest, session_id)
SELECT int4send(i), i FROM generate_series(1, 4000) i;
ANALYZE;
"""  # noqa: E501  # columns beside their values

# The query, its arguments in the order of their first appearance, and its indexes.
HOT: list[tuple[str, str, tuple[object, ...], set[str]]] = [
    ("tasks", "get_project_id", (77,), {"tasks_pkey"}),
    ("tasks", "list_tasks_of_project", (77,), {"tasks_project_idx"}),
    (
        "comments",
        "list_comments_of_project",
        (77,),
        {"tasks_project_idx", "comments_task_idx"},
    ),
    ("project_events", "list_events_since", (77, 1, 500), {"project_events_pkey"}),
    ("project_events", "get_event", (77, 1), {"project_events_pkey"}),
    (
        "project_events",
        "list_log",
        (1, 20, 77),
        {"project_events_pkey", "project_heads_pkey"},
    ),
    ("project_events", "list_history", (77, 0, 20, 0), {"project_events_task_idx"}),
    (
        "project_heads",
        "move_heads",
        ([7, 8, 9], [9, 9, 9], [10, 10, 10]),
        {"project_heads_pkey"},
    ),
    ("project_heads", "lock_head", (77,), {"project_heads_pkey"}),
    (
        "projects",
        "list_visible_ids",
        (77,),
        {"projects_owner_idx", "members_user_idx"},
    ),
    (
        "projects",
        "get_project",
        (77,),
        {"projects_pkey", "project_heads_pkey", "project_events_pkey"},
    ),
    ("projects", "get_inbox_id", (76,), {"projects_inbox_key"}),
    ("members", "list_members", (77,), {"members_pkey"}),
    ("idempotency_keys", "get_key", (77, "k77"), {"idempotency_keys_pkey"}),
    (
        "idempotency_keys",
        "get_key_of_address",
        ("U77@example.com", "k77"),
        {"users_email_key", "idempotency_keys_pkey"},
    ),
    ("users", "get_user", (77,), {"users_pkey"}),
    ("users", "get_credentials_by_email", ("U77@example.com",), {"users_email_key"}),
    ("users", "get_credentials_by_username", ("User77",), {"users_username_key"}),
    ("sessions", "list_sessions", (77, 20, 0), {"sessions_user_idx"}),
    ("sessions", "count_sessions", (77,), {"sessions_user_idx"}),
    ("sessions", "list_live_sessions", ([7, 8, 9],), {"sessions_pkey", "users_pkey"}),
    (
        "sessions",
        "get_refresh_token",
        (10.0, b"\0\0\0\7"),
        {"refresh_tokens_pkey", "sessions_pkey", "users_pkey"},
    ),
    (
        "sessions",
        "rotate_refresh_token",
        (b"\0\0\0\7", b"new"),
        {"refresh_tokens_pkey", "sessions_pkey", "users_pkey"},
    ),
]


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


async def plans_of(
    connection: Connection, sql: str, arguments: tuple[object, ...]
) -> dict[str, Any]:
    """Ask how a query is done for these arguments, and how for any."""
    own = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)
    nulls = ", ".join("NULL" for _ in arguments)
    async with connection.transaction():
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE hot AS {sql}")
        for_any = await connection.fetchval(
            f"EXPLAIN (FORMAT JSON) EXECUTE hot({nulls})"
        )
        await connection.execute("DEALLOCATE hot")
    return {"own": json.loads(own)[0]["Plan"], "any": json.loads(for_any)[0]["Plan"]}


async def test_hot_queries_use_their_index(connection: Connection) -> None:
    await connection.execute(SEED)
    for file, name, arguments, expected in HOT:
        sql = getattr(load_queries(file), name).sql

        plans = await plans_of(connection, sql, arguments)

        for kind, plan in plans.items():
            nodes = list(nodes_of(plan))
            told = f"{name} ({kind}):\n{json.dumps(plan, indent=1)}"
            indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
            scanned = [node for node in nodes if node["Node Type"] == "Seq Scan"]
            assert expected <= indexes, told
            assert scanned == [], told
