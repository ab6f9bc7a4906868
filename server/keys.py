"""Typed keys: what the application holds, and what a request carries.

Types are imported for the checker only, so that any module may import this one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from actors.bulletin import Bulletin
    from actors.feed import Feed
    from actors.follower import Follower
    from actors.registry import Registry
    from server.addresses import Addresses
    from server.app import Urls
    from server.config import Config
    from server.cors import Cors
    from server.cursors import Cursors
    from server.dialogue import Dialogue
    from server.docs import Asset
    from server.health import Health
    from server.hints import Client
    from server.ids import Ids
    from server.limits import Limits
    from server.lists import Lists
    from server.metrics import Metrics
    from server.middlewares import Endpoint
    from server.pages import Pages
    from server.passwords import Passwords
    from server.people import People
    from server.ratelimit import Allowance
    from server.relay import Relay
    from server.sessions import Principal, Sessions
    from server.sights import Sights
    from server.snapshots import Snapshots
    from server.sockets import Sockets
    from server.sweeper import Sweeper
    from server.tickets import Tickets
    from server.tokens import Tokens
    from sql.accounts import Accounts
    from sql.database import Database
    from sql.store import Store
    from sql.users import Users

CONFIG: web.AppKey["Config"] = web.AppKey("config")
URLS: web.AppKey["Urls"] = web.AppKey("urls")
DATABASE: web.AppKey["Database"] = web.AppKey("database")
# One connection of its own, for what other nodes wrote.
TAIL_DATABASE: web.AppKey["Database"] = web.AppKey("tail_database")
STORE: web.AppKey["Store"] = web.AppKey("store")
ACCOUNTS: web.AppKey["Accounts"] = web.AppKey("accounts")
REGISTRY: web.AppKey["Registry"] = web.AppKey("registry")
BULLETIN: web.AppKey["Bulletin"] = web.AppKey("bulletin")
FEED: web.AppKey["Feed"] = web.AppKey("feed")
FOLLOWER: web.AppKey["Follower"] = web.AppKey("follower")
RELAY: web.AppKey["Relay"] = web.AppKey("relay")
CURSORS: web.AppKey["Cursors"] = web.AppKey("cursors")
LISTS: web.AppKey["Lists"] = web.AppKey("lists")
SIGHTS: web.AppKey["Sights"] = web.AppKey("sights")
PAGES: web.AppKey["Pages"] = web.AppKey("pages")
USERS: web.AppKey["Users"] = web.AppKey("users")
PEOPLE: web.AppKey["People"] = web.AppKey("people")
SOCKETS: web.AppKey["Sockets"] = web.AppKey("sockets")
DIALOGUE: web.AppKey["Dialogue"] = web.AppKey("dialogue")
SWEEPER: web.AppKey["Sweeper"] = web.AppKey("sweeper")
IDS: web.AppKey["Ids"] = web.AppKey("ids")
SESSIONS: web.AppKey["Sessions"] = web.AppKey("sessions")
TOKENS: web.AppKey["Tokens"] = web.AppKey("tokens")
PASSWORDS: web.AppKey["Passwords"] = web.AppKey("passwords")
TICKETS: web.AppKey["Tickets"] = web.AppKey("tickets")
SNAPSHOTS: web.AppKey["Snapshots"] = web.AppKey("snapshots")
REDIS: web.AppKey["Client"] = web.AppKey("redis")
LIMITS: web.AppKey["Limits"] = web.AppKey("limits")
ADDRESSES: web.AppKey["Addresses"] = web.AppKey("addresses")
METRICS: web.AppKey["Metrics"] = web.AppKey("metrics")
HEALTH: web.AppKey["Health"] = web.AppKey("health")
# Absent where no page of another origin is let in.
CORS: web.AppKey["Cors"] = web.AppKey("cors")
# The OpenAPI document, ready to be sent.
DOCUMENT: web.AppKey["Asset"] = web.AppKey("document")
# The AsyncAPI document, likewise.
LIVE_DOCUMENT: web.AppKey["Asset"] = web.AppKey("live_document")
# What the middlewares know of each registered route; filled by routes.register().
ENDPOINTS: web.AppKey[dict[web.AbstractRoute, "Endpoint"]] = web.AppKey("endpoints")

# Who calls; absent on public routes.
PRINCIPAL: web.RequestKey["Principal"] = web.RequestKey("principal")
# What the caller may still ask for; absent on public routes, and without a limit.
ALLOWANCE: web.RequestKey["Allowance"] = web.RequestKey("allowance")
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id")
# The trace id of a valid W3C traceparent; absent without one.
TRACE_ID: web.RequestKey[str] = web.RequestKey("trace_id")
# The validated body and query, as plain values and the domain's enums. Read only:
# a query is shared by all requests that spell it alike.
BODY: web.RequestKey[Mapping[str, Any]] = web.RequestKey("body")
QUERY: web.RequestKey[Mapping[str, Any]] = web.RequestKey("query")
# The ids in the path, by their names in the template.
PATH_IDS: web.RequestKey[Mapping[str, int]] = web.RequestKey("path_ids")
