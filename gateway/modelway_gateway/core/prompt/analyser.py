"""Reads a prompt: each signal is computed when it is first asked for, at most once, from one cut into words.

The rule: a text that says nothing gets no label instead of a guess. In an unknown language there is no task and no
domain; and what is said comes with the probability that it is right, measured on prompts of sources that were not
trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Final, Generic, NamedTuple, TypeVar

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


class Answer(NamedTuple, Generic[LabelT]):
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


class _Words(NamedTuple):
    """The words of a text as the model knows them."""

    window: str
    rows: Floats
    ids: features.Ids
    number: int
    known_share: float
    function_words: float
    """Among the first."""
    tokens: float


class Reading:
    """One text, and what has been asked about it so far: what has been found is kept in the attributes below."""

    __slots__ = ("_columns", "_dense", "_domain", "_identifier", "_language", "_model", "_task", "_text", "_words")

    def __init__(self, text: str, model: PromptModel, identifier: Identifier) -> None:
        self._text = text
        self._model = model
        self._identifier = identifier
        self._words: _Words | None = None
        self._dense: Floats | None = None
        self._columns: tuple[list[float], list[float], list[float]] | None = None
        self._language: Language | None = None
        self._task: tuple[Answer[Task] | None] | None = None
        self._domain: tuple[Answer[Domain] | None] | None = None

    @property
    def task(self) -> Answer[Task] | None:
        """What the text asks for."""
        if self._task is None:
            self._task = (self._answer(TASKS, _TASK_COLUMNS, self._model.confidence[0]),)
        return self._task[0]

    @property
    def domain(self) -> Answer[Domain] | None:
        """What the text is about."""
        if self._domain is None:
            self._domain = (self._answer(DOMAINS, _DOMAIN_COLUMNS, self._model.confidence[1]),)
        return self._domain[0]

    @property
    def difficulty(self) -> float:
        """The probability that a cheap model fails, 0 to 1."""
        odds = self._said()[2][DIFFICULTY_COLUMN]
        return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))

    @property
    def language(self) -> Language:
        """In which language the text is written."""
        if self._language is None:
            self._language = self._told(self._looked_up())
        return self._language

    @property
    def tokens(self) -> int:
        """An estimate of the text's tokens."""
        found = self._looked_up()
        in_window = self._model.token_estimate.of_text(found.tokens, found.rows[:, SIGN])
        return round(in_window * len(self._text) / max(len(found.window), 1))

    @property
    def output(self) -> ExpectedOutput:
        """How long an answer the text asks for."""
        answer = self.task
        return expected_output(self._looked_up().window, None if answer is None else answer.label, self.tokens)

    @property
    def vector(self) -> Floats:
        """Where the text stands in the space in which own categories are fitted."""
        return self._pooled()[: self._model.table.shape[1]]

    def _looked_up(self) -> _Words:
        if self._words is None:
            text = window(self._text)
            rows = self._model.lexicon.rows(text)
            count = len(rows)
            every, first = (_ALL_AND_FIRST[:, :count] @ rows).tolist()
            self._words = _Words(
                window=text,
                rows=rows,
                ids=rows[:, ID].astype(np.uint32),
                number=count,
                known_share=every[KNOWN] / max(count, 1),
                function_words=first[FUNCTION],
                tokens=every[TOKENS],
            )
        return self._words

    def _told(self, found: _Words) -> Language:
        if is_plain_english(
            known_share=found.known_share,
            words=min(found.number, FIRST_WORDS),
            function_words=found.function_words,
        ):
            return _PLAIN_ENGLISH
        language = identify(found.window, self._identifier)
        unsure = language.code == UNKNOWN and language.p < LEAST
        if unsure and found.known_share >= _MOSTLY_KNOWN and any(map(str.isalpha, words(found.window))):
            return Language(ENGLISH, found.known_share / 2)
        return language

    def _pooled(self) -> Floats:
        """What the second head reads."""
        if self._dense is None:
            model, found = self._model, self._looked_up()
            made = np.empty(len(model.dense), dtype=np.float32)
            # Words beyond the vocabulary are clipped to the row of zeros behind it.
            rows = model.table.take(found.ids, axis=0, mode="clip")
            features.pool(rows, found.rows[:, SCALE].copy(), made[: -features.SHAPE])
            shape = features.shape(characters=len(found.window), words=found.number)
            # One by one: numpy takes longer for a tuple than for all of its numbers.
            for at, (own, middle, spread) in enumerate(zip(shape, *model.shape_scale, strict=True), -features.SHAPE):
                made[at] = (own - middle) * spread
            self._dense = made
        return self._dense

    def _said(self) -> tuple[list[float], list[float], list[float]]:
        """What the two heads say and what they say together, by column: logarithms of shares, but for a constant."""
        if self._columns is None:
            model = self._model
            places, weights = features.buckets(self._looked_up().ids)
            one = (weights @ model.sparse.take(places, axis=0, mode="clip").astype(np.float32))[:COLUMNS]
            one *= model.sparse_scale
            one += model.sparse_bias
            other = self._pooled() @ model.dense
            other += model.dense_bias
            both = other - one
            both *= model.mix
            both += one
            self._columns = one.tolist(), other.tolist(), both.tolist()
        return self._columns

    def _answer(self, labels: tuple[LabelT, ...], columns: slice, confidence: Sequence[float]) -> Answer[LabelT] | None:
        found, language = self._looked_up(), self.language
        if not found.number or not language.known:
            return None
        one, other, mixed = [head[columns] for head in self._said()]
        winner = max(mixed)
        exp = math.exp
        terms = confidence_terms(
            winner=-math.log(sum([exp(score - winner) for score in mixed])),
            agree=one.index(max(one)) == other.index(max(other)),
            known_share=found.known_share,
            words=found.number,
        )
        odds = sum(map(mul, confidence, terms))
        p = 1 / (1 + exp(-min(max(odds, -30.0), 30.0)))
        if language.code != ENGLISH:
            # The labels were learned from English. Elsewhere few pairs of neighbours are known on both sides: the
            # square of the share of known words says how many, and that is what an answer is worth.
            p *= found.known_share**2
        return Answer(labels[mixed.index(winner)], p)


_PLAIN_ENGLISH: Final = Language(ENGLISH, 1.0)
_ALL_AND_FIRST: Final = np.ones((2, MOST_WORDS), dtype=np.float32)
_ALL_AND_FIRST[1, FIRST_WORDS:] = 0.0
_MOSTLY_KNOWN: Final = 0.6
"""The share of English words from which a text of unlikely language (a formula, a list of terms) is read as English."""


def confidence_terms(*, winner: float, agree: bool, known_share: float, words: int) -> tuple[float, ...]:
    """What a winner's honesty is judged by; `winner` is the logarithm of its probability."""
    log_odds = winner - math.log(max(-math.expm1(winner), 1e-6))
    return 1.0, min(log_odds, 12.0), float(agree), known_share, math.log1p(words)
