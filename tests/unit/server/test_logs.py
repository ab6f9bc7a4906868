import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from small_app import Settings, logged

from server import logs
from server.logs import AccessLog, Exchange


@pytest.fixture(autouse=True)
def _keep_configuration() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    logging.getLogger("aiohttp.websocket").setLevel(logging.NOTSET)
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def exchange(status: int = 200) -> Exchange:
    return Exchange("GET", "/tasks", status, 0.0123456, "r-1", 7, None)


def test_a_line_is_json_with_its_fields():
    lines = io.StringIO()
    logs.configure(Settings(), lines)

    structlog.get_logger().info("project.stale", project_id=3, version=9)

    (line,) = logged(lines)
    assert line["event"] == "project.stale"
    assert (line["project_id"], line["version"]) == (3, 9)
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


async def test_each_line_of_a_worker_has_its_number():
    lines = io.StringIO()
    logs.WORKER.set(2)
    logs.configure(Settings(), lines)
    access = AccessLog(Settings(), lines)
    logs.WORKER.set(None)  # as in a task that has a context of its own

    structlog.get_logger().info("project.stale")
    logging.getLogger("asyncio").warning("something")
    access.write(exchange())
    access.flush()

    assert [line["worker"] for line in logged(lines)] == [2, 2, 2]


def test_a_line_below_the_level_is_not_written():
    lines = io.StringIO()
    logs.configure(Settings(log_level="warning"), lines)

    structlog.get_logger().info("project.stale")
    structlog.get_logger().warning("project.broken")

    assert [line["event"] for line in logged(lines)] == ["project.broken"]


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "access_token",
        "password",
        "Authorization",
        "cookie",
        "jwt_secret",
        "ticket",
        "sentry_dsn",
        "database_url",
    ],
)
def test_what_sounds_like_a_secret_is_hidden(name: str):
    lines = io.StringIO()
    logs.configure(Settings(), lines)

    structlog.get_logger().info("user.login", **{name: "s3cret"})
    structlog.get_logger().info("user.login", headers={name: "s3cret"})

    assert "s3cret" not in lines.getvalue()
    first, second = logged(lines)
    assert first[name] == second["headers"][name] == "[redacted]"


def test_what_does_not_is_shown():
    lines = io.StringIO()
    logs.configure(Settings(), lines)

    structlog.get_logger().info("task.created", task_id=5)

    assert logged(lines)[0]["task_id"] == 5


def test_lines_of_other_libraries_look_alike():
    lines = io.StringIO()
    logs.configure(Settings(), lines)

    logging.getLogger("asyncio").error("Something %s", "odd")

    (line,) = logged(lines)
    assert (line["event"], line["level"]) == ("Something odd", "error")


def test_what_clients_name_as_subprotocol_is_not_repeated():
    lines = io.StringIO()
    logs.configure(Settings(), lines)

    logging.getLogger("aiohttp.websocket").warning("Client protocols %r", ["a token"])

    assert logged(lines) == []


def test_an_exception_brings_its_stack():
    lines = io.StringIO()
    logs.configure(Settings(), lines)

    try:
        int("boom")
    except ValueError:
        structlog.get_logger().exception("actor.failed")

    (line,) = logged(lines)
    assert "ValueError: invalid literal" in line["exception"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_stack_shows_no_local_variables(log_format: str):
    lines = io.StringIO()
    logs.configure(Settings(log_format=log_format), lines)

    def fail(pin: str) -> None:
        raise ValueError("boom")

    try:
        fail("hunter" + "2")
    except ValueError:
        structlog.get_logger().exception("actor.failed")

    assert "ValueError: boom" in lines.getvalue()
    assert "hunter2" not in lines.getvalue()


def test_what_json_does_not_know_is_written_somehow():
    lines = io.StringIO()
    logs.configure(Settings(), lines)

    structlog.get_logger().info("odd.value", value=object)

    assert "object" in logged(lines)[0]["value"]


async def test_a_line_knows_the_request_it_belongs_to():
    lines = io.StringIO()
    logs.configure(Settings(), lines)

    logs.REQUEST_ID.set("r-1")
    structlog.get_logger().info("task.created")

    assert logged(lines)[0]["request_id"] == "r-1"


async def test_an_exchange_is_one_line():
    lines = io.StringIO()
    log = AccessLog(Settings(), lines)

    log.write(exchange())
    log.flush()

    (line,) = logged(lines)
    del line["timestamp"]  # type: ignore[attr-defined]
    assert line == {
        "event": "http.request",
        "method": "GET",
        "path": "/tasks",
        "status": 200,
        "ms": 12.35,
        "request_id": "r-1",
        "level": "info",
        "user_id": 7,
    }


async def test_lines_are_written_soon_without_being_asked(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(logs, "_FLUSH_SECONDS", 0)
    lines = io.StringIO()
    log = AccessLog(Settings(), lines)

    log.write(exchange())
    before = lines.getvalue()
    await asyncio.sleep(0.01)

    assert before == ""
    assert len(logged(lines)) == 1


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "_FLUSH_BYTES", 1000)
    lines = io.StringIO()
    log = AccessLog(Settings(), lines)

    for _ in range(20):
        log.write(exchange())

    assert len(logged(lines)) >= 10
    log.flush()
    assert len(logged(lines)) == 20


@pytest.mark.parametrize(
    ("access_log", "log_level", "wanted"),
    [
        ("all", "info", [200, 404, 500]),
        ("errors", "info", [404, 500]),
        ("off", "info", []),
        ("all", "warning", [500]),
        ("off", "debug", []),
    ],
)
def test_the_configuration_says_which_exchanges_are_written(
    access_log: str, log_level: str, wanted: list[int]
):
    log = AccessLog(Settings(access_log=access_log, log_level=log_level))

    assert [status for status in (200, 404, 500) if log.wants(status)] == wanted


def test_an_exchange_is_readable_on_a_terminal():
    lines = io.StringIO()
    settings = Settings(log_format="console")
    logs.configure(settings, lines)

    AccessLog(settings).write(exchange(503))

    assert "http.request" in lines.getvalue()
    assert "/tasks" in lines.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines.getvalue())
