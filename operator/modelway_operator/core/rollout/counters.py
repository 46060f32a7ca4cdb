"""The same measurement without Prometheus: from the gateways' own `/metrics`, as scraped every few seconds.

The rule to know: it must agree with `promql` on every recorded series, so both count from the last sample at or
before the window's beginning, take a falling counter for one that began at 0 again, and call the same samples
stale.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modelway_contract.names import REQUESTS_TOTAL, Arm, Label, Outcome
from modelway_operator.core.rollout.model import (
    Counts,
    Measurement,
    MeasurementProblem,
    MeasurementRequest,
    RatioQuantity,
    SloQuantity,
    Version,
)
from modelway_operator.core.rollout.promql import (
    HISTOGRAMS,
    STALE_SCRAPES,
    arms_of,
    counted_outcomes,
    measurement_of,
    missing_message,
    problem,
    stale_message,
)

LOOKBACK_SECONDS = 300.0
"""An older sample does not stand for a moment any more; Prometheus' own default."""


class Series(NamedTuple):
    """One series of one replica."""

    name: str
    labels: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """All values of one replica at one moment."""

    time_seconds: float
    values: Mapping[Series, float]


Recordings = Mapping[str, Sequence[Scrape]]
"""The scrapes of each replica, the oldest first."""


def measure(request: MeasurementRequest, recordings: Recordings) -> Measurement:
    """The counts of both arms in the request's window, summed over the replicas."""
    counts: dict[Arm, Counts] = {}
    for arm, version in arms_of(request):
        counted = _counts(request, recordings, arm, version)
        if counted is None:
            return problem(MeasurementProblem.NO_DATA, missing_message(request, arm))
        counts[arm] = counted
    seen = [
        scrapes[after - 1].time_seconds
        for scrapes in recordings.values()
        if (after := bisect_right(scrapes, request.end_seconds, key=_time_of))
    ]
    age = request.end_seconds - max(seen)
    if age > STALE_SCRAPES * request.scrape_interval_seconds:
        return problem(MeasurementProblem.STALE, stale_message(age, request.scrape_interval_seconds))
    return measurement_of(counts)


def _counts(request: MeasurementRequest, recordings: Recordings, arm: Arm, version: Version) -> Counts | None:
    labels = frozenset(
        {
            (Label.NAMESPACE.value, request.key.namespace),
            (Label.POLICY.value, request.key.policy),
            (Label.RULE.value, request.key.rule),
            (Label.TARGET.value, request.key.target),
            (Label.VERSION.value, version.digest),
            (Label.ARM.value, arm.value),
        }
    )

    def grown(name: str, wanted: Callable[[Series], bool]) -> float | None:
        return _total_growth(
            recordings,
            request.start_seconds,
            request.end_seconds,
            lambda series: series.name == name and labels <= series.labels and wanted(series),
        )

    match request.quantity:
        case RatioQuantity(bad=named):
            bad_outcomes, good_outcomes = counted_outcomes(named)
            bad = grown(REQUESTS_TOTAL, lambda series: _outcome(series) in bad_outcomes)
            good = grown(REQUESTS_TOTAL, lambda series: _outcome(series) in good_outcomes)
            return None if bad is None or good is None else Counts(total=round(bad) + round(good), bad=round(bad))
        case SloQuantity(signal=signal, over_seconds=over):
            within = grown(f"{HISTOGRAMS[signal]}_bucket", lambda series: _bound(series) == over)
            everything = grown(f"{HISTOGRAMS[signal]}_count", lambda _: True)
            if within is None or everything is None:
                return None
            return Counts(total=round(everything), bad=max(0, round(everything) - round(within)))


def _total_growth(recordings: Recordings, start: float, end: float, wanted: Callable[[Series], bool]) -> float | None:
    total: float | None = None
    for scrapes in recordings.values():
        near = _scrapes_around(scrapes, start, end)
        for series in {series for series in set().union(*(scrape.values for scrape in near)) if wanted(series)}:
            samples = [(scrape.time_seconds, scrape.values[series]) for scrape in near if series in scrape.values]
            total = (total or 0.0) + _growth(samples, start)
    return total


def _scrapes_around(scrapes: Sequence[Scrape], start: float, end: float) -> Sequence[Scrape]:
    """The scrapes in the window, and the last one at or before its beginning, which is where the counting starts."""
    first = bisect_right(scrapes, start, key=_time_of)
    after = bisect_right(scrapes, end, lo=first, key=_time_of)
    has_base = first > 0 and scrapes[first - 1].time_seconds > start - LOOKBACK_SECONDS
    # Recordings are rings, which cannot be sliced; what is wanted is near their end, where an index is cheap.
    return [scrapes[index] for index in range(first - 1 if has_base else first, after)]


def _time_of(scrape: Scrape) -> float:
    return scrape.time_seconds


def _growth(samples: Iterable[tuple[float, float]], start: float) -> float:
    grown, previous = 0.0, None
    for time, value in samples:
        if time > start and previous is not None:
            grown += value - previous if value >= previous else value
        previous = value
    return grown


def _outcome(series: Series) -> Outcome | None:
    return next((Outcome(value) for name, value in series.labels if name == Label.OUTCOME), None)


def _bound(series: Series) -> float | None:
    return next((float(value) for name, value in series.labels if name == "le"), None)
