"""Signals as the gateways get them.

Rule: a default that the user left out is written down here, so that a gateway never has one of its own to differ by.
"""

from collections.abc import Iterable
from typing import assert_never

from modelway_contract import signals as wire
from modelway_contract.prompt_labels import Pii
from modelway_operator.api.prompt_signals import (
    Classifier,
    Difficulty,
    DomainLabels,
    Examples,
    LanguageLabels,
    OutputLengthLabels,
    PersonalData,
    PersonalDataKind,
    TaskLabels,
)
from modelway_operator.api.quantities import DecimalText
from modelway_operator.api.signals import InputTokens, Keywords, Signal

_PERSONAL_DATA = {
    PersonalDataKind.EMAIL: Pii.EMAIL,
    PersonalDataKind.PHONE: Pii.PHONE,
    PersonalDataKind.IBAN: Pii.IBAN,
    PersonalDataKind.CREDIT_CARD: Pii.CARD,
    PersonalDataKind.SSN: Pii.SSN,
    PersonalDataKind.API_KEY: Pii.KEY,
    PersonalDataKind.IP_ADDRESS: Pii.IP,
}


def compile_signals(signals: Iterable[Signal]) -> tuple[wire.Signal, ...]:
    """The facts about a prompt that the policy's rules may read."""
    return tuple(_signal(signal) for signal in signals)


def _signal(signal: Signal) -> wire.Signal:
    name = signal.name
    match signal.asked:
        case Keywords() as words:
            return wire.KeywordsSignal(name=name, any=tuple(words.any), whole_words=words.whole_words)
        case str() as pattern:
            return wire.RegexSignal(name=name, pattern=pattern)
        case InputTokens() as tokens:
            return wire.InputTokensSignal(name=name, at_least=tokens.at_least, at_most=tokens.at_most)
        case TaskLabels() as task:
            return wire.TaskSignal(name=name, any_of=task.any_of, min_confidence=task.min_confidence.value)
        case DomainLabels() as domain:
            return wire.DomainSignal(name=name, any_of=domain.any_of, min_confidence=domain.min_confidence.value)
        case LanguageLabels() as language:
            return wire.LanguageSignal(name=name, any_of=language.any_of, min_confidence=language.min_confidence.value)
        case OutputLengthLabels() as output:
            return wire.OutputLengthSignal(name=name, any_of=output.any_of)
        case Difficulty() as difficulty:
            return wire.DifficultySignal(
                name=name, at_least=_number(difficulty.at_least), hardest=_number(difficulty.hardest)
            )
        case Examples() as examples:
            return wire.ExamplesSignal(name=name, phrases=examples.phrases, threshold=_number(examples.threshold))
        case PersonalData() as data:
            return wire.PiiSignal(name=name, any_of=tuple(_PERSONAL_DATA[kind] for kind in data.any))
        case Classifier() as classifier:
            return _classifier(name, classifier)
        case never:
            assert_never(never)


def _classifier(name: str, classifier: Classifier) -> wire.ClassifierSignal:
    return wire.ClassifierSignal(
        name=name,
        url=classifier.url,
        any_of=classifier.any_of,
        min_confidence=classifier.min_confidence.value,
        deadline_seconds=classifier.deadline.seconds,
        cache_seconds=classifier.cache.seconds,
        failure_mode=classifier.failure_mode,
    )


def _number(text: DecimalText | None) -> float | None:
    return text.value if text is not None else None
