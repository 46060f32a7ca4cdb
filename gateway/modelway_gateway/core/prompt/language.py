"""In which language a text is written: plain English is told by its own words, the rest by lid.176.

The rule: unknown is an answer. Where no language is likely enough, every signal that depends on one abstains.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

UNKNOWN: Final = "unknown"
FIRST_WORDS: Final = 60
"""How many words are asked whether they are English."""
READ_CHARS: Final = 300
"""How much of a text lid.176 is shown: its cost grows with that, its verdict hardly changes."""
LEAST: Final = 0.25
"""Below this probability the language is unknown."""
ENGLISH: Final = "en"
ENGLISH_SHARE: Final = 0.8
"""The share of known words from which a text with enough of English's function words is English at once."""
FUNCTION_WORDS: Final = frozenset(
    """
    the and what how you with this that are which write from by give your would should can could does did who when where
    why is of to it be have has not his her they their there if then than into about between please my we was were been
    """.split()  # noqa: SIM905 - fifty words, to be read as words
)
_NO_LETTERS: Final = re.compile(r"[\W\d_]+")
_THREE_LETTERS: Final = {
    "ceb": UNKNOWN,
    "arz": "ar",
    "azb": "az",
    "ckb": "ku",
    "pnb": "pa",
    "yue": "zh",
    "wuu": "zh",
    "nds": UNKNOWN,
    "als": "de",
    "bar": "de",
}


class Identifier(Protocol):
    """What lid.176 offers: labels, best first, with their probabilities."""

    def predict(self, text: str, k: int = 1) -> tuple[Sequence[str], Sequence[float]]:
        """Name the `k` most likely languages of one line."""


@dataclass(frozen=True, slots=True)
class Language:
    """ISO 639-1, or unknown, and how sure that is."""

    code: str
    p: float

    @property
    def known(self) -> bool:
        return self.code != UNKNOWN


def is_plain_english(*, known_share: float, words: int, function_words: float) -> bool:
    """Whether the words themselves say English: nearly all are known, and enough of the first hold sentences together.

    `words` counts those first ones, at most `FIRST_WORDS`.
    """
    return known_share >= ENGLISH_SHARE and function_words >= 2 and function_words >= 0.12 * words


def identify(text: str, identifier: Identifier) -> Language:
    """Ask lid.176 about the first letters of a text. A text without letters has no language."""
    line = (
        text[: READ_CHARS * 2].encode("utf-8", "replace").decode().replace("\n", " ").replace("\x00", " ")[:READ_CHARS]
    )
    if not _NO_LETTERS.sub("", line):
        return Language(UNKNOWN, 0.0)
    labels, probabilities = identifier.predict(line, k=1)
    if not labels:
        return Language(UNKNOWN, 0.0)
    code = labels[0].removeprefix("__label__")
    code = _THREE_LETTERS.get(code, code)
    p = float(np.clip(probabilities[0], 0.0, 1.0))
    if p < LEAST or len(code) != 2:
        return Language(UNKNOWN, p)
    return Language(code, p)
