"""Projects in memory, who watches them, and the other nodes that change them too."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

from actors.bulletin import Bulletin
from actors.domain.events import Batch, ProjectCreated
from actors.domain.model import ProjectId
from actors.domain.state import ProjectState
from actors.feed import Feed
from actors.follower import Follower
from actors.journal import Journal
from actors.ports import Audience
from actors.project import Surroundings
from actors.recalls import Source
from actors.registry import Registry
from actors.slots import Capacity
from server import keys
from server.bus import Bus
from server.cursors import Cursors
from server.ids import Ids
from server.lists import Lists
from server.metrics import Metrics
from server.pages import Pages
from server.relay import Relay
from server.representations import EventCodec
from server.seals import Seal
from server.sights import Sights
from server.sweeper import Sweeper
from server.wording import Words
from sql.tail import Tail


async def opened(app: web.Application) -> AsyncIterator[None]:
    """Open the actors, what they commit by, and the feed of what they committed."""
    config, store, metrics = app[keys.CONFIG], app[keys.STORE], app[keys.METRICS]
    codec, words, sights = EventCodec(), Words(), Sights(store)

    async def find(project_id: ProjectId, version: int) -> ProjectState:
        actor = await registry.get(project_id)
        await actor.reach(version)
        return actor.state

    def look(project_id: ProjectId) -> ProjectState | None:
        actor = registry.live(project_id)
        return None if actor is None else actor.state

    async def follow() -> None:
        await follower.follow()

    feed = Feed(Source(log=store, codec=codec, find=find, look=look), words)
    bulletin, relay = (
        Bulletin(sights, feed),
        Relay(codec, Seal(config.jwt_secret, b"hints")),
    )
    around = _surroundings(app, codec, bulletin, tell=relay.tell, follow=follow)
    registry = Registry(
        around,
        archive=app[keys.SNAPSHOTS],
        capacity=Capacity(actors=config.actors, tasks=config.tasks_in_memory),
        idle_seconds=config.actor_idle_seconds,
        is_watched=feed.is_watched,
    )
    follower = Follower(
        Tail(app[keys.TAIL_DATABASE]),
        codec,
        bulletin,
        registry,
        lost_track=feed.let_go,
        missed=metrics.missed_events.inc,
    )
    app[keys.FEED], app[keys.REGISTRY], app[keys.SIGHTS] = feed, registry, sights
    app[keys.BULLETIN], app[keys.RELAY] = bulletin, relay
    app[keys.FOLLOWER], app[keys.IDS] = follower, Ids(store)
    app[keys.SWEEPER] = sweeper = Sweeper(feed, words)
    _open_lists(app, sights)
    _show(metrics, registry, feed)
    around.journal.start()
    await follower.start()
    sweeper.start()
    yield
    await sweeper.close()
    await feed.close()
    await follower.close()
    await registry.close()
    await around.journal.close()


async def connected(app: web.Application) -> AsyncIterator[None]:
    """Connect to the other nodes, when all is there that they may have news for."""
    relay = app[keys.RELAY]
    bus = Bus(
        app[keys.URLS].redis,
        namespace=await app[keys.STORE].identity(),
        on_message=relay.receive,
        on_connected=app[keys.FOLLOWER].hurry,
    )
    relay.connect(
        bus,
        on_committed=app[keys.FOLLOWER].hear,
        on_changed=app[keys.SESSIONS].doubt,
    )
    _show_bus(app[keys.METRICS], bus)
    bus.start()
    yield
    await bus.close()


def announcer(app: web.Application) -> Callable[[Batch], None]:
    """Tell of new inboxes, which are made with their owners and not by an actor."""

    def announce(inbox: Batch) -> None:
        owners = frozenset(
            entry.event.project.owner_id
            for entry in inbox.entries
            if isinstance(entry.event, ProjectCreated)
        )
        audience = Audience(members=(), others=owners, is_inbox=True)
        app[keys.BULLETIN].publish(audience, inbox.entries)
        app[keys.RELAY].tell(audience, inbox.entries)

    return announce


def _surroundings(
    app: web.Application, codec: EventCodec, bulletin: Bulletin, **others: Any
) -> Surroundings:
    config, store, metrics = app[keys.CONFIG], app[keys.STORE], app[keys.METRICS]
    limit = config.journal_batch if config.group_commit else 1
    journal = Journal(
        store,
        lanes=config.journal_lanes,
        entries_limit=limit,
        patience_seconds=config.database_timeout_seconds / 2,
        meter=metrics,
    )
    return Surroundings(
        store=store,
        journal=journal,
        codec=codec,
        feeds=(bulletin,),
        told=lambda project_id: bulletin.head(project_id) or 0,
        meter=metrics,
        mailbox_size=config.mailbox_size,
        batch_limit=limit,
        patience_seconds=config.database_timeout_seconds,
        **others,
    )


def _open_lists(app: web.Application, sights: Sights) -> None:
    app[keys.CURSORS] = cursors = Cursors(app[keys.CONFIG].jwt_secret)
    app[keys.PAGES] = pages = Pages(cursors)
    count = _counter(app[keys.METRICS])
    app[keys.LISTS] = Lists(app[keys.STORE], sights, pages, count=count)


def _show(metrics: Metrics, registry: Registry, feed: Feed) -> None:
    metrics.sample("live_actors", "Projects in memory.", lambda: len(registry))
    metrics.sample(
        "mailbox_commands",
        "Commands that wait for their actors.",
        lambda: sum(actor.waiting for actor in registry),
    )
    metrics.sample("websockets", "Sockets of known users.", lambda: len(feed))
    metrics.sample("websockets_behind", "Sockets that lag.", lambda: feed.behind)


def _show_bus(metrics: Metrics, bus: Bus) -> None:
    metrics.sample("bus_connected", "1 while hints come.", lambda: bus.is_connected)
    metrics.sample("bus_dropped", "Hints that were not sent.", lambda: bus.dropped)
    metrics.sample("bus_published", "Hints that were sent.", lambda: bus.published)
    metrics.sample("bus_received", "Hints that came.", lambda: bus.received)


def _counter(metrics: Metrics) -> Callable[[str], None]:
    """Count hits and misses of the lists; the labels are looked up once."""
    results = {
        result: metrics.cache_requests.labels("lists", result)
        for result in ("hit", "miss")
    }

    def count(result: str) -> None:
        results[result].inc()

    return count
