"""A network namespace, where the machine allows one: its packets can be dropped."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_WAIT_SECONDS = 10
_NOBODY = "02:00:00:00:00:99"  # a hardware address that no card has
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Namespace:
    """One with a cable to the machine's own.

    `inner` is the address inside, `outer` that of what can be lost sight of.
    """

    name: str
    net: str

    @classmethod
    @contextmanager
    def found(cls) -> Iterator["Namespace | None"]:
        """Make one for as long as the context lasts; None where that is refused."""
        number = next(_numbers)
        # Of the network that is set apart for trials between networks (RFC 2544).
        # Each process, and each of its rounds, has one of its own.
        place = (os.getpid() * 8 + number) % 512
        net = f"198.{18 + place // 256}.{place % 256}"
        namespace = cls(f"bc{os.getpid()}-{number}", net)
        try:
            is_there = _is_possible() and namespace._make()
            yield namespace if is_there else None
        finally:
            if _is_possible():
                namespace._remove()

    @property
    def inner(self) -> str:
        return f"{self.net}.2"

    @property
    def outer(self) -> str:
        return f"{self.net}.3"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command, to run it inside."""
        return (_program() or "ip", "netns", "exec", self.name)

    def drop(self) -> bool:
        """Lose all packets to `outer`: they are sent to a card that nobody has."""
        way = ("neigh", "replace", self.outer, "lladdr", _NOBODY, "nud", "permanent")
        return _ip("-n", self.name, *way, "dev", "inside")

    def pass_on(self) -> bool:
        """Deliver them again."""
        return _ip("-n", self.name, "neigh", "del", self.outer, "dev", "inside")

    @property
    def _outside(self) -> str:
        return self.name[:15]

    def _make(self) -> bool:
        cable = ("type", "veth", "peer", "name", "inside", "netns", self.name)
        return (
            _ip("netns", "add", self.name)
            and _ip("link", "add", self._outside, *cable)
            and _ip("addr", "add", f"{self.net}.1/24", "dev", self._outside)
            and _ip("addr", "add", f"{self.outer}/24", "dev", self._outside)
            and _ip("link", "set", self._outside, "up")
            and _ip("-n", self.name, "addr", "add", f"{self.inner}/24", "dev", "inside")
            and _ip("-n", self.name, "link", "set", "inside", "up")
            and _ip("-n", self.name, "link", "set", "lo", "up")
        )

    def _remove(self) -> None:
        _ip("link", "del", self._outside)
        _ip("netns", "del", self.name)


def _is_possible() -> bool:
    return _program() is not None and os.geteuid() == 0


def _program() -> str | None:
    return shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _ip(*words: str) -> bool:
    done = subprocess.run(
        (_program() or "ip", *words),
        capture_output=True,
        check=False,
        timeout=_WAIT_SECONDS,
    )
    return done.returncode == 0
