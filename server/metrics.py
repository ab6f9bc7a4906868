"""What is counted, and the page that Prometheus reads.

Requests are counted in plain numbers that become samples when somebody looks: a label
lookup and a lock for each request would cost more than the routing does.
"""

import hmac
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import accumulate

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from server.keys import CONFIG, METRICS
from server.problems import Problem, unauthenticated

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_BOUNDS = (*map(str, _SECONDS), "+Inf")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Timing:
    """How often, and how long: one method, route and status."""

    __slots__ = ("buckets", "total_seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BOUNDS)
        self.total_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(_SECONDS, seconds)] += 1
        self.total_seconds += seconds

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.buckets)

    def add(self, other: "Timing") -> None:
        """Count all of another's as well."""
        self.total_seconds += other.total_seconds
        for index, number in enumerate(other.buckets):
            self.buckets[index] += number


class HttpMetrics(Collector):
    """Requests by method, route template and status."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._timings: dict[tuple[str, str, int], Timing] = {}

    def timing(self, method: str, route: str, status: int) -> Timing:
        """Give the one place where such requests are counted."""
        method = method if method in _METHODS else "other"
        return self._timings.setdefault((method, route, status), Timing())

    def collect(self) -> Iterable[Metric]:
        """Make samples of the numbers."""
        yield GaugeMetricFamily(
            "boardcast_http_requests_in_flight",
            "Requests that are being answered.",
            value=self.in_flight,
        )
        yield self._counter()
        yield self._histogram()

    def _counter(self) -> Metric:
        family = CounterMetricFamily(
            "boardcast_http_requests",
            "Requests that were answered.",
            labels=("method", "route", "status"),
        )
        for (method, route, status), timing in self._timings.items():
            family.add_metric((method, route, str(status)), timing.count)
        return family

    def _histogram(self) -> Metric:
        family = HistogramMetricFamily(
            "boardcast_http_request_duration_seconds",
            "Time to answer, WebSockets apart.",
            labels=("method", "route", "status_class"),
        )
        classes: dict[tuple[str, str, str], Timing] = {}
        for (method, route, status), timing in self._timings.items():
            labels = (method, route, f"{status // 100}xx")
            classes.setdefault(labels, Timing()).add(timing)
        for labels, timing in classes.items():
            buckets = list(zip(_BOUNDS, accumulate(timing.buckets), strict=True))
            family.add_metric(labels, buckets, timing.total_seconds)
        return family


class _Sampled(Collector):
    """Gauges whose values are read when somebody looks."""

    def __init__(self) -> None:
        self.sources: dict[str, tuple[str, Callable[[], float]]] = {}

    def collect(self) -> Iterable[Metric]:
        for name, (documentation, read) in self.sources.items():
            yield GaugeMetricFamily(name, documentation, value=read())


class Metrics:
    """The numbers of one application; two applications share none."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.http = HttpMetrics()
        self._sampled = _Sampled()
        # Asks for the page of all workers; None if this process is the only one.
        self.gather: Callable[[], Awaitable[bytes]] | None = None
        self.registry.register(self.http)
        self.registry.register(self._sampled)
        self.batch_events = self._histogram(
            "batch_events", "Events that one commit made durable.", _BATCHES
        )
        self.commit_seconds = self._histogram(
            "commit_duration_seconds", "Time of one commit of the journal.", _SECONDS
        )
        self.commits = self._counter("commits", "Commits of the journal.")
        self.conflicts = self._counter(
            "conflicts", "Batches that another node was faster than."
        )
        self.retried = self._counter(
            "retried_commands", "Commands that were decided again after a conflict."
        )
        self.catch_ups = self._counter(
            "catch_ups", "Readings of a log for what other nodes wrote."
        )
        self.caught_up_events = self._counter(
            "caught_up_events", "Events of other nodes that were read from a log."
        )
        self.exclusive_turns = self._counter(
            "exclusive_turns", "Batches that were decided with the project locked."
        )
        self.missed_events = self._counter(
            "missed_events", "Events of other nodes that were found in the log."
        )
        self.actor_failures = self._counter(
            "actor_failures", "Actors that stopped for something unexpected."
        )
        self.load_seconds = Histogram(
            "boardcast_project_load_duration_seconds",
            "Time to bring a project into memory.",
            ("source",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.evictions = Counter(
            "boardcast_evictions",
            "Projects that were let go from memory.",
            ("reason",),
            registry=self.registry,
        )
        self.refused = Counter(
            "boardcast_limited_requests",
            "Requests that a limit refused.",
            ("limit",),
            registry=self.registry,
        )
        self.unsettled = self._counter(
            "limit_settlements_failed", "Times that limits could not be shared."
        )
        self.cache_requests = Counter(
            "boardcast_cache_requests",
            "Reads that asked a cache.",
            ("cache", "result"),
            registry=self.registry,
        )

    def committed(self, events: int, seconds: float) -> None:
        """Count a transaction, the events in it, and how long it took."""
        self.commits.inc()
        self.batch_events.observe(events)
        self.commit_seconds.observe(seconds)

    def conflicted(self, commands: int) -> None:
        """Count a batch that another node was faster than: to be decided again."""
        self.conflicts.inc()
        self.retried.inc(commands)

    def caught_up(self, events: int) -> None:
        """Count a reading of the log for what others wrote, and what there was."""
        self.catch_ups.inc()
        self.caught_up_events.inc(events)

    def locked(self) -> None:
        """Count a turn of an actor with the project's head locked."""
        self.exclusive_turns.inc()

    def failed(self) -> None:
        """Count an actor that stopped for something unexpected."""
        self.actor_failures.inc()

    def loaded(self, source: str, seconds: float) -> None:
        """Count a project that was read, from `snapshot` or `database`."""
        self.load_seconds.labels(source).observe(seconds)

    def evicted(self, reason: str) -> None:
        """Count an actor that was let go: `idle`, or to make `room`."""
        self.evictions.labels(reason).inc()

    def limited(self, limit: str) -> None:
        """Count a request that a limit refused."""
        self.refused.labels(limit).inc()

    def sample(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Show what `read` gives as the gauge `boardcast_<name>`; it may not wait."""
        self._sampled.sources[f"boardcast_{name}"] = (documentation, read)

    def page(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, documentation: str) -> Counter:
        return Counter(f"boardcast_{name}", documentation, registry=self.registry)

    def _histogram(
        self, name: str, documentation: str, bounds: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            f"boardcast_{name}", documentation, registry=self.registry, buckets=bounds
        )


async def get_metrics(request: web.Request) -> web.Response:
    """Answer `GET /metrics`: to everybody, or to who has the monitoring token."""
    _refuse_strangers(request.headers, request.app[CONFIG].monitoring_token)
    metrics = request.app[METRICS]
    page = metrics.page() if metrics.gather is None else await metrics.gather()
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _refuse_strangers(headers: Mapping[str, str], token: str | None) -> None:
    if token is None:
        return
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if not given or scheme.lower() != "bearer":
        raise unauthenticated()
    # A header may hold bytes that are no UTF-8; they come as lone surrogates.
    sent = given.strip().encode(errors="surrogateescape")
    if not hmac.compare_digest(sent, token.encode()):
        raise Problem(401, "invalid_token", "That is not the monitoring token.")
