"""One request and its answer: which deadline applies now, and that its sink hears of one end only.

The rule: everything that ends an exchange goes through `end` or `fail`, and only the first call counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelway_gateway.upstream.interface import Address, FailureKind, Origin, Sink, UpstreamFailure

if TYPE_CHECKING:
    from modelway_gateway.upstream.connection import Connection

RESEND_WITHIN_SECONDS = 2.0
_OVERDUE = {
    FailureKind.CONNECT_TIMEOUT: "could not be connected to within {:g} s",
    FailureKind.FIRST_TOKEN_TIMEOUT: "sent no content within {:g} s",
    FailureKind.IDLE_TIMEOUT: "sent nothing for {:g} s in mid-answer",
    FailureKind.TOTAL_TIMEOUT: "took longer than {:g} s in all",
}


class LiveExchange:
    """See `interface.Exchange` for what the holder may use."""

    __slots__ = (
        "_content",
        "_forget",
        "_loop",
        "_paused",
        "_resent",
        "_started_at",
        "_streamed",
        "_total_seconds",
        "address",
        "body",
        "check_at",
        "connect_since",
        "connect_task",
        "connection",
        "ended_by_eof",
        "first_byte_at",
        "head",
        "last_data_at",
        "origin",
        "over",
        "reused",
        "sent_at",
        "sink",
    )

    def __init__(
        self,
        forget: Callable[[LiveExchange], None],
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        address: Address | None,
        head: bytes,
        body: bytes,
        sink: Sink,
        streamed: bool,
        total_seconds: float | None,
    ) -> None:
        """`forget` takes it off the list of exchanges under way. By place: with names it would cost twice as much."""
        now = loop.time()
        self._forget = forget
        self._loop = loop
        self.origin = origin
        self.address = address
        self.head = head
        self.body = body
        self.sink = sink
        self.connection: Connection | None = None
        self.connect_task: asyncio.Task[None] | None = None
        self.connect_since = now
        self.sent_at = 0.0
        self.first_byte_at = 0.0
        self.last_data_at = 0.0
        self.ended_by_eof = False
        self.reused = False
        self.check_at = now
        self._started_at = now
        self._content = False
        self._streamed = streamed
        total = origin.timeouts.total_seconds
        self._total_seconds = total if total_seconds is None else min(total, total_seconds)
        self._paused = False
        self._resent = False
        self.over = False

    # For the holder

    def abort(self) -> None:
        self.fail(FailureKind.ABORTED, "was abandoned")

    def pause(self) -> None:
        self._paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self.last_data_at = self._loop.time()
            self._look_by(self.last_data_at + self.origin.timeouts.idle_seconds)
            if self.connection is not None:
                self.connection.resume()

    def content_began(self) -> None:
        if not self._content:
            self._content = True
            self.last_data_at = self._loop.time()
            self._look_by(self.last_data_at + self.origin.timeouts.idle_seconds)

    # For the connection and the client

    def may_resend(self, now: float) -> bool:
        """A resting connection that closes as it is used says nothing about the request; an old one's death may."""
        return self.reused and not self._resent and now - self.sent_at < RESEND_WITHIN_SECONDS

    def begin_resend(self, now: float) -> None:
        self._resent = True
        self.reused = False
        self.connection = None
        self.sent_at = 0.0
        self.connect_since = self.check_at = now

    def sent(self, connection: Connection, now: float, *, reused: bool) -> None:
        self.connection = connection
        self.connect_task = None
        self.sent_at = self.last_data_at = now
        self.reused = reused
        self.check_at = now
        if not reused:
            self.head = self.body = b""  # nothing will send them again
        if self._paused:
            connection.pause()

    def end(self) -> None:
        if not self.over:
            self._finish()
            self.sink.on_end()

    def fail(self, kind: FailureKind, what: str) -> None:
        if not self.over:
            self._finish()
            label = self.origin.label or "The upstream"
            self.sink.on_failure(UpstreamFailure(kind, f"{label} {what}."))

    def _finish(self) -> None:
        self.over = True
        self.head = self.body = b""
        self._forget(self)
        if self.connect_task is not None:
            self.connect_task.cancel()
            self.connect_task = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.drop(self)

    # Deadlines

    def check(self, now: float) -> None:
        """Fail when a deadline has passed, else note when the next one can."""
        limits = self.origin.timeouts
        if not self.sent_at:
            kind, since, seconds = FailureKind.CONNECT_TIMEOUT, self.connect_since, limits.connect_seconds
        elif not self._content and self._streamed:
            kind, since, seconds = FailureKind.FIRST_TOKEN_TIMEOUT, self.sent_at, limits.first_token_seconds
        elif not self._content:  # a whole answer begins when all of it has been made
            kind, since, seconds = FailureKind.TOTAL_TIMEOUT, self._started_at, self._total_seconds
        elif not self._paused:
            kind, since, seconds = FailureKind.IDLE_TIMEOUT, self.last_data_at, limits.idle_seconds
        else:
            kind, since, seconds = FailureKind.TOTAL_TIMEOUT, self._started_at, self._total_seconds
        if since + seconds > self._started_at + self._total_seconds:
            kind, since, seconds = FailureKind.TOTAL_TIMEOUT, self._started_at, self._total_seconds
        if since + seconds <= now:
            self.fail(kind, _OVERDUE[kind].format(seconds))
        else:
            self.check_at = since + seconds

    def _look_by(self, deadline: float) -> None:
        if deadline < self.check_at:
            self.check_at = deadline
