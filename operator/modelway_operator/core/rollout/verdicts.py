"""Counts into evidence, evidence into a verdict, and the verdict in a sentence.

The rules to know: only Fail rolls back; NoData, Error and Stale hold; of several metrics the gravest verdict counts,
in the order of `PRECEDENCE`. The sentences are what a person reads at night, so each names the metric, both figures,
how many requests they rest on, the bound and the window.
"""

import math
from dataclasses import dataclass, replace

from modelway_contract.names import Arm
from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import Baseline, MetricEvidence, RolloutStatus, Verdict, instant_text
from modelway_operator.api.strategy import MetricRole
from modelway_operator.core.rollout import sequential
from modelway_operator.core.rollout.model import (
    AbsoluteBound,
    Counts,
    Hold,
    Measurement,
    MeasurementProblem,
    MetricSettings,
    RelativeBound,
    RolloutSettings,
)
from modelway_operator.core.rollout.windows import Window

PRECEDENCE = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.NO_DATA,
    Verdict.STALE,
    Verdict.INCONCLUSIVE,
    Verdict.PASS,
)

EXPECTED_REQUESTS = 10
"""Only if so many candidate requests were to be expected does their absence speak against a gateway."""

LARGEST_E_VALUE = 1e9
"""Beyond this it makes no difference, and a status holds no infinity."""

