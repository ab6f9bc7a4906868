"""The headers that every answer has, made once and copied."""

from aiohttp import hdrs
from multidict import CIMultiDict, istr

CSP = istr("Content-Security-Policy")
NOSNIFF = istr("X-Content-Type-Options")
REQUEST_ID = istr("X-Request-ID")
IDEMPOTENCY_KEY = istr("Idempotency-Key")
VERSION = istr("X-Version")

SECURITY = CIMultiDict(
    {
        istr("Server"): "boardcast",  # aiohttp would name its version
        NOSNIFF: "nosniff",
        istr("Referrer-Policy"): "no-referrer",
        istr("X-Frame-Options"): "DENY",
    }
)
API = CIMultiDict(
    {
        **SECURITY,
        hdrs.CACHE_CONTROL: "private, no-cache",
        CSP: "default-src 'none'; frame-ancestors 'none'",
    }
)
_JSON = CIMultiDict({**API, hdrs.CONTENT_TYPE: istr("application/json; charset=utf-8")})


def json_headers(etag: str | None = None) -> "CIMultiDict[str]":
    """Copy the headers of an answer in JSON, to be added to."""
    headers = _JSON.copy()
    if etag is not None:
        headers[hdrs.ETAG] = etag
    return headers
