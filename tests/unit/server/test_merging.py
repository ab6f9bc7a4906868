from server.merging import Totals, parsed
from server.metrics import Metrics


def counted(requests: int, *, in_flight: int = 0, answer: bool = False) -> Metrics:
    metrics = Metrics()
    metrics.http.in_flight = in_flight
    timing = metrics.http.timing("GET", "/tasks", 200)
    for _ in range(requests):
        timing.observe(0.04)
    metrics.sample("limits_local", "Whether limits are local.", lambda: answer)
    metrics.sample("bus_connected", "Whether hints come.", lambda: answer)
    metrics.limited('a "quoted" one')
    return metrics


def values(page: bytes) -> dict[str, float]:
    """Each sample by its name and, if it has any, its labels."""
    return {
        f"{sample.name}{sample.labels or ''}": sample.value
        for family in parsed(page).values()
        for sample in family.samples
    }


REQUESTS = (
    "boardcast_http_requests_total{'method': 'GET', 'route': '/tasks', 'status': '200'}"
)


def test_the_page_of_one_is_its_own():
    page = counted(3, in_flight=2).page()
    totals = Totals()

    totals.take(1, page)

    shown = values(totals.page(1, 0))
    assert shown.pop("boardcast_workers") == 1
    assert shown.pop("boardcast_workers_unreachable") == 0
    assert shown == values(page)


def test_counters_histograms_and_gauges_add_up():
    totals = Totals()

    totals.take(1, counted(3, in_flight=2).page())
    totals.take(2, counted(4, in_flight=1).page())

    shown = values(totals.page(2, 1))
    assert shown[REQUESTS] == 7
    assert shown["boardcast_http_requests_in_flight"] == 3
    assert shown["boardcast_workers_unreachable"] == 1
    labels = {"method": "GET", "route": "/tasks", "status_class": "2xx"}
    timed = "boardcast_http_request_duration_seconds"
    assert shown[f"{timed}_count{labels}"] == 7
    buckets = [
        f"{timed}_bucket{ {'le': bound} | labels }" for bound in ("0.025", "0.05")
    ]
    assert [shown[bucket] for bucket in buckets] == [0, 7]


def test_a_yes_or_no_stays_one():
    totals = Totals()

    for worker, answer in enumerate((True, True, False)):
        totals.take(worker, counted(1, answer=answer).page())

    shown = values(totals.page(3, 0))
    assert shown["boardcast_limits_local"] == 1  # of any
    assert shown["boardcast_bus_connected"] == 0  # of all


def test_a_time_of_creation_is_the_earliest():
    pages = [counted(1).page() for _ in range(2)]
    totals = Totals()

    for worker, page in enumerate(reversed(pages)):
        totals.take(worker, page)

    name = "boardcast_commits_created"
    first, second = (values(page)[name] for page in pages)
    assert first < second
    assert values(totals.page(2, 0))[name] == first


def test_what_the_departed_counted_stays_and_what_they_had_goes():
    totals = Totals()
    totals.take(1, counted(3, in_flight=2).page())
    totals.take(2, counted(4, in_flight=1).page())

    totals.forget(1)
    totals.forget(1)
    totals.take(3, counted(1).page())

    shown = values(totals.page(2, 0))
    assert shown[REQUESTS] == 8
    assert shown["boardcast_http_requests_in_flight"] == 1


def test_a_later_page_takes_the_place_of_the_one_before():
    totals = Totals()

    totals.take(1, counted(3).page())
    totals.take(1, counted(5).page())

    assert values(totals.page(1, 0))[REQUESTS] == 5
