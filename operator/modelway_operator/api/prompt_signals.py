"""Signals that read what a prompt means: by the gateways' own analysis, by phrases of the policy's, by a classifier.

The rule to know: what could not be told is not true. A label below `minConfidence`, a language that nobody knows, a
classifier that does not answer: the condition is false, and the next rule decides.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from modelway_contract.prompt_labels import LANGUAGES, Domain, ExpectedOutput, Task
from modelway_contract.signals import FailureMode
from modelway_operator.api.base import ApiObject
from modelway_operator.api.http_fields import CLASSIFIER_URL_RULES
from modelway_operator.api.quantities import DecimalText, Duration, decimal_between, duration_between
from modelway_operator.api.rules import ListSet, OneOf, Rule, exactly_one_of, matching, of_field

MAX_EXAMPLES_SIGNALS = 16
"""The most categories that are told apart in one policy."""

Probability = Annotated[DecimalText, decimal_between("0", "1", above_low=True)]
"""A part of 1; 0 would let everything through."""


class TaskLabels(ApiObject):
    """True when the user's last message asks for one of these."""

    any_of: Annotated[tuple[Task, ...], Field(alias="in", min_length=1, max_length=14), ListSet()]
    """What is asked for."""
    min_confidence: Probability = DecimalText("0.5")
    """How sure the label must be, as text; below it the signal is not true. Default: 0.5."""


class DomainLabels(ApiObject):
    """True when the user's last message is about one of these."""

    any_of: Annotated[tuple[Domain, ...], Field(alias="in", min_length=1, max_length=14), ListSet()]
    """The subjects."""
    min_confidence: Probability = DecimalText("0.5")
    """How sure the label must be, as text; below it the signal is not true. Default: 0.5."""


LanguageCode = Annotated[str, OneOf(LANGUAGES)]
"""A language, by its code of ISO 639-1."""


class LanguageLabels(ApiObject):
    """True when the user's last message is written in one of these."""

    any_of: Annotated[tuple[LanguageCode, ...], Field(alias="in", min_length=1, max_length=len(LANGUAGES)), ListSet()]
    """The languages, by their codes of ISO 639-1, such as de, en or zh; Norwegian is "no", in quotes."""
    min_confidence: Probability = DecimalText("0.5")
    """How sure the label must be, as text; below it the signal is not true. Default: 0.5."""


class OutputLengthLabels(ApiObject):
    """True when the user's last message asks for an answer of about this length."""

    any_of: Annotated[tuple[ExpectedOutput, ...], Field(alias="in", min_length=1, max_length=3), ListSet()]
    """The lengths: short (up to 100 tokens), medium (up to 500) and long."""


class Difficulty(ApiObject):
    """True when a cheap model is likely to fail; exactly one of atLeast and hardest."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("at_least", "hardest"),)

    at_least: Probability | None = None
    """The least probability that a cheap model fails, as text."""
    hardest: Probability | None = None
    """The share of the hardest among recent prompts, as text: "0.3" are the hardest three of ten."""


ExamplePhrase = Annotated[
    str,
    Field(min_length=1, max_length=512),
    matching(r"(?s)(.*[^ \t\r\n].*)?", "must be a phrase as users write it, not spaces alone"),
]
"""A prompt of the kind that a signal is for, in short."""


class Examples(ApiObject):
    """True when the user's last message is nearest to these phrases, and near enough."""

    phrases: Annotated[tuple[ExamplePhrase, ...], Field(min_length=5, max_length=20), ListSet()]
    """Prompts of the kind that is meant, in words as different as users find."""
    threshold: Probability | None = None
    """The score that a prompt must reach, as text. Default: what the gateways find, as status.signals says."""


class PersonalDataKind(StrEnum):
    """The kinds of personal data that are looked for."""

    EMAIL = "Email"
    PHONE = "Phone"
    IBAN = "IBAN"
    CREDIT_CARD = "CreditCard"
    SSN = "SSN"
    API_KEY = "APIKey"
    IP_ADDRESS = "IPAddress"


class PersonalData(ApiObject):
    """True when the prompt holds personal data of one of these kinds."""

    any: Annotated[tuple[PersonalDataKind, ...], Field(min_length=1, max_length=7), ListSet()]
    """The kinds that are looked for."""


ClassifierLabel = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(
        "([A-Za-z][A-Za-z0-9_.-]*)?",
        "must be a label of letters, digits, '_', '.' and '-', with a letter first, such as toxic",
    ),
]
"""A label as the classifier spells it."""


class Classifier(ApiObject):
    """True when a classifier of your own gives the user's last message one of these labels.

    It gets the message's text by POST, so it must be one that may read what your clients write.
    """

    RULES: ClassVar[tuple[Rule, ...]] = of_field("url", *CLASSIFIER_URL_RULES)

    url: Annotated[str, Field(max_length=1024)]
    """Where the classifier is asked; the text of prompts is sent there."""
    any_of: Annotated[tuple[ClassifierLabel, ...], Field(alias="in", min_length=1, max_length=32), ListSet()]
    """The labels that make it true; the classifier may have others."""
    min_confidence: Probability = DecimalText("0.5")
    """How sure the label must be, as text; below it the signal is not true. Default: 0.5."""
    deadline: Annotated[Duration, duration_between("10ms", "5s", such_as="50ms, 300ms or 2s")] = Duration("300ms")
    """How long the classifier may take; the request waits for it. Default: 300ms."""
    cache: Annotated[Duration, duration_between("0s", "24h")] = Duration("10m")
    """How long an answer is kept for the same text; 0s keeps none. Default: 10m."""
    failure_mode: FailureMode = FailureMode.NO_MATCH
    """Without an answer: NoMatch is not true, Refuse refuses the request. Default: NoMatch."""
