"""Checks before any traffic: is the candidate ready, and is there something to compare it with.

The rule to know: the candidate's weight is 0 here, so whatever is missing costs nobody anything. A rollout without
steps never has both arms side by side: before its cut-over stable is measured, interval by interval, and what it did is
what the candidate is compared with while it bakes. A version that was stable before is compared with what the present
one showed in its own bake, and waits only where that is not known.
"""

from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RollbackReason, Verdict
from modelway_operator.api.strategy import OnInconclusive
from modelway_operator.core.rollout.phases import Event
from modelway_operator.core.rollout.steps import has_clock_skew, has_no_share
from modelway_operator.core.rollout.verdicts import needs_baseline
from modelway_operator.core.rollout.view import Finding, View, is_acknowledged, name_of, waiting_gateways


def begins_measuring(view: View) -> Finding | None:
    """Everything is there but the figures to compare with: stable is measured from now on."""
    if obstacle(view) is not None or view.state.counted_until is not None or not compares_with_before(view):
        return None
    return Finding(event=Event.MEASURING, message=f"measuring what {name_of(view.stable)} does before the cut-over")


def has_lost_readiness(view: View) -> Finding | None:
    """It had passed and waited for others, and now something is in the way again."""
    missing = obstacle(view) if view.state.passed else None
    return None if missing is None else Finding(event=Event.READINESS_LOST, message=missing)


def has_passed(view: View) -> Finding | None:
    """Everything that the candidate needs is there, and it still has no traffic."""
    if obstacle(view) is not None:
        return None
    ready = f"{name_of(view.candidate)} resolves, is on every gateway, and answers"
    evaluation = view.evaluation
    if not compares_with_before(view) or (evaluation is None and view.state.passed):
        # Once it has passed, that it may go on is all that can happen here.
        waits = view.state.passed and view.snapshot.held_back_by
        return None if waits else Finding(event=_way_on(view), message=ready)
    if evaluation is None or evaluation.hold is not None or evaluation.verdict is not Verdict.PASS:
        return None
    return Finding(event=_way_on(view), message=f"{ready}; {evaluation.message}")


def is_ready(view: View) -> bool:
    """Whether nothing but other rollouts is in the way."""
    return obstacle(view) is None and (view.state.passed or not compares_with_before(view))


def cannot_measure(view: View) -> Finding | None:
    """Stable is to be measured, and there is something in the way that is not its own."""
    return None if view.state.counted_until is None else has_no_share(view) or has_clock_skew(view)


def gives_up(view: View) -> Finding | None:
    """Not everything was there by the deadline of a step, and where stable is measured, by the end of an interval."""
    settings, evaluation = view.settings, view.evaluation
    if settings is None or view.seconds_since(view.state.step_since) < settings.step_deadline_seconds:
        return None
    missing = obstacle(view)
    if missing is None and (evaluation is None or not evaluation.is_last):
        return None
    lacking = missing or too_little_to_compare_with(view)
    message = f"not ready for traffic within {settings.step_deadline_seconds:g}s: {lacking}"
    if missing is None and settings.on_inconclusive is OnInconclusive.ADVANCE:
        return Finding(event=_way_on(view), message=f"{message}; onInconclusive is Advance")
    if missing is None and settings.on_inconclusive is OnInconclusive.HOLD:
        return Finding(event=Event.DEADLINE_HOLD, reason=HeldReason.INCONCLUSIVE, message=message)
    return Finding(event=Event.PREFLIGHT_FAILED, reason=RollbackReason.PREFLIGHT, message=message)


def obstacle(view: View) -> str | None:
    """What the candidate still lacks before it may have traffic."""
    preflight = view.snapshot.preflight
    if preflight is None:
        return "the candidate has not been looked at yet"
    if not preflight.references_resolve:
        return preflight.references_message or "its references do not resolve"
    if not is_acknowledged(view):
        return waiting_gateways(view)
    if preflight.probe_ok is None:
        return preflight.probe_message or "its backends have not been asked yet"
    if not preflight.probe_ok:
        return preflight.probe_message or "its backends do not answer"
    return None


def compares_with_before(view: View) -> bool:
    """Whether all of the traffic moves at once, and some metric will compare with what stable did before."""
    settings, state = view.settings, view.state
    if settings is None or (settings.step_weights and not state.returning):
        return False
    known = {baseline.name for baseline in state.baselines if baseline.total} if state.returning else set()
    return any(
        needs_baseline(metric, returning=state.returning) and metric.name not in known for metric in settings.metrics
    )


def too_little_to_compare_with(view: View) -> str:
    """How far stable has been measured."""
    if view.evaluation is not None:
        return view.evaluation.message
    counted = min((evidence.step_stable_total for evidence in view.state.metrics), default=0)
    settings = view.settings
    needed = "" if settings is None else f" of {settings.min_intervals} intervals and {settings.min_samples} requests"
    return (
        f"{name_of(view.stable)} is measured before the cut-over: {view.state.intervals} intervals with "
        f"{counted} requests{needed}"
    )


def _way_on(view: View) -> Event:
    if view.snapshot.held_back_by:
        return Event.PASSED_ALONE
    if view.state.returning:
        return Event.PREFLIGHT_PASSED_KNOWN
    if view.settings is not None and not view.settings.step_weights:
        return Event.PREFLIGHT_PASSED_AT_ONCE
    return Event.PREFLIGHT_PASSED
