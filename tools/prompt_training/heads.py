"""Linear heads: multinomial regressions fitted by L-BFGS, and how two of them are judged and joined.

The rule: no draws and no early stopping by time, so the same data gives the same weights on the same machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.sparse

from modelway_gateway.core.prompt import features
from modelway_gateway.core.prompt.words import window, words

Floats = npt.NDArray[np.float32]


def cut(text: str) -> list[str]:
    """The words of a text as they are served; an empty text is one line break."""
    return words(window(text)) or ["\n"]


def hashed(texts: Sequence[str], vocabulary: dict[str, int]) -> scipy.sparse.csr_matrix:
    """The first head's features: one row a text."""
    places, weights, ends = [], [], [0]
    for text in texts:
        at, weight = features.buckets(features.word_ids(cut(text), vocabulary))
        places.append(at)
        weights.append(weight)
        ends.append(ends[-1] + len(at))
    made = scipy.sparse.csr_matrix(
        (np.concatenate(weights), np.concatenate(places), ends), shape=(len(texts), features.BUCKETS)
    )
    made.sum_duplicates()
    return made


def dense(texts: Sequence[str], vocabulary: dict[str, int], table: npt.NDArray[np.int8], scales: Floats) -> Floats:
    """The second head's features: three pooled fields, the shape, raw, and the share of known words."""
    rows = np.concatenate([table, np.zeros((1, table.shape[1]), dtype=np.int8)])
    weights = np.append(scales, np.float32(0))
    wide = 3 * table.shape[1]
    made = np.zeros((len(texts), wide + features.SHAPE + 1), dtype=np.float32)
    for row, text in enumerate(texts):
        cut_text = cut(text)
        at = np.minimum(features.word_ids(cut_text, vocabulary), len(vocabulary))
        features.pool(rows[at], weights[at], made[row, :wide])
        made[row, wide:-1] = features.shape(characters=len(window(text)), words=len(cut_text))
        made[row, -1] = np.count_nonzero(at < len(vocabulary)) / len(at)
    return made


def log_softmax(scores: Floats) -> Floats:
    """Row by row."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def fit(
    inputs: Floats | scipy.sparse.csr_matrix,
    targets: Floats,
    weights: npt.NDArray[np.float64],
    *,
    ridge: float,
    iterations: int,
) -> tuple[Floats, Floats]:
    """Fit one regression to soft targets; returns weights and biases."""
    count, wide = inputs.shape[1], targets.shape[1]
    share = (weights / weights.sum()).astype(np.float32)[:, None]
    turned = inputs.T.tocsr() if scipy.sparse.issparse(inputs) else inputs.T

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        flat32 = flat.astype(np.float32)
        plane, bias = flat32[: count * wide].reshape(count, wide), flat32[count * wide :]
        log_p = log_softmax(inputs @ plane + bias)
        value = -float((share * targets * log_p).sum()) + ridge * float((plane * plane).sum()) / 2
        slope = share * (np.exp(log_p) - targets)
        gradient = np.concatenate([np.asarray(turned @ slope + ridge * plane).ravel(), slope.sum(axis=0)])
        return value, gradient.astype(np.float64)

    found = scipy.optimize.minimize(
        loss, np.zeros(count * wide + wide), jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxcor": 5}
    )
    flat = found.x.astype(np.float32)
    return flat[: count * wide].reshape(count, wide), flat[count * wide :]


def fit_odds(
    terms: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """A small logistic regression: the probability that a winner is right, from the terms of its confidence."""
    share = weights / weights.sum()

    def loss(plane: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        odds = terms @ plane
        value = float((share * np.logaddexp(0.0, np.where(right, -odds, odds))).sum()) + 1e-4 * float(plane @ plane)
        slope = share * (1 / (1 + np.exp(-odds)) - right)
        return value, terms.T @ slope + 2e-4 * plane

    return scipy.optimize.minimize(loss, np.zeros(terms.shape[1]), jac=True, method="L-BFGS-B").x
