"""Handler of tickets: what a browser opens a WebSocket with."""

from functools import partial

import msgspec
from aiohttp import web

from server import keys
from server.headers import json_headers
from server.idempotency import once, spent
from server.representations import encode
from server.requests import Stamp
from server.tickets import LIFETIME_SECONDS
from sql.receipts import Receipt, Remembered


class _TicketSeed(msgspec.Struct):
    """What a ticket is made of again, by who has the secrets."""

    place: str
    seed: str


async def create_ticket(request: web.Request) -> web.StreamResponse:
    """Make a ticket that opens one WebSocket."""
    about = str(request[keys.PRINCIPAL].session_id)
    issue, again = partial(_issue, request), partial(_ticket_again, request)
    return await once(request, issue, 201, replay=again, about=about)


async def _issue(request: web.Request, stamp: Stamp) -> web.Response:
    """Make the ticket, then keep its key: one that nobody was told of expires."""
    principal, tickets = request[keys.PRINCIPAL], request.app[keys.TICKETS]
    if stamp["key"] is None:
        return _ticket(await tickets.issue(principal))
    seed = request.app[keys.TOKENS].new_seed().bits
    ticket = await tickets.issue(principal, partial(_word, request, seed))
    made_of = encode({"place": ticket[0], "seed": seed})
    receipt = Receipt(key=stamp["key"], body=made_of.decode())
    await request.app[keys.STORE].keep(receipt)
    return _ticket(ticket)


async def _ticket_again(request: web.Request, known: Remembered) -> web.Response:
    if known.age_seconds >= LIFETIME_SECONDS:
        raise spent("The ticket that this key got has expired.")
    made_of = msgspec.json.decode(known.body or "", type=_TicketSeed)
    return _ticket(made_of.place + _word(request, made_of.seed, made_of.place))


def _word(request: web.Request, seed: str, place: str) -> str:
    return request.app[keys.TOKENS].derived(b"ticket " + place.encode(), seed)


def _ticket(ticket: str) -> web.Response:
    body = encode({"ticket": ticket, "expires_in": LIFETIME_SECONDS})
    return web.Response(status=201, body=body, headers=json_headers())
