"""What every answer to a chat request has in common: its headers, its end, and that it is counted once.

Times are `perf_counter`'s: the event loop's own clock stands still while a request is handled, and counts milliseconds.
The rule: whatever ends an answer (the upstream, the client, a deadline, the shutdown) goes through `_end`, and only the
first call counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import perf_counter
from typing import Final

from modelway_contract.names import Outcome
from modelway_gateway.client.call import Call
from modelway_gateway.core.records import Decision
from modelway_gateway.core.routes import Offer
from modelway_gateway.core.series import Series
from modelway_gateway.errors import AnsweredError, Code, ErrorType, UpstreamError, render
from modelway_gateway.failures import Failure, from_failure
from modelway_gateway.metrics import Metrics
from modelway_gateway.upstream.client import UpstreamClient
from modelway_gateway.upstream.interface import Exchange, Headers, Origin, UpstreamFailure

JSON_LINE: Final = b"Content-Type: application/json\r\n"
SHUTTING_DOWN: Final = Failure(
    UpstreamError(503, Code.SHUTTING_DOWN, "This gateway is shutting down.", type=ErrorType.API, should_retry=True),
    Outcome.CLIENT_CANCEL,  # the one outcome that blames neither arm
)


class Floor:
    """What answers stand on: the upstream client, the figures, and who is under way."""

    __slots__ = ("active", "metrics", "unopened", "upstream")

    def __init__(self, *, upstream: UpstreamClient, metrics: Metrics) -> None:
        self.upstream = upstream
        self.metrics = metrics
        self.active: set[Answer] = set()
        self.unopened: set[Answer] = set()
        """Streams that have sent the client nothing yet; looked at by a sweep."""


class Ticket:
    """A request's own identity: what its answer's headers say of it besides the route."""

    __slots__ = ("decision_id", "received_at", "request_id", "revision_line")

    def __init__(self, decision_id: str, request_id: bytes, received_at: float, revision_line: bytes) -> None:
        self.decision_id = decision_id
        self.request_id = request_id
        self.received_at = received_at
        self.revision_line = revision_line

    def lines(self, *, attempts: int, overhead_seconds: float) -> bytes:
        """The headers of any answer, an error's included."""
        return (
            b"%bx-modelway-decision: %b\r\nx-modelway-attempts: %d\r\nx-modelway-overhead-ms: %.2f\r\n"
            b"x-request-id: %b\r\n"
        ) % (
            self.revision_line,
            self.decision_id.encode("ascii"),
            attempts,
            overhead_seconds * 1000,
            self.request_id,
        )


def error_lines(exc: AnsweredError) -> bytes:
    """The headers that only errors have."""
    retry_after = f"retry-after: {exc.retry_after}\r\n".encode("ascii") if exc.retry_after is not None else b""
    authenticate = b"WWW-Authenticate: Bearer\r\n" if exc.status == 401 else b""
    should_retry = b"x-should-retry: true\r\n" if exc.should_retry else b"x-should-retry: false\r\n"
    return b"".join((JSON_LINE, should_retry, retry_after, authenticate))


class Answer(ABC):
    """One answer in the making: the sink of an exchange on one side, a client's call on the other."""

    __slots__ = (
        "_asked",
        "_call",
        "_content_at",
        "_decision",
        "_ended",
        "_exchange",
        "_floor",
        "_offer",
        "_series",
        "_started_at",
        "_status",
        "_ticket",
        "_upstream_headers",
    )

    def __init__(
        self, *, floor: Floor, call: Call, decision: Decision, series: Series, offer: Offer, ticket: Ticket, asked: str
    ) -> None:
        self._floor = floor
        self._call = call
        self._decision = decision
        self._series = series
        self._offer = offer
        self._ticket = ticket
        self._asked = asked
        self._exchange: Exchange | None = None
        self._started_at = 0.0
        self._content_at = 0.0
        self._status = 0
        self._upstream_headers: Headers = []
        self._ended = False

    def attempt(self, head: bytes, body: bytes, *, streamed: bool) -> None:
        """Make the one upstream call of this request."""
        floor = self._floor
        floor.active.add(self)
        floor.metrics.inflight += 1
        self._started_at = perf_counter()
        origin = self._offer.backend.origin
        assert isinstance(origin, Origin)
        self._exchange = floor.upstream.exchange(origin, self._decision.address, head, body, self, streamed=streamed)
        self._call.on_disconnect(self._client_went_away)

    def shut_down(self) -> None:
        """End now, with an error that the client can see."""
        self._give_up(SHUTTING_DOWN)

    # The sink

    @abstractmethod
    def on_head(self, status: int, headers: Headers) -> None: ...

    @abstractmethod
    def on_data(self, data: bytes) -> None: ...

    @abstractmethod
    def on_end(self) -> None: ...

    def on_failure(self, failure: UpstreamFailure) -> None:
        if not self._ended:  # else it is our own abort, coming back
            self._fail(from_failure(failure, content_began=self._content_at > 0))

    # For the two kinds of answers

    def _fail(self, failure: Failure) -> None:
        """Tell the client of a failure and end."""
        self._answer_error(failure.error)
        self._end(failure.outcome)

    def _give_up(self, failure: Failure) -> None:
        """The same while the upstream still answers: nobody waits for the rest."""
        exchange = self._exchange
        if not self._ended:
            self._fail(failure)
        if exchange is not None:
            exchange.abort()

    def _answer_error(self, error: AnsweredError) -> None:
        ticket = self._ticket
        overhead = self._started_at - ticket.received_at
        lines = (error_lines(error), self._offer.header_lines, ticket.lines(attempts=1, overhead_seconds=overhead))
        self._call.answer(error.status, b"".join(lines), render(error, decision=ticket.decision_id))

    def _lines(self, since: float) -> bytes:
        """The headers of a good answer, whose last part came from the upstream at `since`; counts the overhead."""
        ticket = self._ticket
        overhead = self._started_at - ticket.received_at + perf_counter() - since
        self._floor.metrics.overhead.observe(overhead)
        return self._offer.header_lines + ticket.lines(attempts=1, overhead_seconds=overhead)

    def _content_began(self, now: float) -> None:
        self._content_at = now
        self._series.ttft.observe(now - self._ticket.received_at)

    def _end(self, outcome: Outcome) -> None:
        if self._ended:
            return
        self._ended = True
        floor = self._floor
        floor.active.discard(self)
        floor.metrics.inflight -= 1
        self._exchange = None  # it knows us, and a circle would wait for the garbage collector
        self._series.count(outcome)
        if self._content_at:
            self._series.duration.observe(perf_counter() - self._ticket.received_at)

    def _client_went_away(self) -> None:
        exchange = self._exchange
        self._end(Outcome.CLIENT_CANCEL)
        if exchange is not None:
            exchange.abort()
