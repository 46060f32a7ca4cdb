"""What is asked next when an upstream call has failed.

Pure: draws and what is left of the deadline come in. The scopes, in order, of one budget of attempts:

1. another place (backend, or endpoint of one) of the model that failed;
2. the rule's fallback models, in order, where it lists this kind of failure; the last attempt is kept for them;
3. the place that just failed, once more: only when nothing else is left, after a back-off or as long as the upstream
   itself asks for, and never after a time-out, because what took too long once will take too long again.

The rule: no place is asked twice in the first two scopes, and a key that was refused is not tried again at all.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from modelway_contract.config import RetryOn
from modelway_gateway.core.features import Question
from modelway_gateway.core.places import PLACE_BITS, Place, first_fallback, pick_other_place
from modelway_gateway.core.records import Decision
from modelway_gateway.core.routes import NO_FALLBACK, Offer, Option
from modelway_gateway.core.runtime import Address, Runtime

JITTER_BITS: Final = 16
DRAW_BITS: Final = PLACE_BITS + JITTER_BITS
"""A draw is a uniform integer of so many bits."""

FIRST_BACKOFF_SECONDS: Final = 0.25
MAX_BACKOFF_SECONDS: Final = 2.0
MAX_RETRY_AFTER_SECONDS: Final = 5.0
"""An upstream that wants to be left alone for longer is not asked again by this request."""

_WORTH_WAITING: Final = frozenset({RetryOn.RATE_LIMITED, RetryOn.SERVER_ERROR, RetryOn.CONNECT_ERROR})


class Cause(NamedTuple):
    """How an attempt failed, as far as the next one depends on it.

    Without a `kind` nothing is asked again, but for another key where `key_refused`.
    """

    kind: RetryOn | None = None
    key_refused: bool = False
    retry_after_seconds: float | None = None


class Step(NamedTuple):
    """The next attempt: whom to ask, after how long, and whether that is a fallback model."""

    option: Option
    offer: Offer
    address: Address | None
    wait_seconds: float = 0.0
    falls_back: bool = False


class Attempts:
    """The attempts of one request; made when the first one has failed, and only then."""

    __slots__ = (
        "_allowed",
        "_fallbacks",
        "_here",
        "_made",
        "_on_errors",
        "_option",
        "_question",
        "_refused_keys",
        "_runtime",
        "_tried",
        "_waits",
    )

    def __init__(self, runtime: Runtime, question: Question, decision: Decision, *, made_before: int = 0) -> None:
        """`made_before`: how often the client itself has sent this request already."""
        option, offer = decision.option, decision.offer
        assert option is not None and offer is not None  # noqa: PT018 - somebody was asked
        fallback = decision.rule.fallback if decision.rule is not None else NO_FALLBACK
        self._runtime = runtime
        self._question = question
        self._option = option
        self._here: Place = (offer, decision.address)
        self._tried = {self._here}
        self._refused_keys: set[str] = set()
        self._on_errors = fallback.on_errors
        others = fallback.options
        if decision.skipped is not None:  # it fell back already, past the ones before
            others = others[others.index(option) + 1 :]
        self._fallbacks = [each for each in others if each.model is not option.model]
        self._allowed = max(1, fallback.max_attempts - made_before)
        self._made = 1
        self._waits = 0

    def after(self, cause: Cause, *, seconds_left: float, draw: int) -> Step | None:
        """The next attempt, which then counts as made; None when the failure stands."""
        left = self._allowed - self._made
        if left <= 0 or (cause.kind is None and not cause.key_refused):
            return None
        secret = self._here[0].backend.secret
        if cause.key_refused and secret is not None:
            self._refused_keys.add(secret)
        fallback = self._fallback(cause, draw)
        step = self._elsewhere(draw) if fallback is None or left > 1 else None
        step = step or fallback or self._again(cause, draw)
        if step is None or step.wait_seconds >= seconds_left:
            return None
        self._made += 1
        self._waits += step.wait_seconds > 0
        if step.falls_back:
            del self._fallbacks[: self._fallbacks.index(step.option) + 1]
        self._option = step.option
        self._here = (step.offer, step.address)
        self._tried.add(self._here)
        return step

    def _elsewhere(self, draw: int) -> Step | None:
        place = pick_other_place(self._runtime, self._option, draw, tried=self._tried, refused_keys=self._refused_keys)
        return None if place is None else Step(self._option, *place)

    def _fallback(self, cause: Cause, draw: int) -> Step | None:
        if cause.kind not in self._on_errors:
            return None
        found = first_fallback(self._runtime, self._question, self._fallbacks, draw, refused_keys=self._refused_keys)
        return None if found is None else Step(found[0], *found[1], falls_back=True)

    def _again(self, cause: Cause, draw: int) -> Step | None:
        wait = cause.retry_after_seconds
        if cause.kind not in _WORTH_WAITING or (wait is not None and wait > MAX_RETRY_AFTER_SECONDS):
            return None
        backoff = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**self._waits)
        jitter = (draw >> PLACE_BITS & (1 << JITTER_BITS) - 1) / (1 << JITTER_BITS)
        return Step(self._option, *self._here, max(wait or 0.0, backoff * (0.5 + 0.5 * jitter)))
