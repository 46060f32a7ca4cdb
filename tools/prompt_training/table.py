"""The table of word vectors: the teacher's of single words, moved until sums of them say what it says of texts.

The rule: a word that no text holds stays where the teacher put it; ridge regression moves the others no further than
needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse

from prompt_training.heads import cut

Floats = npt.NDArray[np.float32]
WIDTH = 256
COMMON = 1e-3
"""A word of this share of all words counts half: the more frequent a word, the less it says."""
HOLD = 3.0
"""How strongly a word is held where the teacher put it."""
ITERATIONS = 12


@dataclass(frozen=True)
class Table:
    """A row for each word, quantised to int8 with a scale of its own."""

    rows: npt.NDArray[np.int8]
    scales: Floats


def counts(texts: Sequence[str], vocabulary: dict[str, int]) -> scipy.sparse.csr_matrix:
    """How often each word of the vocabulary stands in each text."""
    places: list[int] = []
    numbers: list[int] = []
    ends = [0]
    for text in texts:
        found = Counter(at for at in map(vocabulary.get, cut(text)) if at is not None)
        places.extend(found)
        numbers.extend(found.values())
        ends.append(len(places))
    return scipy.sparse.csr_matrix(
        (np.array(numbers, dtype=np.float32), np.array(places), ends), shape=(len(texts), len(vocabulary))
    )


def train(texts: Sequence[str], text_vectors: Floats, word_vectors: Floats, vocabulary: dict[str, int]) -> Table:
    """Train the table on the teacher's vectors of texts and of words."""
    middle = text_vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(np.cov((text_vectors - middle).T))
    basis = axes[:WIDTH].T.astype(np.float32)
    wanted = _unit((text_vectors - middle) @ basis)
    held = counts(texts, vocabulary)
    totals = np.asarray(held.sum(axis=0)).ravel()
    share = (totals + 1) / (totals.sum() + len(totals))
    start = (
        _unit((word_vectors - word_vectors.mean(axis=0)) @ basis)
        * (COMMON / (COMMON + share)).astype(np.float32)[:, None]
    )
    return _quantised(_solve(held, wanted, start))


def _solve(held: scipy.sparse.csr_matrix, wanted: Floats, start: Floats) -> Floats:
    """Conjugate gradients on the normal equations, all columns at once."""
    lengths = np.linalg.norm(held @ start, axis=1) + 1e-3
    inputs = (scipy.sparse.diags((1 / lengths).astype(np.float32)) @ held).tocsr()
    turned = inputs.T.tocsr()
    rows = start.copy()
    residual = turned @ (wanted - inputs @ rows)
    direction = residual.copy()
    size = (residual * residual).sum(axis=0)
    for _ in range(ITERATIONS):
        image = turned @ (inputs @ direction) + HOLD * direction
        step = size / ((direction * image).sum(axis=0) + 1e-12)
        rows += step * direction
        residual -= step * image
        new = (residual * residual).sum(axis=0)
        direction = residual + (new / (size + 1e-12)) * direction
        size = new
    return rows


def _unit(rows: Floats) -> Floats:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)


def _quantised(rows: Floats) -> Table:
    # Scales are kept as half floats in the file: what is rounded there is rounded here.
    scales = np.maximum(np.abs(rows).max(axis=1) / 127, 1e-6).astype(np.float16).astype(np.float32)
    scales = np.maximum(scales, np.float32(1e-6))
    return Table(np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8), scales)
