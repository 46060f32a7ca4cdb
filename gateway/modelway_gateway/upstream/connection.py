"""One connection to an upstream: bytes in, parsed strictly, handed to the sink of the exchange under way.

The rule: while the parser runs, its callbacks only take notes; the sink is called afterwards, at most once each for
head, data and end per piece read. So no sink acts in the middle of parsing, and a piece of many chunks is one write.
Answers are hostile until proven otherwise: a connection that showed anything odd is never used again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from itertools import chain
from typing import Protocol, cast

import httptools

from modelway_gateway.upstream.exchange import LiveExchange
from modelway_gateway.upstream.interface import FailureKind, Headers

MAX_HEAD_BYTES = 64 * 1024
_MAX_HEADERS = 256
_CR, _LF = b"\r\n"  # as numbers: to look for one in bytes costs a seventh of looking for bytes in bytes
_WRITE_SEPARATELY_BYTES = 64 * 1024


class Home(Protocol):
    """Where a connection rests between exchanges."""

    def opened(self) -> None: ...

    def release(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...

    def resend(self, exchange: LiveExchange) -> None: ...


class _Fault(Exception):  # noqa: N818 - it never leaves this file
    """Stops the parser; its text describes the fault without quoting the upstream."""


class Connection(asyncio.Protocol):
    """An `asyncio.Protocol` and the object whose `on_…` methods httptools calls."""

    __slots__ = (
        "_complete",
        "_data",
        "_exchange",
        "_head_bytes",
        "_head_complete",
        "_headers",
        "_home",
        "_informational",
        "_keep_alive",
        "_length_known",
        "_loop",
        "_more_data",
        "_parser",
        "_reading",
        "_status",
        "_transport",
    )

    def __init__(self, home: Home, loop: asyncio.AbstractEventLoop) -> None:
        self._home = home
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._exchange: LiveExchange | None = None
        self._reading = True
        self._parser = httptools.HttpResponseParser(self)
        self._data = b""
        self._more_data: list[bytes] | None = None
        self._informational = False
        self._keep_alive = False
        self._status = 0
        self._prepare()

    def _prepare(self) -> None:
        """For the next answer; what an answer sets anyway stays as it is."""
        self._headers: Headers = []
        self._head_bytes = 0
        self._head_complete = False
        self._length_known = False
        self._complete = False

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # Requests out

    def start(self, exchange: LiveExchange, *, reused: bool) -> None:
        """Send a request. The connection must be open and free."""
        transport = self._transport
        assert transport is not None
        assert self._exchange is None
        self._exchange = exchange
        if len(exchange.body) <= _WRITE_SEPARATELY_BYTES:
            transport.write(exchange.head + exchange.body)
        else:
            transport.write(exchange.head)
            transport.write(exchange.body)
        exchange.sent(self, self._loop.time(), reused=reused)

    def pause(self) -> None:
        if self._reading and self.is_open:
            assert self._transport is not None
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._reading and self.is_open:
            assert self._transport is not None
            self._reading = True
            self._transport.resume_reading()

    def drop(self, exchange: LiveExchange) -> None:
        """The exchange is over; what is still under way for it must not be read by anybody."""
        if self._exchange is exchange:
            self._exchange = None
            self.close()

    def close(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._home.opened()
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked for anything
            self.close()
            return
        fault = ""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            fault = "switched protocols"
        except httptools.HttpParserError as exc:
            inner = exc.__context__
            fault = str(inner) if isinstance(inner, _Fault) else "sent an answer that is not well-formed HTTP"
        if not self._head_complete and not fault:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                fault = "sent headers larger than allowed"
        self._pass_on(exchange, fault)

    def _pass_on(self, exchange: LiveExchange, fault: str) -> None:
        if self._head_complete:
            now = self._loop.time()
            exchange.last_data_at = now
            if not exchange.first_byte_at:
                exchange.first_byte_at = now
                exchange.head = exchange.body = b""
                exchange.sink.on_head(self._status, self._headers)
            data = self._data
            if data:
                self._data = b""
                if self._more_data is not None:
                    data, self._more_data = b"".join((data, *self._more_data)), None
                if not exchange.over:
                    exchange.sink.on_data(data)
        if exchange.over:  # the sink aborted it, and this connection with it
            return
        if self._complete:
            self._set_free(keep=self._keep_alive and not fault)
            exchange.connection = None
            exchange.end()
        elif fault:
            exchange.fail(FailureKind.PROTOCOL_ERROR, fault)

    def _set_free(self, *, keep: bool) -> None:
        transport = self._transport
        assert transport is not None
        self._exchange = None
        # An answer that came before its request was sent leaves the rest of the request on the wire.
        if keep and not transport.is_closing() and not transport.get_write_buffer_size():
            self._prepare()
            if not self._reading:
                self.resume()
            self._home.release(self)
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._home.lost(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.connection = None
        if not self._head_bytes and not self._head_complete and exchange.may_resend(self._loop.time()):
            self._home.resend(exchange)
        elif exc is not None:
            exchange.fail(FailureKind.RESET, "reset the connection")
        elif self._head_complete and not self._length_known:
            exchange.ended_by_eof = True
            exchange.end()
        else:
            exchange.fail(FailureKind.CLOSED_EARLY, "closed the connection before its answer was complete")

    # What the parser tells

    def on_message_begin(self) -> None:
        if self._complete:
            raise _Fault("sent more than its answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        if len(headers) >= _MAX_HEADERS:
            raise _Fault("sent headers larger than allowed")
        if self._head_complete:  # a trailer: counted, checked and left behind
            self._check((name, value), 1)
            return
        headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        headers = self._headers
        self._check(chain.from_iterable(headers), len(headers))
        self._status = status = self._parser.get_status_code()
        if 200 <= status < 600:
            fields = dict(headers)
            coding = fields.get(b"transfer-encoding")
            if coding is not None and (
                coding.lower() != b"chunked"
                or b"content-length" in fields
                or sum(name == b"transfer-encoding" for name, _ in headers) > 1
            ):
                raise _Fault("sent an answer whose framing is ambiguous")
            self._length_known = coding is not None or b"content-length" in fields
            self._head_complete = True
        elif status == 101:
            raise _Fault("switched protocols")
        elif 100 <= status < 200:
            self._informational = True  # the parser takes it for a whole message; the answer is still to come
            self._headers = []
        else:
            raise _Fault("sent a status that does not exist")

    def _check(self, texts: Iterable[bytes], count: int) -> None:
        """Names and values of headers, all at once: their size, and that nothing could be taken for another line."""
        text = b"".join(texts)
        self._head_bytes += len(text) + 4 * count
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _Fault("sent headers larger than allowed")
        if 0 in text or _CR in text or _LF in text:
            raise _Fault("sent a header with a control character")

    def on_body(self, data: bytes) -> None:
        if not self._data:
            self._data = data
        elif self._more_data is None:
            self._more_data = [data]
        else:
            self._more_data.append(data)

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
        else:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()  # says nothing of use at any other moment
