"""The same traffic measured twice: by a real Prometheus, and by the gateways' own figures.

A verdict is a pure function of the measurements before it, so equal measurements are equal verdicts.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from modelway_operator.api.strategy import BadOutcome, SloSignal
from modelway_operator.core.rollout.counters import Recordings, measure
from modelway_operator.core.rollout.model import (
    MeasurementRequest,
    Quantity,
    RatioQuantity,
    SloQuantity,
)

from tests.integration.operator.test_prometheus import NOW, measured
from tests.support.prometheus import Sample, running_prometheus
from tests.unit.modelway_operator.core.rollout.recordings import (
    BEGIN,
    CANDIDATE,
    KEY,
    SCRAPE_SECONDS,
    STABLE,
    record,
)

LENGTH_SECONDS = 600.0
SHIFT_SECONDS = NOW - LENGTH_SECONDS - BEGIN
ERRORS = RatioQuantity(bad=(BadOutcome.UPSTREAM_ERROR, BadOutcome.TIMEOUT))
SLOW = SloQuantity(signal=SloSignal.TTFT, over_seconds=1.0)


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    """Ten minutes of two replicas, as each was scraped."""
    return {
        name: tuple(replace(scrape, time_seconds=scrape.time_seconds + SHIFT_SECONDS) for scrape in scrapes)
        for name, scrapes in record(seconds=LENGTH_SECONDS, seed=7).items()
    }


@pytest.fixture(scope="module")
def prometheus(recordings: Recordings) -> Iterator[str]:
    """A real one that scraped just these."""
    samples = [
        Sample(
            series.name,
            tuple(sorted({**dict(series.labels), "instance": replica}.items())),
            scrape.time_seconds,
            value,
        )
        for replica, scrapes in recordings.items()
        for scrape in scrapes
        for series, value in scrape.values.items()
    ]
    with running_prometheus(samples) as url:
        yield url


@pytest.mark.parametrize("quantity", [ERRORS, SLOW], ids=["errors", "slow"])
async def test_prometheus_and_the_gateways_figures_agree_to_the_request(
    prometheus: str, recordings: Recordings, quantity: Quantity
) -> None:
    """Every interval of ten minutes: the same whole numbers in both arms."""
    compared = []
    for number in range(1, 19):
        request = MeasurementRequest(
            key=KEY,
            metric="metric",
            quantity=quantity,
            stable=STABLE,
            candidate=CANDIDATE,
            start_seconds=NOW - LENGTH_SECONDS + number * 30,
            end_seconds=NOW - LENGTH_SECONDS + (number + 1) * 30,
            scrape_interval_seconds=SCRAPE_SECONDS,
        )
        counted = measure(request, recordings)
        assert counted == await measured(prometheus, request)
        compared.append(counted)

    assert all(one.candidate.total > 0 and one.stable.total > 0 for one in compared)
    assert any(one.candidate.bad > 0 for one in compared)
