"""From words to numbers: ids, hashed n-grams, pooled rows of the table, and the shape of a text.

The rule: everything here is a function of the words alone, and the same in training and in serving.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from modelway_gateway.core.prompt.words import MAX_WORD_CHARS

Ids = npt.NDArray[np.uint32]
Buckets = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float32]

BUCKETS: Final = 1 << 16
UNKNOWN_IDS: Final = 1 << 13
EDGE_WORDS: Final = 12
"""How many words at either end are marked as an end of the text, where instructions stand."""
FIELD_WORDS: Final = 24
"""How many words at either end are pooled apart from the whole."""
SHAPE: Final = 2
"""Numbers in the shape of a text."""
_UNIGRAM, _BIGRAM_LEFT, _BIGRAM_RIGHT, _HEAD, _TAIL = (
    np.uint32(odd) for odd in (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F, 0x165667B1)
)
_SHIFT: Final = np.uint32(16)
_LEAST_LENGTH: Final = np.float32(1e-6)


def word_ids(words: Sequence[str], vocabulary: Mapping[str, int]) -> Ids:
    """Number the words: by the vocabulary, or by a hash above it."""
    ids = [*map(vocabulary.get, words)]
    if None in ids:
        known = len(vocabulary)
        ids = [known + _unknown(word) if found is None else found for found, word in zip(ids, words, strict=True)]
    return np.array(ids, dtype=np.uint32)


def _unknown(word: str) -> int:
    return zlib.crc32(word[:MAX_WORD_CHARS].encode("utf-8", "surrogatepass")) % UNKNOWN_IDS


def buckets(ids: Ids) -> tuple[Buckets, Floats]:
    """The hashed features of a text and their weights: words, neighbours, and the words at either end, marked."""
    count = len(ids)
    edge = min(count, EDGE_WORDS)
    pairs, edge_pairs = max(count - 1, 0), max(edge - 1, 0)
    made = np.empty(count + pairs + edge + edge_pairs + edge, dtype=np.uint32)
    weights = np.empty(len(made), dtype=np.float32)
    begin = 0
    for size in (count, pairs, edge, edge_pairs, edge):
        weights[begin : begin + size] = max(size, 1) ** -0.5
        begin += size
    right = ids[1:] * _BIGRAM_RIGHT
    np.multiply(ids, _UNIGRAM, out=made[:count])
    begin = count + pairs
    np.bitwise_xor(ids[:-1] * _BIGRAM_LEFT, right, out=made[count:begin])
    head = ids[:edge] * _HEAD
    np.add(head, np.uint32(1), out=made[begin : begin + edge])
    begin += edge
    np.bitwise_xor(head[:-1], right[:edge_pairs], out=made[begin : begin + edge_pairs])
    np.add(ids[count - edge :] * _TAIL, np.uint32(2), out=made[begin + edge_pairs :])
    return (made >> _SHIFT).astype(np.intp), weights


def pool(rows: npt.NDArray[np.int8], scales: Floats, into: Floats) -> None:
    """Pool the rows of a text over the whole, its head and its tail, each to length one, or zero, side by side."""
    raw = rows.astype(np.float32)
    fields = into.reshape(3, raw.shape[1])
    np.dot(scales, raw, out=fields[0])
    np.dot(scales[:FIELD_WORDS], raw[:FIELD_WORDS], out=fields[1])
    np.dot(scales[-FIELD_WORDS:], raw[-FIELD_WORDS:], out=fields[2])
    lengths = np.sqrt(np.einsum("ij,ij->i", fields, fields))
    fields /= np.maximum(lengths, _LEAST_LENGTH)[:, None]


def shape(text: str, words: Sequence[str]) -> tuple[float, float]:
    """How long a text is, in characters and in words, on a scale of ratios."""
    return math.log1p(len(text) / 20), math.log1p(len(words))
