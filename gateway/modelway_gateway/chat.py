"""`POST /v1/chat/completions`: one flat function from a call to an answer in the making.

The rule: the runtime is taken once, here, and everything that this request does later is decided by it.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Final

from modelway_contract.names import REQUEST_ID_HEADER, Outcome
from modelway_gateway import logs
from modelway_gateway.answering import Floor, Ticket, error_lines
from modelway_gateway.classifiers import Classifiers
from modelway_gateway.client.call import Call
from modelway_gateway.core.body import check_chat, read_fields
from modelway_gateway.core.choose import DRAW_BITS, choose
from modelway_gateway.core.classifiers import AnswerNeeded, Asking
from modelway_gateway.core.features import Question, chosen_priority
from modelway_gateway.core.identity import identify
from modelway_gateway.core.records import Decision, Refusal, summarise
from modelway_gateway.core.routes import Policy, Rule, Target
from modelway_gateway.core.runtime import Runtime
from modelway_gateway.core.verdicts import Verdict, signals_line
from modelway_gateway.errors import AnsweredError, Code, ErrorType, RequestError, RoutingError, render
from modelway_gateway.failures import out_of_time
from modelway_gateway.live import LiveConfig
from modelway_gateway.streamed import StreamedAnswer
from modelway_gateway.waiting import Waiting
from modelway_gateway.whole import WholeAnswer

_log = logging.getLogger("modelway_gateway.decisions")
MAX_REQUEST_ID_LENGTH: Final = 128
TIMEOUT_HEADER: Final = "x-request-timeout"
MAX_TIMEOUT_SECONDS: Final = 86_400.0
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
_ACCEPT: Final = {True: b"Accept: text/event-stream\r\n", False: b"Accept: application/json\r\n"}
_draw: Final = random.getrandbits


class Tickets:
    """Hands out decision ids: a prefix of this process, and a number."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def next(self, call: Call, runtime: Runtime | None) -> Ticket:
        """The ticket of one request; its request id is the client's own where that is short and printable."""
        self._count = count = self._count + 1
        decision_id = f"{self._prefix}-{count:x}"
        own = call.headers.get(REQUEST_ID_HEADER)
        if own is None or not (0 < len(own) <= MAX_REQUEST_ID_LENGTH and own.isascii() and own.isprintable()):
            own = decision_id
        revision = runtime.revision_line if runtime is not None else b""
        return Ticket(decision_id, own.encode("ascii"), perf_counter(), revision)


class Chat:
    """Answers chat completions."""

    def __init__(self, *, live: LiveConfig, floor: Floor, tickets: Tickets, classifiers: Classifiers) -> None:
        self._live = live
        self._floor = floor
        self._tickets = tickets
        self._classifiers = classifiers
        self._is_told = _log.isEnabledFor(logging.DEBUG)

    def handle(self, call: Call) -> None:
        """Take one call; it is answered now or later."""
        runtime = self._live.current
        ticket = self._tickets.next(call, runtime)
        try:
            if runtime is None:
                raise no_config()
            namespace, caller = identify(runtime, call.headers.getall("Authorization", ()))
            _check_content_type(call)
            fields = read_fields(call.body)
            model, is_stream = check_chat(fields)
            question = Question(namespace, model, caller, call.headers, fields, call.body)
            if caller is not None and caller.chooses_priority:
                chosen_priority(question, caller.priority)  # a wrong word is refused whether or not a rule reads it
            seconds = _client_deadline(question) if TIMEOUT_HEADER in call.headers else None
        except AnsweredError as exc:
            self.refuse(call, exc, ticket)
            return
        self._decide(call, runtime, question, ticket, is_stream, seconds, _draw(DRAW_BITS))

    def _decide(
        self,
        call: Call,
        runtime: Runtime,
        question: Question,
        ticket: Ticket,
        is_stream: bool,
        seconds: float | None,
        draw: int,
    ) -> None:
        """Send it where its policy says; where that needs a classifier's answer, ask first and come back.

        By place, as all that is called for each request.
        """
        decision: Decision | None = None
        try:
            decision = choose(runtime, question, draw)
            if question.has_verdicts:
                ticket.signals_line = signals_line(question.verdicts)
            if self._is_told:
                _tell(ticket, question, decision)
            if decision.refusal is not None:
                raise _refused(decision)
        except AnswerNeeded as needed:
            again = partial(self._decide, call, runtime, question, ticket, is_stream, seconds, draw)
            self._wait(call, question, ticket, needed.asking, seconds, again)
            return
        except AnsweredError as exc:
            self.refuse(call, exc, ticket, decision)
            return
        head_lines = b"%b%bX-Request-Id: %b\r\n" % (_ACCEPT[is_stream], _traceparent(call), ticket.request_id)
        kind = StreamedAnswer if is_stream else WholeAnswer
        kind(self._floor, call, runtime, question, decision, ticket, head_lines, seconds).begin()

    def _wait(
        self,
        call: Call,
        question: Question,
        ticket: Ticket,
        asking: Asking,
        seconds: float | None,
        again: Callable[[], None],
    ) -> None:
        began, waited_before = perf_counter(), ticket.waited_seconds

        def go_on(verdict: Verdict | None) -> None:
            waited = perf_counter() - began
            ticket.waited_seconds = waited_before + waited
            try:
                if verdict is None:
                    assert seconds is not None
                    raise out_of_time(seconds, by_client=True).error
                asking.classifier.settle(question, verdict, waited_seconds=waited)
            except AnsweredError as exc:
                refuse(exc)
            else:
                again()

        def refuse(exc: AnsweredError) -> None:
            ticket.waited_seconds = waited_before + perf_counter() - began
            if question.has_verdicts:
                ticket.signals_line = signals_line(question.verdicts)
            self.refuse(call, exc, ticket)

        seconds_left = None if seconds is None else seconds - (began - ticket.received_at)
        waiting = Waiting(self._floor, self._classifiers, call, go_on=go_on, refuse=refuse)
        waiting.begin(asking, seconds_left=seconds_left)

    def refuse(self, call: Call, exc: AnsweredError, ticket: Ticket, decision: Decision | None = None) -> None:
        """Answer a request that was sent nowhere."""
        metrics = self._floor.metrics
        metrics.refusals[exc.code] += 1
        lines = b""
        if decision is not None:
            if decision.series is not None:  # a target was chosen, and had nobody to ask
                decision.series.count(Outcome.CONNECT_ERROR)
            if decision.option is not None:
                lines = decision.option.header_lines
            elif decision.rule is not None:
                lines = decision.rule.header_lines
            elif decision.policy is not None:
                lines = decision.policy.header_lines
        overhead = perf_counter() - ticket.received_at - ticket.waited_seconds
        ticket_lines = ticket.lines(attempts=0, fallbacks=0, overhead_seconds=overhead)
        headers = b"".join((error_lines(exc), lines, ticket_lines))
        call.answer(exc.status, headers, render(exc, decision=ticket.decision_id))


