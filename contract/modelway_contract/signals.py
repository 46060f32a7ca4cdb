"""Signals on the wire: named facts about a prompt, which the rules of one policy read by their names.

Rule: a signal is true, or it is not; whatever could not be told (an unsure label, a classifier that failed) is not.
Confidences, scores and quantiles are 0..1, times are seconds.
"""

from enum import StrEnum
from typing import get_args

from modelway_contract.prompt_labels import Domain, ExpectedOutput, Pii, Task
from modelway_contract.wire import Wire

LEAST_CONFIDENCE = 0.5
"""What a label's confidence must reach where the policy says nothing: it is more likely right than wrong."""


class KeywordsSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="keywords"):
    """True when the prompt holds one of these words or phrases; case is ignored."""

    name: str
    any: tuple[str, ...]
    whole_words: bool = False


class RegexSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="regex"):
    """True when this pattern, in the syntax of RE2, is found in the prompt."""

    name: str
    pattern: str


class InputTokensSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="inputTokens"):
    """True when the estimate of the prompt's tokens lies within these bounds, both included."""

    name: str
    at_least: int | None = None
    at_most: int | None = None


class TaskSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="task"):
    """True when the user's last message asks for one of these."""

    name: str
    any_of: tuple[Task, ...]
    min_confidence: float = LEAST_CONFIDENCE


class DomainSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="domain"):
    """True when the user's last message is about one of these."""

    name: str
    any_of: tuple[Domain, ...]
    min_confidence: float = LEAST_CONFIDENCE


class LanguageSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="language"):
    """True when the user's last message is written in one of these languages (ISO 639 codes)."""

    name: str
    any_of: tuple[str, ...]
    min_confidence: float = LEAST_CONFIDENCE


class OutputLengthSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="outputLength"):
    """True when the user's last message asks for an answer of about this length."""

    name: str
    any_of: tuple[ExpectedOutput, ...]


class DifficultySignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="difficulty"):
    """True when a cheap model is likely to fail: by its probability, or among the hardest share of recent prompts.

    Exactly one of the two is given.
    """

    name: str
    at_least: float | None = None
    hardest: float | None = None


class ExamplesSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="examples"):
    """True when the user's last message is nearer to these phrases than to those of the policy's other such signals.

    Its score must reach `threshold`; without one, the gateway finds it from the phrases themselves.
    """

    name: str
    phrases: tuple[str, ...]
    threshold: float | None = None


class PiiSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="pii"):
    """True when the prompt holds personal data of one of these kinds."""

    name: str
    any_of: tuple[Pii, ...]


class FailureMode(StrEnum):
    """What a signal whose classifier does not answer does to the request that needs it."""

    NO_MATCH = "NoMatch"
    REFUSE = "Refuse"


class ClassifierSignal(Wire, frozen=True, kw_only=True, tag_field="kind", tag="classifier"):
    """True when the classifier at `url` gives the user's last message one of these labels, surely enough.

    Its answers are kept for `cache_seconds`; 0 keeps none.
    """

    name: str
    url: str
    any_of: tuple[str, ...]
    min_confidence: float = LEAST_CONFIDENCE
    deadline_seconds: float = 0.3
    cache_seconds: float = 600.0
    failure_mode: FailureMode = FailureMode.NO_MATCH


Signal = (
    KeywordsSignal
    | RegexSignal
    | InputTokensSignal
    | TaskSignal
    | DomainSignal
    | LanguageSignal
    | OutputLengthSignal
    | DifficultySignal
    | ExamplesSignal
    | PiiSignal
    | ClassifierSignal
)

KINDS = tuple(each.__struct_config__.tag for each in get_args(Signal))
"""As `kind` has them on the wire."""
