"""From words to numbers: ids, hashed n-grams, pooled rows of the table, and the shape of a text.

The rule: everything here is a function of the words alone, and the same in training and in serving.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from modelway_gateway.core.prompt.words import MAX_WORD_CHARS

Ids = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]

BUCKETS: Final = 1 << 16
UNKNOWN_IDS: Final = 1 << 13
EDGE_WORDS: Final = 12
"""How many words at either end are marked as an end of the text, where instructions stand."""
FIELD_WORDS: Final = 24
"""How many words at either end are pooled apart from the whole."""
SHAPE: Final = 2
"""Numbers in the shape of a text."""
_FACTORS: Final = np.array(
    [[0x9E3779B1], [0x85EBCA6B], [0xC2B2AE35], [0x27D4EB2F], [0x27D4EB2F], [0x165667B1]], dtype=np.uint32
)
"""What a word's number is multiplied by: alone, left and right of another, left of another at the beginning, among the
first, among the last."""
_MARKS: Final = np.array([[0], [0], [0], [0], [1], [2]], dtype=np.uint32)
"""What is added to it."""
_SHIFT: Final = np.uint32(16)
_LEAST_LENGTH: Final = np.float32(1e-6)


def word_ids(words: Sequence[str], vocabulary: Mapping[str, int]) -> Ids:
    """Number the words: by the vocabulary, or by a hash above it."""
    ids = [*map(vocabulary.get, words)]
    if None in ids:
        known = len(vocabulary)
        ids = [known + unknown_id(word) if found is None else found for found, word in zip(ids, words, strict=True)]
    return np.array(ids, dtype=np.uint32)


def unknown_id(word: str) -> int:
    """How far above the vocabulary a word is numbered that it lacks."""
    return zlib.crc32(word[:MAX_WORD_CHARS].encode("utf-8", "surrogatepass")) % UNKNOWN_IDS


def buckets(ids: Ids) -> tuple[Ids, Floats]:
    """The hashed features of a text and their weights: words, neighbours, and the words at either end, marked."""
    count = len(ids)
    edge = min(count, EDGE_WORDS)
    edge_pairs = max(edge - 1, 0)
    turned = _FACTORS * ids
    turned += _MARKS
    right = turned[2, 1:]
    made = np.concatenate(
        (
            turned[0],
            turned[1, :-1] ^ right,
            turned[4, :edge],
            turned[3, :edge_pairs] ^ right[:edge_pairs],
            turned[5, count - edge :],
        )
    )
    made >>= _SHIFT
    return made, _weights(count)


@lru_cache(maxsize=256)
def _weights(count: int) -> Floats:
    """By the number of words: each group of features weighs as much as its members are many, to the power of -1/2."""
    edge = min(count, EDGE_WORDS)
    sizes = (count, max(count - 1, 0), edge, max(edge - 1, 0), edge)
    weights = np.repeat([max(size, 1) ** -0.5 for size in sizes], sizes).astype(np.float32)
    weights.flags.writeable = False
    return weights


def pool(rows: npt.NDArray[np.int8], scales: Floats, into: Floats) -> None:
    """Pool the rows of a text over the whole, its head and its tail, each to length one, or zero, side by side."""
    raw = rows.astype(np.float32)
    fields = into.reshape(3, raw.shape[1])
    np.dot(scales, raw, out=fields[0])
    np.dot(scales[:FIELD_WORDS], raw[:FIELD_WORDS], out=fields[1])
    np.dot(scales[-FIELD_WORDS:], raw[-FIELD_WORDS:], out=fields[2])
    lengths = np.sqrt(np.einsum("ij,ij->i", fields, fields))
    fields /= np.maximum(lengths, _LEAST_LENGTH)[:, None]


def shape(*, characters: int, words: int) -> tuple[float, float]:
    """How long a text is, on a scale of ratios."""
    return math.log1p(characters / 20), math.log1p(words)
