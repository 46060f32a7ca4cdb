"""The budget of retries: a fifth of the requests and a floor, over a window that moves."""

from __future__ import annotations

import pytest

from modelway_gateway.core.budget import FLOOR_PER_SECOND, WINDOW_SECONDS, RetryBudget


def offer(budget: RetryBudget, *, per_second: int, seconds: int, begin: float = 0.0) -> int:
    """Every request fails and asks for two retries; how many are allowed."""
    allowed = 0
    for tick in range(seconds * 10):
        budget.sweep(begin + tick / 10)
        for _ in range(per_second // 10):
            budget.requests_total += 1
            allowed += budget.take() + budget.take()
    return allowed


@pytest.mark.parametrize(("per_second", "limit"), [(1000, 0.25), (2000, 0.25), (400, 0.25)])
def test_p17_retries_are_at_most_a_quarter_of_a_high_rate(per_second: int, limit: float) -> None:
    """A fifth and the floor, over a minute in which everything fails."""
    seconds = 60
    allowed = offer(RetryBudget(), per_second=per_second, seconds=seconds)

    assert 0.19 <= allowed / (per_second * seconds) <= limit


def test_a_gateway_with_little_traffic_may_retry() -> None:
    """The floor is ten a second: two a second need it all."""
    assert offer(RetryBudget(), per_second=10, seconds=30) >= 10 * 30
    budget = RetryBudget()
    budget.requests_total = 1
    assert sum(budget.take() for _ in range(1000)) == FLOOR_PER_SECOND * WINDOW_SECONDS + 1
    assert budget.exhausted_total == 1000 - budget.retries_total


def test_what_was_spent_comes_back_when_the_window_has_passed() -> None:
    """Not all at once at a border, and not before."""
    budget = RetryBudget()
    for second in range(3):
        budget.sweep(second)
    while budget.take():
        pass
    spent = budget.retries_total
    for second in range(3, 2 + WINDOW_SECONDS):
        budget.sweep(second)
        assert not budget.take()
    for second in range(2 + WINDOW_SECONDS, 5 + WINDOW_SECONDS):
        budget.sweep(second)
    while budget.take():
        pass

    assert spent == FLOOR_PER_SECOND * WINDOW_SECONDS
    assert budget.retries_total == 2 * spent
