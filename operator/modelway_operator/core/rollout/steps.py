"""Checks on a rollout's way: acknowledgements, intervals, verdicts, holds.

The rule to know: nothing raises the candidate's share but `is_passed`, where the user asked for
`onInconclusive: Advance` `gives_up_waiting`, what `preflight` lets pass, and `is_released` what had passed before.
"""

from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RollbackReason, Verdict
from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.api.strategy import MetricRole, OnHoldTimeout, OnInconclusive
from modelway_operator.core.rollout.model import WHOLE_SHARE_BP
from modelway_operator.core.rollout.phases import Event
from modelway_operator.core.rollout.view import Finding, View, is_acknowledged, name_of, waiting_gateways

LARGEST_SKEW_SECONDS = 30.0
"""Beyond this the two clocks do not speak of the same intervals."""

DATA_REASONS = frozenset(
    {
        HeldReason.METRICS_UNAVAILABLE,
        HeldReason.STALE_METRICS,
        HeldReason.CONFIG_ERROR,
        HeldReason.NO_TRAFFIC,
        HeldReason.GATEWAY_NOT_CONVERGED,
        HeldReason.BASELINE_UNHEALTHY,
        HeldReason.BOTH_UNHEALTHY,
    }
)
"""Holds that one another may follow, since each of them is a want of data that say something."""

# ------------------------------------------------------------------------------------------------- weights on gateways


def has_acknowledged(view: View) -> Finding | None:
    """Every ready gateway runs the present weight."""
    if not is_acknowledged(view):
        return None
    weight = view.state.weight
    if view.share_bp == WHOLE_SHARE_BP:
        return Finding(event=Event.ACKNOWLEDGED, message=f"all traffic is on {name_of(view.candidate)}; it is watched")
    return Finding(
        event=Event.ACKNOWLEDGED,
        message=f"{name_of(view.candidate)} gets {weight:g} % (step {view.state.step} of {view.state.steps})",
    )


def has_not_converged(view: View) -> Finding | None:
    """Some gateway has not taken the weight in time; it is pushed again all the while."""
    settings = view.settings
    if settings is None or view.seconds_since(view.state.phase_since) < settings.converge_timeout_seconds:
        return None
    return Finding(
        event=Event.NOT_ACKNOWLEDGED,
        reason=HeldReason.GATEWAY_NOT_CONVERGED,
        message=f"{waiting_gateways(view)} for {settings.converge_timeout_seconds:g}s",
    )


def are_steps_lowered(view: View) -> Finding | None:
    """The steps were edited and now end below the weight."""
    settings = view.settings
    # Without any steps left the present one ends as it would have; then all of the traffic moves.
    if settings is None or not settings.step_weights or view.state.weight <= settings.step_weights[-1]:
        return None
    return Finding(
        event=Event.STEPS_LOWERED,
        message=f"the steps end at {settings.step_weights[-1]} % now, so {view.state.weight:g} % is lowered to that",
    )


def is_warmed_up(view: View) -> Finding | None:
    """The first interval has begun."""
    if view.state.measured_from is None or view.now < view.state.measured_from:
        return None
    return Finding(event=Event.WARMED_UP, message=f"measuring at {view.state.weight:g} %")


# ---------------------------------------------------------------------------------------------------------- judging


def has_no_share(view: View) -> Finding | None:
    """No traffic can come to the candidate, for a reason that is the rule's and not its own."""
    if not view.snapshot.share_is_zero:
        return None
    return Finding(
        event=Event.HOLD,
        reason=HeldReason.TARGET_WEIGHT_ZERO,
        message="the target's own weight is 0, so no request can come to the candidate",
    )


def has_clock_skew(view: View) -> Finding | None:
    """The clocks are too far apart to name an interval."""
    skew = view.snapshot.source.clock_skew_seconds
    if abs(skew) <= LARGEST_SKEW_SECONDS:
        return None
    return Finding(
        event=Event.HOLD,
        reason=HeldReason.CLOCK_SKEW,
        message=(
            f"Prometheus' clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the operator's, "
            f"more than {LARGEST_SKEW_SECONDS:.0f} s"
        ),
    )


def has_interval_closed(view: View) -> Finding | None:
    """An interval can be judged."""
    if view.evaluation is None:
        return None
    return Finding(event=Event.INTERVAL_CLOSED, message=view.evaluation.message)


def counts_interval(view: View) -> Finding | None:
    """Where nothing is decided on it, an interval is counted only if it can be as a whole."""
    if view.evaluation is None or not view.evaluation.is_countable or has_clock_skew(view) is not None:
        return None
    return Finding(event=Event.INTERVAL_CLOSED, message=view.evaluation.message)


def is_rejected(view: View) -> Finding | None:
    """A metric shows that the candidate is worse."""
    judgement = None if view.evaluation is None else view.evaluation.decisive
    if judgement is None or judgement.verdict is not Verdict.FAIL:
        return None
    return Finding(
        event=Event.GATE_REJECTED,
        reason=RollbackReason.GATE_FAILED,
        message=f"gate {judgement.message}",
        judgement=judgement,
    )


def rejects_guarded(view: View) -> Finding | None:
    """A guardrail that fails on a closed interval, where gates have no say."""
    found = () if view.evaluation is None else view.evaluation.judging
    for judgement in found:
        if judgement.verdict is Verdict.FAIL and judgement.metric.role is MetricRole.GUARDRAIL:
            return Finding(
                event=Event.GUARDRAIL_FAILED,
                reason=RollbackReason.GUARDRAIL_FAILED,
                message=f"guardrail {judgement.message}",
                judgement=judgement,
            )
    return None


