"""What the ratios are measured against: aiohttp with uvloop, and nothing else.

It answers with the bytes and the content type that it is started with, without looking
at who asks; a POST or PUT has its body read and decoded. What is posted to `/broadcast`
is sent to every WebSocket, one after the other.
"""

import asyncio
import json
import sys
from pathlib import Path

import uvloop
from aiohttp import web

_BACKLOG = 4096  # as many as Linux allows unless told otherwise; the default is 128


def bare_app(body: bytes) -> web.Application:
    """Make the application that answers everything with `body`."""

    async def read(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def write(request: web.Request) -> web.Response:
        await request.json(loads=json.loads)
        return web.Response(status=201, body=body, content_type="application/json")

    sockets: set[web.WebSocketResponse] = set()

    async def listen(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        sockets.add(ws)
        async for _ in ws:
            pass
        sockets.discard(ws)
        return ws

    async def broadcast(request: web.Request) -> web.Response:
        text = await request.text()
        for ws in list(sockets):
            await ws.send_str(text)
        return web.Response(status=201)

    app = web.Application()
    app.router.add_get("/ws", listen)
    app.router.add_post("/broadcast", broadcast)
    app.router.add_get("/tasks", read)
    app.router.add_get("/tasks/{task_id}", read)
    app.router.add_post("/tasks", write)
    app.router.add_put("/tasks/{task_id}", write)
    return app


async def _serve(port: int, body: bytes) -> None:
    runner = web.AppRunner(bare_app(body), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=_BACKLOG).start()
    print("ready", flush=True)  # whoever started it waits for this
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
