"""Figures that say how good an analysis is, each with an interval by resampling. Pure, and deterministic by their seed.

The rule: an interval belongs to every figure, and prompt length stands beside difficulty, because length alone looks
clever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
RESAMPLES: Final = 400
_SEED: Final = 20_240
_INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Figure:
    """A value, its 95 % interval and the number of prompts behind it."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.count}"


def accuracy(right: Sequence[bool]) -> Figure:
    """The share that is right."""
    return _resampled(lambda rows: float(rows[:, 0].mean()), np.array(right, dtype=float)[:, None])


def most_confident_half(right: Sequence[bool], p: Sequence[float]) -> Figure:
    """The share that is right among the half that is most confident."""

    def value(rows: Array) -> float:
        order = np.argsort(-rows[:, 1], kind="stable")[: max(len(rows) // 2, 1)]
        return float(rows[order, 0].mean())

    return _resampled(value, np.stack([np.array(right, dtype=float), np.array(p, dtype=float)], axis=1))


def calibration_error(right: Sequence[bool], p: Sequence[float], *, bins: int = 10) -> float:
    """By how much confidence and truth differ, on average over bins of equal width."""
    held, said = np.array(right, dtype=float), np.array(p, dtype=float)
    bin_of = np.minimum((said * bins).astype(int), bins - 1)
    parts = [(bin_of == at) for at in range(bins) if (bin_of == at).any()]
    return float(sum(part.sum() * abs(held[part].mean() - said[part].mean()) for part in parts) / len(held))


def apgr(score: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> Figure:
    """Average share of the gap between two models that is recovered when the highest scores go to the strong one.

    A random order recovers 0.5 on average.
    """

    def value(rows: Array) -> float:
        order = np.argsort(-rows[:, 0], kind="stable")
        gain = (rows[:, 2] - rows[:, 1])[order]
        whole = gain.sum()
        if whole <= 0:
            return float("nan")
        recovered = np.concatenate([[0.0], np.cumsum(gain)]) / whole
        return float((recovered[1:] + recovered[:-1]).mean() / 2)

    columns = [np.array(each, dtype=float) for each in (score, weak, strong)]
    return _resampled(value, np.stack(columns, axis=1))


def auroc(inside: Sequence[float], outside: Sequence[float]) -> float:
    """How often a score from inside is above one from outside; ties count half."""
    values = np.concatenate([np.array(inside, dtype=float), np.array(outside, dtype=float)])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    first = len(inside)
    return float((ranks[:first].sum() - first * (first + 1) / 2) / (first * len(outside)))


def relative_error(estimated: Sequence[float], exact: Sequence[float]) -> Figure:
    """The mean of |estimated - exact| / exact."""
    said, true = np.array(estimated, dtype=float), np.array(exact, dtype=float)
    return _resampled(lambda rows: float(rows.mean()), (np.abs(said - true) / np.maximum(true, 1.0))[:, None])


def _resampled(value: Callable[[Array], float], rows: Array) -> Figure:
    lots = np.random.default_rng(_SEED)
    drawn = [value(rows[lots.integers(0, len(rows), len(rows))]) for _ in range(RESAMPLES)]
    finite = [each for each in drawn if math.isfinite(each)] or [math.nan]
    low, high = np.percentile(finite, _INTERVAL)
    return Figure(value(rows), float(low), float(high), len(rows))
