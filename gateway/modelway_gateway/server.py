"""Puts the process together: three listeners, one sweeper, and the order in which all of it ends.

The rule: on SIGTERM the process is not ready at once, takes requests for the pre-stop window, then finishes what is
under way until the deadline, and exits with 0.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiohttp import web

from modelway_contract.names import LIVE_PATH, METRICS_PATH, READY_PATH
from modelway_gateway import logs, metrics
from modelway_gateway.admin import Admin
from modelway_gateway.admin_listener import AdminListener
from modelway_gateway.answering import Floor
from modelway_gateway.chat import Chat, Tickets
from modelway_gateway.classifiers import Classifiers
from modelway_gateway.client.server import ClientServer
from modelway_gateway.client.server import serve as serve_clients
from modelway_gateway.endpoints import Endpoints
from modelway_gateway.live import LiveConfig
from modelway_gateway.plain_port import protocols
from modelway_gateway.settings import Settings
from modelway_gateway.snapshots import LastGood
from modelway_gateway.streamed import StreamedAnswer
from modelway_gateway.upstream.client import UpstreamClient
from modelway_gateway.upstream.interface import Origin
from modelway_gateway.upstream.sweeper import PERIOD_SECONDS, Sweeper

_log = logging.getLogger("modelway_gateway.server")
_GC_THRESHOLDS: Final = (50_000, 20, 50)
_RETIRE_SECONDS: Final = 10.0
_LAST_WORDS_SECONDS: Final = 1.0


class Gateway:
    """A running gateway."""

    def __init__(self, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._loop = loop
        self._draining = False
        self._freezes = False
        self._retire_at = 0.0
        self.metrics = metrics.Metrics()
        self.upstream = UpstreamClient()
        self.classifiers = Classifiers()
        last_good = LastGood(settings.state_dir)
        self.metrics.last_good_failures = lambda: last_good.failures_total
        self._last_good = last_good
        self.live = LiveConfig(metrics=self.metrics, last_good=last_good, on_swap=self._on_swap, clock=loop.time)
        self._floor = Floor(upstream=self.upstream, metrics=self.metrics)
        tickets = Tickets(secrets.token_hex(4))
        chat = Chat(live=self.live, floor=self._floor, tickets=tickets, classifiers=self.classifiers)
        self._endpoints = Endpoints(live=self.live, chat=chat, tickets=tickets)
        self._admin = AdminListener(
            Admin(live=self.live, upstream=self.upstream),
            host=settings.admin_host,
            port=settings.admin_port,
            tls_dir=settings.admin_tls_dir,
            token=settings.admin_token,
        )
        self._clients: ClientServer | None = None
        self._metrics_port = 0

    @property
    def client_url(self) -> str:
        """Where clients connect, without a path."""
        assert self._clients is not None
        return _url("http", self._settings.host, self._clients.port)

    @property
    def metrics_url(self) -> str:
        """Where health and metrics are."""
        return _url("http", self._settings.host, self._metrics_port)

    @property
    def admin_url(self) -> str | None:
        """Where configs are pushed; None while the port is closed."""
        port = self._admin.port
        if port is None:
            return None
        return _url("https" if self._admin.uses_tls else "http", self._settings.admin_host, port)

    @property
    def admin_listener(self) -> AdminListener:
        return self._admin

    @property
    def is_ready(self) -> bool:
        """Ready once a config is loaded, an empty one too; never while ending."""
        return self.live.current is not None and not self._draining

    async def start(self, stack: AsyncExitStack) -> None:
        """Load what is on disk, then open the ports; `stack` ends all of it in reverse."""
        settings = self._settings
        stack.push_async_callback(self.upstream.close)
        stack.push_async_callback(self.classifiers.close)
        stack.push_async_callback(self._last_good.flush)
        await self.live.boot(bundle_dir=settings.bundle_dir, state_dir=settings.state_dir)
        stack.push_async_callback(await self._open_metrics_port())
        await self._admin.start()
        stack.push_async_callback(self._admin.stop)
        self._clients = await serve_clients(
            self._endpoints.handle, host=settings.host, port=settings.port, limits=settings.limits
        )
        sweeper = Sweeper(self._sweep, self._clients.sweep, self.upstream.sweep)
        sweeper.start()
        stack.callback(sweeper.stop)
        stack.push_async_callback(self.drain)
        logs.event(
            _log,
            logging.INFO,
            "listening",
            clients=self._clients.port,
            metrics=self._metrics_port,
            admin=self._admin.port,
        )

    async def drain(self) -> None:
        """Take nothing new, and finish what is under way until the deadline; what is left hears why it ends."""
        self._draining = True
        clients, grace = self._clients, self._settings.grace_seconds
        if clients is None:
            return
        self._clients = None
        ending = asyncio.create_task(clients.shutdown(grace_seconds=grace + _LAST_WORDS_SECONDS))
        timer = self._loop.call_later(grace, self._end_answers)
        await ending
        timer.cancel()

    def stop_being_ready(self) -> None:
        """From now on `/readyz` says no; requests are still taken, each the last of its connection."""
        self._draining = True
        if self._clients is not None:
            self._clients.wind_down()

    def tune_garbage_collector(self) -> None:
        """For a process of our own: looking at what stays again and again is what makes the slowest answers slow."""
        self._freezes = self.live.current is None  # else again when the first config has come
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)

    def _end_answers(self) -> None:
        for answer in list(self._floor.active):
            answer.shut_down()

    def _on_swap(self, origins: list[Origin]) -> None:
        self.upstream.close_idle(origins)
        if self._freezes:
            self._loop.call_soon(self.tune_garbage_collector)

    def _sweep(self, now: float) -> None:
        self.metrics.sweep(now, period_seconds=PERIOD_SECONDS)
        self.metrics.budget.sweep(now)
        for answer in list(self._floor.unopened):
            if isinstance(answer, StreamedAnswer):
                answer.sweep(now)
        if now >= self._retire_at:
            self._retire_at = now + _RETIRE_SECONDS
            self.metrics.book.retire(now=now)

    # Health and metrics

    async def _open_metrics_port(self) -> Callable[[], Awaitable[None]]:
        application = web.Application()
        application.router.add_get(LIVE_PATH, self._get_live)
        application.router.add_get(READY_PATH, self._get_ready)
        application.router.add_get(METRICS_PATH, self._get_metrics)
        runner = web.AppRunner(application, shutdown_timeout=1.0)
        await runner.setup()
        server = await asyncio.get_running_loop().create_server(
            protocols(runner), self._settings.host, self._settings.metrics_port
        )
        self._metrics_port = server.sockets[0].getsockname()[1]

        async def close() -> None:
            server.close()
            await runner.cleanup()

        return close

    async def _get_live(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler's signature
        return web.Response(text="ok\n")

    async def _get_ready(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler's signature
        if self.is_ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="shutting down\n" if self._draining else "no config yet\n")

    async def _get_metrics(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": metrics.CONTENT_TYPE})
        await response.prepare(request)
        for part in self.metrics.render(revision=self.live.revision, config_age_seconds=self.live.age_seconds):
            await response.write(part)
            await asyncio.sleep(0)
        await response.write_eof()
        return response


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that runs while the block does; leaving it drains."""
    async with AsyncExitStack() as stack:
        gateway = Gateway(settings)
        await gateway.start(stack)
        yield gateway


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set, then end in order."""
    async with running_gateway(settings) as gateway:
        gateway.tune_garbage_collector()
        await stop.wait()
        logs.event(_log, logging.INFO, "stopping", under_way=gateway.metrics.inflight)
        gateway.stop_being_ready()
        await asyncio.sleep(settings.pre_stop_seconds)
        logs.event(_log, logging.INFO, "draining", under_way=gateway.metrics.inflight)
    logs.event(_log, logging.INFO, "stopped")


def _url(scheme: str, host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{scheme}://{reachable}:{port}"
