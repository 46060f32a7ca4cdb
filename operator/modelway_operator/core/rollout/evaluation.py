"""One window, all metrics: what the rollout would know if the window were counted.

The rule to know: an evaluation changes nothing. It is absorbed into the state only by an event that says so, and as a
whole: as long as one metric that judges has no counts for a window, no metric counts it, and all of it is looked at
again.
"""

from dataclasses import dataclass, replace

from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import (
    Decision,
    IntervalFigures,
    MetricEvidence,
    RolloutPhase,
    RolloutStatus,
    Verdict,
)
from modelway_operator.api.strategy import MetricRole
from modelway_operator.core.rollout.health import unhealthy
from modelway_operator.core.rollout.model import (
    Hold,
    Measurement,
    MeasurementProblem,
    MeasurementRequest,
    MetricSettings,
    RolloutSettings,
    TargetSnapshot,
)
from modelway_operator.core.rollout.verdicts import Context, Judgement, evidence_of, gravest, judge
from modelway_operator.core.rollout.wanted import request_of, requests_of
from modelway_operator.core.rollout.windows import (
    Window,
    closed_windows,
    is_measuring,
    measured_arms,
    newest_window,
    open_window,
    place_of,
)

KEPT_MEASUREMENTS = 20
UNMEASURABLE = frozenset({MeasurementProblem.NO_DATA, MeasurementProblem.STALE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What all metrics say once `window` is counted. `decisive` is the judgement that counts.

    `gap_until` is set where the window's end has no samples and never will: up to there nothing was scraped. With
    `unhealthy` the window is passed over: nothing of it is counted.
    """

    window: Window
    is_last: bool
    gap_until: float | None
    has_traffic: bool
    unhealthy: Hold | None
    measured: tuple[tuple[MetricSettings, Measurement], ...]
    judgements: tuple[Judgement, ...]
    judging: tuple[Judgement, ...]
    decisive: Judgement | None

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict; without any metric that judges, nothing is against it."""
        return Verdict.PASS if self.decisive is None else self.decisive.verdict

    @property
    def message(self) -> str:
        """The sentence of the deciding metric."""
        return "" if self.decisive is None else self.decisive.message

    @property
    def hold(self) -> Hold | None:
        """Why nothing can be said, where that is so; a failure is said all the same."""
        if self.verdict is Verdict.FAIL:
            return None
        if self.decisive is not None and self.decisive.hold is not None:
            return self.decisive.hold
        return self.unhealthy

    @property
    def is_countable(self) -> bool:
        """Whether every metric that judges has its counts."""
        names = {judgement.metric.name for judgement in self.judging}
        return all(measurement.problem is None for metric, measurement in self.measured if metric.name in names)


def with_all_answers(snapshot: TargetSnapshot) -> TargetSnapshot:
    """The snapshot with an answer to every request: one that did not come is a problem, not "never asked"."""
    return replace(
        snapshot,
        measurements={request: _answer(snapshot, request) for request in requests_of(snapshot)},
    )


def _answer(snapshot: TargetSnapshot, request: MeasurementRequest) -> Measurement:
    if not snapshot.source.available:
        message = snapshot.source.message or "the metrics are not available"
        return Measurement(problem=MeasurementProblem.UNAVAILABLE, message=message)
    missing = Measurement(problem=MeasurementProblem.UNAVAILABLE, message="no answer was received")
    return snapshot.measurements.get(request, missing)


def evaluate(snapshot: TargetSnapshot, state: RolloutStatus, settings: RolloutSettings) -> Evaluation | None:
    """The oldest interval that is closed and not counted; None where there is none, or it is not measured yet."""
    windows = closed_windows(state, settings, snapshot)
    if not windows:
        return None
    measured = _measured(snapshot, state, settings, windows[0])
    if measured is None:
        return None
    has_traffic = any(measurement.candidate.total for _, measurement in measured)
    context = replace(
        _context(state, settings, windows[0]), quiet_intervals=0 if has_traffic else state.quiet_intervals + 1
    )
    judgements = _with_one_cause(
        tuple(
            judge(
                metric,
                measurement=_without_say(metric, measurement),
                evidence=evidence_of(state, metric),
                window=windows[0],
                context=context,
            )
            for metric, measurement in measured
        )
    )
    judging = tuple(judgement for judgement in judgements if context.judges(judgement.metric))
    return Evaluation(
        window=windows[0],
        is_last=len(windows) == 1,
        gap_until=_gap_until(snapshot, state, settings, windows),
        has_traffic=has_traffic,
        unhealthy=unhealthy(((m, counts) for m, counts in measured if context.judges(m)), context.arms),
        measured=measured,
        judgements=judgements,
        judging=judging,
        decisive=gravest(judging),
    )


def failing_guardrail(snapshot: TargetSnapshot, state: RolloutStatus, settings: RolloutSettings) -> Judgement | None:
    """The guardrail that fails on the evidence and what is still open; problems are no failures."""
    window = open_window(state, snapshot)
    if window is None:
        return None
    context = _context(state, settings, window)
    for metric in settings.metrics:
        request = request_of(snapshot, state, metric, window)
        measurement = None if request is None else snapshot.measurements.get(request)
        if metric.role is not MetricRole.GUARDRAIL or measurement is None:
            continue
        judgement = judge(
            metric, measurement=measurement, evidence=evidence_of(state, metric), window=window, context=context
        )
        if judgement.verdict is Verdict.FAIL:
            return judgement
    return None


def absorb(state: RolloutStatus, evaluation: Evaluation) -> RolloutStatus:
    """The state with the window counted, or passed over."""
    if evaluation.unhealthy is not None:
        return state.model_copy(update={"counted_until": evaluation.window.end, "gap_until": None, "passed": False})
    baking = place_of(state) is RolloutPhase.BAKING
    # Where nothing is judged, there is nothing that traffic could show.
    clean = evaluation.has_traffic or not baking or evaluation.decisive is None
    counted = state.model_copy(
        update={
            "metrics": tuple(judgement.evidence for judgement in evaluation.judgements),
            "counted_until": evaluation.window.end,
            "gap_until": None,
            "tested_from": state.tested_from or evaluation.window.start,
            "intervals": state.intervals + (1 if clean else 0),
            "quiet_intervals": state.quiet_intervals + 1 if baking and not evaluation.has_traffic else 0,
            "passed": False,
        }
    )
    if evaluation.decisive is None:
        return counted
    return with_decision(counted, evaluation.decisive, evaluation.window, evaluation.measured)


def with_decision(
    state: RolloutStatus,
    judgement: Judgement,
    window: Window,
    measured: tuple[tuple[MetricSettings, Measurement], ...] = (),
) -> RolloutStatus:
    """The state with this judgement as the evidence behind its last decision."""
    name = judgement.metric.name
    kept = state.measurements if state.decision is not None and state.decision.metric == name else ()
    latest = tuple(_figures(window, measurement) for metric, measurement in measured if metric.name == name)
    return state.model_copy(
        update={
            "decision": Decision(
                metric=name,
                verdict=judgement.verdict,
                value=judgement.value,
                baseline=judgement.baseline,
                bound=judgement.bound,
                samples=judgement.evidence.candidate_total,
                e_value=judgement.e_value,
                threshold=judgement.threshold,
                window_from=state.tested_from or window.start,
                window_to=window.end,
            ),
            "measurements": (*kept, *latest)[-KEPT_MEASUREMENTS:],
        }
    )


def fresh_evidence(state: RolloutStatus) -> tuple[MetricEvidence, ...]:
    """The evidence at the beginning of a step: the tests go on, the step's own counts begin anew."""
    return tuple(
        evidence.model_copy(update={"step_candidate_total": 0, "step_stable_total": 0}) for evidence in state.metrics
    )


def _context(state: RolloutStatus, settings: RolloutSettings, window: Window) -> Context:
    since = state.measured_from or window.start
    intervals = state.intervals + (1 if is_measuring(state) else 0)
    return Context(
        settings=settings,
        weight_percent=state.weight,
        arms=measured_arms(state),
        returning=state.returning,
        baselines=state.baselines,
        tested_from=state.tested_from or window.start,
        intervals=intervals,
        elapsed_intervals=round((window.end - since) / settings.interval_seconds),
    )


def _measured(
    snapshot: TargetSnapshot, state: RolloutStatus, settings: RolloutSettings, window: Window
) -> tuple[tuple[MetricSettings, Measurement], ...] | None:
    """Every metric's counts in the window, or None where some were not asked for: that comes at the next turn."""
    pairs = []
    for metric in settings.metrics:
        request = request_of(snapshot, state, metric, window)
        if request is None or request not in snapshot.measurements:
            return None
        pairs.append((metric, snapshot.measurements[request]))
    return tuple(pairs)


def _without_say(metric: MetricSettings, measurement: Measurement) -> Measurement:
    """An Info metric without data is shown as such, but must not keep the others from being counted."""
    if metric.role is MetricRole.INFO and measurement.problem is not None:
        return Measurement()
    return measurement


def _gap_until(
    snapshot: TargetSnapshot, state: RolloutStatus, settings: RolloutSettings, windows: tuple[Window, ...]
) -> float | None:
    """The end of the last of the first windows without samples, if a later one has some: they will never come."""
    gap_until: float | None = None
    for window in windows:
        if _lacks_samples(snapshot, state, settings, window):
            gap_until = window.end
        elif gap_until is not None and _has_samples(snapshot, state, settings, window):
            return gap_until
        else:
            return None
    newest = newest_window(state, settings, snapshot)
    if gap_until is not None and newest is not None and _has_samples(snapshot, state, settings, newest):
        return gap_until
    return None


def _lacks_samples(snapshot: TargetSnapshot, state: RolloutStatus, settings: RolloutSettings, window: Window) -> bool:
    return any(
        measurement.problem in UNMEASURABLE
        for metric, measurement in _measured(snapshot, state, settings, window) or ()
        if metric.role is not MetricRole.INFO
    )


def _has_samples(snapshot: TargetSnapshot, state: RolloutStatus, settings: RolloutSettings, window: Window) -> bool:
    measured = _measured(snapshot, state, settings, window)
    return measured is not None and all(
        measurement.problem is None for metric, measurement in measured if metric.role is not MetricRole.INFO
    )


def _with_one_cause(judgements: tuple[Judgement, ...]) -> tuple[Judgement, ...]:
    """A gateway that does not split serves no candidate at all: where one metric has counts, it is not the gateways."""
    if not any(judgement.evidence.step_candidate_total for judgement in judgements):
        return judgements
    return tuple(
        replace(
            judgement,
            hold=Hold(
                reason=HeldReason.NO_TRAFFIC,
                message=f"{judgement.metric.name}: none of the candidate's requests counted for this metric",
            ),
        )
        if judgement.hold is not None and judgement.hold.reason is HeldReason.GATEWAY_NOT_CONVERGED
        else judgement
        for judgement in judgements
    )


def _figures(window: Window, measurement: Measurement) -> IntervalFigures:
    return IntervalFigures(
        start=window.start,
        end=window.end,
        candidate_total=measurement.candidate.total,
        candidate_bad=measurement.candidate.bad,
        stable_total=measurement.stable.total,
        stable_bad=measurement.stable.bad,
    )
