"""The program that becomes another, in a process of its own where it does no harm."""

import os
import signal
import subprocess
import sys

import pytest

from server import launch


def run(parent: int, *argv: str) -> subprocess.CompletedProcess[str]:
    words = [
        str(parent),
        str(int(signal.SIGTERM)),
        str(os.geteuid()),
        str(os.getegid()),
    ]
    return subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, *words, *argv],
        check=False,
        capture_output=True,
        text=True,
        timeout=15,
    )


def test_it_becomes_the_program_with_private_files():
    done = run(os.getpid(), "/bin/sh", "-c", "umask; echo $0", "me")

    assert done.stdout.split() == ["0077", "me"]
    assert done.returncode == 0


def test_it_starts_nothing_once_its_parent_is_gone():
    done = run(os.getppid(), "/bin/echo", "never")

    assert done.returncode == 1
    assert done.stdout == ""


def test_it_drops_all_rights_of_root_before_it_asks_for_the_signal(
    monkeypatch: pytest.MonkeyPatch,
):
    done: list[tuple[object, ...]] = []

    class Library:
        def prctl(self, *arguments: int) -> None:
            done.append(("prctl", *arguments[:2]))

    def record(name: str):
        return lambda *arguments: done.append((name, *arguments))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("setgroups", "setgid", "setuid", "umask", "execv"):
        monkeypatch.setattr(os, name, record(name))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(launch.ctypes, "CDLL", lambda name: Library())

    launch.main([str(os.getppid()), "2", "70", "71", "/bin/x", "-y"])

    assert done == [
        ("setgroups", []),
        ("setgid", 71),
        ("setuid", 70),
        ("umask", 0o077),
        ("prctl", 1, 2),
        ("execv", "/bin/x", ["/bin/x", "-y"]),
    ]


def test_it_works_where_there_is_no_such_signal(monkeypatch: pytest.MonkeyPatch):
    done: list[list[str]] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "umask", lambda mask: None)
    monkeypatch.setattr(os, "execv", lambda path, argv: done.append(argv))

    launch.main([str(os.getppid()), "2", str(os.getuid()), "0", "/bin/x"])

    assert done == [["/bin/x"]]
