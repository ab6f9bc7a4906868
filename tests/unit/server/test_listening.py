import socket
from contextlib import ExitStack

import pytest

from server.listening import bound, shared
from server.mistakes import Mistake


def accepted(listening: socket.socket) -> int:
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_so_many_sockets_share_a_port_and_nobody_is_refused(
    platform: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.platform", platform)
    with ExitStack() as stack:
        first = stack.enter_context(bound("127.0.0.1", 0))
        sockets = [stack.enter_context(part) for part in shared(first, 3)]
        for part in sockets:
            part.listen(1000)
        for _ in range(100):
            client = socket.create_connection(first.getsockname())
            stack.enter_context(client)

        counts = [accepted(part) for part in sockets]

    assert len(counts) == 3
    assert sum(counts) == 100


def test_a_shared_port_is_in_use_to_others():
    with ExitStack() as stack:
        first = stack.enter_context(bound("127.0.0.1", 0))
        for part in shared(first, 2):
            stack.enter_context(part).listen()

        with pytest.raises(Mistake, match="is in use"):
            bound(*first.getsockname())
