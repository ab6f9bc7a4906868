"""The fan-out: passes over the seats of a project, in slices.

Events that come while a pass is under way go out together in the next one: one write a
socket a pass, not one an event. A pass that took long is followed by a pause as long,
so that requests get their half of the loop.
"""

import asyncio
import time
from collections.abc import Callable

from actors.channels import Channel
from actors.latecomers import Latecomers
from actors.parcels import Parcel
from actors.ports import Wording
from actors.rounds import SLICE_SECONDS, in_slices
from actors.seats import Seat

LONGEST_PAUSE_SECONDS = 0.05


def pause_after(seconds: float) -> float:
    """Say how long to rest after a pass: not at all if it was one slice."""
    return 0.0 if seconds <= SLICE_SECONDS else min(seconds, LONGEST_PAUSE_SECONDS)


class Fanout:
    """Brings seats up to date; `fetch` is asked for what is not in the ring."""

    def __init__(
        self,
        latecomers: Latecomers,
        wording: Wording,
        fetch: Callable[[Seat], None],
    ):
        self._latecomers = latecomers
        self._wording = wording
        self._fetch = fetch

    def stir(self, channel: Channel) -> None:
        """See to it that a pass begins soon; what comes before it goes with it."""
        if channel.is_stirred or not channel.seats:
            return
        channel.is_stirred = True
        loop = asyncio.get_running_loop()
        pause = channel.rests_until - time.perf_counter()
        if pause > 0:
            loop.call_later(pause, self._pass, channel)
        else:
            loop.call_soon(self._pass, channel)

    def serve(self, seat: Seat, goal: int | None = None) -> None:
        """Write what the seat lacks up to a version, as far as its socket takes it."""
        if seat.is_waiting or seat.is_gone:
            return
        if seat.is_doubtful:
            if seat.watcher.lag is None:
                self._fetch(seat)
            return
        channel = seat.channel
        goal = channel.head if goal is None else min(goal, channel.head)
        if seat.greeting is None or (
            self._bring(seat, seat.greeting) and self._greet(seat)
        ):
            self._bring(seat, goal)

    def resume(self, seat: Seat) -> None:
        """Serve one that was behind; it does not overtake those whose turn comes."""
        channel = seat.channel
        self.serve(seat, channel.reach if channel.is_stirred else channel.head)

    def _pass(self, channel: Channel) -> None:
        goal, started = channel.head, time.perf_counter()
        channel.reach = goal

        def done() -> None:
            now = time.perf_counter()
            channel.is_stirred = False
            channel.rests_until = now + pause_after(now - started)
            if channel.head != goal:
                self.stir(channel)

        in_slices(list(channel.seats), lambda seat: self.serve(seat, goal), done)

    def _bring(self, seat: Seat, goal: int) -> bool:
        """Have the seat reach a version; False if it cannot yet."""
        watcher, channel = seat.watcher, seat.channel
        while seat.position < goal:
            if watcher.lag is not None or watcher.is_gone:
                return False
            parcel = channel.parcel(seat, goal)
            if parcel is None:
                self._fetch(seat)
                return False
            if not self._latecomers.put(watcher, parcel):
                return False
            seat.position = parcel.last
            if parcel.pieces:
                seat.told = parcel.last
        return True

    def _greet(self, seat: Seat) -> bool:
        """Confirm the subscription; False if the socket does not take it now."""
        project_id = seat.channel.project_id
        frames = self._wording.subscribed(project_id, seat.position)
        if not self._latecomers.put(seat.watcher, Parcel(frames)):
            return False
        seat.greeting = None
        seat.told = seat.position
        return True
