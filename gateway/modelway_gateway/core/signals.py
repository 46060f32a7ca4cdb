"""Compiles a policy's signals into functions of a question.

The rule: users' patterns run in RE2 only, in linear time and bounded memory. A signal is evaluated when a rule that
could match reads it, and once per request at most, however many rules read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import re2

from modelway_contract.names import REGEX_MEMORY_BYTES
from modelway_contract.signals import InputTokensSignal, KeywordsSignal, RegexSignal, Signal
from modelway_gateway.core.features import Question
from modelway_gateway.core.folding import folded
from modelway_gateway.errors import Code, ErrorType, RoutingError

MAX_PATTERN_LENGTH: Final = 512
_KEYWORDS_MEMORY_BYTES: Final = 8 << 20
_BORDER: Final = r"[^\pL\pM\pN_]"
"""What may stand beside a whole word; RE2's own \\b knows ASCII only."""

Test = Callable[[Question], bool]


class BadSignalError(ValueError):
    """This signal cannot be compiled; says why, for the policy's author."""


def compile_signal(signal: Signal) -> Test:
    """A function that remembers its answer on the question. Raises BadSignalError."""
    if isinstance(signal, KeywordsSignal):
        test = _keywords(signal)
    elif isinstance(signal, RegexSignal):
        test = _regex(signal)
    elif isinstance(signal, InputTokensSignal):
        test = _input_tokens(signal)
    else:
        raise BadSignalError("this gateway does not know signals of its kind")
    name = signal.name

    def holds(question: Question) -> bool:
        known = question.signals.get(name)
        if known is None:
            known = question.signals[name] = test(question)
        return known

    return holds


def broken_signal(name: str) -> Test:
    """Stands for a signal that could not be compiled: whoever needs it is refused, and not led elsewhere."""

    def holds(question: Question) -> bool:  # noqa: ARG001 - a test's signature
        message = f"The signal {name} of this policy cannot be evaluated."
        raise RoutingError(503, Code.BROKEN_SIGNAL, message, type=ErrorType.API)

    return holds


def _keywords(signal: KeywordsSignal) -> Test:
    words = sorted({folded(each) for each in signal.any})
    if not words or not all(words):
        raise BadSignalError("keywords must not be empty")
    pattern = "|".join(re2.escape(each) for each in words)
    if signal.whole_words:
        pattern = f"(?:^|{_BORDER})(?:{pattern})(?:{_BORDER}|$)"
    found = _compile(pattern, _KEYWORDS_MEMORY_BYTES).search
    return lambda question: found(question.folded_prompt) is not None


def _regex(signal: RegexSignal) -> Test:
    if len(signal.pattern) > MAX_PATTERN_LENGTH:
        raise BadSignalError(f"the pattern is longer than {MAX_PATTERN_LENGTH} characters")
    found = _compile(signal.pattern, REGEX_MEMORY_BYTES).search
    return lambda question: found(question.prompt.encode()) is not None


def _input_tokens(signal: InputTokensSignal) -> Test:
    least = signal.at_least or 0
    most = signal.at_most
    if most is None:
        return lambda question: question.input_tokens >= least
    return lambda question: least <= question.input_tokens <= most


def _compile(pattern: str, memory_bytes: int) -> re2._Regexp:
    options = re2.Options()
    options.max_mem = memory_bytes
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    except re2.error as exc:
        raise BadSignalError(f"RE2 refuses the pattern: {_text(exc)}") from None


def _text(exc: Exception) -> str:
    reason = exc.args[0] if exc.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
