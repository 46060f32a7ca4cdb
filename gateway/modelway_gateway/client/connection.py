"""aiohttp's connection, subclassed: its C parser and flow control, without its tasks, writers, log and error pages.

The rule: this is the only file that may touch what is inside aiohttp, and `tests/integration/gateway/client/
test_contract.py` names each thing it touches. aiohttp parses; a request is handled synchronously inside
`data_received`, so that an ordinary call costs no task, no future and no wake-up.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import traceback
from itertools import chain

from aiohttp import web
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from modelway_gateway.client import answers
from modelway_gateway.client.call import Call, Handler
from modelway_gateway.client.limits import ClientLimits

_log = logging.getLogger("modelway_gateway.client")
_LOOK_AGAIN_SECONDS = 1.0
_LINGER_SECONDS = 2.0
_FOREVER = float("inf")
_parse = web.RequestHandler.data_received
_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # a client must see that this was no orderly end


def parser_is_compiled() -> bool:
    """False where aiohttp fell back to its Python parser, which is slower and less strict."""
    return HttpRequestParser.__module__ == "aiohttp._http_parser"


class Connections(web.Server):
    """aiohttp's server object, making our connections and keeping count of them."""

    def __init__(self, handler: Handler, limits: ClientLimits, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_never_called, loop=loop)
        self.handler = handler
        self.limits = limits
        self.open: set[Connection] = set()
        self.draining = False
        self.empty = asyncio.Event()
        self.empty.set()

    def __call__(self) -> Connection:
        return Connection(self, self._loop)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:  # noqa: ARG002
        assert isinstance(handler, Connection)
        self.open.add(handler)
        self.empty.clear()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:  # noqa: ARG002
        assert isinstance(handler, Connection)
        self.open.discard(handler)
        if not self.open:
            self.empty.set()

    def sweep(self, now: float) -> None:
        for connection in [each for each in self.open if each.check_at <= now]:
            connection.check(now)


