"""Structured logs: dotted event names with fields, as JSON lines or for a terminal.

The line of each request takes a shorter way than the others, because there is one a
request: structlog's takes 14 microseconds, this one 2.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# The id of the request that is being answered in this context. A task that outlives
# its request has to be made in a context of its own, or it keeps this for ever.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
# Which of several workers this process is: set before anything is configured.
WORKER: ContextVar[int | None] = ContextVar("worker", default=None)

_SECRET = re.compile(
    r"token|passw|authorization|cookie|secret|ticket|credential|dsn|database_url"
    r"|redis_url",
    re.IGNORECASE,
)
_REDACTED = "[redacted]"
_FLUSH_SECONDS = 0.1
_FLUSH_BYTES = 32 * 1024
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
_encoder = msgspec.json.Encoder(enc_hook=repr)


class _Settings(Protocol):
    @property
    def log_level(self) -> str: ...
    @property
    def log_format(self) -> str: ...
    @property
    def access_log(self) -> str: ...


def configure(config: _Settings, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's logging to `stream`, or stderr."""
    stream = stream or sys.stderr
    level = logging.getLevelName(config.log_level.upper())
    renderer, shared = _renderers(config), _shared()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # It repeats the subprotocols that a client names, which may be its token.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Hide the value of every key that sounds like a secret, at any depth."""
    return cast("EventDict", _redacted(event))


def correlate(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Add the id of the request that this happens in."""
    request_id = REQUEST_ID.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


_SHARED: list[Processor] = [
    correlate,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    redact,
]


def _shared() -> list[Processor]:
    worker = WORKER.get()

    def number(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["worker"] = worker
        return event

    return _SHARED if worker is None else [number, *_SHARED]


def _renderers(config: _Settings) -> list[Processor]:
    if config.log_format == "console":
        # The plain one: others print local variables, and with them what is secret.
        plain = structlog.dev.plain_traceback
        colors = sys.stderr.isatty()
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, _as_json]


def _as_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return _encoder.encode(event).decode()


def _redacted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _REDACTED if _SECRET.search(str(key)) else _redacted(inner)
            for key, inner in value.items()
        }
    return value


class _Line(msgspec.Struct, omit_defaults=True):
    event: str
    method: str
    path: str
    status: int
    ms: float
    request_id: str
    timestamp: datetime
    level: str
    user_id: int | None = None
    trace_id: str | None = None
    worker: int | None = None


class Exchange(msgspec.Struct, frozen=True):
    """A request that was answered; `path` is the route's template, never the query."""

    method: str
    path: str
    status: int
    seconds: float
    request_id: str
    user_id: int | None
    trace_id: str | None


class AccessLog:
    """One line a request, gathered for a tenth of a second before they are written."""

    def __init__(self, config: _Settings, stream: TextIO | None = None):
        self._least = {"all": 0, "errors": _CLIENT_ERROR}.get(config.access_log, 1000)
        if logging.getLevelName(config.log_level.upper()) > logging.INFO:
            self._least = max(self._least, _SERVER_ERROR)
        self._is_json = config.log_format == "json"
        self._worker = WORKER.get()
        self._stream = stream
        self._waiting: list[str] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def wants(self, status: int) -> bool:
        """Tell whether an exchange with this status is written at all."""
        return status >= self._least

    def write(self, exchange: Exchange) -> None:
        """Take a line; it is written a little later."""
        if not self._is_json:
            _log_exchange(exchange)
            return
        line = _encoder.encode(_line(exchange, self._worker)).decode()
        self._waiting.append(line)
        self._bytes += len(line)
        if self._bytes > _FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what waits, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        lines, self._waiting, self._bytes = self._waiting, [], 0
        stream = self._stream or sys.stderr
        stream.write("\n".join(lines) + "\n")
        stream.flush()


def _line(exchange: Exchange, worker: int | None = None) -> _Line:
    return _Line(
        event="http.request",
        method=exchange.method,
        path=exchange.path,
        status=exchange.status,
        ms=round(exchange.seconds * 1000, 2),
        request_id=exchange.request_id,
        timestamp=datetime.now(UTC),
        level=_level(exchange.status),
        user_id=exchange.user_id,
        trace_id=exchange.trace_id,
        worker=worker,
    )


def _log_exchange(exchange: Exchange) -> None:
    fields = msgspec.to_builtins(_line(exchange))
    for name in ("event", "timestamp", "level"):
        del fields[name]
    logger = structlog.get_logger()
    write: Callable[..., None] = getattr(logger, _level(exchange.status))
    write("http.request", **fields)


def _level(status: int) -> str:
    return "warning" if status >= _SERVER_ERROR else "info"
