"""The README is true: its example is run word by word, its tables are compared."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest

from actors.domain.events import EVENT_TYPES
from server import cli, closing, ops
from server.config import Config
from tests.e2e.servers import ROOT, Served, scratch_server

_PORT = 8080
_WAIT_SECONDS = 20.0


@pytest.fixture
def served() -> Iterator[Served]:
    with scratch_server() as server:
        yield server
        assert server.stop() == 0
        assert server.left() == []


@pytest.mark.timeout(60)
async def test_the_first_task_of_the_readme_shows_its_event(
    served: Served, tmp_path: Path
) -> None:
    checkout = await _checkout(served, tmp_path)
    register_and_watch, log_in_and_create = [
        block.replace(f":{_PORT}", f":{served.port}")
        for block in _shell_blocks("A first task, and its event")
    ]

    async with _shell(register_and_watch, checkout) as watching:
        await _line_with(watching, "watching")
        async with _shell(log_in_and_create, checkout) as creating:
            created = json.loads(await _line_with(creating, '"title"'))
        event = json.loads(await _line_with(watching, '"task_created"'))

    assert created["title"] == "Read the README"
    assert event["type"] == "task_created"
    assert event["task"] == created


def test_the_settings_of_the_readme_are_those_of_the_program() -> None:
    found = _readme().partition("<!-- settings -->\n")[2]
    found = found.partition("<!-- /settings -->")[0]

    assert found == settings_table()


def test_the_commands_of_the_readme_are_those_of_the_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = re.findall(r"`boardcast ([a-z-]+)([^`]*)`", _section("Commands"))

    for command, rest in named:
        text = _help(capsys, command)
        missing = [word for word in re.findall(r"--[a-z-]+", rest) if word not in text]
        assert not missing, f"boardcast {command} does not know {missing}"
    known = re.findall(r"^ {4}([a-z][a-z-]*)", _help(capsys), re.MULTILINE)
    assert {command for command, _ in named} == set(known)


def test_the_close_codes_of_the_readme_are_those_of_the_sockets() -> None:
    named = re.findall(
        r"^\| (\d{4}) \| (.*?) \| (.*?) \|$", _section("WebSocket"), re.MULTILINE
    )
    rows = [(str(each.code), each.meaning, each.reconnect) for each in closing.CLOSINGS]

    assert named == rows


def test_the_ops_of_the_readme_are_those_of_the_sockets() -> None:
    named = re.findall(
        r"^\| `([a-z]+)` \| (.*?) \| (.*?) \|$", _section("WebSocket"), re.MULTILINE
    )

    assert named == [(name, op.does, op.answer) for name, op in ops.OPS.items()]


def test_the_events_of_the_readme_are_those_of_the_domain() -> None:
    named = set(re.findall(r"`([a-z]+_[a-z]+)`", _section("WebSocket")))

    assert named >= set(EVENT_TYPES)


def settings_table() -> str:
    """Write the README's table; `python -m tests.e2e.test_readme` prints it."""
    rows = ["| variable | default | is |", "|---|---|---|"]
    for item in fields(Config):
        text = item.metadata["help"].replace("|", "\\|")
        rows.append(f"| `{item.metadata['env']}` | {_default(item)} | {text} |")
    return "".join(f"{row}\n" for row in rows)


def _default(item: "Field[Any]") -> str:
    match item.default:
        case value if value is MISSING:
            return "made, and kept in the data directory"
        case None if item.name.endswith("_url"):
            return "the one that comes along"
        case None | ():
            return "none"
        case bool() as value:
            return f"`{str(value).lower()}`"
        case value:
            return f"`{value}`"


def _readme() -> str:
    return (ROOT / "README.md").read_text()


def _section(heading: str) -> str:
    """What stands under a heading of the second level."""
    return _readme().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _shell_blocks(heading: str) -> list[str]:
    return re.findall(
        r"^```sh\n(.*?)^```$", _section(heading), re.DOTALL | re.MULTILINE
    )


def _help(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main([*command, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


async def _checkout(served: Served, tmp_path: Path) -> Path:
    """Start the server, and answer with the directory in which the README works.

    That is this one after `make run`. Where there is no .venv, or its port is somebody
    else's, it is one that looks the same.
    """
    try:
        await served.start(port=_PORT)
    except AssertionError:
        if "in use" not in served.log:
            raise
        await served.start()
    if served.port == _PORT and (ROOT / ".venv/bin/python").exists():
        return ROOT
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    # Not a link: a Python that is called through one does not find its packages.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "examples").mkdir()
    for example in (ROOT / "examples").glob("*.py"):
        text = example.read_text().replace(f":{_PORT}", f":{served.port}")
        (tmp_path / "examples" / example.name).write_text(text)
    return tmp_path


@asynccontextmanager
async def _shell(script: str, directory: Path) -> AsyncIterator[asyncio.StreamReader]:
    """Run lines as a terminal would; all that they started ends with the context."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        script,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), _WAIT_SECONDS)


async def _line_with(output: asyncio.StreamReader, text: str) -> str:
    """Read until a line has this in it."""
    async with asyncio.timeout(_WAIT_SECONDS):
        async for line in output:
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"{text!r} was never printed")


if __name__ == "__main__":
    sys.stdout.write(settings_table())
