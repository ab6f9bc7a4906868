"""Become another program, one that ends with its parent.

`launch.py PARENT SIGNAL UID GID PROGRAM ...` is run as a program of its own, because
what it does has no safe place between the fork and the exec of a process with threads:
drop root's rights (which clears the request for a signal), ask for the signal, and
look whether the parent was quicker.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Replace this process; returns only by exiting."""
    parent, death_signal, uid, gid = (int(word) for word in arguments[:4])
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if os.geteuid() == 0 and uid != 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    if library is not None:
        library.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(arguments[4], arguments[4:])  # noqa: S606 (no shell is wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
