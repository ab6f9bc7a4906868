"""The metrics of several workers as one page."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

# Of most gauges the workers' values add up. These are a yes or a no: of any, of all.
_YES_OR_NO: Mapping[str, Callable[[list[float]], float]] = {
    "boardcast_limits_local": max,
    "boardcast_bus_connected": min,
}
_CREATED = "_created"
_GAUGE = "gauge"

Families = Mapping[str, Metric]


def parsed(page: bytes) -> Families:
    """Read a page; the families by their names."""
    found = text_string_to_metric_families(page.decode())
    return {family.name: family for family in found}


def merged(pages: Iterable[Families]) -> Families:
    """Add them up, sample by sample; a time of creation is the earliest of all."""
    families: dict[str, Metric] = {}
    for page in pages:
        for name, family in page.items():
            known = families.get(name)
            families[name] = _joined((family,) if known is None else (known, family))
    return families


class Totals:
    """What all workers count, with what those counted that are no more.

    Without the latter a total would fall when a worker ends, which Prometheus takes
    for a restart of all.
    """

    def __init__(self) -> None:
        self._last: dict[int, Families] = {}
        self._gone: Families = {}

    def take(self, worker: int, page: bytes) -> None:
        """Keep what this worker says now."""
        self._last[worker] = parsed(page)

    def forget(self, worker: int) -> None:
        """Keep of a worker that has ended only what it counted."""
        last = self._last.pop(worker, {})
        counts = {
            name: family
            for name, family in last.items()
            if family.type != _GAUGE or name.endswith(_CREATED)
        }
        self._gone = merged((self._gone, counts))

    def page(self, workers: int, unreachable: int) -> bytes:
        """Write all of it in Prometheus' text format."""
        together = merged((*self._last.values(), self._gone))
        return _written(
            (
                *together.values(),
                _gauge("boardcast_workers", "Worker processes.", workers),
                _gauge(
                    "boardcast_workers_unreachable",
                    "Workers that did not tell their metrics: the last known are here.",
                    unreachable,
                ),
            )
        )


def _joined(families: tuple[Metric, ...]) -> Metric:
    first = families[0]
    joined = Metric(first.name, first.documentation, first.type)
    join = _rule(first.name)
    values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sample.labels.items()))
            values.setdefault(key, []).append(sample.value)
    joined.samples = [
        Sample(name, dict(labels), join(found))
        for (name, labels), found in values.items()
    ]
    return joined


def _rule(name: str) -> Callable[[list[float]], float]:
    if name.endswith(_CREATED):
        return min
    return _YES_OR_NO.get(name, sum)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    family = Metric(name, documentation, _GAUGE)
    family.add_sample(name, {}, value)
    return family


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]):
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _written(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    return generate_latest(registry)
