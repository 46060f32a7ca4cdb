"""How many tokens a text is, estimated from its words, and how long an answer it asks for.

The rule: an estimate costs no tokenizer. Words of the vocabulary know their count, the rest is reckoned by letters,
digit triples and signs, with coefficients fitted against exact counts when the model was trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import mul
from typing import Final

import numpy as np
import numpy.typing as npt

from modelway_contract.prompt_labels import ExpectedOutput, Task
from modelway_gateway.core.prompt.features import Ids

Counts = npt.NDArray[np.float64]
KINDS: Final = 9
"""Words of the vocabulary (their own counts), words beyond it, letters of those, letters beyond ASCII and beyond Latin,
digit triples, signs, signs that follow a sign, line breaks."""
_SIGN: Final = 6
_LATIN_END: Final = "\u024f"


def kinds_of(word: str, own: int) -> list[float]:
    """What one word adds; `own` is its exact count, or 0 beyond the vocabulary."""
    counts = [0.0] * KINDS
    if own:
        counts[0] = own
    elif word[0] == "0":
        counts[5] = (len(word) + 2) // 3
    elif word == "\n":
        counts[8] = 1
    elif not word[0].isalpha():
        counts[_SIGN] = 1
    elif word.isascii():
        counts[1], counts[2] = 1, len(word)
    elif max(word) <= _LATIN_END:
        counts[3] = len(word)
    else:
        counts[4] = len(word)
    return counts


def kinds_table(words: Iterable[str], own: Iterable[int]) -> Counts:
    """What each word of a vocabulary adds, a row each."""
    return np.array([kinds_of(word, count) for word, count in zip(words, own, strict=True)], dtype=np.float64)


def count_kinds(words: Sequence[str], ids: Ids, table: Counts) -> Counts:
    """Count what a text is made of. Words beyond the table are looked at one by one; signs after a sign count apart."""
    known = ids < len(table)
    rows = table[ids[known]]
    counts: Counts = rows.sum(axis=0)
    signs = np.zeros(len(ids))
    signs[known] = rows[:, _SIGN]
    for at in np.flatnonzero(~known).tolist():
        counts += kinds_of(words[at], 0)
    following = float(signs[1:] @ signs[:-1])
    counts[_SIGN] -= following
    counts[_SIGN + 1] += following
    return counts


class TokenEstimate:
    """The same count, weighed: each word of the vocabulary is worth a number, so a text is the sum of its words."""

    __slots__ = ("_following", "_signs", "_values", "_weights")

    def __init__(self, table: Counts, weights: Counts) -> None:
        self._values = np.append(table @ weights, 0.0).astype(np.float32)
        self._signs = np.append(table[:, _SIGN], 0.0).astype(np.float32)
        self._weights = weights.tolist()
        self._following = float(weights[_SIGN + 1] - weights[_SIGN])

    def of(self, words: Sequence[str], ids: Ids) -> float:
        """Estimate a text; ids beyond the vocabulary are looked at one by one."""
        most = len(self._values) - 1
        known = np.minimum(ids, most)
        signs = self._signs.take(known)
        tokens = float(self._values.take(known).sum()) + self._following * float(signs[1:] @ signs[:-1])
        for at in (known == most).nonzero()[0].tolist():
            tokens += sum(map(mul, self._weights, kinds_of(words[at], 0)))
        return tokens


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
