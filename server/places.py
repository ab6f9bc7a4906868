"""Where the files of the embedded servers lie, so that their account gets there.

Parent directories are never changed. Where the account cannot pass them (root's home),
the files go to a place of their own under /var/lib, with a link to it.
"""

import os
import shutil
import stat
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from server.datadir import DataDirError, is_private, make_directory
from server.processes import Account

_ELSEWHERE = Path("/var/lib/boardcast")
_SOCKET_BYTES = 107 if sys.platform == "linux" else 103  # sockaddr_un, less the NUL
_READABLE_BY_ALL = 0o755


def home_for(data_dir: Path, account: Account) -> Path:
    """Find or make the private directory of the cluster; raises DataDirError."""
    home = data_dir / "postgres"
    try:
        if not os.path.lexists(home):
            _make_home(home, account)
        real = home.resolve(strict=True)
    except OSError as error:
        raise DataDirError(f"cannot use {home}: {error.strerror}") from error
    if not can_pass(real, account):
        raise DataDirError(f"the user {account.uid} cannot get to {real}")
    return real


def socket_directory(home: Path, socket_name: str, account: Account) -> Path:
    """Choose a private directory in which the socket's path is not too long.

    The same answer for the same home, so that other processes find the socket.
    """
    near = home / "run"
    if _fits(near / socket_name):
        _make_private(near, account)
        return near
    key = sha256(os.fsencode(home)).hexdigest()[:16]
    name = f"boardcast-{account.uid}-{key}"
    chosen = Path(tempfile.gettempdir()) / name
    if not _fits(chosen / socket_name):
        chosen = Path("/tmp") / name  # noqa: S108 (private, and checked below)
    _make_private(chosen, account)
    return chosen


def programs_for(package: Path, account: Account) -> Path:
    """Find PostgreSQL's programs, copied to a place where the account gets to them."""
    programs = package / "pginstall" / "bin"
    if can_pass(programs.resolve(), account):
        return programs
    key = f"{programs}{(programs / 'postgres').stat().st_mtime_ns}"
    copy = _ELSEWHERE / f"programs-{sha256(key.encode()).hexdigest()[:16]}"
    try:
        if not copy.is_dir():
            _copy_package(package, copy)
    except OSError as error:
        raise DataDirError(
            f"cannot copy PostgreSQL to {copy}: {error.strerror}"
        ) from error
    return copy / package.name / "pginstall" / "bin"


def can_pass(directory: Path, account: Account) -> bool:
    """Whether the modes of a directory and all its parents let the account through."""
    return account.uid == 0 or all(
        _may_enter(place, account) for place in (directory, *directory.parents)
    )


def _may_enter(directory: Path, account: Account) -> bool:
    found = directory.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _make_home(home: Path, account: Account) -> None:
    if can_pass(home.parent.resolve(), account):
        _make_private(home, account)
        return
    make_directory(_ELSEWHERE, 0o711)
    elsewhere = Path(tempfile.mkdtemp(prefix="postgres-", dir=_ELSEWHERE))
    os.chown(elsewhere, account.uid, account.gid)
    home.symlink_to(elsewhere)


def _make_private(directory: Path, account: Account) -> None:
    make_directory(directory, 0o700)
    if directory.lstat().st_uid == os.geteuid() != account.uid:
        os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    if not is_private(directory, account.uid):
        raise DataDirError(f"{directory} is not a private directory of ours")


def _fits(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= _SOCKET_BYTES


def _copy_package(package: Path, copy: Path) -> None:
    # The programs find their libraries relative to themselves: both go along.
    make_directory(_ELSEWHERE, 0o711)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=_ELSEWHERE))
    leave_out = shutil.ignore_patterns("include", "pgxs", "*.a", "pkgconfig", "doc")
    for name in (package.name, f"{package.name}.libs"):
        part = package.parent / name
        if part.is_dir():
            shutil.copytree(part, unfinished / name, symlinks=True, ignore=leave_out)
    for place in (unfinished, *unfinished.rglob("*")):
        if place.is_dir() or os.access(place, os.X_OK):
            place.chmod(_READABLE_BY_ALL)
        elif not place.is_symlink():
            place.chmod(0o644)
    unfinished.rename(copy)
