"""Series: how long they live and what they keep."""

from __future__ import annotations

import pytest

from modelway_contract.names import Arm, Outcome
from modelway_gateway.core.series import KEEP_SECONDS, Histogram, SeriesBook, SeriesKey

KEY = SeriesKey("team", "chat", "default", "main", "law", "v1", Arm.NONE)
OTHER = KEY._replace(version="v2")


def test_every_outcome_is_there_at_0_before_any_request() -> None:
    """Otherwise `increase()` misses the first failures of a new series."""
    book = SeriesBook().requests
    book.activate([book.get(KEY)], now=0)

    assert [each.requests for each in book.shown()] == [dict.fromkeys(Outcome, 0)]


def test_a_new_config_resets_nothing_that_stays() -> None:
    """The same labels are the same counter, over any number of swaps."""
    book = SeriesBook().requests
    series = book.get(KEY)
    book.activate([series], now=0)
    series.count(Outcome.SUCCESS)
    for now in range(1, 5):
        book.activate([book.get(KEY), book.get(OTHER._replace(version=f"v{now}"))], now=now)

    assert book.get(KEY) is series
    assert book.get(KEY).requests[Outcome.SUCCESS] == 1


def test_a_series_outlives_its_last_config_for_a_while() -> None:
    """Long enough to be scraped, not for ever; coming back in time, it goes on counting."""
    book = SeriesBook().requests
    series = book.get(KEY)
    book.activate([series], now=0)
    book.activate([book.get(OTHER)], now=100)
    book.retire(now=100 + KEEP_SECONDS)
    assert series in book.shown()
    book.activate([book.get(KEY)], now=200 + KEEP_SECONDS / 2)
    assert book.get(KEY) is series
    book.activate([book.get(OTHER)], now=1000)

    book.retire(now=1001 + KEEP_SECONDS)

    assert [each.key for each in book.shown()] == [OTHER]


def test_a_config_that_never_went_live_leaves_no_series() -> None:
    """Building alone shows nothing."""
    book = SeriesBook().requests
    book.get(OTHER)
    book.activate([book.get(KEY)], now=0)

    assert [each.key for each in book.shown()] == [KEY]
    assert len(book._known) == 1


@pytest.mark.parametrize(("value", "place"), [(0.5, 0), (1.0, 0), (1.5, 1), (2.0, 1), (9.0, 2)])
def test_a_bound_belongs_to_its_bucket(value: float, place: int) -> None:
    """`le` means less or equal."""
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)

    assert histogram.counts.index(1) == place
    assert histogram.total == value
