"""Whether stable is well enough to be compared with.

The rule to know: an interval in which at least half of stable's requests failed says nothing of the candidate. Where
the candidate fails too there is a common cause, which is nobody's fault here; where it does not, being better than that
is no praise. Such an interval is counted for nobody, and nothing rises on it.
"""

from collections.abc import Iterable

from modelway_contract.names import Arm
from modelway_operator.api.conditions import HeldReason
from modelway_operator.core.rollout.model import Counts, Hold, Measurement, MetricSettings, RatioQuantity

UNHEALTHY_RATE = 0.5
LEAST_REQUESTS = 10
"""Fewer of stable's requests in an interval are too few to say so."""


def unhealthy(measured: Iterable[tuple[MetricSettings, Measurement]], arms: tuple[Arm, ...]) -> Hold | None:
    """Why nothing can be learnt from this interval, where stable fails."""
    if Arm.STABLE not in arms:
        return None
    for metric, measurement in measured:
        if not _is_stable_unhealthy(metric, measurement):
            continue
        stable = f"{metric.name}: {_figures(measurement.stable)} of stable were bad in this interval"
        if _is_failing(measurement.candidate):
            return Hold(
                reason=HeldReason.BOTH_UNHEALTHY,
                message=f"{stable}, and {_figures(measurement.candidate)} of the candidate: a common cause is no fault",
            )
        return Hold(
            reason=HeldReason.BASELINE_UNHEALTHY,
            message=f"{stable}, {_figures(measurement.candidate)} of the candidate: there is nothing to compare with",
        )
    return None


def _is_stable_unhealthy(metric: MetricSettings, measurement: Measurement) -> bool:
    """Whether stable fails in this interval. A share of slow requests is a matter of the objective, not of health."""
    enough = measurement.problem is None and measurement.stable.total >= LEAST_REQUESTS
    return enough and isinstance(metric.quantity, RatioQuantity) and _is_failing(measurement.stable)


def _is_failing(counts: Counts) -> bool:
    """Whether half of the requests are bad."""
    return counts.total > 0 and counts.bad / counts.total >= UNHEALTHY_RATE


def _figures(counts: Counts) -> str:
    return f"{counts.bad:,} of {counts.total:,} requests"
