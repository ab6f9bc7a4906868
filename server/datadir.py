"""The data directory: who may look into it, and who holds it now."""

import fcntl
import os
import stat
from pathlib import Path
from typing import Self

_PRIVATE = 0o700
_PASSABLE = 0o711  # root's: the account that runs PostgreSQL has to get through


class DataDirError(Exception):
    """The data directory cannot be used; the message says why in one line."""


class DataDirBusy(DataDirError):
    """Another process of ours holds the data directory."""

    def __init__(self, data_dir: Path, holder: "Holder"):
        self.holder = holder
        super().__init__(
            f"the data directory {data_dir} is in use by {holder}; "
            "stop it, or choose another with --data-dir"
        )


class Holder:
    """Who holds a lock: `123 serve` is process 123, running `boardcast serve`."""

    def __init__(self, text: str):
        pid, _, purpose = text.strip().partition(" ")
        self.pid = int(pid) if pid.isdigit() else None
        self.purpose = purpose

    @property
    def is_server(self) -> bool:
        """Whether the holder will stay until somebody stops it."""
        return self.purpose == "serve"

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"process {self.pid} (boardcast {self.purpose})"


def prepare(data_dir: Path) -> Path:
    """Make the directory where it is missing; answer its absolute path.

    An existing one keeps its mode. Raises DataDirError if it cannot be written to.
    """
    directory = Path(os.path.abspath(data_dir))  # noqa: PTH100 (keeps symbolic links)
    mode = _PASSABLE if os.geteuid() == 0 else _PRIVATE
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        make_directory(directory, mode)
    except OSError as error:
        raise DataDirError(
            f"cannot make the data directory {directory}: {error.strerror}"
        ) from error
    if not directory.is_dir():
        raise DataDirError(f"the data directory {directory} is not a directory")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise DataDirError(f"the data directory {directory} is not writable")
    return directory


def make_directory(directory: Path, mode: int) -> None:
    """Make one directory with exactly this mode, unless something is there."""
    try:
        directory.mkdir(mode=_PRIVATE)
    except FileExistsError:
        return
    directory.chmod(mode)  # mkdir's mode is subject to the umask


def give_to_owner(path: Path) -> None:
    """Let root leave nothing behind that the directory's owner cannot use."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def is_private(directory: Path, user_id: int) -> bool:
    """Whether it is a real directory of this user that nobody else may enter."""
    found = directory.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == user_id
        and not stat.S_IMODE(found.st_mode) & 0o077
    )


class Lock:
    """An exclusive lock on a directory, given back at the latest when we die."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    @classmethod
    def take(cls, directory: Path, purpose: str) -> Self:
        """Take the lock without waiting; raises DataDirBusy naming the holder."""
        descriptor = _open(directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = Holder(os.pread(descriptor, 100, 0).decode(errors="replace"))
            os.close(descriptor)
            raise DataDirBusy(directory, holder) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {purpose}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock back; the file stays (removing it would race)."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def _open(directory: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(directory / "lock", flags, 0o600)
    except OSError as error:
        raise DataDirError(
            f"cannot open {directory / 'lock'}: {error.strerror}"
        ) from error
    give_to_owner(directory / "lock")
    return descriptor
