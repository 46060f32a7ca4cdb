"""A policy's own categories, fitted from a few phrases each: nearness to their middle, and planes between them.

The rule: fitting is deterministic and closed (no draws, no stopping rule by time), so every replica fits the same; the
thresholds and the figures come from phrases left out one at a time, never from those that were fitted. What belongs to
no category is learned from a background of everyday prompts: that is what makes a single category of a few phrases
possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from modelway_gateway.core.prompt.features import Floats

Doubles = npt.NDArray[np.float64]
Owners = npt.NDArray[np.intp]

RIDGE: Final = 0.3
"""How much the regression is held back: the phrases are few, the dimensions many."""
BACKGROUND_WEIGHT: Final = 0.1
"""How much a prompt of the background counts beside a phrase: there are many of them, and they are nobody's enemy."""
MIDDLE, NEAREST, PLANE = 0.25, 0.25, 0.5
"""What a score is made of: likeness to the middle of a category's phrases, to the nearest one, and the regression.
They add up to 1, so scores lie between about 0 and 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Categories, ready to be asked, and how well they part their own phrases."""

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    """For each name the score below which a text is not of that category."""
    accuracies: tuple[float, ...]
    """For each name the mean of two shares: of its own phrases that are recognised when they are left out of the fit,
    and of all others that are not taken for its own. Half is what guessing gives."""
    accuracy: float
    """Share of all phrases whose nearest category is their own when they are left out of the fit."""
    rows: Floats
    """Every phrase, category after category; then for each category what its score reads off the vector itself."""
    begins: Owners
    """Where each category's phrases begin."""
    constants: Floats

    def scores(self, vector: Floats) -> Floats:
        """Say for each category how near a text is to it."""
        products = self.rows @ vector
        phrases = len(products) - len(self.names)
        nearest: Floats = np.maximum.reduceat(products[:phrases], self.begins)
        nearest *= np.float32(NEAREST)
        nearest += products[phrases:]
        nearest += self.constants
        return nearest

    def best(self, vector: Floats) -> tuple[str, float]:
        """Name the nearest category and its score; whether that is near enough, its threshold says."""
        scores = self.scores(vector)
        at = int(scores.argmax())
        return self.names[at], float(scores[at])


def fit(categories: Mapping[str, Sequence[Floats]], background: Floats) -> Fit:
    """Fit categories from the vectors of their phrases, two at least each, against vectors of no category."""
    names = tuple(categories)
    few = [name for name in names if len(categories[name]) < 2]
    if few:
        raise ValueError(f"category {few[0]!r} has fewer than two phrases")
    if not names:
        raise ValueError("no categories")
    if not len(background):
        raise ValueError("no background to part the categories from")
    phrases = np.array([vector for name in names for vector in categories[name]], dtype=np.float32)
    owner = np.array([at for at, name in enumerate(names) for _ in categories[name]], dtype=np.intp)
    regression = _Regression(phrases, owner, background, len(names))
    own, others = _left_out_scores(phrases, owner, background, regression)
    thresholds = tuple(
        _parting(own[owner == at, at], np.concatenate([own[owner != at, at], others[:, at]]))
        for at in range(len(names))
    )
    sums = _sums(phrases, owner, len(names))
    planes, constants = regression.planes()
    return Fit(
        names=names,
        thresholds=thresholds,
        accuracies=_accuracies(own, others, owner, np.array(thresholds)),
        accuracy=float((own.argmax(axis=1) == owner).mean()),
        rows=np.concatenate([phrases, (MIDDLE * _unit(sums) + PLANE * planes).astype(np.float32)]),
        begins=np.searchsorted(owner, np.arange(len(names))),
        constants=(PLANE * constants).astype(np.float32),
    )