def no_config() -> RoutingError:
    """Nothing was pushed yet, and nothing was found on disk."""
    return RoutingError(503, Code.NO_CONFIG, "This gateway has no config yet.", type=ErrorType.API, should_retry=True)


def model_not_found() -> RoutingError:
    """Says the same of a name that does not exist and of one that belongs to somebody else."""
    message = "The model does not exist, or you do not have access to it."
    return RoutingError(404, Code.MODEL_NOT_FOUND, message, type=ErrorType.INVALID_REQUEST, param="model")


def _refused(decision: Decision) -> RoutingError:
    match decision.refusal:
        case Refusal.NO_MATCHING_RULE:
            message = "No rule for this model matches the request."
            return RoutingError(404, Code.NO_MATCHING_RULE, message, type=ErrorType.INVALID_REQUEST, param="model")
        case Refusal.NO_ELIGIBLE_MODEL:
            message = f"No model may serve this request. Excluded: {summarise(decision.exclusions)}."
            return RoutingError(503, Code.NO_ELIGIBLE_MODEL, message, type=ErrorType.API)
        case Refusal.NO_ENDPOINTS:
            message = "The model that was chosen has no ready endpoint."
            return RoutingError(503, Code.NO_ENDPOINTS, message, type=ErrorType.API, should_retry=True)
    return model_not_found()


def _name(part: Policy | Rule | Target | None) -> str | None:
    return part.name if part is not None else None


def _tell(ticket: Ticket, question: Question, decision: Decision) -> None:
    """Log the decision, for who looks into one at DEBUG: names from the config, labels and numbers."""
    logs.event(
        _log,
        logging.DEBUG,
        "decided",
        decision=ticket.decision_id,
        namespace=question.namespace,
        policy=_name(decision.policy),
        rule=_name(decision.rule),
        target=_name(decision.target),
        model=decision.option.model.key if decision.option is not None else None,
        arm=decision.arm,
        refusal=decision.refusal,
        signals={name: str(each) for name, each in question.verdicts.items()} if question.has_verdicts else None,
    )


def _check_content_type(call: Call) -> None:
    kind = call.headers.get("Content-Type", "")
    if kind != "application/json" and kind.partition(";")[0].strip().lower() != "application/json":
        raise RequestError(
            Code.UNSUPPORTED_CONTENT_TYPE, "Send the body with 'Content-Type: application/json'.", status=415
        )


def _traceparent(call: Call) -> bytes:
    """The client's own trace, where it is one. Beside X-Request-Id nothing else of its headers is passed on."""
    value = call.headers.get("traceparent")
    if value is None or _TRACEPARENT.fullmatch(value) is None:
        return b""
    return b"traceparent: %b\r\n" % value.encode("ascii")


def _client_deadline(question: Question) -> float | None:
    """How many seconds the client gives its request, all attempts together; the model's own limit stays above it."""
    value = question.header(TIMEOUT_HEADER)
    if value is None:
        return None
    seconds = float(value) if _SECONDS.fullmatch(value) else 0.0
    if not 0.0 < seconds <= MAX_TIMEOUT_SECONDS:
        message = f"{TIMEOUT_HEADER} must be a number of seconds above 0 and at most {MAX_TIMEOUT_SECONDS:g}."
        raise RequestError(Code.INVALID_VALUE, message, param=TIMEOUT_HEADER)
    return seconds
