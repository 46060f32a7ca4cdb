"""How many tokens a text is, estimated from its words, and how long an answer it asks for.

The rule: an estimate costs no tokenizer. Words of the vocabulary know their count, the rest is reckoned by letters,
digit triples and signs, with coefficients fitted against exact counts when the model was trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from modelway_contract.prompt_labels import ExpectedOutput, Task
from modelway_gateway.core.prompt.features import Floats, Ids

Counts = npt.NDArray[np.float64]
KINDS: Final = 9
"""Words of the vocabulary (their own counts), words beyond it, letters of those, letters beyond ASCII and beyond Latin,
digit triples, signs, signs that follow a sign, line breaks."""
_SIGN: Final = 6
_LATIN_END: Final = "\u024f"


def kinds_of(word: str, own: int) -> tuple[tuple[int, float], ...]:
    """What one word adds, and to which kinds; `own` is its exact count, or 0 beyond the vocabulary."""
    if own:
        return ((0, own),)
    if word[0] == "0":
        return ((5, (len(word) + 2) // 3),)
    if word == "\n":
        return ((8, 1),)
    if not word[0].isalpha():
        return ((_SIGN, 1),)
    if word.isascii():
        return (1, 1), (2, len(word))
    return ((3 if max(word) <= _LATIN_END else 4, len(word)),)


def kinds_table(words: Iterable[str], own: Iterable[int]) -> Counts:
    """What each word of a vocabulary adds, a row each."""
    found = [kinds_of(word, count) for word, count in zip(words, own, strict=True)]
    made = np.zeros((len(found), KINDS))
    for row, kinds in enumerate(found):
        for kind, count in kinds:
            made[row, kind] = count
    return made


def count_kinds(words: Sequence[str], ids: Ids, table: Counts) -> Counts:
    """Count what a text is made of. Words beyond the table are looked at one by one; signs after a sign count apart."""
    known = ids < len(table)
    rows = table[ids[known]]
    counts: Counts = rows.sum(axis=0)
    signs = np.zeros(len(ids))
    signs[known] = rows[:, _SIGN]
    for at in np.flatnonzero(~known).tolist():
        for kind, count in kinds_of(words[at], 0):
            counts[kind] += count
    following = float(signs[1:] @ signs[:-1])
    counts[_SIGN] -= following
    counts[_SIGN + 1] += following
    return counts


class TokenEstimate:
    """The same count, weighed: a word is worth a number, so a text is the sum of its words and its pairs of signs."""

    __slots__ = ("_following", "_weights", "signs", "values")

    def __init__(self, table: Counts, weights: Counts) -> None:
        self.values = table @ weights
        """What each word of the vocabulary is worth."""
        self.signs = table[:, _SIGN]
        """1 for each word of the vocabulary that is a sign."""
        self._weights = weights.tolist()
        self._following = float(weights[_SIGN + 1] - weights[_SIGN])

    def of_unknown(self, word: str) -> float:
        """What a word beyond the vocabulary is worth. It never counts as a sign that another follows."""
        return float(sum([self._weights[kind] * count for kind, count in kinds_of(word, 0)]))

    def of_text(self, worth: float, signs: Floats) -> float:
        """Estimate a text of words that are worth so much together, by where signs stand in it."""
        return worth + self._following * float(signs[1:] @ signs[:-1])


_BY_TASK: Final = {
    Task.CODE: ExpectedOutput.MEDIUM,
    Task.MATH: ExpectedOutput.MEDIUM,
    Task.REASONING: ExpectedOutput.MEDIUM,
    Task.WRITING: ExpectedOutput.LONG,
    Task.ROLEPLAY: ExpectedOutput.MEDIUM,
    Task.SUMMARIZATION: ExpectedOutput.MEDIUM,
    Task.TRANSLATION: ExpectedOutput.MEDIUM,
    Task.EXTRACTION: ExpectedOutput.SHORT,
    Task.CLASSIFICATION: ExpectedOutput.SHORT,
    Task.REWRITE: ExpectedOutput.MEDIUM,
    Task.QA: ExpectedOutput.MEDIUM,
    Task.RAG_QA: ExpectedOutput.SHORT,
    Task.BRAINSTORM: ExpectedOutput.LONG,
    Task.CHAT: ExpectedOutput.SHORT,
}
_AS_LONG_AS_THE_TEXT: Final = (Task.TRANSLATION, Task.REWRITE)
_SHORT_TOKENS, _MEDIUM_TOKENS = 100, 500
_TOKENS_A_WORD: Final = 1.35
_WORDS_WANTED: Final = re.compile(r"\b(\d{1,5})[ -]words?\b", re.ASCII)
_BRIEF: Final = re.compile(
    r"\b(?:in one (?:word|sentence|line)|one-word|one-line|yes or no|true or false|briefly|be brief|keep it short"
    r"|in a (?:word|sentence|few words)|only the (?:answer|number|letter|name))\b"
)
_AT_LENGTH: Final = re.compile(
    r"\b(?:in detail|detailed|step[- ]by[- ]step|comprehensive|in[- ]depth|at length|thorough(?:ly)?|essay)\b"
)


def expected_output(text: str, task: Task | None, tokens: int) -> ExpectedOutput:
    """Guess the length of the answer: by what the text asks for in so many words, otherwise by its task."""
    lowered = text.lower()
    wanted = _WORDS_WANTED.findall(lowered)
    if wanted:
        return _by_tokens(int(wanted[-1]) * _TOKENS_A_WORD)
    if _BRIEF.search(lowered):
        return ExpectedOutput.SHORT
    if task in _AS_LONG_AS_THE_TEXT:
        return _by_tokens(tokens)
    if _AT_LENGTH.search(lowered):
        return ExpectedOutput.LONG
    return ExpectedOutput.MEDIUM if task is None else _BY_TASK[task]


def _by_tokens(tokens: float) -> ExpectedOutput:
    if tokens <= _SHORT_TOKENS:
        return ExpectedOutput.SHORT
    return ExpectedOutput.MEDIUM if tokens <= _MEDIUM_TOKENS else ExpectedOutput.LONG
