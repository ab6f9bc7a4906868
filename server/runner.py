"""Runs an application so that even what is no HTTP is answered by a problem document.

Such input never becomes a request that middlewares see: aiohttp answers it in the
protocol, in its own form. This replaces that form, and nothing else.
"""

import asyncio
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

from server.middlewares import complete, identify
from server.problems import Problem, from_status, internal_error, problem_response

_logger = structlog.get_logger()


_POLL_SECONDS = 0.05
_FIRST_REQUEST_SECONDS = 15.0
# Not the same, because the limit is all that the parser tells of what was too long.
_ADDRESS_BYTES = 8000  # what RFC 9110, 4.1, asks every server to take
_HEADER_BYTES = 8190
_TOO_MANY_HEADERS = "Too many headers"


class Runner(web.AppRunner):
    """An AppRunner whose connections refuse in our form.

    Bodies are left as they come, since packed ones are refused: unpacking a broken one
    ends the connection without an answer, and with a stack in the log.
    """

    def __init__(self, app: web.Application, **options: Any):
        super().__init__(
            app,
            auto_decompress=False,
            max_line_size=_ADDRESS_BYTES,
            max_field_size=_HEADER_BYTES,
            **options,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server

    def say_goodbye(self) -> None:
        """Let each connection end with its next answer, which says so beforehand.

        Who reads `Connection: close` sends no other request there. To close it while
        nothing is under way might meet a request that has just been sent.
        """
        if isinstance(self.server, _Server):
            self.server.is_leaving = True

    async def stop_accepting(self) -> None:
        """Take no more connections; those that there are stay."""
        for site in list(self.sites):
            await site.stop()

    async def quiet(self) -> None:
        """Wait until no connection is left."""
        while self.server is not None and self.server.connections:  # noqa: ASYNC110 (aiohttp tells nobody)
            await asyncio.sleep(_POLL_SECONDS)


class _Server(web.Server):
    is_leaving = False

    def __call__(self) -> RequestHandler:
        handler = super().__call__()
        handler.__class__ = _Connection
        return handler


class _Connection(RequestHandler):
    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        loop.call_later(_FIRST_REQUEST_SECONDS, self._end_if_silent, transport)

    def _end_if_silent(self, transport: asyncio.BaseTransport) -> None:
        """Hang up on who has not sent a whole request: it holds a descriptor."""
        if self._request_count == 0:
            transport.close()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if self._is_last:
            resp.force_close()
        return super().finish_response(request, resp, start)

    @property
    def _is_last(self) -> bool:
        # Whoever has sent more than one request at once gets all the answers.
        return isinstance(self._manager, _Server) and (
            self._manager.is_leaving and not self._messages
        )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        request_id = identify(request)
        status = _exact(status, exc)
        # A stack for every stray byte that arrives would bury the ones that matter.
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _logger.error("http.failed", exc_info=exc)
        else:
            _logger.info("http.malformed", status=status, remote=request.remote)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way: no other can follow")
        response = problem_response(request, _problem(status))
        complete(response, request_id)
        response.force_close()
        return response


def _exact(status: int, error: BaseException | None) -> int:
    """Tell what is too long from what is malformed, which aiohttp answers alike."""
    match error:
        case LineTooLong(args=(_, limit, *_)):
            return 414 if limit == _ADDRESS_BYTES else 431
        case BadHttpMessage(message=text) if text.startswith(_TOO_MANY_HEADERS):
            return 431
        case _:
            return status


def _problem(status: int) -> Problem:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return internal_error()
    return from_status(status)
