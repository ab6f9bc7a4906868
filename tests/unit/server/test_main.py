"""The first moment of the command, before there is anything to tidy up."""

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server import __main__ as command

# Stands in for server.cli: tells that it is being imported, and takes its time.
_SLOW = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have ignored it
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "server.cli":
            print("importing", flush=True)
            sys.stdin.read()
sys.meta_path.insert(0, Slow())
from server.__main__ import main
main()
"""


def test_an_interrupt_while_it_is_imported_shows_no_traceback():
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"

        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)

    assert process.returncode == -signal.SIGINT
    assert errors == ""


def test_the_usual_handler_is_back_when_the_command_runs(
    monkeypatch: pytest.MonkeyPatch,
):
    found = []
    monkeypatch.setattr(
        "server.cli.main", lambda: found.append(signal.getsignal(signal.SIGINT)) or 7
    )
    before = signal.getsignal(signal.SIGINT)

    assert command.main() == 7
    assert found == [before]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_installed_command_begins_there():
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]

    assert project["scripts"] == {"boardcast": "server.__main__:main"}


def test_importing_its_first_module_is_quick():
    code = (
        "import server.__main__, sys; print(any('aiohttp' in m for m in sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
    )

    assert told.stdout == "False\n"
