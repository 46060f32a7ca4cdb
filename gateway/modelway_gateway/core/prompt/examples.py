"""A policy's own categories, fitted from a few phrases each: nearness to their middle, and planes between them.

The rule: fitting is deterministic and closed (no draws, no stopping rule by time), so every replica fits the same; the
threshold and the figure come from phrases left out one at a time, never from those that were fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from modelway_gateway.core.prompt.features import Floats

RIDGE: Final = 0.3
"""How much the regression is held back: the phrases are few, the dimensions many."""
NEAREST: Final = 0.5
"""How much the nearest phrase counts beside the middle of all."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Categories, ready to be asked, and how well they part their own phrases."""

    names: tuple[str, ...]
    threshold: float
    """A score below it is none of them."""
    accuracy: float
    """Share of phrases that fall into their own category when they are left out of the fit."""
    phrases: Floats
    owner: npt.NDArray[np.intp]
    centroids: Floats
    planes: Floats

    @property
    def thresholds(self) -> tuple[float, ...]:
        """By category."""
        return (self.threshold,) * len(self.names)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """By category."""
        return (self.accuracy,) * len(self.names)

    def scores(self, vector: Floats) -> Floats:
        """Say for each category how near a text is to it."""
        found: Floats = _scores(vector[None], self.phrases, self.owner, self.centroids, self.planes)[0]
        return found

    def best(self, vector: Floats) -> tuple[str, float]:
        """Name the nearest category and its score; whether that is near enough, `threshold` says."""
        scores = self.scores(vector)
        at = int(scores.argmax())
        return self.names[at], float(scores[at])


def fit(categories: Mapping[str, Sequence[Floats]]) -> Fit:
    """Fit categories from the vectors of their phrases; each needs two phrases at least."""
    names = tuple(categories)
    few = [name for name in names if len(categories[name]) < 2]
    if few:
        raise ValueError(f"category {few[0]!r} has fewer than two phrases")
    if not names:
        raise ValueError("no categories")
    vectors = np.array([vector for name in names for vector in categories[name]], dtype=np.float32)
    owner = np.array([at for at, name in enumerate(names) for _ in categories[name]], dtype=np.intp)
    left_out = _left_out_scores(vectors, owner, len(names))
    own = left_out[np.arange(len(owner)), owner]
    return Fit(
        names=names,
        threshold=float(np.quantile(own, 0.1)),
        accuracy=float((left_out.argmax(axis=1) == owner).mean()),
        phrases=vectors,
        owner=owner,
        centroids=_centroids(vectors, owner, len(names)),
        planes=_planes(vectors, owner, len(names)),
    )


def _scores(vectors: Floats, phrases: Floats, owner: npt.NDArray[np.intp], centroids: Floats, planes: Floats) -> Floats:
    near = vectors @ phrases.T
    nearest = np.stack([near[:, owner == at].max(axis=1) for at in range(len(centroids))], axis=1)
    extended = np.concatenate([vectors, np.ones((len(vectors), 1), dtype=np.float32)], axis=1)
    parted = extended @ planes
    scores: Floats = (1 - NEAREST) * (vectors @ centroids.T) + NEAREST * nearest + 0.5 * parted
    return scores


def _centroids(vectors: Floats, owner: npt.NDArray[np.intp], count: int) -> Floats:
    middles = np.array([vectors[owner == at].mean(axis=0) for at in range(count)], dtype=np.float32)
    middles /= np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-6).astype(np.float32)
    return middles


def _planes(vectors: Floats, owner: npt.NDArray[np.intp], count: int) -> Floats:
    """One ridge regression a category, all at once, by the phrases' products: they are fewer than dimensions."""
    targets = np.where(owner[:, None] == np.arange(count), 1.0, 0.0)
    middle = targets.mean(axis=0)
    gram = (vectors @ vectors.T).astype(np.float64)
    solved = np.linalg.solve(gram + RIDGE * np.eye(len(vectors)), targets - middle)
    planes = np.concatenate([vectors.T @ solved, middle[None]], axis=0)
    return planes.astype(np.float32)


def _left_out_scores(vectors: Floats, owner: npt.NDArray[np.intp], count: int) -> Floats:
    rows = []
    for at in range(len(vectors)):
        kept = np.arange(len(vectors)) != at
        rest, rest_owner = vectors[kept], owner[kept]
        rows.append(
            _scores(
                vectors[at : at + 1],
                rest,
                rest_owner,
                _centroids(rest, rest_owner, count),
                _planes(rest, rest_owner, count),
            )[0]
        )
    return np.array(rows, dtype=np.float32)
