"""Every setting, with its variable, its default and its bounds."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from server import credentials
from server.credentials import CredentialError
from server.environment import ANY_ORIGIN, read, read_network, read_origin, unknown
from server.environment import setting as _env

MOST_WORKERS = 64

_DATA_DIR = Path(".boardcast")


class ConfigError(Exception):
    """The configuration cannot be used; `problems` names everything that is wrong."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings. A `*_url` that is None means: the server that comes along."""

    environment: str = field(
        default="development",
        metadata=_env(
            "BOARDCAST_ENV",
            "`production` makes nothing up and migrates nothing by itself",
            choices=("development", "production"),
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=_env("BOARDCAST_HOST", "the address to listen on"),
    )
    port: int = field(
        default=8080,
        metadata=_env(
            "BOARDCAST_PORT",
            "the port to listen on; 0 takes a free one",
            least=0,
            most=65535,
        ),
    )
    workers: int = field(
        default=1,
        metadata=_env(
            "BOARDCAST_WORKERS",
            "worker processes on the one port, up to 64",
            least=1,
            most=MOST_WORKERS,
        ),
    )
    data_dir: Path = field(
        default=_DATA_DIR,
        metadata=_env(
            "BOARDCAST_DATA_DIR",
            "where the embedded servers and generated secrets are kept",
        ),
    )
    database_url: str | None = field(
        default=None,
        repr=False,
        metadata=_env("DATABASE_URL", "PostgreSQL; required in production"),
    )
    redis_url: str | None = field(
        default=None,
        repr=False,
        metadata=_env(
            "REDIS_URL",
            "Redis or Valkey, for a Cluster `redis+cluster://host:port,host:port`; "
            "required in production",
        ),
    )
    jwt_secret: bytes = field(
        repr=False,
        metadata=_env(
            "JWT_SECRET_KEY",
            "signs access tokens, 32 bytes or more; required in production",
        ),
    )
    jwt_refresh_secret: bytes = field(
        repr=False,
        metadata=_env(
            "JWT_REFRESH_SECRET_KEY",
            "makes refresh tokens, another 32 bytes or more; required in production",
        ),
    )
    monitoring_token: str | None = field(
        default=None,
        repr=False,
        metadata=_env("MONITORING_TOKEN", "who reads `/metrics` has to send it"),
    )
    sentry_dsn: str | None = field(
        default=None,
        repr=False,
        metadata=_env("SENTRY_DSN", "reserved for error reports"),
    )
    smtp_password: str | None = field(
        default=None, repr=False, metadata=_env("SMTP_PASSWORD", "reserved for mail")
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        metadata=_env(
            "BOARDCAST_CORS_ORIGINS",
            "origins of web pages that may use the server, separated by commas; "
            "`*` is all of them, but not in production",
            each=read_origin,
        ),
    )
    access_token_seconds: int = field(
        default=900,
        metadata=_env(
            "BOARDCAST_ACCESS_TOKEN_SECONDS",
            "how long an access token lives",
            least=10,
            most=86_400,
        ),
    )
    refresh_grace_seconds: int = field(
        default=10,
        metadata=_env(
            "BOARDCAST_REFRESH_GRACE_SECONDS",
            "how long a used refresh token still gets the same answer",
            least=0,
            most=300,
        ),
    )
    session_days: int = field(
        default=30,
        metadata=_env(
            "BOARDCAST_SESSION_DAYS", "how long a login lasts", least=1, most=3650
        ),
    )
    rate_limit_per_minute: int = field(
        default=1200,
        metadata=_env(
            "BOARDCAST_RATE_LIMIT_PER_MINUTE", "requests of one user; 0: off", least=0
        ),
    )
    login_limit_per_minute: int = field(
        default=10,
        metadata=_env(
            "BOARDCAST_LOGIN_LIMIT_PER_MINUTE",
            "log-ins to one account; from one address three times as many; 0: off",
            least=0,
        ),
    )
    sockets_per_user: int = field(
        default=1000,
        metadata=_env(
            "BOARDCAST_SOCKETS_PER_USER",
            "open WebSockets of one user at one worker; 0: off",
            least=0,
        ),
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        metadata=_env(
            "BOARDCAST_TRUSTED_PROXIES",
            "networks (CIDR) whose `X-Forwarded-For` is believed, separated by commas",
            each=read_network,
        ),
    )
    database_pool_size: int = field(
        default=10,
        metadata=_env(
            "BOARDCAST_DATABASE_POOL_SIZE",
            "each worker's connections to PostgreSQL, beside 5 others",
            least=2,
            most=1000,
        ),
    )
    database_timeout_seconds: float = field(
        default=2.0,
        metadata=_env(
            "BOARDCAST_DATABASE_TIMEOUT_SECONDS",
            "how long anybody waits for the database",
            least=0.1,
            most=60,
        ),
    )
    mailbox_size: int = field(
        default=1024,
        metadata=_env(
            "BOARDCAST_MAILBOX_SIZE", "commands that wait for one project", least=1
        ),
    )
    journal_batch: int = field(
        default=256,
        metadata=_env(
            "BOARDCAST_JOURNAL_BATCH", "commands in one transaction", least=1
        ),
    )
    journal_lanes: int = field(
        default=1,
        metadata=_env(
            "BOARDCAST_JOURNAL_LANES", "transactions at a time", least=1, most=64
        ),
    )
    group_commit: bool = field(
        default=True,
        metadata=_env(
            "BOARDCAST_GROUP_COMMIT", "off: one transaction a command, to compare"
        ),
    )
    actor_idle_seconds: float = field(
        default=600.0,
        metadata=_env(
            "BOARDCAST_ACTOR_IDLE_SECONDS",
            "how long an unused project stays in memory",
            least=1,
        ),
    )
    actors: int = field(
        default=10_000,
        metadata=_env(
            "BOARDCAST_ACTORS",
            "projects in memory; beyond that those used least make room",
            least=100,
        ),
    )
    tasks_in_memory: int = field(
        default=1_000_000,
        metadata=_env(
            "BOARDCAST_TASKS_IN_MEMORY",
            "tasks and comments of all these projects, likewise; 1 KB each",
            least=1000,
        ),
    )
    body_limit_bytes: int = field(
        default=1024 * 1024,
        metadata=_env(
            "BOARDCAST_BODY_LIMIT_BYTES", "the largest body of a request", least=1024
        ),
    )
    log_level: str = field(
        default="info",
        metadata=_env(
            "BOARDCAST_LOG_LEVEL",
            "`debug`, `info`, `warning` or `error`",
            choices=("debug", "info", "warning", "error"),
        ),
    )
    log_format: str = field(
        default="json",
        metadata=_env(
            "BOARDCAST_LOG_FORMAT",
            "`json` or `console`; the latter is the default on a terminal",
            choices=("json", "console"),
        ),
    )
    access_log: str = field(
        default="all",
        metadata=_env(
            "BOARDCAST_ACCESS_LOG",
            "which requests are logged: `all`, `errors` or `off`",
            choices=("all", "errors", "off"),
        ),
    )
    shutdown_seconds: float = field(
        default=10.0,
        metadata=_env(
            "BOARDCAST_SHUTDOWN_SECONDS",
            "how long requests may take to finish at the end",
            least=0,
            most=600,
        ),
    )
    drain_seconds: float = field(
        default=0.0,
        metadata=_env(
            "BOARDCAST_DRAIN_SECONDS",
            "how long to serve on, not ready, for a balancer to notice the end",
            least=0,
            most=600,
        ),
    )
    demo: bool = field(
        default=False,
        metadata=_env("BOARDCAST_DEMO", "fill an empty database with a demo company"),
    )

    @property
    def is_production(self) -> bool:
        """Whether nothing may be made up."""
        return self.environment == "production"

    @classmethod
    def load(
        cls, environ: Mapping[str, str], *, may_create: bool = True, **overrides: Any
    ) -> Self:
        """Read the environment; an override that is None does not count.

        In development missing keys are made and kept in the data directory, unless
        nothing may be created: then they are empty. May wait for Vault. Raises
        ConfigError with all problems.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        own = [item for item in fields(cls) if not item.metadata["secret"]]
        settings, problems = read(own, environ, given)
        if "log_format" not in settings:
            settings["log_format"] = "console" if sys.stderr.isatty() else "json"
        if settings.get("environment") == "production":
            problems += cls.mistyped(environ)
            if ANY_ORIGIN in settings.get("cors_origins", ()):
                problems.append(
                    "BOARDCAST_CORS_ORIGINS: name the origins in production"
                )
        secrets, more = _secrets(environ, settings, may_create=may_create)
        problems += more
        if problems:
            raise ConfigError(problems)
        return cls(**settings, **secrets)

    @classmethod
    def mistyped(cls, environ: Mapping[str, str]) -> list[str]:
        """Say of each variable that only looks like a setting what may be meant."""
        return unknown(environ, [item.metadata["env"] for item in fields(cls)])


def _secrets(
    environ: Mapping[str, str], settings: Mapping[str, Any], *, may_create: bool
) -> tuple[dict[str, Any], list[str]]:
    values, problems = credentials.from_environment(environ)
    try:
        values = {**credentials.from_vault(environ), **values}
        if settings.get("environment") == "production":
            problems += credentials.unfit_for_production(values, problems)
        elif not values.keys() >= set(credentials.GENERATED):
            data_dir = settings.get("data_dir", _DATA_DIR)
            kept = credentials.for_development(data_dir, may_create=may_create)
            values = {**kept, **values}
    except CredentialError as error:
        problems.append(str(error))
    problems += credentials.wrong_urls(values)
    named: dict[str, Any] = {
        item.name: values[item.metadata["env"]]
        for item in fields(Config)
        if item.metadata["env"] in values
    }
    for name in ("jwt_secret", "jwt_refresh_secret"):
        named[name] = named.get(name, "").encode()
    return named, problems
