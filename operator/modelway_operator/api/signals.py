"""Signals: named facts about a prompt, which rules read by their names.

The rule to know: a pattern is judged by RE2 itself, with the memory that the gateways give it, so that what is accepted
here runs there, and in time that grows with the prompt alone. The API server judges it with Go's RE2, and where that
takes what ours does not, the operator refuses the generation like any other bad one.
"""

from typing import Annotated, Any, ClassVar

import re2
from pydantic import Field, StrictBool, StrictInt

from modelway_contract.names import REGEX_MEMORY_BYTES
from modelway_operator.api.base import ApiObject, StatusObject
from modelway_operator.api.names import EntryName
from modelway_operator.api.prompt_signals import (
    MAX_EXAMPLES_SIGNALS,
    Classifier,
    Difficulty,
    DomainLabels,
    Examples,
    LanguageLabels,
    OutputLengthLabels,
    PersonalData,
    TaskLabels,
)
from modelway_operator.api.rules import ListMap, ListSet, Rule, at_least_one_of, exactly_one_of, matching

MAX_TOKENS = 100_000_000
_NUMBER = "^-?[0-9]{1,6}([.][0-9]{1,6})?$"


def pattern_problem(pattern: str) -> str | None:
    """What RE2 has against a pattern, and where; None where it takes it."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_MEMORY_BYTES
    try:
        re2.compile(pattern, options)
    except UnicodeEncodeError as exc:
        return f"the character at {exc.start + 1} is none that text may hold"
    except re2.error as exc:
        return _in_words(pattern, exc.args[0])
    return None


def _in_words(pattern: str, said: Any) -> str:
    """RE2's words, with the place of what they are about where they quote it."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    what, _, quoted = text.partition(": ")
    place = pattern.find(quoted) + 1 if quoted not in ("", pattern) else 0
    return f"{what} at character {place}" if place else what


PATTERN = Rule(
    # The comparison is always true; a pattern that cannot be compiled makes it an error, which names the place.
    cel="''.matches(self) || !''.matches(self)",
    message="must be a pattern that RE2 takes: without lookahead, lookbehind and backreferences, and with few repeats"
    " of repeats; say the same in a simpler pattern, or in several signals",
    detail=lambda pattern: pattern_problem(pattern) or "",
    holds=lambda pattern: pattern_problem(pattern) is None,
)

Pattern = Annotated[str, Field(min_length=1, max_length=512), PATTERN]
"""A regular expression in the syntax of RE2."""

Phrase = Annotated[
    str,
    Field(min_length=1, max_length=128),
    matching(
        r"([^ \t\r\n](.*[^ \t\r\n])?)?",
        "must be a word or phrase in one line, without spaces around it",
    ),
]
"""A word or phrase as it stands in a prompt."""


class Keywords(ApiObject):
    """True when the prompt holds one of these words or phrases; letter case does not matter."""

    any: Annotated[tuple[Phrase, ...], Field(min_length=1, max_length=64), ListSet()]
    """The words and phrases."""
    whole_words: StrictBool = False
    """Whether a letter, digit or _ right before or after makes it another word. Default: false."""


class InputTokens(ApiObject):
    """True when the estimate of the prompt's tokens lies within these bounds, both included."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        at_least_one_of("at_least", "at_most"),
        Rule(
            cel="!has(self.atLeast) || !has(self.atMost) || self.atLeast <= self.atMost",
            message="atLeast must not be above atMost, since no prompt would fit: exchange them",
            holds=lambda tokens: tokens.at_least is None or tokens.at_most is None or tokens.at_least <= tokens.at_most,
        ),
    )

    at_least: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] | None = None
    """The fewest tokens."""
    at_most: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] | None = None
    """The most tokens."""


Asked = (
    Keywords
    | Pattern
    | InputTokens
    | TaskLabels
    | DomainLabels
    | LanguageLabels
    | OutputLengthLabels
    | Difficulty
    | Examples
    | PersonalData
    | Classifier
)
"""What one signal asks of a prompt."""

KINDS = (
    "keywords",
    "regex",
    "input_tokens",
    "task",
    "domain",
    "language",
    "output_length",
    "difficulty",
    "examples",
    "pii",
    "classifier",
)
"""The fields of a signal that say what it asks."""


class Signal(ApiObject):
    """A named fact about a prompt; exactly one kind of it."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of(*KINDS),)

    name: EntryName
    """The name by which rules read it."""
    keywords: Keywords | None = None
    """Whether the prompt holds one of some words or phrases."""
    regex: Pattern | None = None
    """Whether this pattern, in the syntax of RE2, is found in the prompt."""
    input_tokens: InputTokens | None = None
    """Whether the prompt is as long as this."""
    task: TaskLabels | None = None
    """What the user's last message asks for."""
    domain: DomainLabels | None = None
    """What it is about."""
    language: LanguageLabels | None = None
    """In which language it is written."""
    output_length: OutputLengthLabels | None = None
    """How long its answer will be."""
    difficulty: Difficulty | None = None
    """Whether it is hard for a cheap model."""
    examples: Examples | None = None
    """Whether it is like these phrases, rather than like those of the policy's other signals of this kind."""
    pii: PersonalData | None = None
    """Whether the prompt holds personal data."""
    classifier: Classifier | None = None
    """What a classifier of your own says of the user's last message."""

    @property
    def asked(self) -> Asked:
        """The one thing that is given."""
        given: Asked = next(value for kind in KINDS if (value := getattr(self, kind)) is not None)
        return given


FEW_EXAMPLES = Rule(
    cel=f"self.filter(s, has(s.examples)).size() <= {MAX_EXAMPLES_SIGNALS}",
    message=f"at most {MAX_EXAMPLES_SIGNALS} of a policy's signals may be examples, since each phrase is compared with"
    " all others: join some of them, or use other kinds",
    holds=lambda signals: sum(signal.examples is not None for signal in signals) <= MAX_EXAMPLES_SIGNALS,
)

Signals = Annotated[tuple[Signal, ...], Field(max_length=32), ListMap("name"), FEW_EXAMPLES]


class SignalFigures(StatusObject):
    """How well a signal that is known by examples can be told."""

    name: Annotated[str, Field(max_length=63)]
    """The signal's name."""
    phrases: Annotated[int, Field(ge=0)] = 0
    """How many phrases it was found with."""
    accuracy: Annotated[str, Field(max_length=16, pattern=_NUMBER)] = "0"
    """How well its phrases are told from others when each is left out of the fit, as text; 0.50 is guessing."""
    threshold: Annotated[str, Field(max_length=16, pattern=_NUMBER)] = "0"
    """The score that a prompt must reach, as text."""


SignalsFigures = Annotated[tuple[SignalFigures, ...], Field(max_length=MAX_EXAMPLES_SIGNALS), ListMap("name")]
