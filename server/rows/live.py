"""Live events."""

from server import answers, queries, ticketing, websocket
from server.route import EFFECT, OWN, VISIT, Reply, Route

ROWS: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/ws/tickets",
        handler=ticketing.create_ticket,
        actions=OWN,
        summary="Get a ticket that opens one WebSocket",
        tag="live",
        is_secret=True,
        request_headers=EFFECT,
        is_versioned=False,
        replies={
            201: Reply(
                description="The ticket.",
                schema=answers.Ticket,
                headers=("Cache-Control",),
            )
        },
    ),
    Route(
        method="GET",
        path="/ws",
        handler=websocket.connect,
        actions=VISIT,
        summary="Open a WebSocket for the events that you may see",
        tag="live",
        query=queries.WebSocketQuery,
        request_headers=(
            "Connection",
            "Upgrade",
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Key",
        ),
        replies={
            101: Reply(
                description="It is a WebSocket from here on.",
                headers=("Upgrade", "Sec-WebSocket-Accept"),
            )
        },
        problems=(403, 426, 503),
        upgrades=True,
    ),
)
