"""`boardcast`, and `python -m server`: the command, from its first moment on.

Importing all of it takes most of a second, in which Ctrl-C ends the process as it ends
any other: there is nothing to tidy up, and nobody wants to see where it was.
"""

import signal
import sys


def main() -> int:
    """Run the command; answer its exit status."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else we were told to ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from server.cli import main as run  # noqa: PLC0415 (what takes so long)

    signal.signal(signal.SIGINT, usual)
    return run()


if __name__ == "__main__":
    sys.exit(main())
