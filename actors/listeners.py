"""Sockets without a subscription: everything that their users may see, as it happens.

They have no place in any stream while they keep up. One that falls behind sits in the
streams it missed something of, as a guest, until it has it all.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from actors.audiences import oversees
from actors.channels import Channel
from actors.domain.model import ProjectId, UserId, UserRole
from actors.domain.permissions import sees_everywhere
from actors.fanout import pause_after
from actors.latecomers import BUFFER_BYTES, Latecomers
from actors.parcels import Parcel, Told, frames_apart, frames_together
from actors.ports import Audience, Ending, Wording
from actors.ring import Item
from actors.rounds import in_slices
from actors.seats import Seat, Watcher

_MOST_GUEST_SEATS = 64
_RECENT_SECONDS = 60.0


class _News(NamedTuple):
    channel: Channel
    audience: Audience
    items: Sequence[Item]


class _Recent(NamedTuple):
    audience: Audience
    version: int
    at: float


class _Pass:
    """News that go out together, and to whom; each combination is made once."""

    def __init__(self, news: list[_News], wording: Wording):
        self.news = news
        self._wording = wording
        self._parcels: dict[tuple[tuple[int, ...], bool], Parcel] = {}

    def parcel(self, wanted: tuple[int, ...], *, is_together: bool) -> Parcel:
        """Give these news, by their numbers, as one parcel."""
        key = (wanted, is_together)
        parcel = self._parcels.get(key)
        if parcel is None:
            parcel = self._parcels[key] = Parcel(self._frames(wanted, is_together))
        return parcel

    def _frames(self, wanted: tuple[int, ...], is_together: bool) -> Iterable[bytes]:  # noqa: FBT001
        by_project: dict[ProjectId, list[Told]] = defaultdict(list)
        for number in wanted:
            news = self.news[number]
            told = [Told(item.version, item.entry.body) for item in news.items]
            by_project[news.channel.project_id] += told
        for project_id, told in by_project.items():
            if is_together:
                yield from frames_together(self._wording, project_id, told)
            else:
                yield from frames_apart(self._wording, told)


class Listeners:
    """By user and role. `serve` brings a guest's seat to a version, `end` a socket."""

    def __init__(
        self,
        latecomers: Latecomers,
        wording: Wording,
        *,
        serve: Callable[[Seat, int], None],
        end: Callable[[Watcher, Ending], None],
    ):
        self._latecomers = latecomers
        self._wording = wording
        self._serve = serve
        self._end = end
        self._by_user: defaultdict[UserId, set[Watcher]] = defaultdict(set)
        self._by_role: defaultdict[UserRole, set[UserId]] = defaultdict(set)
        self._news: list[_News] = []
        self._catching_up: dict[Watcher, None] = {}
        self._recent: dict[ProjectId, _Recent] = {}
        self._is_stirred = False
        self._is_passing = False
        self._rests_until = 0.0

    def add(self, watcher: Watcher) -> None:
        """Begin to listen."""
        watcher.listens = True
        self._by_user[watcher.user_id].add(watcher)
        self._by_role[watcher.caller.role].add(watcher.user_id)

    def remove(self, watcher: Watcher) -> None:
        """Listen no more; harmless for one that does not."""
        if not watcher.listens:
            return
        watcher.listens = False
        self._release(watcher)
        watchers = self._by_user[watcher.user_id]
        watchers.discard(watcher)
        role = watcher.caller.role
        if not any(other.caller.role is role for other in watchers):
            self._by_role[role].discard(watcher.user_id)
        if not watchers:
            del self._by_user[watcher.user_id]

    def hear(self, channel: Channel, audience: Audience, items: Sequence[Item]) -> None:
        """Tell all of these users soon."""
        if not items:
            return
        if not self._by_user and not self._news:
            channel.listened = items[-1].version
            _forget_audience(items)
            return
        self._news.append(_News(channel, audience, items))
        if not self._is_stirred:
            self._stir()

    def resume(self, watcher: Watcher) -> None:
        """Serve one that fell behind; it listens like the others once it has it all."""
        if self._is_passing or not watcher.listens:
            return  # the end of the pass comes back to it
        for seat in watcher.seats:
            self._serve(seat, seat.channel.listened)
        if watcher.lag is None and all(map(self._has_caught_up, watcher.seats)):
            self._release(watcher)

    def heads(self, watcher: Watcher) -> Iterator[tuple[ProjectId, int]]:
        """Give the versions of a moment ago of what the user sees all of."""
        for project_id, recent in self._recent.items():
            if oversees(recent.audience, watcher.caller):
                yield project_id, recent.version

    def tidy(self) -> None:
        """Forget versions that all who are interested have been told of."""
        before = time.monotonic() - _RECENT_SECONDS
        for project_id, recent in list(self._recent.items()):
            if recent.at >= before:
                return  # they are kept in the order of their time
            del self._recent[project_id]

    def _stir(self) -> None:
        self._is_stirred = True
        loop = asyncio.get_running_loop()
        pause = self._rests_until - time.perf_counter()
        if pause > 0:
            loop.call_later(pause, self._pass)
        else:
            loop.call_soon(self._pass)

    def _pass(self) -> None:
        started = time.perf_counter()
        running = _Pass(self._news, self._wording)
        self._news = []
        self._is_passing = True

        def step(each: tuple[Watcher, tuple[int, ...]]) -> None:
            self._tell(running, *each)

        def done() -> None:
            self._finish(running, started)

        in_slices(self._recipients(running.news), step, done)

    def _recipients(
        self, news: Sequence[_News]
    ) -> list[tuple[Watcher, tuple[int, ...]]]:
        wanted: defaultdict[UserId, list[int]] = defaultdict(list)
        for number, (_, audience, _) in enumerate(news):
            for user_id in self._users(audience):
                wanted[user_id].append(number)
        return [
            (watcher, tuple(numbers))
            for user_id, numbers in wanted.items()
            for watcher in self._by_user[user_id]
        ]

    def _users(self, audience: Audience) -> set[UserId]:
        """Look up who listens among those who are to hear, by the shorter list."""
        known, members = self._by_user, audience.members
        if len(members) < len(known):
            users = {user_id for user_id in members if user_id in known}
        else:
            users = {user_id for user_id in known if user_id in members}
        users.update(user_id for user_id in audience.others if user_id in known)
        for role, holders in self._by_role.items():
            if sees_everywhere(role, is_inbox=audience.is_inbox):
                users |= holders
        return users

    def _tell(self, running: _Pass, watcher: Watcher, numbers: tuple[int, ...]) -> None:
        if watcher.is_gone or not watcher.listens:
            return
        if watcher.lag is None and not watcher.seats:
            parcel = running.parcel(numbers, is_together=watcher.is_together)
            if parcel.size_bytes <= BUFFER_BYTES and self._latecomers.put(
                watcher, parcel
            ):
                return
        for number in numbers:
            self._sit_down(watcher, running.news[number])

    def _sit_down(self, watcher: Watcher, news: _News) -> None:
        """Remember what it misses by the place where that begins."""
        channel = news.channel
        if watcher.seat_in(channel.project_id) is not None:
            return
        if len(watcher.seats) >= _MOST_GUEST_SEATS:
            self._end(watcher, Ending.SLOW)
            return
        seat = Seat(watcher, channel, news.items[0].version - 1)
        seat.kind = seat.kind._replace(reader=watcher.caller)
        watcher.seats += (seat,)
        channel.guests += 1
        self._catching_up[watcher] = None

    def _has_caught_up(self, seat: Seat) -> bool:
        """Say whether the next news of the project is what it lacks next.

        A snapshot may be ahead of news that still wait for their pass.
        """
        channel = seat.channel
        if seat.position > channel.listened:
            return all(news.channel is not channel for news in self._news)
        return seat.position == channel.listened

    def _release(self, watcher: Watcher) -> None:
        for seat in watcher.seats:
            seat.is_gone = True
            seat.channel.guests -= 1
        watcher.seats = ()
        self._catching_up.pop(watcher, None)

    def _finish(self, running: _Pass, started: float) -> None:
        """Go on for all that were told at once, then for each that was not."""
        at = time.monotonic()
        for channel, audience, items in running.news:
            last = min(items[-1].version, channel.head)  # unless the database lost it
            channel.listened = max(channel.listened, last)
            self._recent.pop(channel.project_id, None)
            recent = _Recent(audience, items[-1].version, at)
            self._recent[channel.project_id] = recent
            if not channel.guests:
                _forget_audience(items)
        self._is_passing = False

        def done() -> None:
            now = time.perf_counter()
            self._rests_until = now + pause_after(now - started)
            self._is_stirred = False
            if self._news:
                self._stir()

        in_slices(list(self._catching_up), self.resume, done)


def _forget_audience(items: Iterable[Item]) -> None:
    for item in items:
        item.audience = None