PROBLEM_VERDICTS = {
    MeasurementProblem.NO_DATA: Verdict.NO_DATA,
    MeasurementProblem.STALE: Verdict.STALE,
    MeasurementProblem.UNAVAILABLE: Verdict.ERROR,
    MeasurementProblem.CONFIG: Verdict.ERROR,
}
HOLD_REASONS = {
    MeasurementProblem.NO_DATA: HeldReason.METRICS_UNAVAILABLE,
    MeasurementProblem.STALE: HeldReason.STALE_METRICS,
    MeasurementProblem.UNAVAILABLE: HeldReason.METRICS_UNAVAILABLE,
    MeasurementProblem.CONFIG: HeldReason.CONFIG_ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a verdict depends on beside the metric's own evidence."""

    settings: RolloutSettings
    weight_percent: float
    arms: tuple[Arm, ...]
    returning: bool
    baselines: tuple[Baseline, ...]
    tested_from: float
    intervals: int
    elapsed_intervals: int
    quiet_intervals: int = 0
    """Intervals in a row, up to this one, without any request of the candidate."""

    @property
    def baking(self) -> bool:
        """All of the traffic is the candidate's, so stable's figures are those from before."""
        return Arm.STABLE not in self.arms

    @property
    def before_cut_over(self) -> bool:
        """All of the traffic is stable's still: what the candidate will be compared with is measured."""
        return Arm.CANDIDATE not in self.arms

    @property
    def alpha(self) -> float:
        """One metric's part of the accepted error."""
        judging = (metric for metric in self.settings.metrics if metric.role is not MetricRole.INFO)
        return sequential.split_alpha(self.settings.alpha, judging)

    def judges(self, metric: MetricSettings) -> bool:
        """Whether the metric has a say. A version that was stable before is only guarded.

        Before a cut-over those that compare with stable have: they must have something to compare with.
        """
        if self.before_cut_over:
            return needs_baseline(metric, returning=self.returning)
        return is_judging(metric, returning=self.returning and self.baking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One metric's verdict with the figures behind it. `hold` says why it cannot judge."""

    metric: MetricSettings
    verdict: Verdict
    evidence: MetricEvidence
    value: float
    baseline: float | None
    bound: float
    log_e_value: float
    threshold: float
    message: str
    hold: Hold | None = None

    @property
    def e_value(self) -> float:
        """The evidence against the candidate, as far as it makes a difference."""
        return min(LARGEST_E_VALUE, float(f"{math.exp(min(self.log_e_value, 30.0)):.4g}"))


def is_judging(metric: MetricSettings, *, returning: bool) -> bool:
    """Whether the metric can end a rollout; of a version that was stable before, only guardrails can."""
    return metric.role is MetricRole.GUARDRAIL or (metric.role is MetricRole.GATE and not returning)


def needs_baseline(metric: MetricSettings, *, returning: bool) -> bool:
    """Whether the metric will judge a candidate that has all of the traffic by what stable did before."""
    return isinstance(metric.bound, RelativeBound) and is_judging(metric, returning=returning)


def judge(
    metric: MetricSettings, *, measurement: Measurement, evidence: MetricEvidence, window: Window, context: Context
) -> Judgement:
    """What the metric says once this window is counted too."""
    if measurement.problem is not None:
        return _problem(metric, measurement, evidence, window, context)
    counted = count(metric, measurement, evidence, context)
    fails = sequential.rejects(counted.worse, context.alpha) and _exceeds_margin(metric, counted, context)
    if fails:
        hold = None
    elif context.before_cut_over:
        hold = _nothing_to_compare_with(metric, counted, context)
    else:
        hold = _no_traffic(metric, counted, context) or _traffic_stopped(metric, context)
    if fails:
        verdict = Verdict.FAIL
    elif hold is not None:
        verdict = Verdict.NO_DATA
    elif _is_passed(counted, context):
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    return _judgement(metric, verdict, counted, window, context, hold)


def count(
    metric: MetricSettings, measurement: Measurement, evidence: MetricEvidence, context: Context
) -> MetricEvidence:
    """The evidence with one more window in it. A test whose terms were edited begins anew; the sums go on."""
    terms, null_rate = _terms(metric, context)
    worse = evidence.worse if evidence.test == terms else _no_evidence(null_rate)
    no_worse = evidence.no_worse if evidence.test == terms else sequential.NO_EVIDENCE
    candidate, stable = measurement.candidate, measurement.stable
    if null_rate is not None:
        worse = sequential.add_sample(worse, null_rate=null_rate, counts=candidate)
        no_worse = sequential.add_sample(no_worse, null_rate=null_rate, counts=candidate, better=True)
    elif isinstance(metric.bound, RelativeBound):
        ratio = metric.bound.max_ratio
        worse = sequential.add_comparison(worse, max_ratio=ratio, candidate=candidate, stable=stable)
        no_worse = sequential.add_comparison(no_worse, max_ratio=ratio, candidate=candidate, stable=stable, better=True)
    return evidence.model_copy(
        update={
            "test": terms,
            "candidate_total": evidence.candidate_total + candidate.total,
            "candidate_bad": evidence.candidate_bad + candidate.bad,
            "stable_total": evidence.stable_total + stable.total,
            "stable_bad": evidence.stable_bad + stable.bad,
            "step_candidate_total": evidence.step_candidate_total + candidate.total,
            "step_stable_total": evidence.step_stable_total + stable.total,
            "worse": worse,
            "no_worse": no_worse,
        }
    )


def evidence_of(state: RolloutStatus, metric: MetricSettings) -> MetricEvidence:
    """What the metric has shown so far."""
    found = (evidence for evidence in state.metrics if evidence.name == metric.name)
    return next(found, MetricEvidence(name=metric.name))


def gravest(judgements: tuple[Judgement, ...]) -> Judgement | None:
    """The judgement that decides: the gravest verdict, and among equals the strongest evidence."""
    if not judgements:
        return None
    return min(
        judgements,
        key=lambda judgement: (PRECEDENCE.index(judgement.verdict), -judgement.log_e_value),
    )


def _terms(metric: MetricSettings, context: Context) -> tuple[str, float | None]:
    """What the test compares with, as text; and the rate it is tested at where there is only one arm."""
    match metric.bound:
        case AbsoluteBound(max_rate=max_rate):
            return f"at most {max_rate:g}", sequential.null_rate_of(max_rate)
        case RelativeBound(max_ratio=max_ratio):
            if context.baking:
                rate = sequential.frozen_null_rate(max_ratio, _frozen(metric, context))
                return f"at most {rate:.6g}, from {max_ratio:g} x the frozen rate", rate
            return f"at most {max_ratio:g} x stable", None


def _no_evidence(null_rate: float | None) -> sequential.LogWeights:
    if null_rate is None:
        return sequential.NO_EVIDENCE
    return (0.0,) * len(sequential.alternatives(null_rate))


def _frozen(metric: MetricSettings, context: Context) -> Counts:
    found = (baseline for baseline in context.baselines if baseline.name == metric.name)
    baseline = next(found, None)
    return Counts(total=0, bad=0) if baseline is None else Counts(total=baseline.total, bad=baseline.bad)


def _stable_counts(metric: MetricSettings, evidence: MetricEvidence, context: Context) -> Counts:
    if context.baking:
        return _frozen(metric, context)
    return Counts(total=evidence.stable_total, bad=evidence.stable_bad)


def _rate(counts: Counts) -> float:
    return counts.bad / counts.total if counts.total else 0.0


def _candidate_rate(evidence: MetricEvidence) -> float:
    return _rate(Counts(total=evidence.candidate_total, bad=evidence.candidate_bad))


def _exceeds_margin(metric: MetricSettings, evidence: MetricEvidence, context: Context) -> bool:
    if not isinstance(metric.bound, RelativeBound):
        return True
    difference = _candidate_rate(evidence) - _rate(_stable_counts(metric, evidence, context))
    return difference > metric.bound.margin


def _is_passed(evidence: MetricEvidence, context: Context) -> bool:
    settings = context.settings
    samples = evidence.step_stable_total if context.before_cut_over else evidence.step_candidate_total
    enough = samples >= settings.min_samples
    return context.intervals >= settings.min_intervals and (
        enough or sequential.rejects(evidence.no_worse, context.alpha)
    )


def _no_traffic(metric: MetricSettings, evidence: MetricEvidence, context: Context) -> Hold | None:
    if evidence.step_candidate_total > 0:
        return None
    if not context.baking:
        share = min(context.weight_percent, 99.0) / 100
        expected = evidence.step_stable_total * share / (1 - share)
        if expected >= EXPECTED_REQUESTS:
            return Hold(
                reason=HeldReason.GATEWAY_NOT_CONVERGED,
                message=(
                    f"{metric.name}: stable had {_number(evidence.step_stable_total)} requests in this step, so "
                    f"about {expected:.0f} were to be expected of the candidate at {context.weight_percent:g} %, "
                    "and none came"
                ),
            )
    if context.elapsed_intervals < context.settings.min_intervals:
        return None
    return Hold(
        reason=HeldReason.NO_TRAFFIC,
        message=f"{metric.name}: the candidate had no requests in {context.elapsed_intervals} intervals",
    )


def _traffic_stopped(metric: MetricSettings, context: Context) -> Hold | None:
    """With all of the traffic, where nothing but more of it ends the rollout."""
    if not context.baking or context.quiet_intervals < context.settings.min_intervals:
        return None
    return Hold(
        reason=HeldReason.NO_TRAFFIC,
        message=f"{metric.name}: the candidate had no requests in the last {context.quiet_intervals} intervals",
    )


def _nothing_to_compare_with(metric: MetricSettings, evidence: MetricEvidence, context: Context) -> Hold | None:
    if evidence.step_stable_total > 0 or context.elapsed_intervals < context.settings.min_intervals:
        return None
    return Hold(
        reason=HeldReason.NO_TRAFFIC,
        message=(
            f"{metric.name}: stable had no requests in {context.elapsed_intervals} intervals, so there is nothing to "
            "compare the candidate with; a metric with `absolute` compares with a figure of your own"
        ),
    )


def _problem(
    metric: MetricSettings, measurement: Measurement, evidence: MetricEvidence, window: Window, context: Context
) -> Judgement:
    kind = measurement.problem or MeasurementProblem.UNAVAILABLE
    hold = Hold(reason=HOLD_REASONS[kind], message=f"{metric.name}: {measurement.message}")
    return _judgement(metric, PROBLEM_VERDICTS[kind], evidence, window, context, hold)


def _judgement(
    metric: MetricSettings,
    verdict: Verdict,
    evidence: MetricEvidence,
    window: Window,
    context: Context,
    hold: Hold | None,
) -> Judgement:
    stable = _stable_counts(metric, evidence, context)
    baseline = _rate(stable) if isinstance(metric.bound, RelativeBound) else None
    log_e_value = sequential.log_e_value(evidence.worse)
    judgement = Judgement(
        metric=metric,
        verdict=verdict,
        evidence=evidence.model_copy(update={"verdict": verdict}),
        value=round(_candidate_rate(evidence), 9),
        baseline=None if baseline is None else round(baseline, 9),
        bound=round(_bound_rate(metric, evidence, context), 9),
        log_e_value=log_e_value,
        threshold=float(f"{1 / context.alpha:.6g}"),
        message="",
        hold=hold,
    )
    message = hold.message if hold is not None else _sentence(judgement, stable, window, context)
    return replace(judgement, message=message)


def _bound_rate(metric: MetricSettings, evidence: MetricEvidence, context: Context) -> float:
    match metric.bound:
        case AbsoluteBound(max_rate=max_rate):
            return max_rate
        case RelativeBound(max_ratio=max_ratio):
            if context.baking:
                return sequential.frozen_null_rate(max_ratio, _frozen(metric, context))
            return min(1.0, max_ratio * _rate(_stable_counts(metric, evidence, context)))


def _sentence(judgement: Judgement, stable: Counts, window: Window, context: Context) -> str:
    metric, evidence = judgement.metric, judgement.evidence
    settings = context.settings
    if context.before_cut_over:
        return (
            f"{metric.name}: stable {_percent(_rate(stable))} of {_number(stable.total)} were bad, which the candidate "
            f"will be compared with ({context.intervals} of {settings.min_intervals} intervals, "
            f"{_number(evidence.step_stable_total)} of {_number(settings.min_samples)} samples, "
            f"{instant_text(context.tested_from)} to {instant_text(window.end)})"
        )
    candidate = f"candidate {_percent(judgement.value)} of {_number(evidence.candidate_total)}"
    match metric.bound:
        case AbsoluteBound(max_rate=max_rate):
            compared, bound = "", f"at most {_percent(max_rate)} allowed"
        case RelativeBound(max_ratio=max_ratio, margin=margin):
            frozen = " (frozen)" if context.baking else ""
            compared = f", stable {_percent(_rate(stable))} of {_number(stable.total)}{frozen}"
            beyond = f" and {_percent(margin)} more" if margin else ""
            bound = f"at most {max_ratio:g} x stable{beyond} allowed"
    span = f"{instant_text(context.tested_from)} to {instant_text(window.end)}"
    text = f"{metric.name}: {candidate}{compared} were bad, {bound}"
    figures = f"evidence {judgement.e_value:g} of {judgement.threshold:g}, {span}"
    if judgement.verdict is Verdict.INCONCLUSIVE and not context.baking:
        figures = (
            f"{context.intervals} of {settings.min_intervals} intervals, "
            f"{_number(evidence.step_candidate_total)} of {_number(settings.min_samples)} samples, {figures}"
        )
    return f"{text} ({figures})"


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def _number(count: int) -> str:
    return f"{count:,}"
