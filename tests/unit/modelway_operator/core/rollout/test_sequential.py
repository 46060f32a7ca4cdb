"""The sequential test: its error rate, its power, and that looking often costs nothing."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_operator.core.rollout.model import Counts
from modelway_operator.core.rollout.sequential import (
    FACTORS,
    NO_EVIDENCE,
    LogWeights,
    add_comparison,
    add_sample,
    alternatives,
    frozen_null_rate,
    log_e_value,
    null_rate_of,
    rejects,
    split_alpha,
    upper_bound,
)

COUNTS = st.integers(0, 5000).flatmap(lambda total: st.builds(Counts, total=st.just(total), bad=st.integers(0, total)))


def drawn(rng: random.Random, total: int, rate: float) -> Counts:
    return Counts(total=total, bad=sum(rng.random() < rate for _ in range(total)))


def requests_until_rejected(
    rng: random.Random, *, candidate_rate: float, stable_rate: float, max_ratio: float, intervals: int = 60
) -> int | None:
    """At 5 % weight: 10 candidate requests and 190 of stable in an interval, α = 0.01."""
    weights = NO_EVIDENCE
    for interval in range(1, intervals + 1):
        weights = add_comparison(
            weights,
            max_ratio=max_ratio,
            candidate=drawn(rng, 10, candidate_rate),
            stable=drawn(rng, 190, stable_rate),
        )
        if rejects(weights, 0.01):
            return 10 * interval
    return None


@pytest.mark.parametrize("rate", [0.002, 0.01, 0.05, 0.5])
def test_a_candidate_at_the_bound_is_rejected_no_more_often_than_alpha(rate: float) -> None:
    """Looked at after each of 60 intervals; the hardest case is one exactly at the bound (an equal one at 1)."""
    rng = random.Random(7)
    rejected = sum(
        requests_until_rejected(rng, candidate_rate=rate, stable_rate=rate, max_ratio=1.0) is not None
        for _ in range(200)
    )

    # α · 200 = 2 expected at most; more than 7 has a chance of 1 in 1000 if the level is kept exactly.
    assert rejected <= 7


def test_an_equal_candidate_is_almost_never_rejected() -> None:
    """With the usual ratio 1.5: the design's 0.1 % of rollouts."""
    rng = random.Random(11)
    outcomes = [requests_until_rejected(rng, candidate_rate=0.01, stable_rate=0.01, max_ratio=1.5) for _ in range(250)]

    assert sum(outcome is not None for outcome in outcomes) <= 2


