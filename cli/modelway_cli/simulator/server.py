"""The simulated LLM as a server on a real socket.

Rule: what an answer says and how it fails is decided before its first byte (`fate`); this module only carries it out,
and counts how it ended.
"""

import asyncio
import contextlib
import hmac
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from aiohttp import web

from modelway_cli.errors import ListenError, UsageError
from modelway_cli.simulator import wire
from modelway_cli.simulator.behaviour import Behaviour, ErrorMode, changed, public_view
from modelway_cli.simulator.fate import Fate, fate_of
from modelway_cli.simulator.stats import UNKNOWN_MODEL, Outcome, Stats

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing the socket sends RST and not FIN."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """The server side's TLS settings; raises `ListenError` where the files cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"cannot load the certificate {certificate} with its key {key}: {error}") from error
    return context


class SimulatedLLM:
    """An OpenAI-compatible backend, running while its `async with` block does.

    `base_url` is what an OpenAI SDK takes; `stats` what it has seen; `behave(error_rate=0.5)` changes it on the way.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behaviour = changed(behaviour or Behaviour(), {})
        self.stats = Stats()
        self._host, self._port, self._tls = host, port, tls
        self._number = 0
        self._closing = asyncio.Event()
        self._runner = web.AppRunner(
            self._application(), handler_cancellation=True, access_log=None, shutdown_timeout=5.0
        )

    @property
    def root_url(self) -> str:
        """Where `/health`, `/metrics`, `/stats` and `/behaviour` are."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """Where the OpenAI API is."""
        return f"{self.root_url}/v1"

    def behave(self, changes: Mapping[str, object] | None = None, /, **named: object) -> None:
        """Changes the named fields of the behaviour from the next request on, and begins the draws anew."""
        self.behaviour = changed(self.behaviour, {**(changes or {}), **named})
        self._number = 0

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ListenError(f"cannot listen on {self._host} port {self._port}: {error.strerror}") from error
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets answers that will end do so, cuts those that never will, and closes."""
        self._closing.set()
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_errors_as_openai_words_them], client_max_size=MAX_BODY_BYTES)
        application.add_routes(
            [
                web.post("/v1/chat/completions", self._serve_chat),
                web.get("/v1/models", self._serve_models),
                web.get("/health", self._serve_health),
                web.get("/metrics", self._serve_metrics),
                web.get("/stats", self._serve_stats),
                web.post("/stats/reset", self._serve_stats_reset),
                web.get("/behaviour", self._serve_behaviour),
                web.put("/behaviour", self._put_behaviour),
            ]
        )
        return application

    # The OpenAI API

    async def _serve_models(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        return _json(wire.model_list(self.behaviour.models))

    async def _serve_chat(self, request: web.Request) -> web.StreamResponse:
        """Counts the request in, finds out how it ended, and counts it out, whatever happens."""
        self.stats.received += 1
        behaviour = self.behaviour
        try:
            chat = await self._parse(request, behaviour)
        except wire.FailureError as failure:
            self.stats.count_model(UNKNOWN_MODEL)
            self.stats.count_end(UNKNOWN_MODEL, _REFUSALS.get(failure.status, Outcome.BAD_REQUEST))
            raise
        except (asyncio.CancelledError, ConnectionError):
            self.stats.count_model(UNKNOWN_MODEL)
            self._count_cancelled(UNKNOWN_MODEL, fault=None)
            raise

        self.stats.count_model(chat.model)
        fate = fate_of(behaviour, number=self._number, token_limit=chat.token_limit)
        answer = wire.Answer(
            id=f"chatcmpl-{behaviour.seed}-{self._number}",
            model=chat.model,
            fingerprint=behaviour.version_label,
            fate=fate,
            prompt_tokens=chat.prompt_tokens,
            wants_usage=chat.wants_usage,
        )
        self._number += 1
        self.stats.open_streams += bool(chat.stream)
        try:
            response = await self._carry_out(request, behaviour, fate=fate, answer=answer, stream=bool(chat.stream))
        except (asyncio.CancelledError, ConnectionError):
            self._count_cancelled(chat.model, fault=fate.fault)
            raise
        finally:
            self.stats.open_streams -= bool(chat.stream)
        self.stats.count_end(chat.model, Outcome(fate.fault) if fate.fault else Outcome.OK)
        return response

    async def _parse(self, request: web.Request, behaviour: Behaviour) -> wire.ChatRequest:
        self._check_key(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise wire.too_large(f"The body has more than {MAX_BODY_BYTES} bytes.") from error
        chat = wire.parse_chat(body)
        if chat.model not in behaviour.models:
            raise wire.unknown_model(chat.model)
        return chat

    def _count_cancelled(self, model: str, *, fault: ErrorMode | None) -> None:
        if not self._closing.is_set():
            self.stats.cancelled += 1
        self.stats.count_end(model, Outcome(fault) if fault else Outcome.CANCELLED)

    def _check_key(self, request: web.Request) -> None:
        key = self.behaviour.api_key
        given = request.headers.get("Authorization", "")
        if key is not None and not hmac.compare_digest(
            given.encode("utf-8", "surrogateescape"), f"Bearer {key}".encode()
        ):
            raise wire.wrong_key()

    async def _carry_out(
        self, request: web.Request, behaviour: Behaviour, *, fate: Fate, answer: wire.Answer, stream: bool
    ) -> web.StreamResponse:
        if fate.fault is ErrorMode.RESET:
            return _reset(request)
        if fate.fault is ErrorMode.HANG:
            return await self._stand_still(request)
        start = asyncio.get_running_loop().time()
        if fate.fault is ErrorMode.STATUS:
            await _sleep_until(start + fate.ttft_seconds)
            return _failure_response(wire.simulated_failure(behaviour.error_status))
        if stream:
            return await self._stream(request, behaviour, fate=fate, answer=answer, start=start)
        await _sleep_until(start + fate.ttft_seconds + fate.token_seconds * (len(fate.tokens) - 1))
        return await self._answer_at_once(request, behaviour, fate=fate, body=answer.completion())

    async def _answer_at_once(
        self, request: web.Request, behaviour: Behaviour, *, fate: Fate, body: bytes
    ) -> web.StreamResponse:
        match fate.fault:
            case ErrorMode.EMPTY_200:
                return _json(b"")
            case ErrorMode.ERROR_IN_STREAM:
                return _json(wire.simulated_failure(behaviour.error_status).body)
            case ErrorMode.MALFORMED:
                return _json(body[: len(body) // 2])
            case ErrorMode.STALL_MID_STREAM:
                response = web.StreamResponse(headers={"Content-Type": "application/json"})
                response.content_length = len(body)
                await response.prepare(request)
                await response.write(body[: len(body) // 2])
                return await self._stand_still(request)
            case _:
                return _json(body)

    async def _stream(
        self, request: web.Request, behaviour: Behaviour, *, fate: Fate, answer: wire.Answer, start: float
    ) -> web.StreamResponse:
        """The stream: each chunk at its own time after `start`, up to where the fate ends it."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        if fate.fault is ErrorMode.EMPTY_200:
            await _sleep_until(start + fate.ttft_seconds)
            await response.prepare(request)
            return response
        await response.prepare(request)
        await response.write(answer.opening())
        tokens = fate.tokens if fate.fault is None else fate.tokens[: behaviour.error_after_tokens]
        for place, token in enumerate(tokens):
            await _sleep_until(start + fate.ttft_seconds + fate.token_seconds * place)
            await response.write(answer.content(token))
        match fate.fault:
            case ErrorMode.STALL_MID_STREAM:
                return await self._stand_still(request)
            case ErrorMode.ERROR_IN_STREAM:
                await response.write(wire.event(wire.ErrorBody(wire.simulated_failure(behaviour.error_status).detail)))
            case ErrorMode.MALFORMED:
                chunk = answer.content(fate.tokens[-1])
                await response.write(chunk[: len(chunk) // 2] + b"\n\n")
            case _:
                for chunk in answer.closing():
                    await response.write(chunk)
        return response

    async def _stand_still(self, request: web.Request) -> web.StreamResponse:
        """Waits until the client leaves (which cancels this) or the server closes."""
        await self._closing.wait()
        return _reset(request)

    # Around it

    async def _serve_health(self, _: web.Request) -> web.StreamResponse:
        return _json(b'{"status":"ok"}')

    async def _serve_metrics(self, _: web.Request) -> web.StreamResponse:
        text = self.stats.render(self.behaviour.models)
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _serve_stats(self, _: web.Request) -> web.StreamResponse:
        return _json(msgspec.json.encode(self.stats.view()))

    async def _serve_stats_reset(self, request: web.Request) -> web.StreamResponse:
        self.stats.reset()
        return await self._serve_stats(request)

    async def _serve_behaviour(self, _: web.Request) -> web.StreamResponse:
        return _json(msgspec.json.encode(public_view(self.behaviour)))

    async def _put_behaviour(self, request: web.Request) -> web.StreamResponse:
        """Changes the fields that are named; the others, and a key that is not named, stay."""
        try:
            self.behave(msgspec.json.decode(await request.read(), type=dict[str, Any]))
        except (msgspec.DecodeError, UsageError) as error:
            raise wire.bad_request(str(error)) from error
        return await self._serve_behaviour(request)


_REFUSALS: Final = {401: Outcome.UNAUTHORIZED, 404: Outcome.UNKNOWN_MODEL}


@web.middleware
async def _errors_as_openai_words_them(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except wire.FailureError as failure:
        return _failure_response(failure)
    except web.HTTPException as error:
        response = _failure_response(wire.no_such_path(error.status, error.reason))
        if allow := error.headers.get("Allow"):
            response.headers["Allow"] = allow
        return response


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": "application/json"})


def _failure_response(failure: wire.FailureError) -> web.Response:
    retry = {"Retry-After": "1"} if failure.status in (429, 503) else {}
    return web.Response(status=failure.status, body=failure.body, headers={"Content-Type": "application/json", **retry})


def _reset(request: web.Request) -> web.StreamResponse:
    """Ends the connection with RST. The response that is returned goes nowhere."""
    transport = request.transport
    if transport is not None:
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.abort()
    return web.Response()


async def _sleep_until(moment: float) -> None:
    remaining = moment - asyncio.get_running_loop().time()
    if remaining > 0:
        await asyncio.sleep(remaining)
