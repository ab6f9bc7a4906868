"""The command's own part: what is understood, and what a person reads when it fails."""

import argparse
import getpass
import io
import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import EmailTaken
from server import administration, cli, listening, migrate
from server.credentials import for_development
from server.datadir import Lock

MISSING = f"Missing: {', '.join(migrate.names())}\n"
KEY = "5b0f3a9c71d24e86b7a1c2d3e4f50617"
OTHER_KEY = "9a8b7c6d5e4f30211203f4e5d6c7b8a9"
PASSWORD = "a long enough phrase"

MISSING = f"Missing: {', '.join(migrate.names())}\n"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def boardcast(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Command:
    """Run a command as a person would; answer its status, output and errors."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("BOARDCAST_", "JWT_", "DATABASE_", "REDIS_", "VAULT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("JWT_SECRET_KEY", KEY)
    monkeypatch.setenv("JWT_REFRESH_SECRET_KEY", OTHER_KEY)
    monkeypatch.setattr(cli.logs, "configure", lambda config: None)

    def run(*argv: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        try:
            status = cli.main(argv)
        except SystemExit as leaving:  # argparse
            status = int(leaving.code or 0)
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


@pytest.fixture
def on_database(
    boardcast: Command, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return boardcast


def production(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("BOARDCAST_ENV", "production")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")


def rows(url: str, statement: str) -> list[Any]:
    with closing(migrate.connect(url)) as connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall())


@pytest.mark.parametrize(
    "command",
    ["serve", "migrate", "seed", "create-admin", "check-config", "openapi", "asyncapi"],
)
def test_every_command_explains_itself(boardcast: Command, command: str):
    status, out, _ = boardcast(command, "--help")

    assert status == 0
    assert out.startswith(f"usage: boardcast {command}")


def test_the_commands_are_listed(boardcast: Command):
    status, out, _ = boardcast("--help")

    assert status == 0
    assert "create-admin" in out


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("fly",),
        ("serve", "--port", "70000"),
        ("serve", "--port", "x"),
        ("create-admin",),
    ],
)
def test_what_is_not_understood_is_a_usage_error(
    boardcast: Command, argv: tuple[str, ...]
):
    status, _, err = boardcast(*argv)

    assert status == 2
    assert "Traceback" not in err


def test_settings_are_shown_without_secrets(
    boardcast: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BOARDCAST_CORS_ORIGINS", "https://a.example,https://b.example")
    status, out, _ = boardcast("check-config", "--data-dir", "here")

    assert status == 0
    assert "BOARDCAST_DATA_DIR=here" in out
    assert "BOARDCAST_CORS_ORIGINS=https://a.example,https://b.example" in out
    assert "JWT_SECRET_KEY=(set)" in out
    assert "DATABASE_URL=(not set)" in out
    assert KEY not in out


def test_looking_at_the_settings_makes_nothing(
    boardcast: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("JWT_SECRET_KEY")

    status, out, _ = boardcast("check-config", "--data-dir", "new/data")
    (tmp_path / "old").mkdir()
    again, _, _ = boardcast("check-config", "--data-dir", "old")

    assert (status, again) == (0, 0)
    assert "JWT_SECRET_KEY=(not set)" in out
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


def test_looking_at_the_settings_finds_the_keys_that_are_kept(
    boardcast: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("JWT_SECRET_KEY")
    for_development(tmp_path / "data")

    _, out, _ = boardcast("check-config", "--data-dir", "data")

    assert "JWT_SECRET_KEY=(set)" in out


def test_looking_at_the_settings_tells_of_a_directory_that_cannot_be_used(
    boardcast: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("JWT_SECRET_KEY")
    (tmp_path / "file").touch()

    status, _, err = boardcast("check-config", "--data-dir", "file")

    assert (status, err.count("\n")) == (1, 1)
    assert "is not a directory" in err


def test_a_mistyped_setting_is_a_warning_in_development(
    boardcast: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BOARDCAST_PROT", "1")

    with capture_logs() as lines:
        status, _, _ = boardcast("check-config")

    assert status == 0
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("config.mistyped", "warning")
    assert "BOARDCAST_PORT" in line["problem"]


def test_each_wrong_setting_gets_a_line(
    boardcast: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BOARDCAST_PORT", "x")
    monkeypatch.setenv("DATABASE_URL", "nowhere")
    status, out, err = boardcast("check-config")

    lines = err.splitlines()
    assert (status, out, len(lines)) == (1, "", 2)
    assert all(line.startswith("boardcast: ") for line in lines)


@pytest.mark.parametrize("workers", ["0", "-1", "x", "1000", ""])
def test_a_number_of_workers_that_cannot_be_is_one_line(
    boardcast: Command, workers: str
):
    status, _, err = boardcast("serve", f"--workers={workers}")

    assert status == 1
    told = f"--workers is a number from 1 to 64, not {workers!r}"
    assert err == f"boardcast: {told}\n"


@pytest.mark.parametrize("workers", ["0", "x", "1000"])
def test_the_number_of_workers_is_a_setting_like_others(
    boardcast: Command, monkeypatch: pytest.MonkeyPatch, workers: str
):
    monkeypatch.setenv("BOARDCAST_WORKERS", workers)

    status, _, err = boardcast("serve")

    assert status == 1
    assert err.startswith("boardcast: BOARDCAST_WORKERS: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "version"), [("openapi", "3.1"), ("asyncapi", "3.0")]
)
def test_the_documents_are_printed(boardcast: Command, command: str, version: str):
    status, out, _ = boardcast(command)

    assert status == 0
    assert json.loads(out)[command].startswith(version)


def test_a_port_in_use_is_told_before_anything_is_started(
    boardcast: Command, tmp_path: Path
):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, _, err = boardcast("serve", "--port", str(port))

    assert status == 1
    assert err == (
        f"boardcast: port {port} of 127.0.0.1 is in use; choose another with --port\n"
    )
    assert not (tmp_path / ".boardcast").exists()


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_told(boardcast: Command, host: str):
    status, _, err = boardcast("serve", "--host", host, "--port", "0")

    assert status == 1
    assert err.startswith("boardcast: cannot listen on")
    assert err.count("\n") == 1


def test_a_data_directory_in_use_is_told(boardcast: Command, tmp_path: Path):
    lock = Lock.take(tmp_path, "serve")
    status, _, err = boardcast("serve", "--port", "0", "--data-dir", str(tmp_path))
    lock.release()

    assert status == 1
    assert f"in use by process {os.getpid()} (boardcast serve)" in err
    assert err.count("\n") == 1


def test_a_database_that_does_not_answer_is_told(
    boardcast: Command, monkeypatch: pytest.MonkeyPatch
):
    production(monkeypatch, "postgresql://u@127.0.0.1:1/x")

    admin = ("create-admin", "--email", "a@example.com", "--username", "root")
    for argv in (("serve", "--port", "0"), ("migrate",), admin):
        status, _, err = boardcast(*argv, typed=f"{PASSWORD}\n")

        assert status == 1
        assert "the database does not answer" in err
        assert err.count("\n") == 1


def test_migrating_in_development_does_not_ask(
    boardcast: Command, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABASE_URL", empty_database_url)

    first = boardcast("migrate")
    second = boardcast("migrate")

    applied = "".join(f"Applied: {name}\n" for name in migrate.names())
    assert first == (0, MISSING + applied, "")
    assert second == (0, "The database is up to date.\n", "")


def test_migrating_in_production_takes_an_approval(
    boardcast: Command, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    production(monkeypatch, empty_database_url)

    status, out, err = boardcast("migrate")

    assert (status, out) == (1, MISSING)
    assert "--yes" in err
    assert migrate.pending(empty_database_url) == migrate.names()
    assert boardcast("migrate", "--yes")[0] == 0
    assert migrate.pending(empty_database_url) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "is_approved"), [("y", True), ("", False)])
def test_a_person_is_asked(
    monkeypatch: pytest.MonkeyPatch, answer: str, is_approved: bool
):
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda question: answer)

    assert administration._approves() is is_approved


def test_a_person_who_says_no_changes_nothing(
    boardcast: Command, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    production(monkeypatch, empty_database_url)
    monkeypatch.setattr(administration, "_approves", lambda: False)

    status, out, _ = boardcast("migrate")

    assert (status, out) == (1, f"{MISSING}Nothing was changed.\n")


def test_production_is_not_used_before_it_is_migrated(
    boardcast: Command, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    production(monkeypatch, empty_database_url)

    status, _, err = create_admin(boardcast, "a@example.com", "root")

    assert status == 1
    assert "boardcast migrate" in err


@pytest.mark.parametrize("argv", [("seed",), ("serve", "--port", "0", "--demo")])
def test_production_takes_no_demo(
    argv: tuple[str, ...], boardcast: Command, monkeypatch: pytest.MonkeyPatch
):
    production(monkeypatch, "postgresql://u@127.0.0.1:1/x")

    status, _, err = boardcast(*argv)

    assert status == 1
    assert "published passwords" in err


def create_admin(run: Command, email: str, username: str, password: str = PASSWORD):
    return run(
        "create-admin", "--email", email, "--username", username, typed=f"{password}\n"
    )


def test_an_administrator_is_made_from_standard_input(
    on_database: Command, database_url: str
):
    status, out, err = create_admin(on_database, "root@example.org", "root")

    assert (status, err) == (0, "")
    assert "root is an administrator" in out
    made = rows(database_url, "SELECT email, username, role FROM users")
    assert [tuple(row) for row in made] == [("root@example.org", "root", "admin")]


def test_what_is_wrong_with_an_administrator_is_one_line(on_database: Command):
    create_admin(on_database, "root@example.org", "root")

    refusals = [
        create_admin(on_database, "ROOT@example.org", "other"),
        create_admin(on_database, "other@example.org", "ROOT"),
        create_admin(on_database, "other@example.org", "other", "short"),
        create_admin(on_database, "other@example.org", "other", "password123"),
        create_admin(on_database, "no address", "x"),
    ]

    for status, out, err in refusals:
        assert (status, out) == (1, "")
        assert err.startswith("boardcast: ")
        assert err.count("\n") == 1


def test_a_person_types_the_password_twice(monkeypatch: pytest.MonkeyPatch):
    typed = iter([PASSWORD, PASSWORD, PASSWORD, "another"])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(typed))

    assert administration.read_password() == PASSWORD
    with pytest.raises(administration.Mistake, match="not the same"):
        administration.read_password()


def test_a_person_who_types_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    def end(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", end)

    with pytest.raises(administration.Mistake, match="no password"):
        administration.read_password()


def test_a_database_is_filled_once(on_database: Command, database_url: str):
    first = on_database("seed")
    second = on_database("seed")

    assert first[0] == 0
    assert rows(database_url, "SELECT count(*) FROM tasks")[0][0] == 2000
    assert second[0] == 1
    assert "not empty" in second[2]


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (EmailTaken("Taken.\nReally."), 1, "boardcast: Taken. Really.\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_mistakes_and_interruptions_have_no_traceback(
    boardcast: Command,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    told: str,
):
    def fail(options: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(cli, "_openapi", fail)

    assert boardcast("openapi") == (status, "", told)


@pytest.mark.parametrize(
    ("bound", "url"),
    [
        (("127.0.0.1", 80), "http://127.0.0.1:80"),
        (("0.0.0.0", 80), "http://localhost:80"),
        (("::1", 80, 0, 0), "http://[::1]:80"),
    ],
)
def test_the_url_is_one_that_can_be_clicked(bound: tuple[Any, ...], url: str):
    class Listening:
        def getsockname(self) -> tuple[Any, ...]:
            return bound

    assert listening.url_of(Listening()) == url  # type: ignore[arg-type]
