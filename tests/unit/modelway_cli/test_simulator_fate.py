"""The fate of a request follows from the seed and its number, and from nothing else."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_cli.simulator.behaviour import Behaviour, ErrorMode
from modelway_cli.simulator.fate import Fate, fate_of


def fates(behaviour: Behaviour, *, count: int = 2_000) -> list[Fate]:
    return [fate_of(behaviour, number=number, token_limit=None) for number in range(count)]


@given(seed=st.integers(-(2**40), 2**40), number=st.integers(0, 10**9))
def test_the_same_seed_and_number_give_the_same_fate(seed: int, number: int) -> None:
    """A run can be repeated."""
    behaviour = Behaviour(seed=seed, error_rate=0.5, ttft_ms=100, ttft_sigma=1, slow_share=0.5)

    again = fate_of(behaviour, number=number, token_limit=None)

    assert again == fate_of(behaviour, number=number, token_limit=None)


def test_another_seed_gives_another_run() -> None:
    """The seed matters."""
    assert fates(Behaviour(seed=1, error_rate=0.5)) != fates(Behaviour(seed=2, error_rate=0.5))


@given(number=st.integers(0, 10**6), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_higher_error_rate_adds_failures_and_moves_none(number: int, low: float, high: float) -> None:
    """Whoever fails at a low rate fails at a higher one too, and delays stay as they were."""
    low, high = sorted((low, high))
    at_low = fate_of(Behaviour(error_rate=low, ttft_ms=9, ttft_sigma=1), number=number, token_limit=None)
    at_high = fate_of(Behaviour(error_rate=high, ttft_ms=9, ttft_sigma=1), number=number, token_limit=None)

    assert at_low.fault is None or at_high.fault is not None
    assert at_low.ttft_seconds == at_high.ttft_seconds


@pytest.mark.parametrize(("rate", "failures"), [(0.0, 0), (1.0, 2_000)])
def test_rates_of_none_and_all_are_exact(rate: float, failures: int) -> None:
    """No failure at 0, nothing but failures at 1."""
    found = [fate.fault for fate in fates(Behaviour(error_rate=rate, error_mode=ErrorMode.RESET))]

    assert failures == found.count(ErrorMode.RESET)
    assert 2_000 - failures == found.count(None)


def test_shares_come_out_near_their_figures() -> None:
    """Of 2,000 draws with a fixed seed, the shares are within three standard deviations."""
    behaviour = Behaviour(error_rate=0.1, slow_share=0.3, ttft_ms=10, slow_ttft_ms=500)
    found = fates(behaviour)

    assert 160 <= sum(fate.fault is not None for fate in found) <= 240
    assert 540 <= sum(fate.ttft_seconds == 0.5 for fate in found) <= 660


def test_the_median_time_to_first_token_is_the_one_asked_for() -> None:
    """The spread is a factor with median 1, and there is one."""
    found = [fate.ttft_seconds for fate in fates(Behaviour(ttft_ms=200, ttft_sigma=0.5))]

    assert pytest.approx(statistics.median(found), rel=0.05) == 0.2
    assert min(found) < 0.1 < 0.4 < max(found)


@pytest.mark.parametrize(("limit", "count", "cut"), [(None, 5, False), (9, 5, False), (5, 5, False), (2, 2, True)])
def test_a_requests_own_limit_cuts_the_answer(limit: int | None, count: int, cut: bool) -> None:
    """Fewer tokens than the behaviour's, never more."""
    fate = fate_of(Behaviour(tokens=5), number=0, token_limit=limit)

    assert (count, cut) == (len(fate.tokens), fate.cut_by_limit)
