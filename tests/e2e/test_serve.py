"""`boardcast serve` as a process: started, refused, killed, recovered, stopped."""

import json
import os
import resource
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from server import migrate, processes
from tests.e2e.servers import surroundings

pytestmark = pytest.mark.timeout(60)  # each of them starts real servers

PASSWORD = "a long enough phrase"


class Server:
    """`boardcast serve` in a process group of its own, as a shell would start it."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
    ):
        self.data_dir = data_dir
        self._log = (data_dir / "server.log").open("a+")
        self.process = subprocess.Popen(
            [*BOARDCAST, "serve", "--port", "0", "--data-dir", data_dir, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=surroundings() | dict(environ or {}),
            text=True,
            start_new_session=True,
        )

    def ready(self) -> list[str]:
        """Wait for it and answer what it printed."""
        lines = []
        for line in self.process.stdout or ():
            lines.append(line.strip())
            if "Ctrl-C" in line:
                break
        assert lines, self.errors()
        self.url = lines[0].split()[-1]
        return lines

    def errors(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def interrupt(self) -> int:
        """Press Ctrl-C: the signal goes to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        if self.process.stdout:
            self.process.stdout.close()
        self._log.close()

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        request = Request(  # noqa: S310 (our own server)
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urlopen(request, timeout=20) as answer:  # noqa: S310
            return json.load(answer)


BOARDCAST = (sys.executable, "-m", "server")


def boardcast(
    data_dir: Path, *argv: str, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BOARDCAST, *argv, "--data-dir", data_dir],
        check=False,
        env=surroundings(),
        input=typed,
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.fixture
def start(data_dir: Path) -> Iterator[Any]:
    with ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> Server:
            server = Server(data_dir, *arguments, **options)
            stack.callback(server.close)
            return server

        yield start


def left_over(data_dir: Path) -> list[str]:
    """Command lines of the servers that belong to this directory."""
    found = processes._commands().values()
    return [line for line in found if str(data_dir) in line and "pytest" not in line]


def log_in(server: Server) -> str:
    account: Mapping[str, str] = {"email": "ann@example.org", "password": PASSWORD}
    try:
        server.call("POST", "/auth/register", {**account, "username": "ann"})
    except HTTPError as refusal:
        assert refusal.code == 409  # noqa: PT017 (she is there from before)
        refusal.close()
    token: str = server.call("POST", "/auth/login", account)["access_token"]
    return token


def test_it_starts_with_nothing_and_ctrl_c_leaves_no_process(start, data_dir: Path):
    server = start()
    lines = server.ready()

    assert server.call("GET", "/health")["status"] == "ok"
    assert len(lines) == 3
    assert left_over(data_dir) != []
    assert server.interrupt() == 0
    assert left_over(data_dir) == []
    assert "Traceback" not in server.errors()


def test_a_termination_is_as_good_as_ctrl_c(start, data_dir: Path):
    server = start()
    server.ready()

    server.process.terminate()

    assert server.process.wait(timeout=30) == 0
    assert left_over(data_dir) == []


def test_it_may_open_as_many_files_as_the_system_allows(start):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        server = start()
        server.ready()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    found = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert found == (hard, hard)


def test_ctrl_c_during_the_start_leaves_no_process(start, data_dir: Path):
    server = start()
    while not left_over(data_dir / "postgres"):
        assert server.process.poll() is None, server.errors()

    assert server.interrupt() == 0
    assert left_over(data_dir) == []
    assert "Traceback" not in server.errors()


def test_a_second_server_is_refused_in_one_line(start, data_dir: Path):
    server = start()
    server.ready()

    second = boardcast(data_dir, "serve", "--port", "0")

    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"process {server.process.pid} (boardcast serve)" in second.stderr
    assert server.call("GET", "/health")["status"] == "ok"


def test_killed_it_takes_its_servers_along_and_comes_back_with_everything(
    start, data_dir: Path
):
    first = start()
    first.ready()
    task = first.call("POST", "/tasks", {"title": "Kept"}, log_in(first))
    first.process.kill()
    first.process.wait(timeout=30)

    second = start()
    second.ready()

    found = second.call("GET", f"/tasks/{task['id']}", token=log_in(second))
    assert found["title"] == "Kept"


def test_it_survives_the_loss_of_its_database_and_cache(start, data_dir: Path):
    server = start()
    server.ready()
    token = log_in(server)
    database = data_dir / "postgres" / "data" / "postmaster.pid"
    for file in (database, data_dir / "valkey" / "valkey.pid"):
        os.kill(int(file.read_text().split()[0]), signal.SIGKILL)

    while True:  # 503 until PostgreSQL is back; the test has a time limit
        try:
            task = server.call("POST", "/tasks", {"title": "After"}, token)
        except HTTPError as refusal:
            assert refusal.code == 503  # noqa: PT017
            refusal.close()
        else:
            break

    assert task["title"] == "After"
    assert server.process.poll() is None


def test_administration_works_while_it_runs_and_while_it_does_not(
    start, data_dir: Path
):
    made = boardcast(
        data_dir,
        *("create-admin", "--email", "root@example.org", "--username", "root"),
        typed=f"{PASSWORD}\n",
    )
    server = start()
    server.ready()
    again = boardcast(
        data_dir,
        *("create-admin", "--email", "root@example.org", "--username", "root"),
        typed=f"{PASSWORD}\n",
    )
    login = {"username": "root", "password": PASSWORD}

    assert made.returncode == 0, made.stderr
    assert server.call("POST", "/auth/login", login)["token_type"] == "Bearer"
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1


def test_a_demo_company_is_there_with_the_login_that_is_printed(start):
    server = start("--demo")
    line = next(line for line in server.ready() if line.startswith("Demo login"))
    username, password = line.removeprefix("Demo login").strip().split(" / ")

    token = server.call(
        "POST", "/auth/login", {"username": username, "password": password}
    )["access_token"]

    assert server.call("GET", "/tasks?limit=1", token=token)["total"] >= 1


def test_a_directory_that_cannot_be_used_is_one_line(data_dir: Path):
    (data_dir / "file").write_text("")

    refused = boardcast(data_dir / "file", "serve", "--port", "0")

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "is not a directory" in refused.stderr


def test_a_redis_that_is_not_there_is_one_line_and_no_reason_to_give_up(
    start, database_url: str
):
    nowhere = {"DATABASE_URL": database_url, "REDIS_URL": "redis://:word@127.0.0.1:1/0"}
    server = start(environ=nowhere)
    server.ready()

    told = [line for line in server.errors().splitlines() if "redis" in line.lower()]

    assert len(told) == 1
    assert json.loads(told[0])["event"] == "redis.unavailable"
    assert json.loads(told[0])["see"] == "REDIS_URL"
    assert "word" not in told[0]
    assert server.call("GET", "/health")["status"] == "degraded"


def test_production_waits_for_an_approved_migration_and_says_so(
    start, data_dir: Path, empty_database_url: str, redis_url: str
):
    environ = {
        "BOARDCAST_ENV": "production",
        "DATABASE_URL": empty_database_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET_KEY": secrets.token_hex(32),
        "JWT_REFRESH_SECRET_KEY": secrets.token_hex(32),
    }
    server = start(environ=environ)
    lines = server.ready()

    with pytest.raises(HTTPError) as refusal:
        server.call("GET", "/health/ready")
    refusal.value.close()
    migrate.migrate(empty_database_url)

    assert lines[0].startswith("Boardcast waits for `boardcast migrate`: ")
    assert refusal.value.code == 503
    assert server.call("GET", "/health/ready")["status"] == "ok"
    assert [file.name for file in data_dir.iterdir()] == ["server.log"]
