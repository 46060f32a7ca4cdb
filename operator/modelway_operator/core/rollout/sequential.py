"""The sequential test: is the candidate worse, judged anew at every interval without paying for each look.

A test keeps one logarithm per alternative: how much better that alternative explains what was counted than the null
hypothesis does. The mean over the alternatives is an e-value; under the null hypothesis it passes 1/α with a
probability of at most α, however often one looks (Ville's inequality). So it may be looked at after every interval,
and acted on at once.

The rules to know: the two-arm test conditions on the failures of both arms together, so a shared outage cancels
out; an interval in which an arm had no requests changes nothing; and all is done in logarithms, where a thousand
failures in a row do not overflow.
"""

import math
from collections.abc import Iterable

from modelway_operator.core.rollout.model import Counts

FACTORS = (1.5, 2.0, 4.0, 8.0, 16.0, 32.0)
"""How many times worse (or better) than the bound the alternatives are."""

HIGHEST_NULL_RATE = 0.98
HIGHEST_ALTERNATIVE_RATE = 0.99

LogWeights = tuple[float, ...]
NO_EVIDENCE: LogWeights = (0.0,) * len(FACTORS)

WEIGHT_DIGITS = 9
"""Weights are kept this exactly, so that what is written and read back is the same number."""

Z_95 = 1.959964


def add_comparison(
    weights: LogWeights, *, max_ratio: float, candidate: Counts, stable: Counts, better: bool = False
) -> LogWeights:
    """The weights after one more interval of both arms, against `rate(candidate) ≤ max_ratio · rate(stable)`.

    With `better` the alternatives are below the ratio: rejecting then shows that the candidate is no worse than that.
    """
    if candidate.total <= 0 or stable.total <= 0:
        return weights
    null = _candidate_share(candidate.total, stable.total, max_ratio)
    return tuple(
        _kept(weight + candidate.bad * math.log(share / null) + stable.bad * math.log((1 - share) / (1 - null)))
        for weight, factor in zip(weights, FACTORS, strict=True)
        for share in [
            _candidate_share(candidate.total, stable.total, max_ratio / factor if better else max_ratio * factor)
        ]
    )


def add_sample(weights: LogWeights, *, null_rate: float, counts: Counts, better: bool = False) -> LogWeights:
    """The weights after one more interval of the candidate alone, against a rate of at most `null_rate`."""
    if counts.total <= 0:
        return weights
    good = counts.total - counts.bad
    return tuple(
        _kept(weight + counts.bad * math.log(rate / null_rate) + good * math.log((1 - rate) / (1 - null_rate)))
        for weight, rate in zip(weights, alternatives(null_rate, better=better), strict=True)
    )


def alternatives(null_rate: float, *, better: bool = False) -> tuple[float, ...]:
    """The rates that a null rate is tried against; close to 1 there are fewer of them."""
    if better:
        return tuple(null_rate / factor for factor in FACTORS)
    rates = (min(factor * null_rate, HIGHEST_ALTERNATIVE_RATE) for factor in FACTORS)
    return tuple(rate for rate in rates if rate > null_rate)


def log_e_value(weights: LogWeights) -> float:
    """The logarithm of the mean weight: the evidence against the null hypothesis."""
    if not weights:
        return 0.0
    highest = max(weights)
    return highest + math.log(sum(math.exp(weight - highest) for weight in weights) / len(weights))


def rejects(weights: LogWeights, alpha: float) -> bool:
    """Whether the null hypothesis is refuted at this level."""
    return log_e_value(weights) >= math.log(1 / alpha)


def null_rate_of(max_rate: float) -> float:
    """The rate an absolute bound is tested at: below 1, where a test can still find something worse."""
    return min(HIGHEST_NULL_RATE, max_rate)


def frozen_null_rate(max_ratio: float, baseline: Counts) -> float:
    """The rate a baking candidate is tested at: `max_ratio` times the upper bound of stable's frozen rate.

    The bound and not the rate itself, since the rate was estimated too: 0 failures in 500 requests do not mean 0.
    """
    return min(HIGHEST_NULL_RATE, max_ratio * upper_bound(baseline))


def upper_bound(counts: Counts) -> float:
    """The upper end of the 95 % interval of a rate (Wilson's); 1 where nothing was counted."""
    n = counts.total
    if n <= 0:
        return 1.0
    rate, z2 = counts.bad / n, Z_95 * Z_95
    spread = Z_95 * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return min(1.0, (rate + z2 / (2 * n) + spread) / (1 + z2 / n))


def split_alpha(alpha: float, metrics: Iterable[object]) -> float:
    """Each metric's part of the accepted error."""
    return alpha / max(1, sum(1 for _ in metrics))


def _candidate_share(candidate_total: int, stable_total: int, ratio: float) -> float:
    """The chance that a failure is the candidate's, were its rate `ratio` times stable's."""
    return candidate_total * ratio / (candidate_total * ratio + stable_total)


def _kept(weight: float) -> float:
    return round(weight, WEIGHT_DIGITS)
