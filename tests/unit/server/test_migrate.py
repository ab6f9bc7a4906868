"""Migrations on the real PostgreSQL: whole or not at all, once, and undone again."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from server import migrate


def rows(url: str, statement: str) -> list[Any]:
    with closing(migrate.connect(url)) as connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall())


def execute(url: str, statement: str) -> None:
    with closing(migrate.connect(url)) as connection:
        connection.cursor().execute(statement)


def tables(url: str) -> set[str]:
    found = rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row[0] for row in found if "yoyo" not in row[0]}


def test_an_empty_database_lacks_every_migration_and_asking_changes_nothing(
    empty_database_url: str,
):
    missing = migrate.pending(empty_database_url)

    assert missing == migrate.names()
    assert missing[0] == "0001_schema"
    assert (
        rows(empty_database_url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'")
        == []
    )


def test_migrating_applies_everything_once(empty_database_url: str):
    first = migrate.migrate(empty_database_url)
    second = migrate.migrate(empty_database_url)

    assert first == migrate.names()
    assert second == []
    assert migrate.pending(empty_database_url) == []
    assert {"users", "projects", "tasks", "project_events"} <= tables(
        empty_database_url
    )


def test_every_migration_can_be_undone_and_done_again(database_url: str):
    undone = migrate.roll_back(database_url)

    assert undone == list(reversed(migrate.names()))
    assert tables(database_url) == set()
    assert migrate.migrate(database_url) == migrate.names()


def test_of_four_at_once_one_migrates_and_the_others_wait(empty_database_url: str):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(migrate.migrate, [empty_database_url] * 4))

    assert sorted(results) == [[], [], [], migrate.names()]


def test_a_lock_left_by_one_that_was_killed_does_not_hinder(database_url: str):
    execute(
        database_url, "INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)"
    )

    assert migrate.migrate(database_url) == []


def test_who_waits_too_long_for_another_is_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(migrate, "_LOCK_SECONDS", 0.0)

    with closing(migrate.connect(database_url)) as other:
        other.cursor().execute(f"SELECT pg_advisory_lock({migrate._LOCK_KEY})")
        with pytest.raises(migrate.MigrationFailed, match="another process"):
            migrate.migrate(database_url)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path)
    return tmp_path


def test_a_migration_that_fails_leaves_nothing(empty_database_url: str, folder: Path):
    (folder / "0001_good.sql").write_text("CREATE TABLE good (id int)")
    (folder / "0002_bad.sql").write_text(
        "-- depends: 0001_good\nCREATE TABLE half (id int);\n\nSELECT * FROM nowhere;\n"
    )

    with pytest.raises(migrate.MigrationFailed, match="nowhere"):
        migrate.migrate(empty_database_url)

    assert tables(empty_database_url) == {"good"}
    assert migrate.pending(empty_database_url) == ["0002_bad"]


def test_a_migration_and_its_mark_are_one_transaction(
    empty_database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / "0001_good.sql").write_text("CREATE TABLE good (id int)")

    def killed(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(migrate.Pg8000Backend, "mark_one", killed)
    with pytest.raises(KeyboardInterrupt):
        migrate.migrate(empty_database_url)
    monkeypatch.undo()
    monkeypatch.setattr(migrate, "MIGRATIONS", folder)

    assert tables(empty_database_url) == set()
    assert migrate.migrate(empty_database_url) == ["0001_good"]


def test_a_migration_may_do_without_a_transaction(
    empty_database_url: str, folder: Path
):
    (folder / "0001_table.sql").write_text("CREATE TABLE good (id int)")
    (folder / "0002_index.sql").write_text(
        "-- depends: 0001_table\n-- transactional: false\n"
        "CREATE INDEX CONCURRENTLY good_idx ON good (id)"
    )
    (folder / "0002_index.rollback.sql").write_text(
        "-- transactional: false\nDROP INDEX CONCURRENTLY good_idx"
    )

    assert migrate.migrate(empty_database_url) == ["0001_table", "0002_index"]
    assert rows(
        empty_database_url,
        "SELECT indexname FROM pg_indexes WHERE indexname = 'good_idx'",
    )


def test_every_migration_has_a_rollback():
    files = {file.name for file in migrate.MIGRATIONS.glob("*.sql")}

    assert {f"{name}.rollback.sql" for name in migrate.names()} <= files
    assert {f"{name}.sql" for name in migrate.names()} <= files


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://u@127.0.0.1:1/x", "does not answer"),
        ("postgresql://u@/x?host=/nowhere", "does not answer"),
        ("mysql://u@h/x", "does not begin with postgresql"),
    ],
)
def test_a_database_that_cannot_be_had_is_told_in_one_line(url: str, reason: str):
    with pytest.raises(migrate.MigrationFailed, match=reason) as refusal:
        migrate.pending(url)

    assert "\n" not in str(refusal.value)


def test_a_database_that_is_not_there_is_told_by_name(servers: Any):
    url = servers.database_url.replace("/boardcast?", "/elsewhere?")

    with pytest.raises(migrate.MigrationFailed, match="elsewhere"):
        migrate.migrate(url)


def test_a_url_is_understood_in_all_its_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrate, "_socket", lambda host, port: (host, port))

    plain = migrate._arguments("postgresql://a%40b:p%2Fw@db.example:6000/board")
    socket = migrate._arguments(
        "postgres://@/board?host=/run/pg&port=7&user=me&password=x"
    )

    assert plain["user"] == "a@b"
    assert plain["password"] == "p/w"
    assert plain["database"] == "board"
    assert plain["sock"] == ("db.example", 6000)
    assert plain["ssl_context"] is None
    assert (socket["user"], socket["password"]) == ("me", "x")
    assert socket["sock"] == ("/run/pg", 7)
    assert socket["ssl_context"] is False


@pytest.mark.parametrize(
    ("mode", "is_verified", "is_named"),
    [
        ("require", False, False),
        ("verify-ca", True, False),
        ("verify-full", True, True),
    ],
)
def test_encryption_is_as_strict_as_the_url_says(
    mode: str, is_verified: bool, is_named: bool
):
    context = migrate._tls({"sslmode": mode})

    assert not isinstance(context, bool)
    assert context is not None
    assert bool(context.verify_mode) is is_verified
    assert context.check_hostname is is_named
    assert migrate._tls({"sslmode": "disable"}) is False


def test_the_command_of_yoyo_finds_our_backend(database_url: str):
    from yoyo import get_backend  # noqa: PLC0415

    url = urlsplit(database_url)._replace(scheme="postgresql+pg8000").geturl()
    with get_backend(url) as backend:
        assert isinstance(backend, migrate.Pg8000Backend)


def test_a_database_that_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(migrate, "_CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        with pytest.raises(migrate.MigrationFailed, match="does not answer"):
            migrate.pending(f"postgresql://u@127.0.0.1:{port}/x")


def test_the_index_of_words_is_made_over_what_there_is_and_made_again_if_cut_off(
    database_url: str,
):
    """CONCURRENTLY has no transaction: what was killed leaves an index behind."""
    execute(database_url, "DROP INDEX tasks_words_idx")
    execute(database_url, "CREATE INDEX tasks_words_idx ON tasks (id)")
    execute(
        database_url, "DELETE FROM _yoyo_migration WHERE migration_id = '0002_search'"
    )
    execute(
        database_url,
        "WITH u AS (INSERT INTO users (id, email, username, password_hash)"
        " VALUES (1, 'a', 'ada', '') RETURNING id), p AS (INSERT INTO projects"
        " (id, name, owner_id, status, created_at, updated_at, version)"
        " SELECT 1, 'p', id, 'active', now(), now(), 1 FROM u RETURNING id)"
        " INSERT INTO tasks (id, project_id, title, status, priority, created_by,"
        " created_at, updated_at, version)"
        " SELECT i, p.id, CASE WHEN i = 7 THEN 'Old words' ELSE 'Task ' || i END,"
        " 'pending', 'low', 1, now(), now(), 1 FROM p, generate_series(1, 3000) i",
    )

    assert migrate.migrate(database_url) == ["0002_search"]

    with closing(migrate.connect(database_url)) as connection:
        cursor = connection.cursor()
        cursor.execute("ANALYZE tasks")
        search = (
            "SELECT id FROM tasks WHERE deleted_at IS NULL AND to_tsvector('simple',"
            " title || ' ' || coalesce(description, '')) @@ to_tsquery('simple', 'old')"
        )
        cursor.execute(f"EXPLAIN {search}")
        assert "tasks_words_idx" in str(cursor.fetchall())
        cursor.execute(search)
        assert [row[0] for row in cursor.fetchall()] == [7]
