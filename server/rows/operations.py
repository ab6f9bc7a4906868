"""For those who run the server."""

from server import answers, docs, health, metrics, queries
from server.route import READ, UNCHANGED, VISIT, Reply, Route

_HEALTH = Reply(description="It can serve.", schema=answers.Health)
_SICK = Reply(
    description="It cannot serve.", schema=answers.Health, headers=("Retry-After",)
)

ROWS: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/",
        handler=docs.get_index,
        actions=VISIT,
        summary="Tell where things are; a browser is sent to the documentation",
        tag="operations",
        query=queries.AnyQuery,
        replies={
            200: Reply(
                description="For a program.", schema=answers.Index, headers=("Vary",)
            ),
            303: Reply(
                description="For who accepts `text/html`.", headers=("Location", "Vary")
            ),
        },
    ),
    Route(
        method="GET",
        path="/health",
        handler=health.get_health,
        actions=VISIT,
        summary="Tell how the server and what it needs are",
        tag="operations",
        query=queries.AnyQuery,
        replies={200: _HEALTH, 503: _SICK},
    ),
    Route(
        method="GET",
        path="/health/live",
        handler=health.get_liveness,
        actions=VISIT,
        summary="Tell whether the process is alive",
        tag="operations",
        query=queries.AnyQuery,
        replies={200: Reply(description="It is.", schema=answers.Liveness)},
    ),
    Route(
        method="GET",
        path="/health/ready",
        handler=health.get_readiness,
        actions=VISIT,
        summary="Tell whether requests should be sent here",
        tag="operations",
        query=queries.AnyQuery,
        replies={200: _HEALTH, 503: _SICK},
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=metrics.get_metrics,
        actions=VISIT,
        summary="Show the numbers, to who has the monitoring token if there is one",
        tag="operations",
        query=queries.AnyQuery,
        replies={200: Reply(description="The numbers.", media_type="text/plain")},
        problems=(401,),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=docs.get_document,
        actions=VISIT,
        summary="Show this document",
        tag="operations",
        query=queries.AnyQuery,
        request_headers=READ,
        replies={
            200: Reply(
                description="OpenAPI 3.1.", schema=answers.Document, headers=("ETag",)
            ),
            304: UNCHANGED,
        },
    ),
    Route(
        method="GET",
        path="/asyncapi.json",
        handler=docs.get_live_document,
        actions=VISIT,
        summary="Show what is said on the WebSocket",
        tag="operations",
        query=queries.AnyQuery,
        request_headers=READ,
        replies={
            200: Reply(
                description="AsyncAPI 3.0.",
                schema=answers.LiveDocument,
                headers=("ETag",),
            ),
            304: UNCHANGED,
        },
    ),
    Route(
        method="GET",
        path="/docs",
        handler=docs.get_page,
        actions=VISIT,
        summary="Show this document as a page",
        tag="operations",
        query=queries.AnyQuery,
        request_headers=READ,
        replies={
            200: Reply(
                description="A page.", media_type="text/html", headers=("ETag",)
            ),
            304: UNCHANGED,
        },
    ),
    Route(
        method="GET",
        path="/docs/{name}",
        path_choices=tuple(docs.ASSETS),
        handler=docs.get_asset,
        actions=VISIT,
        summary="Give a file that the page needs",
        tag="operations",
        query=queries.AnyQuery,
        request_headers=READ,
        replies={
            200: Reply(description="The file.", media_type="*/*", headers=("ETag",)),
            304: UNCHANGED,
        },
        problems=(404,),
    ),
)
