"""One request as the handler sees it, and the two ways to answer it: whole, or as a stream.

The rule: a handler is a plain function that must not block and need not have answered when it returns. Exactly one of
`answer` and `start_stream` is used, once. After the client has gone, everything written goes nowhere, without an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from multidict import CIMultiDictProxy

from modelway_gateway.client.answers import CHUNK_END, answer_block, stream_head

Handler = Callable[["Call"], None]
_WRITE_SEPARATELY_BYTES = 64 * 1024


class Wire(Protocol):
    """What a call needs from its connection (connection.py)."""

    def send(self, block: bytes) -> None:
        """Hand bytes to the transport, or drop them when the client has gone."""

    def finish(self, *, close: bool) -> None:
        """The answer is complete: take the next request, or close after what waits has been sent."""

    def reset(self) -> None:
        """Drop the connection and what waits to be sent."""

    def write_is_paused(self) -> bool: ...

    def handler_failed(self, call: Call, exc: Exception) -> None:
        """Log what and where, and end the call: with an error, or with a reset where its answer had begun."""


def _nothing() -> None: ...


class Stream:
    """A streamed answer. Its bytes are framed here; a client that reads slowly is announced by `pause`."""

    __slots__ = ("_call", "_chunked", "_open", "_pause", "_resume")

    def __init__(self, call: Call, *, chunked: bool) -> None:
        self._call = call
        self._chunked = chunked
        self._open = True
        self._pause: Callable[[], None] = _nothing
        self._resume: Callable[[], None] = _nothing

    def on_back_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Call `pause` when too much waits to be sent (now, if it does already) and `resume` when it has gone."""
        self._pause, self._resume = pause, resume
        if self._open and self._call.wire.write_is_paused():
            pause()

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        if self._open and data:
            self._call.wire.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, data: bytes = b"") -> None:
        """Send a last piece, if any, and complete the answer."""
        if not self._open:
            return
        self._open = False
        if self._chunked:
            self._call.wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else CHUNK_END)
        elif data:
            self._call.wire.send(data)
        self._call.complete(close=not self._chunked)

    def fail(self) -> None:
        """End the connection without ending the answer, so that no client takes it for a whole one."""
        if not self._open:
            return
        self._open = False
        if self._chunked:
            self._call.complete(close=True)
        else:  # where closing is how an answer ends, only a reset tells the difference
            self._call.wire.reset()

    def writing_paused(self) -> None:
        """For the connection: more than the limit waits to be sent."""
        if self._open:
            self._pause()

    def writing_resumed(self) -> None:
        """For the connection: what waited has been sent."""
        if self._open:
            self._resume()


class Call:
    """One request with its whole body. `disconnected` becomes true when the client goes away unanswered."""

    __slots__ = (
        "_disconnect_callback",
        "_done",
        "body",
        "disconnected",
        "headers",
        "keep_alive",
        "method",
        "path",
        "received_at",
        "stream",
        "version_1_1",
        "wire",
    )

    def __init__(
        self,
        wire: Wire,
        method: str,
        target: str,
        headers: CIMultiDictProxy[str],
        body: bytes,
        received_at: float,
        keep_alive: bool,
        version_1_1: bool,
    ) -> None:
        """By place: a class called with names costs twice as much, and there is one of these for each request."""
        self.wire = wire
        self.method = method
        self.path = target.partition("?")[0]
        self.headers = headers
        self.body = body
        self.received_at = received_at
        self.keep_alive = keep_alive
        self.version_1_1 = version_1_1
        self.disconnected = False
        self.stream: Stream | None = None
        self._disconnect_callback: Callable[[], None] = _nothing
        self._done = False

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call back (once, at once if it happened already) when the client goes away before its answer is complete."""
        self._disconnect_callback = callback
        if self.disconnected:
            callback()

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole answer. `headers` are ready lines, each ended by CRLF, without framing, Date or Connection."""
        if self._done or self.stream is not None:
            raise RuntimeError("this call has been answered")
        if not self.disconnected:
            length = len(body)
            if self.method == "HEAD":
                self.wire.send(answer_block(status, headers, b"", self, length=length))
            elif length <= _WRITE_SEPARATELY_BYTES:
                self.wire.send(answer_block(status, headers, body, self, length=length))
            else:  # the transport sends both in one go; joining would copy a large body once more
                self.wire.send(answer_block(status, headers, b"", self, length=length))
                self.wire.send(body)
        self.complete(close=False)

    def start_stream(self, status: int, headers: bytes) -> Stream:
        """Send the head of a streamed answer."""
        if self._done or self.stream is not None:
            raise RuntimeError("this call has been answered")
        self.stream = stream = Stream(self, chunked=self.version_1_1)
        if not self.disconnected:
            self.wire.send(stream_head(status, headers, self))
        return stream

    def complete(self, *, close: bool) -> None:
        """For the answers above: nothing more will be sent."""
        self._done = True
        self.stream = None  # it knows us, and a circle would keep the body until the garbage collector comes
        self._disconnect_callback = _nothing
        if not self.disconnected:
            self.wire.finish(close=close or not self.keep_alive)

    def fail(self, exc: Exception) -> None:
        """For what goes on after the handler has returned: the same as if the handler had raised this."""
        self.wire.handler_failed(self, exc)

    def client_went_away(self) -> None:
        """For the connection: it was lost."""
        self.disconnected = True
        callback, self._disconnect_callback = self._disconnect_callback, _nothing
        if not self._done:
            callback()
        self.stream = None
