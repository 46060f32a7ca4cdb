"""Rollouts as metrics: what each shows now, and how those that ended have ended.

Rule: what a rollout shows is read when Prometheus asks, from the statuses that stand; so a rollout that is gone is no
series any more, and a turn sets nothing. What ended is told once, by the replica that acts: a rollout that had ended
before that replica looked is somebody else's to count.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelway_contract.names import Label
from modelway_operator.api.rollout_status import RolloutPhase, RolloutStatus
from modelway_operator.core.rollout.sequential import log_e_value

DURATION_BUCKETS_SECONDS: Final = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400)
LATENCY_BUCKETS_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_LABELS: Final = (Label.NAMESPACE.value, Label.POLICY.value, "rollout")


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFigures:
    """One rollout as its status says."""

    namespace: str
    policy: str
    state: RolloutStatus

    @property
    def key(self) -> tuple[str, str, str]:
        """The values of `_LABELS`."""
        return self.namespace, self.policy, self.state.name


_Ended = tuple[str, float]
"""A rollout's id, and when it ended."""


class Rollouts(Collector):
    """The rollouts of this installation, as long as this replica acts."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._figures: Mapping[tuple[str, str, str], RolloutFigures] = {}
        self._totals: Counter[tuple[str, ...]] = Counter()
        self._duration = Histogram(
            "modelway_rollout_duration_seconds", "From a rollout's beginning to its end.", ("result",),
            buckets=DURATION_BUCKETS_SECONDS, registry=registry,
        )  # fmt: skip
        self._latency = Histogram(
            "modelway_rollback_latency_seconds",
            "From the decision to roll back until every live gateway had given the candidate's traffic back.",
            buckets=LATENCY_BUCKETS_SECONDS, registry=registry,
        )  # fmt: skip
        registry.register(self)

    def show(self, figures: Iterable[RolloutFigures]) -> None:
        """These are all that there are now."""
        before, self._figures = self._figures, {one.key: one for one in figures}
        if not self._figures.keys() >= before.keys():
            gone = before.keys() - self._figures.keys()
            self._totals = Counter({key: count for key, count in self._totals.items() if key[:3] not in gone})
        for key, one in self._figures.items():
            known = before.get(key)
            if known is not None and known.state is not one.state:
                self._tell_ends(key, known.state, one.state)

    def _tell_ends(self, key: tuple[str, str, str], before: RolloutStatus, after: RolloutStatus) -> None:
        told = {(past.rollout_id, past.ended) for past in before.history}
        for past in after.history:
            if (past.rollout_id, past.ended) in told:
                continue
            self._totals[(*key, past.result, past.reason)] += 1
            self._duration.labels(past.result).observe(max(0.0, past.ended - past.started))
            if before.phase is RolloutPhase.ROLLING_BACK and before.phase_since is not None:
                self._latency.observe(max(0.0, past.ended - before.phase_since))

    def collect(self) -> Iterable[Metric]:
        """What Prometheus is told."""
        families = [_gauge(*described) for described in _DESCRIBED]
        phase, weight, step, value, samples, evidence, held = families
        for key, one in self._figures.items():
            state = one.state
            phase.add_metric([*key, str(state.phase)], 1)
            weight.add_metric(key, state.weight)
            step.add_metric(key, state.step)
            held_since = state.held_since if state.phase is RolloutPhase.HELD else None
            held.add_metric(key, 0.0 if held_since is None else max(0.0, self._clock() - held_since))
            for metric in state.metrics:
                labels = [*key, metric.name]
                samples.add_metric(labels, metric.candidate_total)
                evidence.add_metric(labels, log_e_value(metric.worse))
                if metric.candidate_total:
                    value.add_metric(labels, metric.candidate_bad / metric.candidate_total)
        total = CounterMetricFamily(
            "modelway_rollout_total",
            "Rollouts that ended while this replica acted.",
            labels=[*_LABELS, "result", "reason"],
        )
        for ended, count in self._totals.items():
            total.add_metric(ended, count)
        return (*families, total)


_DESCRIBED: Final = (
    ("modelway_rollout_phase", "1 for the phase a rollout is in.", "phase"),
    ("modelway_rollout_weight", "Percent of its target's share that the candidate gets."),
    ("modelway_rollout_step", "The step it is on, from 1; 0 before the first and at rest."),
    (
        "modelway_rollout_metric_value",
        "The candidate's rate by a metric of the analysis, since its test began.",
        "metric",
    ),
    ("modelway_rollout_metric_samples", "Requests of the candidate behind that rate.", "metric"),
    (
        "modelway_rollout_log_evalue",
        "Natural logarithm of the evidence that the candidate is worse; rejected at log(number of metrics / alpha).",
        "metric",
    ),
    ("modelway_rollout_held_seconds", "For how long it has been held; 0 where it is not."),
)


def _gauge(name: str, text: str, *more: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=[*_LABELS, *more])
