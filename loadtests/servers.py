"""The servers that are measured: Boardcast on data of its own, and bare aiohttp."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

_HERE = Path(__file__).parent
_TASKS = 200
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A server to measure, and what its requests need."""

    pid: int
    port: int
    token: str = ""
    project_id: int = 0
    task_ids: tuple[int, ...] = ()


@asynccontextmanager
async def _process(
    *command: str, ready: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[int, str]]:
    """Run a server until the block ends; gives its id, and the line with `ready`."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115  # the log: closed with the process
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **(env or {})},
        cwd=_HERE.parent,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            while ready not in (line := (await process.stdout.readline()).decode()):
                if not line:
                    sys.exit(f"{command[1]} ended before it was ready")
        yield process.pid, line
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()
        errors.close()


@asynccontextmanager
async def boardcast(data_dir: Path, **settings: str) -> AsyncIterator[Server]:
    """Run a server on its own data directory, with a user, a project and tasks."""
    async with _serve(data_dir, settings) as (pid, port):
        yield await _furnish(pid, port)


@asynccontextmanager
async def boardcast_beside(
    first: Server, data_dir: Path, **settings: str
) -> AsyncIterator[Server]:
    """Run another server on the database and secrets of the first one's settings."""
    async with _serve(data_dir, settings) as (pid, port):
        yield replace(first, pid=pid, port=port)


@asynccontextmanager
async def _serve(
    data_dir: Path, settings: Mapping[str, str]
) -> AsyncIterator[tuple[int, int]]:
    env = {
        "BOARDCAST_LOG_FORMAT": "json",  # the default off a terminal
        # Counted and announced like any other, but never reached.
        "BOARDCAST_RATE_LIMIT_PER_MINUTE": "10000000",
        **settings,
    }
    command = (sys.executable, "-m", "server", "serve", "--port", "0")
    async with _process(
        *command, "--data-dir", str(data_dir), ready="http://", env=env
    ) as (pid, line):
        yield pid, int(line.split("http://", 1)[1].split()[0].strip("/").split(":")[1])


async def _furnish(pid: int, port: int) -> Server:
    base = f"http://127.0.0.1:{port}"
    account = {
        "email": "bench@example.com",
        "username": "bench",
        "password": "a-password-for-the-bench",
    }
    async with aiohttp.ClientSession(base, raise_for_status=True) as client:
        await client.post("/auth/register", json=account)
        del account["email"]
        login = await client.post("/auth/login", json=account)
        token = (await login.json())["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        project = await (await client.post("/projects", json={"name": "Hot"})).json()
        task_ids = []
        for number in range(_TASKS):
            task = {"title": f"Task {number}", "project_id": project["id"]}
            made = await client.post("/tasks", json=task)
            task_ids.append((await made.json())["id"])
    return Server(pid, port, token, project["id"], tuple(task_ids))


async def hire(server: Server, people: int) -> list[str]:
    """Make users who are members of the project; gives their tokens."""
    base = f"http://127.0.0.1:{server.port}"
    owner = {"Authorization": f"Bearer {server.token}"}
    tokens = []
    async with aiohttp.ClientSession(base, raise_for_status=True) as client:
        for number in range(people):
            name = f"member-{number}"
            account = {"username": name, "password": "a-password-for-members"}
            register = {**account, "email": f"{name}@example.com"}
            made = await client.post("/auth/register", json=register)
            user_id = (await made.json())["id"]
            path = f"/projects/{server.project_id}/members/{user_id}"
            await client.put(path, json={"role": "member"}, headers=owner)
            login = await client.post("/auth/login", json=account)
            tokens.append((await login.json())["access_token"])
    return tokens


@asynccontextmanager
async def bare(body: bytes) -> AsyncIterator[Server]:
    """Run bare aiohttp, which answers with these bytes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        port = _free_port()
        command = (sys.executable, "-m", "loadtests.bare", str(port), file.name)
        async with _process(*command, ready="ready") as (pid, _):
            yield Server(pid, port, token="x" * 300)  # as long as a real one


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def scratch() -> Iterator[Path]:
    """Lend a directory that PostgreSQL's user can pass through."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        yield root


def resident_bytes(pid: int) -> int:
    """Tell how much memory a process holds (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:", 1)[1].split(maxsplit=1)[0]) * 1024


def cpu_seconds(pid: int) -> float:
    """Tell how much a process has worked so far (Linux)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