class Connection(web.RequestHandler):
    """One client connection: at most one call at a time, pipelined requests wait their turn."""

    __slots__ = (
        "_body_parts",
        "_body_since",
        "_body_size",
        "_call",
        "_closing",
        "_head_since",
        "_head_size",
        "_idle_since",
        "_last_payload",
        "_limits",
        "_linger_until",
        "_message",
        "_passed_on",
        "_payload",
        "_pumping",
        "_sent",
        "_server",
        "_stalled_since",
        "_weigh_heads",
        "check_at",
    )

    def __init__(self, server: Connections, loop: asyncio.AbstractEventLoop) -> None:
        limits = server.limits
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=0,  # the sweep sees to it, without a timer for each connection
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.header_count,
        )
        self._server = server
        self._limits = limits
        self._call: Call | None = None
        self._message: RawRequestMessage | None = None
        self._payload: StreamReader | None = None
        self._last_payload: StreamReader = EMPTY_PAYLOAD
        self._body_parts: list[bytes] = []
        self._body_size = 0
        self._body_since = 0.0
        self._head_since = 0.0
        self._head_size = 0
        self._idle_since = 0.0
        self._pumping = False
        self._closing = False
        self._linger_until = 0.0
        self._sent = 0
        self._passed_on = 0
        self._stalled_since = 0.0
        self._weigh_heads = False  # true once so much came at a time that a head may be too large
        self.check_at = _FOREVER

    # What the transport tells

    async def start(self) -> None:
        """The task that aiohttp makes for each connection has nothing to do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        waiting_bytes = self._limits.write_buffer_bytes
        self.transport.set_write_buffer_limits(high=waiting_bytes)
        sock = self.transport.get_extra_info("socket")
        if sock is not None and _NOTSENT_LOWAT is not None:
            # The kernel would take megabytes for a client that reads none; then neither the upstream would be paused
            # nor a client's progress be seen before they are gone.
            sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, waiting_bytes)
        self._head_since = self._loop.time()
        self.check_at = self._head_since + min(self._limits.header_seconds, _LOOK_AGAIN_SECONDS)

    def connection_lost(self, exc: BaseException | None) -> None:
        call, self._call = self._call, None
        self._closing = True
        self._payload = self._message = None
        self._body_parts = []
        super().connection_lost(exc)
        if call is not None:
            call.client_went_away()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._head_size + len(data) > self._limits.header_block_bytes:
            self._weigh_heads = True
        requests, payload = self._request_count, self._last_payload
        in_body = payload is not EMPTY_PAYLOAD and not payload.is_eof()
        _parse(self, data)
        if self._request_count != requests:
            self._head_since = 0.0
            self._head_size = 0
            if self._messages:
                self._last_payload = self._messages[-1][1]
        elif data and not in_body:
            self._part_of_head(len(data))
        if self._call is None:
            self._pump()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """The body's reader asks for this with every piece it hands out; mostly nothing was paused."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._call is not None and self._call.stream is not None:
            self._call.stream.writing_paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._call is None:
            self._pump()
        elif self._call.stream is not None:
            self._call.stream.writing_resumed()

    # Requests in

    def _part_of_head(self, size: int) -> None:
        self._head_size += size
        if not self._head_since:
            self._head_since = self._loop.time()
            self.check_at = min(self.check_at, self._head_since + self._limits.header_seconds)
        if self._head_size > self._limits.header_block_bytes:
            if self._call is None:
                self._refuse(answers.HEADERS_TOO_LARGE)
            else:
                self.reset()

    def _pump(self) -> None:
        """Handle what has arrived, one request after the other."""
        if self._pumping:  # a handler that answers at once, or a reader that resumes, comes back here
            return
        self._pumping = True
        try:
            while self._call is None and not self._closing and not self._paused:
                if self._payload is None and not self._take_head():
                    return
                if not self._take_body():
                    return
                self._handle()
        finally:
            self._pumping = False

    def _take_head(self) -> bool:
        if not self._messages:
            return False
        message, payload = self._messages.popleft()
        assert self._parser is not None
        self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        if not isinstance(message, RawRequestMessage):
            self._refuse(_refusal_of(message.exc))
            return False
        refusal = _judge_head(message)
        if self._weigh_heads and sum(map(len, chain(*message.raw_headers))) > self._limits.header_block_bytes:
            refusal = answers.HEADERS_TOO_LARGE
        if refusal is not None:
            self._refuse(refusal)
            return False
        self._message, self._payload = message, payload
        self._idle_since = 0.0
        return True

    def _take_body(self) -> bool:
        payload = self._payload
        assert payload is not None
        if payload is EMPTY_PAYLOAD:
            return True
        buffer = payload._buffer  # noqa: SLF001 - a body that came whole is taken in one look
        if payload._eof and len(buffer) == 1 and not self._body_parts and not self._reading_paused:  # noqa: SLF001
            if payload is self._last_payload:
                self._last_payload = EMPTY_PAYLOAD
            self._body_parts.append(buffer[0])
            if len(buffer[0]) <= self._limits.body_bytes:
                return True
            self._refuse(answers.BODY_TOO_LARGE)
            return False
        while True:
            if payload.exception() is not None:
                self._refuse(answers.BAD_BODY)
                return False
            data = payload.read_nowait()
            if data:
                self._body_parts.append(data)
                self._body_size += len(data)
                if self._body_size > self._limits.body_bytes:
                    self._refuse(answers.BODY_TOO_LARGE)
                    return False
            if payload.at_eof():
                return True
            if not data:
                self._wait_for_body()
                return False

    def _wait_for_body(self) -> None:
        if self._messages:  # nothing can follow an unfinished body but the parser's complaint about it
            self._refuse(answers.BAD_BODY)
        elif not self._body_since:
            message = self._message
            assert message is not None
            if int(message.headers.get("Content-Length", "0")) > self._limits.body_bytes:
                self._refuse(answers.BODY_TOO_LARGE)
                return
            expectation = message.headers.get("Expect")
            if expectation is not None and message.version >= (1, 1):
                if expectation.lower() != "100-continue":
                    self._refuse(answers.UNKNOWN_EXPECTATION)
                    return
                if not self._body_size:
                    self.send(answers.CONTINUE)
            self._body_since = self._loop.time()
            self.check_at = min(self.check_at, self._body_since + self._limits.body_seconds)

    def _handle(self) -> None:
        message, parts = self._message, self._body_parts
        assert message is not None
        self._message = self._payload = None
        self._body_since = 0.0
        if parts:
            self._body_parts = []
            self._body_size = 0
        path = message.path
        self._call = call = Call(
            self,
            message.method,
            path if path[0] == "/" else message.url.raw_path_qs,
            message.headers,
            parts[0] if len(parts) == 1 else b"".join(parts),
            self._loop.time(),
            not (message.should_close or message.upgrade or self._server.draining),
            message.version >= (1, 1),
        )
        try:
            self._server.handler(call)
        except Exception as exc:
            self.handler_failed(call, exc)

    # Answers out (the Wire that a Call writes to)

    def send(self, block: bytes) -> None:
        transport = self.transport
        if transport is not None and not transport.is_closing():
            self._sent += len(block)
            transport.write(block)

    def write_is_paused(self) -> bool:
        return self._paused

    def finish(self, *, close: bool) -> None:
        self._call = None
        if close or self._server.draining:
            self._close_after_sending()
        else:
            self._idle_since = self._loop.time()
            if self._messages:
                self._pump()

    def handler_failed(self, call: Call, exc: Exception) -> None:
        # The error's own text may quote the request: say only what and where.
        where = "".join(traceback.format_tb(exc.__traceback__))
        _log.error("The handler raised %s:\n%s", type(exc).__name__, where)
        if self._call is call and call.stream is None:
            self._refuse(answers.INTERNAL_ERROR)
        elif self._call is call:
            self.reset()

    def reset(self) -> None:
        self._closing = True
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()

    def drain(self) -> None:
        """Close as soon as nothing is under way."""
        if self._call is not None:
            self._call.keep_alive = False
        elif self._payload is None and not self._messages and not self._closing:
            self._close_after_sending()

    def _close_after_sending(self) -> None:
        self._closing = True
        if self.transport is not None:
            self.transport.close()

    def _refuse(self, refusal: answers.Refusal) -> None:
        """Answer and close, but read on for a moment: closing on unread bytes would take the answer back (RST)."""
        self._call = None
        self._payload = self._message = None
        self._body_parts = []
        self._messages.clear()
        self.send(refusal.block())
        self._closing = True
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if transport.can_write_eof():
            transport.write_eof()
            if self._reading_paused or self._buffer_paused:
                transport.resume_reading()
            self._linger_until = self._loop.time() + _LINGER_SECONDS
            self.check_at = min(self.check_at, self._linger_until)
        else:
            transport.close()

    # Deadlines

    def check(self, now: float) -> None:
        """Act on what is overdue, and say when to look again."""
        transport = self.transport
        if transport is None:
            return
        limits = self._limits
        self.check_at = now + _LOOK_AGAIN_SECONDS
        if self._client_takes_nothing(transport, now) or 0 < self._linger_until <= now:
            self.reset()
        elif self._closing or self._call is not None:
            return
        elif self._payload is not None:
            if self._body_since and self._due(self._body_since + limits.body_seconds, now):
                self._refuse(answers.BODY_TIMEOUT)
        elif self._head_since:
            if self._due(max(self._head_since, self._idle_since) + limits.header_seconds, now):
                if self._head_size:
                    self._refuse(answers.HEADER_TIMEOUT)
                else:
                    self._close_after_sending()
        elif self._idle_since and self._due(self._idle_since + limits.keep_alive_seconds, now):
            self._close_after_sending()

    def _due(self, deadline: float, now: float) -> bool:
        if deadline > now:
            self.check_at = min(self.check_at, deadline)
        return deadline <= now

    def _client_takes_nothing(self, transport: asyncio.Transport, now: float) -> bool:
        waiting = transport.get_write_buffer_size()
        passed_on = self._sent - waiting
        if not waiting or passed_on > self._passed_on or not self._stalled_since:
            self._stalled_since = now if waiting else 0.0
            self._passed_on = passed_on
            return False
        return self._due(self._stalled_since + self._limits.write_stall_seconds, now)


def _judge_head(message: RawRequestMessage) -> answers.Refusal | None:
    """What aiohttp lets pass and we do not."""
    if message.version not in ((1, 1), (1, 0)):
        return answers.BAD_VERSION
    if message.path[0] != "/" and (
        message.url.raw_authority != message.headers.get("Host") or message.method == "CONNECT"
    ):
        return answers.BAD_TARGET  # absolute-form is allowed, but not for somebody else's host
    if message.chunked and (
        message.version == (1, 0) or message.headers.get("Transfer-Encoding", "").lower() != "chunked"
    ):
        return answers.BAD_BODY
    if message.compression is not None or message.headers.get("Content-Encoding", "identity") != "identity":
        return answers.NO_CONTENT_CODING
    if message.upgrade and message.headers.get("Upgrade", "").lower() != "h2c":
        return answers.NO_UPGRADE  # an offer of h2c may be ignored, and some clients always make it
    return None


def _refusal_of(exc: BaseException) -> answers.Refusal:
    return answers.HEADERS_TOO_LARGE if isinstance(exc, LineTooLong) else answers.BAD_REQUEST


async def _never_called(_request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("requests are handled by Connection")
