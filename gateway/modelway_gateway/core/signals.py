"""Compiles a policy's signals into functions of a question.

The rule: users' patterns run in RE2 only, in linear time and bounded memory. A signal is evaluated when a rule that
could match reads it, and once per request at most, however many rules read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import re2

from modelway_contract.names import REGEX_MEMORY_BYTES
from modelway_contract.signals import (
    ClassifierSignal,
    ExamplesSignal,
    InputTokensSignal,
    KeywordsSignal,
    PiiSignal,
    RegexSignal,
    Signal,
)
from modelway_gateway.core.classifiers import Classifier, KnownAnswers
from modelway_gateway.core.features import Question
from modelway_gateway.core.folding import folded
from modelway_gateway.core.hardest import RecentScores
from modelway_gateway.core.meanings import MEANING_SIGNALS, Judge, judge_of
from modelway_gateway.core.prompt.pii import find_pii
from modelway_gateway.core.series import SeriesBook, SignalKey
from modelway_gateway.core.tally import Tally
from modelway_gateway.core.verdicts import MATCH, NO_MATCH, Result, Verdict
from modelway_gateway.errors import Code, ErrorType, RoutingError

if TYPE_CHECKING:
    from modelway_gateway.core.prompt.examples import Fit
    from modelway_gateway.core.prompt.reader import Reader

MAX_PATTERN_LENGTH: Final = 512
COST_OF_WORDS: Final = 1
COST_OF_MEANING: Final = 2
COST_OF_ANSWER: Final = 3
_KEYWORDS_MEMORY_BYTES: Final = 8 << 20
_BORDER: Final = r"[^\pL\pM\pN_]"
"""What may stand beside a whole word; RE2's own \\b knows ASCII only."""


class BadSignalError(ValueError):
    """This signal cannot be compiled; says why, for the policy's author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """What signals are compiled with beside the config.

    `reader` is None in a gateway that cannot read meanings, or has no policy that does; `clock` counts seconds. What
    classifiers said is `known` beyond a change of the config.
    """

    reader: Reader | None
    book: SeriesBook
    clock: Callable[[], float]
    known: KnownAnswers = field(default_factory=KnownAnswers)


class CompiledSignal:
    """A signal that remembers its verdict on the question, and counts it."""

    __slots__ = ("_clock", "_judge", "_name", "_tally", "cost", "series")

    def __init__(self, judge: Judge, tally: Tally, *, cost: int, clock: Callable[[], float]) -> None:
        """What costs little is asked first."""
        self._name = tally.name
        self._judge = judge
        self._clock = clock
        self._tally = tally
        self.series = tally.series
        self.cost = cost

    def __call__(self, question: Question) -> bool:
        """Whether it is true of this question. Raises AnswerNeeded where somebody else has to be asked."""
        verdict = question.verdicts.get(self._name)
        if verdict is None:
            began = self._clock()
            verdict = self._judge(question)
            self._tally.keep(question, verdict, self._clock() - began)
        return verdict.result is Result.MATCH


def kind_of(signal: Signal) -> str:
    """As the config has it: `keywords`, `regex` and so on."""
    kind = signal.__struct_config__.tag
    assert isinstance(kind, str)
    return kind


def compile_signal(signal: Signal, key: SignalKey, senses: Senses, fit: Fit | None) -> CompiledSignal:
    """A function of a question; `fit` is of the policy's own categories, where it has some. Raises BadSignalError."""
    tally = _tally(key, senses)
    judge = _judge(signal, key, tally, senses, fit)
    return CompiledSignal(judge, tally, cost=_cost(signal), clock=senses.clock)


def broken_signal(signal: Signal, key: SignalKey, senses: Senses) -> CompiledSignal:
    """Stands for one that could not be compiled: whoever needs it is refused, and not led elsewhere."""

    def judge(question: Question) -> Verdict:  # noqa: ARG001 - a judge's signature
        message = f"The signal {signal.name} of this policy cannot be evaluated."
        raise RoutingError(503, Code.BROKEN_SIGNAL, message, type=ErrorType.API)

    return CompiledSignal(judge, _tally(key, senses), cost=_cost(signal), clock=senses.clock)


def _tally(key: SignalKey, senses: Senses) -> Tally:
    return Tally(key.signal, senses.book.signals.get(key), senses.book.signal_seconds[key.kind])


def _cost(signal: Signal) -> int:
    if isinstance(signal, ClassifierSignal):
        return COST_OF_ANSWER
    return COST_OF_MEANING if isinstance(signal, MEANING_SIGNALS) else COST_OF_WORDS


def _judge(signal: Signal, key: SignalKey, tally: Tally, senses: Senses, fit: Fit | None) -> Judge:
    match signal:
        case KeywordsSignal():
            return _keywords(signal)
        case RegexSignal():
            return _regex(signal)
        case InputTokensSignal():
            return _input_tokens(signal)
        case PiiSignal():
            return _pii(signal)
        case ClassifierSignal():
            return _classifier(signal, key, tally, senses)
    if senses.reader is None:
        raise BadSignalError("the prompt model of this gateway could not be loaded; its log says why")
    if isinstance(signal, ExamplesSignal) and fit is None:
        raise BadSignalError("a category needs two phrases at least")
    if tally.series.recent is None:
        tally.series.recent = RecentScores()
    return judge_of(signal, senses.reader, fit, tally.series.recent)


def _classifier(signal: ClassifierSignal, key: SignalKey, tally: Tally, senses: Senses) -> Judge:
    try:
        return Classifier(signal, key, tally, known=senses.known, clock=senses.clock).judge
    except ValueError as exc:
        raise BadSignalError(str(exc)) from None


def _keywords(signal: KeywordsSignal) -> Judge:
    words = sorted({folded(each) for each in signal.any})
    if not words or not all(words):
        raise BadSignalError("keywords must not be empty")
    pattern = "|".join(re2.escape(each) for each in words)
    if signal.whole_words:
        pattern = f"(?:^|{_BORDER})(?:{pattern})(?:{_BORDER}|$)"
    found = _compile(pattern, _KEYWORDS_MEMORY_BYTES).search
    return lambda question: NO_MATCH if found(question.folded_prompt) is None else MATCH


def _regex(signal: RegexSignal) -> Judge:
    if len(signal.pattern) > MAX_PATTERN_LENGTH:
        raise BadSignalError(f"the pattern is longer than {MAX_PATTERN_LENGTH} characters")
    found = _compile(signal.pattern, REGEX_MEMORY_BYTES).search
    return lambda question: NO_MATCH if found(question.prompt.encode()) is None else MATCH


def _input_tokens(signal: InputTokensSignal) -> Judge:
    least = signal.at_least or 0
    most = signal.at_most if signal.at_most is not None else math.inf
    return lambda question: MATCH if least <= question.input_tokens <= most else NO_MATCH


def _pii(signal: PiiSignal) -> Judge:
    kinds = tuple(dict.fromkeys(signal.any_of))

    def judge(question: Question) -> Verdict:
        found = find_pii(question.prompt, kinds)
        return Verdict(Result.MATCH, "+".join(sorted(found))) if found else NO_MATCH

    return judge


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
