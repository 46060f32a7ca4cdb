"""What every answer to a chat request has in common: its attempts, its headers, its end, and that it is counted once.

Times are `perf_counter`'s: the event loop's own clock stands still while a request is handled, and counts milliseconds.
The rule: whatever ends an answer (the upstream, the client, a deadline, the shutdown) goes through `_end`, and only the
first call counts. A failure goes through `_fail`, where `core.attempts` says whether somebody else is asked.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from time import perf_counter
from typing import ClassVar, Final, Protocol

import msgspec

from modelway_contract.names import Arm, Outcome
from modelway_gateway.client.call import Call
from modelway_gateway.core.attempts import DRAW_BITS, Attempts, Step
from modelway_gateway.core.body import write_for
from modelway_gateway.core.budget import RetryBudget
from modelway_gateway.core.features import Question
from modelway_gateway.core.records import Decision
from modelway_gateway.core.routes import Offer, Option
from modelway_gateway.core.runtime import Runtime
from modelway_gateway.errors import AnsweredError, Code, ErrorType, UpstreamError, render
from modelway_gateway.failures import Failure, from_failure, out_of_time
from modelway_gateway.metrics import Metrics
from modelway_gateway.upstream.client import UpstreamClient
from modelway_gateway.upstream.interface import Address, Exchange, FailureKind, Headers, Origin, UpstreamFailure

CLIENT_RETRY_HEADER: Final = "x-stainless-retry-count"
"""OpenAI's and Anthropic's clients say in it how often they have sent a request before."""

_CLOCK_STEP_SECONDS: Final = 0.05

JSON_LINE: Final = b"Content-Type: application/json\r\n"
SHUTTING_DOWN: Final = Failure(
    UpstreamError(503, Code.SHUTTING_DOWN, "This gateway is shutting down.", type=ErrorType.API, should_retry=True),
    Outcome.CLIENT_CANCEL,  # the one outcome that blames neither arm
)


class UnderWay(Protocol):
    """What the end of the process ends."""

    def shut_down(self) -> None:
        """End now, with an error that the client can see."""


class Floor:
    """What answers stand on: the upstream client, the figures, and who is under way."""

    __slots__ = ("active", "budget", "metrics", "unopened", "upstream")

    def __init__(self, *, upstream: UpstreamClient, metrics: Metrics) -> None:
        self.upstream = upstream
        self.metrics = metrics
        self.budget: RetryBudget = metrics.budget
        self.active: set[UnderWay] = set()
        self.unopened: set[Answer] = set()
        """Streams that have sent the client nothing yet; looked at by a sweep."""


class Ticket:
    """A request's own identity: what its answer's headers say of it besides the route."""

    __slots__ = ("decision_id", "received_at", "request_id", "revision_line", "signals_line", "waited_seconds")

    def __init__(self, decision_id: str, request_id: bytes, received_at: float, revision_line: bytes) -> None:
        self.decision_id = decision_id
        self.request_id = request_id
        self.received_at = received_at
        self.revision_line = revision_line
        self.signals_line = b""
        """What the policy's signals said, where some were asked."""
        self.waited_seconds = 0.0
        """For classifiers, which is no time of the gateway's own."""

    def lines(self, *, attempts: int, fallbacks: int, overhead_seconds: float) -> bytes:
        """The headers of any answer, an error's included."""
        return (
            b"%b%bx-modelway-decision: %b\r\nx-modelway-attempts: %d\r\nx-modelway-fallbacks: %d\r\n"
            b"x-modelway-overhead-ms: %.2f\r\nx-request-id: %b\r\n"
        ) % (
            self.revision_line,
            self.signals_line,
            self.decision_id.encode("ascii"),
            attempts,
            fallbacks,
            overhead_seconds * 1000,
            self.request_id,
        )


def error_lines(exc: AnsweredError, *, tried_again: bool = False) -> bytes:
    """The headers that only errors have. What was tried again here already, no client needs to send again."""
    retry_after = f"retry-after: {exc.retry_after}\r\n".encode("ascii") if exc.retry_after is not None else b""
    authenticate = b"WWW-Authenticate: Bearer\r\n" if exc.status == 401 else b""
    should_retry = b"x-should-retry: true\r\n" if exc.should_retry and not tried_again else b"x-should-retry: false\r\n"
    return b"".join((JSON_LINE, should_retry, retry_after, authenticate))


