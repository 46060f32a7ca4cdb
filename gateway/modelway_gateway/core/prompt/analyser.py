"""Reads a prompt: each signal is computed when it is first asked for, at most once, from one cut into words.

The rule: a text that says nothing gets no label instead of a guess. In an unknown language there is no task and no
domain; and what is said comes with the probability that it is right, measured on prompts of sources that were not
trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final, Generic, TypeVar, overload

import numpy as np

from modelway_contract.prompt_labels import Domain, ExpectedOutput, Task
from modelway_gateway.core.prompt import examples, features
from modelway_gateway.core.prompt.features import Floats
from modelway_gateway.core.prompt.language import (
    ENGLISH,
    FIRST_WORDS,
    LEAST,
    UNKNOWN,
    Identifier,
    Language,
    identify,
    is_plain_english,
)
from modelway_gateway.core.prompt.lexicon import FUNCTION, ID, KNOWN, SCALE, SIGN, TOKENS
from modelway_gateway.core.prompt.model import COLUMNS, DIFFICULTY_COLUMN, DOMAINS, TASKS, PromptModel
from modelway_gateway.core.prompt.tokens import expected_output
from modelway_gateway.core.prompt.words import MOST_WORDS, window, words

_TASK_COLUMNS: Final = slice(0, len(TASKS))
_DOMAIN_COLUMNS: Final = slice(len(TASKS), len(TASKS) + len(DOMAINS))

LabelT = TypeVar("LabelT", Task, Domain)


@dataclass(frozen=True, slots=True)
class Answer(Generic[LabelT]):
    """A label and the probability that it is right."""

    label: LabelT
    p: float


class Analyser:
    """A model, a language identifier and a background for own categories, shared by all requests."""

    __slots__ = ("_background", "_background_vectors", "_identifier", "_model")

    def __init__(self, model: PromptModel, identifier: Identifier, *, background: Sequence[str]) -> None:
        self._model = model
        self._identifier = identifier
        self._background = tuple(background)
        self._background_vectors: Floats | None = None

    def read(self, text: str) -> Reading:
        """Begin to read a text; nothing is computed yet."""
        return Reading(text, self._model, self._identifier)

    def fit(self, categories: Mapping[str, Sequence[str]]) -> examples.Fit:
        """Fit own categories from their phrases."""
        vectors = {name: [self.read(phrase).vector for phrase in phrases] for name, phrases in categories.items()}
        return examples.fit(vectors, self.background)

    @property
    def background(self) -> Floats:
        """Where everyday prompts stand: what own categories are parted from. Computed when the first fit asks."""
        if self._background_vectors is None:
            self._background_vectors = np.array([self.read(text).vector for text in self._background])
        return self._background_vectors


_OwnerT = TypeVar("_OwnerT")
_ValueT = TypeVar("_ValueT")


class _once(Generic[_OwnerT, _ValueT]):  # noqa: N801 - reads like property
    """A property that is computed once: `cached_property` without the lock that it takes on Python 3.11."""

    def __init__(self, compute: Callable[[_OwnerT], _ValueT]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, owner: None, kind: type[_OwnerT]) -> _once[_OwnerT, _ValueT]: ...
    @overload
    def __get__(self, owner: _OwnerT, kind: type[_OwnerT]) -> _ValueT: ...
    def __get__(self, owner: _OwnerT | None, kind: type[_OwnerT]) -> _ValueT | _once[_OwnerT, _ValueT]:
        if owner is None:
            return self
        value = owner.__dict__[self._name] = self._compute(owner)
        return value


class Reading:
    """One text, and what has been asked about it so far."""

    def __init__(self, text: str, model: PromptModel, identifier: Identifier) -> None:
        self._text = text
        self._model = model
        self._identifier = identifier

    @_once
    def task(self) -> Answer[Task] | None:
        """What the text asks for."""
        return self._answer(TASKS, _TASK_COLUMNS, self._model.confidence[0])

    @_once
    def domain(self) -> Answer[Domain] | None:
        """What the text is about."""
        return self._answer(DOMAINS, _DOMAIN_COLUMNS, self._model.confidence[1])

    @_once
    def difficulty(self) -> float:
        """The probability that a cheap model fails, 0 to 1."""
        odds = self._columns[2][DIFFICULTY_COLUMN]
        return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))

    @_once
    def language(self) -> Language:
        """In which language the text is written."""
        held = self._sums[1][FUNCTION]
        if is_plain_english(
            known_share=self._known_share, words=min(len(self._rows), FIRST_WORDS), function_words=held
        ):
            return _PLAIN_ENGLISH
        found = identify(self._window, self._identifier)
        unsure = found.code == UNKNOWN and found.p < LEAST
        if unsure and self._known_share >= _MOSTLY_KNOWN and any(map(str.isalpha, words(self._window))):
            return Language(ENGLISH, self._known_share / 2)
        return found

    @_once
    def tokens(self) -> int:
        """An estimate of the text's tokens."""
        in_window = self._model.token_estimate.of_text(self._sums[0][TOKENS], self._rows[:, SIGN])
        return round(in_window * len(self._text) / max(len(self._window), 1)) if self._text else 0

    @_once
    def output(self) -> ExpectedOutput:
        """How long an answer the text asks for."""
        answer = self.task
        return expected_output(self._window, None if answer is None else answer.label, self.tokens)

    @_once
    def vector(self) -> Floats:
        """Where the text stands in the space in which own categories are fitted."""
        return self._dense[: self._model.table.shape[1]]

    @_once
    def _window(self) -> str:
        return window(self._text)

    @_once
    def _rows(self) -> Floats:
        """What the model knows of each word."""
        return self._model.lexicon.rows(self._window)

    @_once
    def _sums(self) -> list[list[float]]:
        """What the rows add up to: all of them, and the first."""
        sums: list[list[float]] = (_ALL_AND_FIRST[:, : len(self._rows)] @ self._rows).tolist()
        return sums

    @_once
    def _ids(self) -> features.Ids:
        return self._rows[:, ID].astype(np.uint32)

    @_once
    def _known_share(self) -> float:
        return self._sums[0][KNOWN] / max(len(self._rows), 1)

    @_once
    def _dense(self) -> Floats:
        """What the second head reads."""
        model = self._model
        made = np.empty(len(model.dense), dtype=np.float32)
        # Words beyond the vocabulary are clipped to the row of zeros behind it.
        rows = model.table.take(self._ids, axis=0, mode="clip")
        features.pool(rows, self._rows[:, SCALE].copy(), made[: -features.SHAPE])
        shape = features.shape(characters=len(self._window), words=len(self._rows))
        made[-features.SHAPE :] = [
            (own - middle) * spread for own, middle, spread in zip(shape, *model.shape_scale, strict=True)
        ]
        return made

    @_once
    def _columns(self) -> tuple[list[float], list[float], list[float]]:
        """What the two heads say and what they say together, by column: logarithms of shares, but for a constant."""
        model = self._model
        places, weights = features.buckets(self._ids)
        one = (weights @ model.sparse.take(places, axis=0, mode="clip").astype(np.float32))[:COLUMNS]
        one *= model.sparse_scale
        one += model.sparse_bias
        other = self._dense @ model.dense
        other += model.dense_bias
        both = other - one
        both *= model.mix
        both += one
        return one.tolist(), other.tolist(), both.tolist()

    def _answer(self, labels: tuple[LabelT, ...], columns: slice, confidence: Sequence[float]) -> Answer[LabelT] | None:
        if not len(self._rows) or not self.language.known:
            return None
        one, other, mixed = [head[columns] for head in self._columns]
        winner = max(mixed)
        at = mixed.index(winner)
        exp = math.exp
        terms = confidence_terms(
            winner=-math.log(sum([exp(score - winner) for score in mixed])),
            agree=one.index(max(one)) == other.index(max(other)),
            known_share=self._known_share,
            words=len(self._rows),
        )
        odds = sum(map(mul, confidence, terms))
        p = 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))
        # The labels were learned from English. Elsewhere few pairs of neighbours are known on both sides: the square of
        # the share of known words says how many, and that is what an answer is worth.
        return Answer(labels[at], p if self.language.code == ENGLISH else p * self._known_share**2)


_PLAIN_ENGLISH: Final = Language(ENGLISH, 1.0)
_ALL_AND_FIRST: Final = np.ones((2, MOST_WORDS), dtype=np.float32)
_ALL_AND_FIRST[1, FIRST_WORDS:] = 0.0
_MOSTLY_KNOWN: Final = 0.6
"""The share of English words from which a text of unlikely language (a formula, a list of terms) is read as English."""


def confidence_terms(*, winner: float, agree: bool, known_share: float, words: int) -> tuple[float, ...]:
    """What a winner's honesty is judged by; `winner` is the logarithm of its probability."""
    log_odds = winner - math.log(max(-math.expm1(winner), 1e-6))
    return 1.0, min(log_odds, 12.0), float(agree), known_share, math.log1p(words)
