import pytest
from prometheus_client.parser import text_string_to_metric_families
from pytest_aiohttp import AiohttpClient
from small_app import Settings, route, small_app

from server import keys
from server.metrics import Metrics, get_metrics
from server.queries import AnyQuery

METRICS = route(get_metrics, path="/metrics", query=AnyQuery)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels or None)


def test_two_applications_share_no_numbers():
    one, other = Metrics(), Metrics()

    one.commits.inc()

    assert value(one, "boardcast_commits_total") == 1
    assert value(other, "boardcast_commits_total") == 0


def test_requests_fall_into_buckets():
    metrics = Metrics()
    timing = metrics.http.timing("GET", "/tasks", 200)

    for seconds in (0.0005, 0.001, 0.004, 99.0):
        timing.observe(seconds)

    name = "boardcast_http_request_duration_seconds"
    labels = {"method": "GET", "route": "/tasks", "status_class": "2xx"}
    assert value(metrics, f"{name}_bucket", le="0.001", **labels) == 2
    assert value(metrics, f"{name}_bucket", le="0.005", **labels) == 3
    assert value(metrics, f"{name}_bucket", le="10.0", **labels) == 3
    assert value(metrics, f"{name}_bucket", le="+Inf", **labels) == 4
    assert value(metrics, f"{name}_count", **labels) == 4
    assert value(metrics, f"{name}_sum", **labels) == pytest.approx(99.0055)


def test_statuses_of_a_class_are_timed_together_and_counted_apart():
    metrics = Metrics()
    for status in (200, 201, 404):
        metrics.http.timing("POST", "/tasks", status).observe(0.1)

    labels = {"method": "POST", "route": "/tasks"}
    timed = "boardcast_http_request_duration_seconds_count"
    counted = "boardcast_http_requests_total"
    assert value(metrics, timed, **labels, status_class="2xx") == 2
    assert value(metrics, timed, **labels, status_class="4xx") == 1
    assert value(metrics, counted, **labels, status="201") == 1


def test_invented_methods_make_no_new_label():
    metrics = Metrics()

    one = metrics.http.timing("BREW", "/tea", 405)
    other = metrics.http.timing("STEEP", "/tea", 405)

    assert one is other


def test_a_sample_is_read_when_somebody_looks():
    metrics = Metrics()
    sockets: list[int] = []
    metrics.sample("websockets", "Open sockets.", lambda: len(sockets))
    sockets.append(1)

    assert value(metrics, "boardcast_websockets") == 1


def test_races_between_nodes_are_counted():
    metrics = Metrics()

    metrics.conflicted(3)
    metrics.caught_up(5)
    metrics.locked()

    page = metrics.page().decode()
    for line in (
        "boardcast_conflicts_total 1.0",
        "boardcast_retried_commands_total 3.0",
        "boardcast_catch_ups_total 1.0",
        "boardcast_caught_up_events_total 5.0",
        "boardcast_exclusive_turns_total 1.0",
    ):
        assert f"\n{line}\n" in page


async def test_the_page_is_what_prometheus_reads(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(METRICS))
    await client.get("/metrics")

    response = await client.get("/metrics")

    assert response.status == 200
    assert response.content_type == "text/plain"
    families = {f.name for f in text_string_to_metric_families(await response.text())}
    assert "boardcast_http_requests" in families
    assert "boardcast_batch_events" in families


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer", 401),
        ("Basic s3cret", 401),
        ("Bearer wrong", 401),
        ("Bearer s3cre\u0301t", 401),
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
    ],
)
async def test_a_monitoring_token_guards_the_page(
    aiohttp_client: AiohttpClient, header: str | None, status: int
):
    settings = Settings(access_log="off", monitoring_token="s3cret")
    client = await aiohttp_client(small_app(METRICS, settings=settings))
    headers = {} if header is None else {"Authorization": header}

    response = await client.get("/metrics", headers=headers)

    assert response.status == status
    assert ("boardcast_http" in await response.text()) == (status == 200)


async def test_each_application_has_its_own_page(aiohttp_client: AiohttpClient):
    one, other = small_app(METRICS), small_app(METRICS)
    client = await aiohttp_client(one)

    await client.get("/metrics")

    assert b'route="/metrics"' in one[keys.METRICS].page()
    assert b'route="/metrics"' not in other[keys.METRICS].page()
