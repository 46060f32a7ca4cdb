"""The admin port's paths: configs in, status out, probes.

The rule: nothing is looked at before the caller is known to be the operator (`admit`); what a push is answered is told
by the contract (200, 409, 412, 422), and anything unexpected is a 500 that changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from modelway_contract import codec
from modelway_contract.config import Fenced, Missing, ProbeRequest, Push, Rejected, Rejection
from modelway_contract.names import CONFIG_PATH, CONFIG_STATUS_PATH, PROBE_PATH
from modelway_contract.wire import Wire
from modelway_gateway import logs
from modelway_gateway.errors import ConfigError, PushFencedError, SectionsMissingError
from modelway_gateway.live import LiveConfig
from modelway_gateway.probe import probe
from modelway_gateway.upstream.client import UpstreamClient

MAX_PUSH_BYTES: Final = 8 * 1024 * 1024
"""Of a packed push; unpacked it is bounded by the codec."""

_log = logging.getLogger("modelway_gateway.admin")
Admit = Callable[[web.BaseRequest], bool]
"""Whether the caller is the operator."""


class Admin:
    """Handlers of the admin port."""

    def __init__(self, *, live: LiveConfig, upstream: UpstreamClient) -> None:
        self._live = live
        self._upstream = upstream

    def application(self, admit: Admit) -> web.Application:
        """The application behind one way of telling who calls."""

        @web.middleware
        async def guard(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if not admit(request):
                logs.event(_log, logging.WARNING, "admin_refused")
                refusal = web.Response(status=403, text="this port is for the operator\n")
                refusal.force_close()
                return refusal
            try:
                return await handler(request)
            except web.HTTPException:
                raise
            except Exception:
                _log.exception("admin_handler_failed")
                return web.Response(status=500, text="internal error\n")

        application = web.Application(client_max_size=MAX_PUSH_BYTES, middlewares=[guard])
        application.router.add_put(CONFIG_PATH, self.put_config)
        application.router.add_get(CONFIG_PATH, self.get_config)
        application.router.add_get(CONFIG_STATUS_PATH, self.get_status)
        application.router.add_post(PROBE_PATH, self.post_probe)
        return application

    async def put_config(self, request: web.Request) -> web.Response:
        """Run this config, or say why not."""
        if request.content_length is not None and request.content_length > MAX_PUSH_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_PUSH_BYTES, request.content_length)
        data = await request.read()
        try:
            push = _unpack(data)
            ack = await self._live.apply_push(push)
        except codec.ContractError as exc:
            self._live.note_rejection()
            return _answer(422, Rejected(errors=(Rejection(path=exc.path, code=exc.code, message=str(exc)),)))
        except ConfigError as exc:
            return _answer(422, Rejected(errors=exc.errors))
        except PushFencedError as exc:
            return _answer(409, Fenced(epoch=exc.epoch, sequence=exc.sequence))
        except SectionsMissingError as exc:
            return _answer(412, Missing(missing=exc.missing))
        return _answer(200, ack)

    async def get_config(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler's signature
        """What runs, without credentials."""
        push = self._live.redacted()
        if push is None:
            return web.Response(status=404, text="no config yet\n")
        return _answer(200, push)

    async def get_status(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler's signature
        """The digests of what runs."""
        return _answer(200, self._live.status())

    async def post_probe(self, request: web.Request) -> web.Response:
        """Ask the backends of one model."""
        try:
            wanted = codec.decode(await request.read(), ProbeRequest)
        except codec.ContractError as exc:
            return _answer(422, Rejected(errors=(Rejection(path=exc.path, code=exc.code, message=str(exc)),)))
        runtime = self._live.current
        if runtime is None:
            return web.Response(status=404, text="no config yet\n")
        return _answer(200, await probe(runtime, self._upstream, wanted.model))


def _unpack(data: bytes) -> Push:
    try:
        return codec.unpack(data)
    except RecursionError as exc:
        raise codec.ContractError("nested too deeply", code="json") from exc


def _answer(status: int, value: Wire) -> web.Response:
    return web.Response(status=status, body=codec.encode(value), content_type="application/json")
