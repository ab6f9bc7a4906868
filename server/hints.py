"""Where hints are kept and passed on: one Redis or Valkey, or a Cluster of them.

REDIS_URL is a URL of redis-py, or `redis+cluster://host:port[,host:port...]` (and
`rediss+cluster://`), with `user:password@` before the first host as usual.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from server.cluster import Cluster, Place

REDIS_SECONDS = 0.25
_CLUSTER = "+cluster"
_CONNECTIONS = 32  # to each server
_PORT = 6379

Client = Redis | Cluster


class _Redis(Redis):
    """One that names what its parser makes of a server that is none."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except (RedisError, OSError, TimeoutError):
            raise
        except Exception as error:
            raise InvalidResponse("it does not speak like Redis") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What a URL means: one server, or some of a Cluster, which name the others."""

    options: Mapping[str, Any]
    places: tuple[Place, ...] = ()

    @property
    def is_cluster(self) -> bool:
        """Whether keys and channels are spread over several masters."""
        return bool(self.places)

    def connection(self, place: Place | None) -> Connection:
        """Make a connection of its own, for pub/sub; it is not open yet."""
        settings: dict[str, Any] = {
            **self.options,
            **_at(place),
            "socket_timeout": None,  # messages may be long in coming
            "socket_connect_timeout": REDIS_SECONDS,
            "protocol": 3,  # to publish on the connection that is subscribed
        }
        settings.pop("max_connections", None)
        kind = settings.pop("connection_class", Connection)
        connection: Connection = kind(**settings)
        return connection

    def client(self, place: Place | None = None) -> Redis:
        """Make a client of one server that waits for nothing longer than 0.25 s."""
        settings: dict[str, Any] = {
            "socket_timeout": REDIS_SECONDS,
            "socket_connect_timeout": REDIS_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "max_connections": _CONNECTIONS,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        pool = ConnectionPool(**{**settings, **self.options, **_at(place)})
        return _Redis.from_pool(pool)


def read(url: str) -> Servers:
    """Take a URL apart; raises ValueError, with nothing secret in it."""
    is_cluster = url.partition("://")[0].endswith(_CLUSTER)
    servers = _read_cluster(url) if is_cluster else Servers(options=parse_url(url))
    try:
        servers.connection(None)
    except TypeError:
        raise ValueError("an option is unknown") from None
    return servers


def connect(url: str) -> Client:
    """Make a client that connects when it is used; raises ValueError for the URL."""
    servers = read(url)
    if servers.is_cluster:
        return Cluster(servers.places, servers.client)
    return servers.client()


def _read_cluster(url: str) -> Servers:
    scheme, _, rest = url.partition("://")
    scheme = scheme.removesuffix(_CLUSTER)
    if scheme not in {"redis", "rediss"}:
        raise ValueError("a Cluster's URL begins with redis+cluster://")
    user, at, hosts = rest.rpartition("@")
    hosts, slash, path = hosts.partition("/")
    hosts, question, query = hosts.partition("?") if not slash else (hosts, "", "")
    tail = f"{slash}{path}{question}{query}"
    found = [
        parse_url(f"{scheme}://{user}{at}{host}{tail}") for host in hosts.split(",")
    ]
    if not all(one.get("host") for one in found):
        raise ValueError("a host is missing")
    options: dict[str, Any] = dict(found[0])
    places = tuple((one["host"], one.get("port", _PORT)) for one in found)
    for name in ("host", "port"):
        options.pop(name, None)
    if options.pop("db", 0):
        raise ValueError("a Cluster has no other database than 0")
    return Servers(options=options, places=places)


def _at(place: Place | None) -> dict[str, Any]:
    return {} if place is None else {"host": place[0], "port": place[1]}
