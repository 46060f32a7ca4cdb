"""The figures of the model card, each on an example that can be reckoned by hand."""

import math

import pytest

from modelway_cli.prompts import figures


def test_accuracy_has_an_interval_around_it() -> None:
    """Ten of twenty are right, and an interval says how little twenty prompts prove."""
    found = figures.accuracy([True, False] * 10)

    assert 0.5 == found.value
    assert 0.2 < found.low < 0.5 < found.high < 0.8


def test_the_most_confident_half_is_judged_alone() -> None:
    """Those that were right were surer."""
    assert 1.0 == figures.most_confident_half([True, True, False, False], [0.9, 0.8, 0.3, 0.2]).value


@pytest.mark.parametrize(
    ("score", "expected"),
    [([4.0, 3.0, 2.0, 1.0], 0.75), ([1.0, 2.0, 3.0, 4.0], 0.25), ([3.0, 2.0, 4.0, 1.0], 0.5)],
)
def test_apgr_is_the_area_under_what_is_recovered(score: list[float], expected: float) -> None:
    """Half of the prompts gain from the strong model: sent first, the area is 3/4; sent last, 1/4."""
    assert expected == pytest.approx(figures.apgr(score, [0, 0, 1, 1], [1, 1, 1, 1]).value)


def test_apgr_of_equal_models_is_no_number() -> None:
    """There is no gap to recover."""
    found = figures.apgr([1.0, 2.0], [1, 1], [1, 1])

    assert all(math.isnan(each) for each in (found.value, found.low, found.high))


@pytest.mark.parametrize(
    ("inside", "outside", "expected"), [([3.0, 4.0], [1.0, 2.0], 1.0), ([1.0], [1.0], 0.5), ([1.0, 3.0], [2.0], 0.5)]
)
def test_auroc_counts_pairs(inside: list[float], outside: list[float], expected: float) -> None:
    """Ties count half."""
    assert expected == figures.auroc(inside, outside)


def test_calibration_error_is_zero_where_confidence_is_the_truth() -> None:
    """Nine of ten right at 0.9."""
    assert figures.calibration_error([True] * 9 + [False], [0.9] * 10) == pytest.approx(0.0)


def test_relative_error_is_by_each_text() -> None:
    """Ten per cent of a short text count like ten per cent of a long one."""
    assert figures.relative_error([11, 900], [10, 1000]).value == pytest.approx(0.1)
