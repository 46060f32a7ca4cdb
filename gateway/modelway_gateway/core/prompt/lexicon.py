"""Looks the words of a text up, all at once: what the model knows of each, as one row of numbers.

The rule: the rows are those of `words` and `word_ids`, which training reads by; only the way there is shorter. Nothing
of a text is kept: a word that the vocabulary lacks is worked out anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

import numpy as np

from modelway_gateway.core.prompt.features import Floats, unknown_id
from modelway_gateway.core.prompt.language import FUNCTION_WORDS
from modelway_gateway.core.prompt.tokens import TokenEstimate
from modelway_gateway.core.prompt.words import cut, lowered

ID: Final = 0
"""Where in a row the word's number stands; exact, being far below 2^24."""
SCALE: Final = 1
"""What its row in the table of word vectors is multiplied by; 0 beyond the vocabulary."""
KNOWN: Final = 2
"""1 for words of the vocabulary."""
FUNCTION: Final = 3
"""1 for the words that hold English sentences together."""
TOKENS: Final = 4
"""What it adds to the estimate of tokens."""
SIGN: Final = 5
"""1 for signs of the vocabulary: after another one they are less of a token."""
FIELDS: Final = 6

_ROW: Final = Struct(f"{FIELDS}f")
_LINE_BREAK: Final = "N"
"""Stands for a line break once a text is in lower case."""
_APART: Final = tuple((sign, f" {sign} ") for sign in ",.'-\"():?")
"""The most frequent signs: with spaces around them, what is left between spaces is mostly a word of the vocabulary."""


class Lexicon:
    """A vocabulary with what a model knows of its words."""

    __slots__ = ("_row",)

    def __init__(self, vocabulary: Sequence[str], scales: Floats, estimate: TokenEstimate) -> None:
        rows = _Rows(len(vocabulary), estimate)
        fields = np.ones((len(vocabulary), FIELDS), dtype=np.float32)
        fields[:, ID] = np.arange(len(vocabulary))
        fields[:, SCALE] = scales
        fields[:, FUNCTION] = [*map(FUNCTION_WORDS.__contains__, vocabulary)]
        fields[:, TOKENS], fields[:, SIGN] = estimate.values, estimate.signs
        packed = fields.tobytes()
        rows.update(
            zip(vocabulary, (packed[at : at + _ROW.size] for at in range(0, len(packed), _ROW.size)), strict=True)
        )
        rows[_LINE_BREAK] = rows["\n"]
        self._row = rows.__getitem__

    def rows(self, text: str) -> Floats:
        """A row for each word of a window, in order."""
        spaced = lowered(text).replace("\n", f" {_LINE_BREAK} ")
        for sign, apart in _APART:
            spaced = spaced.replace(sign, apart)
        packed = b"".join(map(self._row, spaced.split()))
        return np.frombuffer(packed, dtype=np.float32).reshape(-1, FIELDS)


class _Rows(dict[str, bytes]):
    """The rows of a vocabulary, packed. What stands between spaces and is no word of it is cut into words first."""

    def __init__(self, known: int, estimate: TokenEstimate) -> None:
        super().__init__()
        self._known = known
        self._estimate = estimate

    def __missing__(self, piece: str) -> bytes:
        return b"".join([self.get(word) or self._unknown(word) for word in cut(piece)])

    def _unknown(self, word: str) -> bytes:
        return _ROW.pack(self._known + unknown_id(word), 0.0, 0.0, 0.0, self._estimate.of_unknown(word), 0.0)
