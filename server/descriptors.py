"""How many files this process may open: each socket is one."""

import resource
from contextlib import suppress


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls it unlimited, and refuses that
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