def test_five_times_the_errors_are_found_in_about_250_requests() -> None:
    """The design's figure: 1 % to 5 % errors."""
    rng = random.Random(3)
    outcomes = [requests_until_rejected(rng, candidate_rate=0.05, stable_rate=0.01, max_ratio=1.5) for _ in range(120)]
    found = sorted(outcome for outcome in outcomes if outcome is not None)

    assert len(found) >= 96
    assert 150 <= found[len(found) // 2] <= 350


def test_total_failure_is_found_in_the_first_interval() -> None:
    """Ten requests, all failed."""
    assert 10 == requests_until_rejected(random.Random(5), candidate_rate=1, stable_rate=0.01, max_ratio=3)


def test_a_shared_outage_is_nobodys_fault() -> None:
    """Both arms fail alike: given the failures of both, the candidate has no more than its share."""
    rng = random.Random(9)
    outcomes = [requests_until_rejected(rng, candidate_rate=0.9, stable_rate=0.9, max_ratio=1.25) for _ in range(120)]

    assert sum(outcome is not None for outcome in outcomes) <= 1


def test_the_same_test_shows_that_a_candidate_is_no_worse_than_allowed() -> None:
    """With alternatives below 1; and it does not show that of one that is worse."""
    rng = random.Random(2)

    def shown(candidate_rate: float) -> int:
        total = 0
        for _ in range(100):
            weights = NO_EVIDENCE
            for _ in range(100):
                weights = add_comparison(
                    weights,
                    max_ratio=3,
                    candidate=drawn(rng, 50, candidate_rate),
                    stable=drawn(rng, 50, 0.05),
                    better=True,
                )
            total += rejects(weights, 0.05)
        return total

    assert shown(0.05) >= 95
    assert shown(0.15) <= 12


def test_against_a_fixed_rate_only_what_is_above_it_is_rejected() -> None:
    """The one-sample form, for absolute bounds and for baking."""
    rng = random.Random(4)

    def rejected(rate: float) -> int:
        total = 0
        for _ in range(200):
            weights: LogWeights = (0.0,) * len(alternatives(0.05))
            for _ in range(40):
                weights = add_sample(weights, null_rate=0.05, counts=drawn(rng, 25, rate))
                if rejects(weights, 0.01):
                    total += 1
                    break
        return total

    assert rejected(0.05) <= 7
    assert rejected(0.02) == 0
    assert rejected(0.15) >= 195


@given(COUNTS, COUNTS, st.floats(1, 10))
def test_an_interval_in_which_an_arm_had_no_requests_changes_nothing(
    candidate: Counts, stable: Counts, ratio: float
) -> None:
    """Neither for better nor for worse."""
    nobody = Counts(total=0, bad=0)
    weights = (1.0, 2.0, -3.0, 0.5, 0.0, 7.0)

    assert weights == add_comparison(weights, max_ratio=ratio, candidate=nobody, stable=stable)
    assert weights == add_comparison(weights, max_ratio=ratio, candidate=candidate, stable=nobody)
    assert weights == add_sample(weights, null_rate=0.1, counts=nobody)


@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=30), st.floats(1, 10), st.booleans())
def test_no_counts_overflow_or_become_infinite(
    intervals: list[tuple[Counts, Counts]], ratio: float, better: bool
) -> None:
    """All in logarithms: thousands of failures in a row stay finite numbers."""
    weights = NO_EVIDENCE
    for candidate, stable in intervals:
        weights = add_comparison(weights, max_ratio=ratio, candidate=candidate, stable=stable, better=better)

    assert all(math.isfinite(weight) for weight in weights)
    assert math.isfinite(log_e_value(weights))


@given(COUNTS, COUNTS, st.floats(1, 10))
def test_failures_of_the_candidate_speak_against_it_and_those_of_stable_for_it(
    candidate: Counts, stable: Counts, ratio: float
) -> None:
    """One failure more on either side moves the evidence that way."""
    if candidate.total == candidate.bad or stable.total == stable.bad:
        return
    before = log_e_value(add_comparison(NO_EVIDENCE, max_ratio=ratio, candidate=candidate, stable=stable))
    worse = Counts(total=candidate.total, bad=candidate.bad + 1)
    shared = Counts(total=stable.total, bad=stable.bad + 1)

    assert log_e_value(add_comparison(NO_EVIDENCE, max_ratio=ratio, candidate=worse, stable=stable)) >= before
    assert log_e_value(add_comparison(NO_EVIDENCE, max_ratio=ratio, candidate=candidate, stable=shared)) <= before


@given(st.floats(0.0001, 1))
def test_alternatives_lie_above_the_null_rate_and_below_1(max_rate: float) -> None:
    """However high the bound: there is always something worse to look for."""
    null_rate = null_rate_of(max_rate)
    rates = alternatives(null_rate)

    assert 1 <= len(rates) <= len(FACTORS)
    assert all(null_rate < rate < 1 for rate in rates)
    assert all(0 < rate < null_rate for rate in alternatives(null_rate, better=True))


@pytest.mark.parametrize(
    ("bad", "total", "low", "high"),
    [(0, 0, 1, 1), (0, 500, 0.005, 0.01), (5, 500, 0.015, 0.03), (50, 100, 0.55, 0.65), (100, 100, 0.99, 1)],
)
def test_the_frozen_rate_is_taken_at_its_upper_bound(bad: int, total: int, low: float, high: float) -> None:
    """0 failures in 500 requests do not mean 0; and nothing counted means nothing known."""
    assert low <= upper_bound(Counts(total=total, bad=bad)) <= high
    assert frozen_null_rate(1.5, Counts(total=total, bad=bad)) <= 0.98


def test_alpha_is_split_among_the_metrics() -> None:
    """So that a rollout of an equal candidate is rolled back with α in all."""
    assert split_alpha(0.01, ["errors", "ttft"]) == 0.005
    assert split_alpha(0.01, []) == 0.01
