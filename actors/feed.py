"""The live feed of this node: committed events out to every socket that may see them.

A subscriber gets consecutive versions of a project, or a snapshot in between. What is
committed is published synchronously and in order; who loses sight of a project is cut
off in that very step, so nothing of a later version can follow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from actors.channels import Channel, Channels
from actors.domain.criteria import Criteria
from actors.domain.errors import ProjectNotFound
from actors.domain.events import Entry, ProjectDeleted
from actors.domain.model import ProjectId, UserRole
from actors.domain.permissions import sees_everywhere
from actors.fanout import Fanout
from actors.latecomers import Latecomers
from actors.listeners import Listeners
from actors.ports import Audience, Ending, Frames, Wording
from actors.recalls import Recalls, Source
from actors.rounds import in_slices
from actors.seats import NOWHERE, Seat, Watcher

FORBIDDEN, DELETED, ASKED = "forbidden", "project_deleted", "asked"


class Feed:
    """All sockets of known users. Only `subscribe` and `close` may wait."""

    def __init__(self, source: Source, wording: Wording):
        self._source = source
        self._wording = wording
        self._watchers: dict[Watcher, None] = {}
        self._channels = Channels(wording, source.look)
        self._latecomers = Latecomers(self._resume)
        self._recalls = Recalls(
            source,
            wording,
            serve=self._serve,
            put=lambda seat, parcel: self._latecomers.put(seat.watcher, parcel),
            end=self._cut_off,
        )
        self._fanout = Fanout(self._latecomers, wording, self._recalls.fetch)
        self._listeners = Listeners(
            self._latecomers, wording, serve=self._fanout.serve, end=self.end
        )

    def __len__(self) -> int:
        return len(self._watchers)

    def __iter__(self) -> Iterator[Watcher]:
        return iter(self._watchers)

    @property
    def behind(self) -> int:
        """The number of sockets that are behind."""
        return len(self._latecomers)

    def is_watched(self, project_id: ProjectId) -> bool:
        """Say whether a socket here is subscribed to the project."""
        channel = self._channels.get(project_id)
        return channel is not None and bool(channel.seats)

    def attach(self, watcher: Watcher, *, listens: bool = True) -> None:
        """Take a socket in; who listens is told everything from the next event on."""
        self._watchers[watcher] = None
        if listens:
            self._listeners.add(watcher)

    def detach(self, watcher: Watcher) -> None:
        """Deliver nothing more; harmless if it was never attached."""
        watcher.is_gone = True
        self._listeners.remove(watcher)
        for seat in watcher.seats:
            self._leave(seat)
        self._latecomers.forget(watcher)
        self._watchers.pop(watcher, None)

    def end(self, watcher: Watcher, ending: Ending) -> None:
        """Deliver nothing more, and close."""
        self.detach(watcher)
        watcher.outlet.end(ending)

    def say(self, watcher: Watcher, frames: Frames) -> None:
        """Reply to a socket, after what it was owed before unless it is behind."""
        for seat in watcher.seats:
            self._serve(seat)
        self._latecomers.say(watcher, frames)

    async def subscribe(
        self,
        watcher: Watcher,
        project_id: ProjectId,
        *,
        since: int | None = None,
        wants_snapshot: bool = False,
        criteria: Criteria | None = None,
    ) -> None:
        """Give a socket the stream of a project: from after `since`, or from now.

        It gets exactly the events from there to a version, or a snapshot of one, and
        then is told that it is subscribed at that version; live events follow. Who
        subscribes listens no more. Raises ProjectNotFound, Unavailable.
        """
        state = await self._source.find(project_id, since or 0)
        if watcher.is_gone:
            return
        if state.visible_project(watcher.caller) is None:
            raise ProjectNotFound
        channel = self._channels.at(project_id, state.version)
        self._listeners.remove(watcher)
        known = watcher.seat_in(project_id)
        if known is not None:
            self._leave(known)
        position = channel.head if since is None else since
        if position > channel.head or (wants_snapshot and since is None):
            position = NOWHERE
        seat = Seat(watcher, channel, position, criteria)
        seat.greeting = channel.head
        channel.seats[seat] = None
        watcher.seats += (seat,)
        self._fanout.serve(seat)

    def unsubscribe(self, watcher: Watcher, project_id: ProjectId) -> bool:
        """End a subscription, and say so; False if there is none."""
        seat = None if watcher.listens else watcher.seat_in(project_id)
        if seat is None:
            return False
        self._leave(seat)
        self.say(watcher, self._wording.unsubscribed(project_id, ASKED))
        return True

    def publish(self, audience: Audience, entries: Sequence[Entry]) -> None:
        """Tell all who may know, soon; cut off at once who may know no more."""
        first, last = entries[0].event, entries[-1].event
        channel = self._channels.at(first.project_id, first.version - 1)
        items = channel.take(audience, entries)
        if isinstance(last, ProjectDeleted):
            self._close(channel, last.version)
        elif audience.lost:
            self._lose(channel, audience, last.version)
        self._fanout.stir(channel)
        self._listeners.hear(channel, audience, items)

    def begin(self, project_id: ProjectId, version: int) -> None:
        """Go on from a version: who stands elsewhere is brought there, or told."""
        channel = self._channels.get(project_id)
        if channel is not None:
            channel.begin(version)
            self._fanout.stir(channel)

    def doubt(self) -> None:
        """Go on: what was missed comes in its order, or the versions tell."""

    def let_go(self) -> None:
        """Close every socket: it missed more than can be told, and has to come back."""
        in_slices(list(self._watchers), lambda watcher: self.end(watcher, Ending.SLOW))

    def end_sessions(self, session_ids: frozenset[int]) -> None:
        """Deliver nothing more to these sessions, and close their sockets."""
        for watcher in [w for w in self._watchers if w.session_id in session_ids]:
            self.end(watcher, Ending.SESSION_ENDED)

    def reseat(self, roles: Mapping[int, UserRole]) -> None:
        """Go by the new roles of these sessions' users from here on."""
        for watcher in [w for w in self._watchers if w.session_id in roles]:
            role = roles[watcher.session_id]
            if watcher.caller.role is role:
                continue
            if watcher.listens:
                self._listen_as(watcher, role)
                continue
            watcher.caller = replace(watcher.caller, role=role)
            for seat in watcher.seats:
                state = self._source.look(seat.channel.project_id)
                if state is None:  # to be asked again, and perhaps let in
                    self.end(watcher, Ending.UNAVAILABLE)
                    break
                if state.visible_project(watcher.caller) is None:
                    self._cut_off(seat, Ending.FORBIDDEN)
                    break

    def heads(self, watcher: Watcher) -> tuple[tuple[ProjectId, int], ...]:
        """Say which versions the socket was brought to; it is to be told of them.

        None while it is behind: it would be told after it was brought further.
        """
        if watcher.listens:
            if watcher.seats or watcher.lag is not None:
                return ()
            return tuple(self._listeners.heads(watcher))
        for seat in watcher.seats:
            self._serve(seat)
        if watcher.lag is not None:
            return ()
        there = [s for s in watcher.seats if s.greeting is None and s.position >= 0]
        for seat in there:
            seat.told = seat.position
        return tuple((seat.channel.project_id, seat.position) for seat in there)

    def tidy(self) -> None:
        """Let go of what nobody needs any more; to be called every second or so."""
        self._channels.tidy()
        self._listeners.tidy()
        self._recalls.tidy()

    async def close(self) -> None:
        """Stop what is being fetched."""
        await self._recalls.close()

    def _listen_as(self, watcher: Watcher, role: UserRole) -> None:
        if watcher.seats:  # what it is owed was meant for its old role
            self.end(watcher, Ending.SLOW)
            return
        self._listeners.remove(watcher)
        watcher.caller = replace(watcher.caller, role=role)
        self._listeners.add(watcher)

    def _serve(self, seat: Seat) -> None:
        if seat.watcher.listens:
            self._listeners.resume(seat.watcher)
        else:
            self._fanout.serve(seat)

    def _resume(self, watcher: Watcher) -> None:
        if watcher.listens:
            self._listeners.resume(watcher)
            return
        for seat in watcher.seats:
            self._fanout.resume(seat)

    def _leave(self, seat: Seat) -> None:
        seat.is_gone = True
        seat.channel.seats.pop(seat, None)
        watcher = seat.watcher
        watcher.seats = tuple(other for other in watcher.seats if other is not seat)

    def _lose(self, channel: Channel, audience: Audience, version: int) -> None:
        for seat in list(channel.seats):
            caller = seat.watcher.caller
            if caller.id in audience.lost and not sees_everywhere(
                caller.role, is_inbox=audience.is_inbox
            ):
                self._fanout.serve(seat, version)
                self._cut_off(seat, Ending.FORBIDDEN)

    def _close(self, channel: Channel, version: int) -> None:
        """Tell every subscriber that this was the last event of the project."""
        goodbye = self._wording.unsubscribed(channel.project_id, DELETED)

        def end(seat: Seat) -> None:
            if not seat.is_gone:
                self._fanout.serve(seat, version)
                self._leave(seat)
                self._latecomers.say(seat.watcher, goodbye)

        in_slices(list(channel.seats), end)

    def _cut_off(self, seat: Seat, ending: Ending) -> None:
        """Close a socket because of one of its subscriptions, and tell which."""
        if ending is Ending.FORBIDDEN and not seat.watcher.listens:
            project_id = seat.channel.project_id
            goodbye = self._wording.unsubscribed(project_id, FORBIDDEN)
            self._latecomers.part(seat.watcher, goodbye)
        self.end(seat.watcher, ending)
