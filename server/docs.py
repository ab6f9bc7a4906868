"""The documents, and the page that shows OpenAPI's: Swagger UI, from this package.

The page runs under a policy that forbids inline scripts and every other origin. The
large files are kept compressed only.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
from aiohttp import hdrs, web

from server import __version__
from server.keys import DOCUMENT, LIVE_DOCUMENT
from server.problems import not_found
from server.requests import is_known

_STATIC = Path(__file__).parent / "static"
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
ASSETS: Mapping[str, str] = {
    "init.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
_INDEX = msgspec.json.encode(
    {
        "name": "Boardcast",
        "version": __version__,
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "asyncapi": "/asyncapi.json",
        "health": "/health",
        "websocket": "/ws",
    }
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file to be served as it is, and compressed where that pays."""

    body: bytes
    content_type: str
    compressed: bytes | None

    @classmethod
    def of(cls, body: bytes, content_type: str) -> "Asset":
        """Make an asset of bytes that exist uncompressed."""
        return cls(body, content_type, gzip.compress(body, mtime=0))

    @property
    def etag(self) -> str:
        """A tag that changes with the bytes, not with the start of the server."""
        return hashlib.sha256(self.body).hexdigest()[:24]


async def get_index(request: web.Request) -> web.Response:
    """Answer `GET /`: where things are for a program, the page for a person."""
    headers = {"Vary": "Accept"}
    if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
        headers["Location"] = "/docs"
        return web.Response(status=303, headers=headers)
    headers["Content-Type"] = "application/json"
    return web.Response(body=_INDEX, headers=headers)


async def get_document(request: web.Request) -> web.Response:
    """Answer `GET /openapi.json`."""
    return _serve(request, request.app[DOCUMENT], {})


async def get_live_document(request: web.Request) -> web.Response:
    """Answer `GET /asyncapi.json`."""
    return _serve(request, request.app[LIVE_DOCUMENT], {})


async def get_page(request: web.Request) -> web.Response:
    """Answer `GET /docs`."""
    page = _asset("index.html", "text/html; charset=utf-8")
    return _serve(request, page, {"Content-Security-Policy": _CSP})


async def get_asset(request: web.Request) -> web.Response:
    """Answer `GET /docs/{name}`; only the files that the page needs are there."""
    name = request.match_info["name"]
    if name not in ASSETS:
        raise not_found()
    return _serve(request, _asset(name, ASSETS[name]), {})


@cache
def _asset(name: str, content_type: str) -> Asset:
    path = _STATIC / f"{name}.gz"
    if not path.exists():
        return Asset((_STATIC / name).read_bytes(), content_type, None)
    compressed = path.read_bytes()
    return Asset(gzip.decompress(compressed), content_type, compressed)


def _serve(
    request: web.Request, asset: Asset, headers: Mapping[str, str]
) -> web.Response:
    """Send it, or 304; each encoding has a tag of its own (RFC 9110, 8.8.3.3)."""
    takes_gzip = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
    packed = asset.compressed if takes_gzip else None
    etag = f'"{asset.etag}{"-gzip" if packed else ""}"'
    sent = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
    sent["Cache-Control"] = "public, no-cache"
    if is_known(request, etag):
        return web.Response(status=304, headers=sent)
    sent["Content-Type"] = asset.content_type
    if packed is None:
        return web.Response(body=asset.body, headers=sent)
    sent["Content-Encoding"] = "gzip"
    return web.Response(body=packed, headers=sent)