def is_gap(view: View) -> Finding | None:
    """There are no samples for this interval's end, and there never will be."""
    if view.evaluation is None or view.evaluation.gap_until is None:
        return None
    return Finding(event=Event.GAP_FOUND, message=f"{view.evaluation.message}; the next interval covers it too")


def lacks_data(view: View) -> Finding | None:
    """Something needed to judge is missing; that is never a verdict."""
    hold = None if view.evaluation is None else view.evaluation.hold
    return None if hold is None else Finding(event=Event.HOLD, reason=hold.reason, message=hold.message)


def is_passed(view: View) -> Finding | None:
    """Every metric that judges has seen enough, and none rejects."""
    if view.evaluation is None or view.evaluation.verdict is not Verdict.PASS:
        return None
    return _next_step(view, view.evaluation.message)


def gives_up_waiting(view: View) -> Finding | None:
    """The step's deadline, once every interval up to now has been looked at."""
    settings, evaluation = view.settings, view.evaluation
    if settings is None or evaluation is None or not evaluation.is_last:
        return None
    if view.seconds_since(view.state.step_since) < settings.step_deadline_seconds:
        return None
    message = f"no verdict within {settings.step_deadline_seconds:g}s: {evaluation.message}"
    match settings.on_inconclusive:
        case OnInconclusive.ADVANCE:
            return _next_step(view, f"{message}; onInconclusive is Advance")
        case OnInconclusive.HOLD:
            return Finding(event=Event.DEADLINE_HOLD, reason=HeldReason.INCONCLUSIVE, message=message)
        case OnInconclusive.ROLLBACK:
            return Finding(event=Event.DEADLINE_ROLLBACK, reason=RollbackReason.INCONCLUSIVE, message=message)


def stays(view: View) -> Finding | None:
    """More intervals are needed."""
    return Finding(event=Event.NOT_YET, message="" if view.evaluation is None else view.evaluation.message)


def is_released(view: View) -> Finding | None:
    """It had passed, and the rollouts that it moves with are as far now."""
    if not view.state.passed or view.snapshot.held_back_by:
        return None
    return _next_step(view, "all that move together have passed")


def _next_step(view: View, message: str) -> Finding:
    if view.snapshot.held_back_by:
        return Finding(event=Event.PASSED_ALONE, message=f"{message}; waits for {view.snapshot.held_back_by}")
    event = Event.PASSED_LAST_STEP if view.next_step is None else Event.PASSED
    return Finding(event=event, message=message)


# ------------------------------------------------------------------------------------------------------ held, paused


def has_held_data_returned(view: View) -> Finding | None:
    """What was missing is there again."""
    if not _is_hold_over(view):
        return None
    return Finding(event=Event.DATA_RETURNED, message=f"{view.state.reason} is over; on at {view.state.weight:g} %")


def _is_hold_over(view: View) -> bool:
    evaluation = view.evaluation
    match view.state.reason:
        case HeldReason.TARGET_WEIGHT_ZERO:
            return not view.snapshot.share_is_zero
        case HeldReason.CLOCK_SKEW:
            return has_clock_skew(view) is None
        case HeldReason.INCONCLUSIVE:
            return evaluation is not None and evaluation.verdict in {Verdict.PASS, Verdict.FAIL}
        case HeldReason.GATEWAY_NOT_CONVERGED if view.state.held_from in {Phase.APPLYING, Phase.PROMOTING}:
            return is_acknowledged(view)
        case _:
            return evaluation is not None and evaluation.hold is None


def has_hold_changed(view: View) -> Finding | None:
    """Another thing is missing now; only between holds for want of data."""
    found = lacks_data(view)
    if found is None or found.reason == view.state.reason or view.state.reason not in DATA_REASONS:
        return None
    return found


def has_hold_expired(view: View) -> Finding | None:
    """It was missing for too long."""
    settings = view.settings
    if settings is None or settings.on_hold_timeout is OnHoldTimeout.KEEP:
        return None
    if view.seconds_since(view.state.held_since) < settings.hold_deadline_seconds:
        return None
    return Finding(
        event=Event.HOLD_EXPIRED,
        reason=RollbackReason.HOLD_TIMEOUT,
        message=f"held for {settings.hold_deadline_seconds:g}s ({view.state.reason}): {view.state.message}",
    )


def is_resumed(view: View) -> Finding | None:
    """The person who paused it lets it go on."""
    if view.snapshot.paused:
        return None
    return Finding(event=Event.RESUME, message=f"goes on at {view.state.weight:g} %")


# -------------------------------------------------------------------------------------------------------- the ends


def is_initially_deployed(view: View) -> Finding | None:
    """The first version needs no gateway's consent: it is all there is."""
    if view.candidate is None or view.candidate != view.stable:
        return None
    return Finding(
        event=Event.INITIAL_DEPLOYED, message=f"{name_of(view.candidate)} serves: there was nothing before it"
    )


def is_baked(view: View) -> Finding | None:
    """Enough clean intervals with all of the traffic."""
    if not has_baked(view) or view.snapshot.held_back_by:
        return None
    return Finding(
        event=Event.BAKED,
        message=f"{name_of(view.candidate)} is stable after {view.state.intervals} clean intervals with all traffic",
    )


def has_baked(view: View) -> bool:
    """Whether enough intervals were clean."""
    return view.settings is not None and view.state.intervals >= view.settings.bake_intervals


def is_rolled_back(view: View) -> Finding | None:
    """Waits for the live gateways and for nothing else: no metric, no status write, no candidate."""
    live = [replica for replica in view.snapshot.replicas if replica.live]
    if not live or any(replica.split is not None and replica.split.share_bp > 0 for replica in live):
        return None
    return Finding(event=Event.ROLLBACK_ACKNOWLEDGED, reason=view.state.reason, message=view.state.message)
