"""Compiles the signals that read what a prompt means, by the trained model, into judges of a question.

The rule: an unsure label is no label. A judge abstains below its least confidence, where there is nothing to read, and
where the model itself gives no answer (a language that it does not know).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from modelway_contract.signals import (
    DifficultySignal,
    DomainSignal,
    ExamplesSignal,
    LanguageSignal,
    OutputLengthSignal,
    Signal,
    TaskSignal,
)
from modelway_gateway.core.features import Question
from modelway_gateway.core.hardest import RecentScores
from modelway_gateway.core.verdicts import ABSTAINED, Result, Verdict

if TYPE_CHECKING:  # numpy comes with it, and only gateways whose policies read meanings load that
    from modelway_contract.prompt_labels import Domain, Task
    from modelway_gateway.core.prompt.analyser import Answer
    from modelway_gateway.core.prompt.examples import Fit
    from modelway_gateway.core.prompt.reader import Reader, Subject

Judge = Callable[[Question], Verdict]
MeaningSignal = TaskSignal | DomainSignal | LanguageSignal | OutputLengthSignal | DifficultySignal | ExamplesSignal
MEANING_SIGNALS: Final = (
    TaskSignal,
    DomainSignal,
    LanguageSignal,
    OutputLengthSignal,
    DifficultySignal,
    ExamplesSignal,
)


def phrases_of(signals: Iterable[Signal]) -> dict[str, tuple[str, ...]]:
    """A policy's own categories: the phrases of its `examples` signals."""
    return {each.name: each.phrases for each in signals if isinstance(each, ExamplesSignal)}


def threshold_of(signal: ExamplesSignal, fit: Fit) -> float:
    """The least score at which it is true: what its author says, or what its phrases do."""
    return signal.threshold if signal.threshold is not None else fit.thresholds[fit.names.index(signal.name)]


def judge_of(signal: MeaningSignal, reader: Reader, fit: Fit | None, recent: RecentScores) -> Judge:
    """A judge of the last user message; `fit` is of all the policy's categories, `recent` this signal's own."""

    def subject_of(question: Question) -> Subject:
        subject = question.subject
        if subject is None:
            subject = question.subject = reader.open(question.namespace, question.last_user_text)
        return subject

    match signal:
        case TaskSignal():
            return _label(subject_of, signal, lambda subject: _labelled(subject.task))
        case DomainSignal():
            return _label(subject_of, signal, lambda subject: _labelled(subject.domain))
        case LanguageSignal():
            return _label(subject_of, signal, _language)
        case OutputLengthSignal():
            return _output_length(subject_of, signal)
        case DifficultySignal():
            return _difficulty(subject_of, signal, recent)
    assert fit is not None  # by the caller, who fits all of a policy's categories at once
    return _examples(subject_of, signal, fit)


def _labelled(answer: Answer[Task] | Answer[Domain] | None) -> tuple[str, float] | None:
    return None if answer is None else (answer.label, answer.p)


def _language(subject: Subject) -> tuple[str, float] | None:
    language = subject.language
    return (language.code, language.p) if language.known else None


_SubjectOf = Callable[[Question], "Subject"]


def _label(
    subject_of: _SubjectOf,
    signal: TaskSignal | DomainSignal | LanguageSignal,
    read: Callable[[Subject], tuple[str, float] | None],
) -> Judge:
    wanted, least = frozenset(map(str, signal.any_of)), signal.min_confidence

    def judge(question: Question) -> Verdict:
        answer = read(subject_of(question))
        if answer is None:
            return ABSTAINED
        label, p = answer
        if p < least:
            return Verdict(Result.ABSTAINED, label, p)
        return Verdict(Result.MATCH if label in wanted else Result.NO_MATCH, label, p)

    return judge


def _output_length(subject_of: _SubjectOf, signal: OutputLengthSignal) -> Judge:
    wanted = frozenset(signal.any_of)

    def judge(question: Question) -> Verdict:
        subject = subject_of(question)
        if subject.is_blank:
            return ABSTAINED
        return Verdict(Result.MATCH if subject.output in wanted else Result.NO_MATCH, subject.output)

    return judge


def _difficulty(subject_of: _SubjectOf, signal: DifficultySignal, recent: RecentScores) -> Judge:
    least, share = signal.at_least, signal.hardest

    def judge(question: Question) -> Verdict:
        subject = subject_of(question)
        if subject.is_blank:
            return ABSTAINED
        score = subject.difficulty
        hard = score >= least if least is not None else recent.is_hardest(score, share=share or 0.0)
        if hard is None:
            return Verdict(Result.ABSTAINED, confidence=score)
        return Verdict(Result.MATCH if hard else Result.NO_MATCH, confidence=score)

    return judge


def _examples(subject_of: _SubjectOf, signal: ExamplesSignal, fit: Fit) -> Judge:
    own, least = signal.name, threshold_of(signal, fit)

    def judge(question: Question) -> Verdict:
        subject = subject_of(question)
        if subject.is_blank:
            return ABSTAINED
        name, score = fit.best(subject.vector)
        if name != own:
            return Verdict(Result.NO_MATCH, name, score)
        return Verdict(Result.MATCH if score >= least else Result.ABSTAINED, name, score)

    return judge
