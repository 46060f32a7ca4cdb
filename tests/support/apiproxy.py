"""A proxy before an API server, at which a test breaks, holds, slows down, counts or cuts what passes.

It speaks HTTP to its clients, so a kubeconfig with its URL is all that they need.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp
from aiohttp import web

from tests.support.apiserver import ApiServer

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class WatchFault(StrEnum):
    """What a watch meets."""

    NONE = "none"
    GONE = "an HTTP 410 instead of a stream"
    ERROR = "an ERROR event with code 500"
    HALF_LINE = "half a line, and the end"
    SILENCE = "a stream on which nothing comes"
    RESET = "a reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A write on its way to the API server."""

    method: str
    path: str

    @property
    def is_lease(self) -> bool:
        """Whether it only says who acts."""
        return "/leases" in self.path


async def _pass_on(_: Write) -> None:
    """Nothing happens."""


@dataclass
class ApiProxy:
    """The knobs; all of them may be turned while it runs."""

    url: str = ""
    fault: WatchFault = WatchFault.NONE
    delay_seconds: float = 0.0
    """Before anything is answered but a watch."""
    refusal: tuple[int, dict[str, str]] | None = None
    """A status and headers that every request but a Lease's gets."""
    stale_continue_tokens: int = 0
    """So many next pages of LISTs are answered with 410."""
    before_write: Callable[[Write], Awaitable[None]] = _pass_on
    after_write: Callable[[Write], Awaitable[None]] = _pass_on
    requests: list[str] = field(default_factory=list)
    """Methods, paths and queries of all requests, in order."""
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _streams: set[asyncio.BaseTransport] = field(default_factory=set)
    _silenced: set[asyncio.BaseTransport] = field(default_factory=set)

    def break_watches(self, fault: WatchFault) -> None:
        """Watches meet this from now on, and those that are open end; a silent one goes on, and stays silent."""
        self.fault = fault
        if fault is WatchFault.SILENCE:
            self._silenced |= self._streams
        elif fault is not WatchFault.NONE:
            for stream in list(self._streams):
                _abort(stream)

    def freeze(self) -> None:
        """Events of watches are held back."""
        self._flowing.clear()

    def thaw(self) -> None:
        """They come now, in their order."""
        self._flowing.set()

    async def answer(self, request: web.Request, onward: aiohttp.ClientSession, base: str) -> web.StreamResponse:
        """One request."""
        self.requests.append(f"{request.method} {request.path_qs}")
        if request.query.get("watch") in {"1", "true"}:
            return await self._watch(request, onward, base)
        await asyncio.sleep(self.delay_seconds)
        write = Write(method=request.method, path=request.path)
        if self.refusal is not None and not write.is_lease:
            status, headers = self.refusal
            return web.json_response({"kind": "Status", "code": status}, status=status, headers=headers)
        if "continue" in request.query and self.stale_continue_tokens > 0:
            self.stale_continue_tokens -= 1
            return web.json_response({"kind": "Status", "reason": "Expired", "code": 410}, status=410)
        if request.method in WRITES:
            await self.before_write(write)
        async with onward.request(
            request.method, base + request.path_qs, data=await request.read() or None, headers=_headers(request)
        ) as reply:
            body = await reply.read()
            headers = {name: reply.headers[name] for name in ("Content-Type", "Retry-After") if name in reply.headers}
            answer = web.Response(status=reply.status, body=body, headers=headers)
        if request.method in WRITES:
            await self.after_write(write)
        return answer

    async def _watch(self, request: web.Request, onward: aiohttp.ClientSession, base: str) -> web.StreamResponse:
        if self.fault is WatchFault.GONE:
            return web.json_response({"kind": "Status", "reason": "Expired", "code": 410}, status=410)
        stream = request.transport
        assert stream is not None
        if self.fault is WatchFault.RESET:
            _abort(stream)
        url = base + request.path_qs
        timeout = aiohttp.ClientTimeout(total=None)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._streams.add(stream)
        try:
            async with onward.get(url, headers=_headers(request), timeout=timeout) as reply:
                if reply.status != 200:
                    return web.Response(status=reply.status, body=await reply.read())
                await response.prepare(request)
                if self.fault is WatchFault.HALF_LINE:
                    await response.write(b'{"type":"ADDED","object":{"met')
                    return response
                if self.fault is WatchFault.ERROR:
                    status = {"kind": "Status", "apiVersion": "v1", "code": 500, "message": "broken"}
                    await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
                    return response
                if self.fault is WatchFault.SILENCE:
                    self._silenced.add(stream)
                async for line in reply.content:
                    if stream in self._silenced:
                        await asyncio.Event().wait()
                    await self._flowing.wait()
                    await response.write(line)
        finally:
            self._streams.discard(stream)
        return response


def _headers(request: web.Request) -> dict[str, str]:
    return {
        name: request.headers[name] for name in ("Authorization", "Accept", "Content-Type") if name in request.headers
    }


def _abort(stream: asyncio.BaseTransport) -> None:
    assert isinstance(stream, asyncio.WriteTransport)
    stream.abort()


@contextlib.asynccontextmanager
async def an_api_proxy(server: ApiServer) -> AsyncIterator[ApiProxy]:
    """A proxy to this server on loopback."""
    proxy = ApiProxy()
    proxy.thaw()
    connector = aiohttp.TCPConnector(ssl=server.context(), limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=True, read_bufsize=2**22) as onward:

        async def handle(request: web.Request) -> web.StreamResponse:
            with contextlib.suppress(ConnectionResetError):
                return await proxy.answer(request, onward, server.url)
            return web.Response(status=502)

        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()