class _Regression:
    """One weighted ridge regression a category, all at once.

    What each of them says of a vector that was left out follows from how much each vector speaks for itself: nothing is
    solved a second time.
    """

    def __init__(self, phrases: Floats, owner: Owners, background: Floats, count: int) -> None:
        self._inputs = np.concatenate([phrases, background])
        self._weights = np.repeat([1.0, BACKGROUND_WEIGHT], [len(phrases), len(background)])[:, None]
        self._targets = np.zeros((len(self._inputs), count))
        self._targets[np.arange(len(owner)), owner] = 1.0
        self._weighted = (self._inputs * self._weights).astype(np.float32)
        gram = (self._inputs.T @ self._weighted).astype(np.float64)
        gram[np.diag_indices(len(gram))] += RIDGE
        self._inverse: Doubles = np.linalg.inv(gram)

    def planes(self) -> tuple[Doubles, Doubles]:
        """The planes, a row for each category, and their constants."""
        middle = (self._weights * self._targets).sum(axis=0) / self._weights.sum()
        return ((self._targets - middle).T @ self._weighted) @ self._inverse, middle

    def left_out(self) -> Doubles:
        """What is said of each vector by the regression that never saw it."""
        weights, targets = self._weights, self._targets
        middles = ((weights * targets).sum(axis=0) - weights * targets) / (weights.sum() - weights)
        turned = self._inputs @ self._inverse
        itself = (turned * self._weighted).sum(axis=1, keepdims=True)
        said = turned @ (self._weighted.T @ targets) - turned @ self._weighted.sum(axis=0)[:, None] * middles
        left: Doubles = (said - itself * (targets - middles)) / (1 - itself) + middles
        return left


def _left_out_scores(
    phrases: Floats, owner: Owners, background: Floats, regression: _Regression
) -> tuple[Doubles, Doubles]:
    """The scores of each phrase and of each prompt of the background, by a fit without it."""
    count = int(owner[-1]) + 1
    parted = regression.left_out()
    sums = _sums(phrases, owner, count)
    middles = _unit(sums)
    each = np.arange(len(phrases))

    near = (phrases @ phrases.T).astype(np.float64)
    near[each, each] = -np.inf
    to_middle = phrases @ middles.T
    to_middle[each, owner] = (phrases * _unit(sums[owner] - phrases)).sum(axis=1)
    begins = np.searchsorted(owner, np.arange(count))

    own = MIDDLE * to_middle + NEAREST * np.maximum.reduceat(near, begins, axis=1) + PLANE * parted[: len(phrases)]
    nearest = np.maximum.reduceat(background @ phrases.T, begins, axis=1)
    others = MIDDLE * (background @ middles.T) + NEAREST * nearest + PLANE * parted[len(phrases) :]
    return own, others


def _sums(phrases: Floats, owner: Owners, count: int) -> Doubles:
    return np.array([phrases[owner == at].sum(axis=0, dtype=np.float64) for at in range(count)])


def _unit(rows: Doubles) -> Doubles:
    unit: Doubles = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return unit


def _parting(own: Doubles, others: Doubles) -> float:
    """The score that parts the two best: most own at or above it, fewest others; the middle of the widest such gap."""
    scores = np.concatenate([own, others])
    order = np.argsort(scores, kind="stable")
    ascending = scores[order]
    # What is gained by a threshold above each score in turn, beside one below all of them.
    shares = np.concatenate([np.full(len(own), -1 / len(own)), np.full(len(others), 1 / len(others))])
    gained = np.cumsum(shares[order])[:-1]
    gaps = np.diff(ascending)
    gained[gaps <= 0] = -np.inf
    best = np.flatnonzero(gained >= gained.max() - 1e-9)
    at = best[gaps[best].argmax()]
    return max(float(ascending[at] + ascending[at + 1]) / 2, 0.0)


def _accuracies(own: Doubles, others: Doubles, owner: Owners, thresholds: Doubles) -> tuple[float, ...]:
    scores = np.concatenate([own, others])
    winner = scores.argmax(axis=1)
    taken = np.where(scores[np.arange(len(scores)), winner] >= thresholds[winner], winner, -1)
    truth = np.concatenate([owner, np.full(len(others), -1)])
    return tuple(
        (float((taken[truth == at] == at).mean()) + float((taken[truth != at] != at).mean())) / 2
        for at in range(len(thresholds))
    )