class Answer(ABC):
    """One answer in the making: the sink of one exchange after the other, and a client's call on the other side."""

    __slots__ = (
        "_attempts",
        "_call",
        "_content_at",
        "_decision",
        "_ended",
        "_exchange",
        "_fallbacks",
        "_floor",
        "_head_lines",
        "_hidden",
        "_made",
        "_offer",
        "_option",
        "_overhead",
        "_question",
        "_runtime",
        "_seconds",
        "_started_at",
        "_status",
        "_ticket",
        "_timer",
        "_upstream_headers",
    )

    STREAMED: ClassVar[bool]

    def __init__(
        self,
        floor: Floor,
        call: Call,
        runtime: Runtime,
        question: Question,
        decision: Decision,
        ticket: Ticket,
        head_lines: bytes,
        seconds: float | None,
    ) -> None:
        """`head_lines` end the head of every attempt; `seconds` is the client's own deadline.

        By place: a class called with names costs twice as much, and there is one of these for each request.
        """
        assert decision.option is not None and decision.offer is not None  # noqa: PT018 - by Decision's rule
        self._floor = floor
        self._call = call
        self._runtime = runtime
        self._question = question
        self._decision = decision
        self._ticket = ticket
        self._head_lines = head_lines
        self._seconds = None if seconds is None or seconds >= _total_seconds(decision) else seconds
        self._option: Option = decision.option
        self._offer: Offer = decision.offer
        self._made = 0
        self._fallbacks = 0
        self._hidden: Outcome | None = None
        """How the first attempt failed, once another one was made: what the request counts as, however it ends."""
        if decision.skipped is not None:
            self._fallbacks = 1
            self._hidden = Outcome.CONNECT_ERROR
        self._attempts: Attempts | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._exchange: Exchange | None = None
        self._overhead = 0.0
        self._started_at = 0.0
        self._content_at = 0.0
        self._status = 0
        self._upstream_headers: Headers = []
        self._ended = False

    def begin(self) -> None:
        """Make the first attempt."""
        floor = self._floor
        floor.active.add(self)
        floor.metrics.inflight += 1
        floor.budget.requests_total += 1
        seconds = None if self._seconds is None else self._seconds_left()
        self._ask(self._option, self._offer, self._decision.address, seconds)
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
        if self._ended or failure.kind is FailureKind.ABORTED:  # by ourselves, who know already
            return
        if failure.kind is FailureKind.TOTAL_TIMEOUT and self._is_out_of_time():
            self._fail(out_of_time(self._seconds_allowed(), by_client=self._seconds is not None))
        else:
            self._fail(from_failure(failure, content_began=self._content_at > 0))

    # Attempts

    @abstractmethod
    def _prepare(self, wanted_model: msgspec.Raw | None) -> None:
        """Forget what an earlier attempt left; `wanted_model` is what `model` must say, None to leave it."""

    def _ask(self, option: Option, offer: Offer, address: Address | None, seconds: float | None) -> None:
        """Make one upstream call, which may take so long; None is what its backend allows."""
        question, decision, model = self._question, self._decision, option.model
        self._option = option
        self._offer = offer
        self._made += 1
        other = decision.arm is not Arm.NONE or model.public_name != question.model
        self._prepare(model.public_name_json if other else None)
        body = write_for(offer.backend, model, question.fields)
        head = b"%b%bContent-Length: %d\r\n\r\n" % (offer.backend.chat_head, self._head_lines, len(body))
        origin = offer.backend.origin
        assert isinstance(origin, Origin)
        self._started_at = perf_counter()
        if self._made == 1:
            self._overhead = self._started_at - self._ticket.received_at - self._ticket.waited_seconds
        self._exchange = self._floor.upstream.exchange(
            origin, address, head, body, self, streamed=self.STREAMED, total_seconds=seconds
        )

    def _fail(self, failure: Failure) -> None:
        """Ask somebody else, or tell the client of the failure and end."""
        self._exchange = None
        step = self._next_step(failure)
        if step is None:
            self._answer_error(failure.error)
            self._end(failure.outcome)
            return
        self._offer.backend.calls.count(failure.outcome)
        self._fallbacks += step.falls_back
        if self._hidden is None:
            self._hidden = failure.outcome
        if step.wait_seconds:
            self._timer = asyncio.get_running_loop().call_later(step.wait_seconds, self._take, step)
        else:
            self._take(step)

    def _next_step(self, failure: Failure) -> Step | None:
        cause = failure.cause
        if self._content_at or (cause.kind is None and not cause.key_refused):
            return None
        attempts = self._attempts
        if attempts is None:
            attempts = self._attempts = Attempts(
                self._runtime, self._question, self._decision, made_before=self._made_by_client()
            )
        step = attempts.after(cause, seconds_left=self._seconds_left(), draw=random.getrandbits(DRAW_BITS))
        return step if step is not None and self._floor.budget.take() else None

    def _take(self, step: Step) -> None:
        self._timer = None
        self._ask(step.option, step.offer, step.address, self._seconds_left())

    def _seconds_allowed(self) -> float:
        """For all attempts together: what the client says, or the model first chosen."""
        return _total_seconds(self._decision) if self._seconds is None else self._seconds

    def _seconds_left(self) -> float:
        return self._seconds_allowed() - (perf_counter() - self._ticket.received_at)

    def _is_out_of_time(self) -> bool:
        """Whether it was the request's own time that ran out, not one attempt's; clocks differ by some milliseconds."""
        return (self._seconds is not None or self._made > 1) and self._seconds_left() < _CLOCK_STEP_SECONDS

    def _made_by_client(self) -> int:
        count = self._question.header(CLIENT_RETRY_HEADER)
        return int(count) if count is not None and len(count) <= 2 and count.isdecimal() else 0

    # For the two kinds of answers

    def _give_up(self, failure: Failure) -> None:
        """Fail while the upstream still answers: nobody waits for the rest."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abort()
        if not self._ended:
            self._fail(failure)

    def _answer_error(self, error: AnsweredError) -> None:
        ticket = self._ticket
        tried_again = self._made > 1 and error.code is not Code.SHUTTING_DOWN  # which another replica would not say
        lines = b"".join((error_lines(error, tried_again=tried_again), self._place_lines(), self._ticket_lines()))
        self._call.answer(error.status, lines, render(error, decision=ticket.decision_id))

    def _lines(self, since: float) -> bytes:
        """The headers of a good answer, whose last part came from the upstream at `since`; counts the overhead."""
        self._overhead += perf_counter() - since
        self._floor.metrics.overhead.observe(self._overhead)
        return self._place_lines() + self._ticket_lines()

    def _place_lines(self) -> bytes:
        target = self._decision.target
        if not self._fallbacks or target is None:
            return self._offer.header_lines
        return self._offer.header_lines + target.header_line

    def _ticket_lines(self) -> bytes:
        return self._ticket.lines(attempts=self._made, fallbacks=self._fallbacks, overhead_seconds=self._overhead)

    def _content_began(self, now: float) -> None:
        self._content_at = now
        if self._hidden is None:  # else it would count what went before, or another model
            assert self._decision.series is not None
            self._decision.series.ttft.observe(now - self._ticket.received_at)

    def _end(self, outcome: Outcome) -> None:
        if self._ended:
            return
        self._ended = True
        floor, series = self._floor, self._decision.series
        assert series is not None
        floor.active.discard(self)
        floor.metrics.inflight -= 1
        self._exchange = None  # it knows us, and a circle would wait for the garbage collector
        if self._timer is None:
            self._offer.backend.calls.count(outcome)
        else:  # between two attempts; the last one was counted
            self._timer.cancel()
            self._timer = None
        if self._hidden is None:
            series.count(outcome)
            if self._content_at:
                series.duration.observe(perf_counter() - self._ticket.received_at)
        else:
            series.count(self._hidden)
            series.fallbacks += self._fallbacks > 0
            series.rescued += outcome is Outcome.SUCCESS

    def _client_went_away(self) -> None:
        exchange = self._exchange
        self._end(Outcome.CLIENT_CANCEL)
        if exchange is not None:
            exchange.abort()


def _total_seconds(decision: Decision) -> float:
    assert decision.offer is not None
    origin = decision.offer.backend.origin
    assert isinstance(origin, Origin)
    return origin.timeouts.total_seconds
