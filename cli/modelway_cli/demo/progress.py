"""Where a rollout stands, read off the policy's status as anybody could.

Rule: nothing here is inferred from the traffic; a person with `kubectl get rpol -o yaml` knows as much.
"""

import math
from dataclasses import dataclass
from typing import Any

from modelway_cli.demo.scenario import Verdict
from modelway_operator.api.rollout_status import RolloutPhase, RolloutStatus
from modelway_operator.api.routingpolicy import RoutingPolicy
from modelway_operator.api.strategy import Analysis, MetricRole
from modelway_operator.core.rollout import sequential


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one metric holds against the candidate: at 1 it goes back."""

    metric: str
    e_value: float
    threshold: float

    @property
    def share(self) -> float:
        """How far along the way to a rollback, on the scale the test adds on."""
        if self.e_value <= 1:
            return 0.0
        return min(1.0, math.log(self.e_value) / math.log(self.threshold))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What the last decision rests on."""

    metric: str
    value: float
    baseline: float | None
    samples: int
    e_value: float
    threshold: float

    def __str__(self) -> str:
        compared = "" if self.baseline is None else f", stable {_percent(self.baseline)}"
        return (
            f"{self.metric}: candidate {_percent(self.value)} of {self.samples:,} bad{compared}; evidence against it"
            f" {self.e_value:.3g} of {self.threshold:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A rollout that ended."""

    rollout_id: str
    candidate: str
    verdict: Verdict
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One rollout at one moment."""

    is_ready: bool
    phase: RolloutPhase
    reason: str
    message: str
    step: int
    steps: int
    shares: tuple[float, ...]
    """The candidate's percent at each step."""
    weight: float
    intervals: int
    intervals_needed: int
    stable: str
    candidate: str | None
    evidence: tuple[Evidence, ...]
    decision: Figure | None
    past: tuple[Past, ...]

    @property
    def headline(self) -> str:
        """Where it stands, in a few words."""
        match self.phase:
            case RolloutPhase.STABLE | RolloutPhase.QUEUED | RolloutPhase.PREFLIGHT:
                return str(self.phase)
            case RolloutPhase.ROLLED_BACK | RolloutPhase.ROLLING_BACK:
                return str(self.phase)
            case RolloutPhase.PROMOTING | RolloutPhase.BAKING:
                return f"{self.phase}: all traffic, interval {self.intervals} of {self.intervals_needed}"
            case RolloutPhase.HELD:
                return f"Held: {self.reason}"
            case _:
                return f"step {self.step} of {self.steps}: {self.phase}, interval {self.intervals}"

    def verdict_on(self, candidate: str) -> Past | None:
        """How the rollout of this candidate ended, once it has."""
        return next((past for past in self.past if past.candidate == candidate), None)


def read_progress(raw: dict[str, Any]) -> Progress | None:
    """The policy's one rollout; None while the status has none."""
    policy = RoutingPolicy.model_validate(raw)
    if policy.status is None or not policy.status.rollouts:
        return None
    state, entry = policy.status.rollouts[0], policy.spec.rollouts[0]
    baking = state.phase in {RolloutPhase.BAKING, RolloutPhase.PROMOTING}
    return Progress(
        is_ready=any(one.type == "Ready" and one.status == "True" for one in policy.status.conditions),
        phase=state.phase,
        reason=state.reason,
        message=state.message,
        step=state.step,
        steps=state.steps,
        shares=tuple(step.weight for step in entry.strategy.steps or ()),
        weight=state.weight,
        intervals=state.intervals,
        intervals_needed=entry.strategy.bake.intervals if baking else entry.strategy.min_intervals,
        stable=_name(state.stable),
        candidate=None if state.candidate is None else _name(state.candidate),
        evidence=_evidence(state, entry.analysis),
        decision=_figure(state),
        past=tuple(
            Past(
                rollout_id=past.rollout_id,
                candidate=_name(past.candidate),
                verdict=Verdict(past.result),
                reason=past.reason,
                message=past.message,
            )
            for past in state.history
            if past.result in set(Verdict)
        ),
    )


def _evidence(state: RolloutStatus, analysis: Analysis) -> tuple[Evidence, ...]:
    """Of every metric that judges. At rest, where the tests are gone, what the last decision rested on."""
    judging = [metric for metric in analysis.metrics if metric.role is not MetricRole.INFO]
    e_values = {one.name: math.exp(min(sequential.log_e_value(one.worse), 30.0)) for one in state.metrics}
    if state.decision is not None:
        e_values.setdefault(state.decision.metric, state.decision.e_value)
    return tuple(
        Evidence(
            metric=metric.name,
            e_value=e_values.get(metric.name, 1.0),
            threshold=1 / sequential.split_alpha(analysis.alpha.value, judging),
        )
        for metric in judging
    )


def _figure(state: RolloutStatus) -> Figure | None:
    one = state.decision
    if one is None:
        return None
    return Figure(
        metric=one.metric,
        value=one.value,
        baseline=one.baseline,
        samples=one.samples,
        e_value=one.e_value,
        threshold=one.threshold,
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def _name(ref: Any) -> str:
    """A model's name without its namespace."""
    return "" if ref is None else str(ref.model).rpartition("/")[2]
