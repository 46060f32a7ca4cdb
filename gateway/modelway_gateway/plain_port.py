"""The listeners that aiohttp's own request handler reads: the admin port, and the one for health and metrics.

What cannot be parsed is answered by a status alone. aiohttp would quote what it could not read, and that may be
somebody's prompt, sent to the wrong port; the answer then stands in the log of whoever sent it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web


class PlainHandler(web.RequestHandler):
    """Answers errors without a word of what was asked."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes what was sent
    ) -> web.StreamResponse:
        return super().handle_error(request, status, exc, f"{status}: {HTTPStatus(status).phrase}")


def protocols(runner: web.AppRunner, *, auto_decompress: bool = True) -> Callable[[], web.RequestHandler]:
    """What `create_server` needs to let the application of a runner that is set up answer on a port."""
    server, loop = runner.server, asyncio.get_running_loop()
    assert server is not None
    return lambda: PlainHandler(
        server,
        loop=loop,
        access_log=None,  # type: ignore[arg-type] # that is how no access log is asked for
        auto_decompress=auto_decompress,
    )
