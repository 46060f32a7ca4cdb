"""What changes in the state with each event, beside the phase.

The rule to know: an effect decides nothing. The check said what happened, the table says where it leads, and here
stands only what has to be remembered or forgotten on the way.
"""

import hashlib
from collections.abc import Callable, Mapping

from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.api.rollout_status import (
    RolloutStatus,
)
from modelway_operator.core.rollout.endings import (
    candidate_figures,
    ended,
    forget_evidence,
    forget_rollout,
    quarantined,
    stable_figures,
)
from modelway_operator.core.rollout.errors import EngineError
from modelway_operator.core.rollout.evaluation import absorb, fresh_evidence, with_decision
from modelway_operator.core.rollout.model import TargetKey, Version
from modelway_operator.core.rollout.phases import Event
from modelway_operator.core.rollout.view import Finding, View
from modelway_operator.core.rollout.windows import Window, first_boundary

Effect = Callable[[View, Finding], RolloutStatus]


def rollout_id_of(key: TargetKey, stable: Version, candidate: Version, *, attempt: int, started_at: float) -> str:
    """A rollout's id: the same for the same beginning, so that a repeated turn does not begin another one."""
    parts = (
        key.namespace,
        key.policy,
        key.rule,
        key.target,
        stable.digest,
        candidate.digest,
        str(attempt),
        str(round(started_at * 1000)),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def carry_out(view: View, finding: Finding) -> RolloutStatus:
    """The state after the event, its phase not yet changed."""
    return EFFECTS.get(finding.event, _nothing)(view, finding)


def _nothing(view: View, finding: Finding) -> RolloutStatus:
    del finding
    return view.state


def _begin(view: View, finding: Finding) -> RolloutStatus:
    settings, stable, candidate = view.settings, view.stable, view.wanted
    if settings is None or stable is None or candidate is None:
        raise EngineError("a rollout cannot begin without settings and two versions")
    return forget_evidence(view.state).model_copy(
        update={
            "rollout_id": rollout_id_of(view.snapshot.key, stable, candidate, attempt=1, started_at=view.now),
            "attempt": 1,
            "candidate": candidate.as_ref(),
            "returning": finding.event is Event.KNOWN_CANDIDATE,
            "started_at": view.now,
            "step_since": view.now,
            "step": 0,
            "weight": 0.0,
            "decision": None,
            "measurements": (),
            "refused": "",
            "entry": settings.source,
            # While returning, what serves now is compared with as it was when its own bake ended.
            "baselines": view.state.baselines,
        }
    )


def _first_version(view: View, finding: Finding) -> RolloutStatus:
    del finding
    wanted = view.wanted
    if wanted is None:
        raise EngineError("nothing is wanted, so nothing can be first")
    ref = wanted.as_ref()
    return view.state.model_copy(update={"stable": ref, "candidate": ref, "started_at": view.now})


def _initially_deployed(view: View, finding: Finding) -> RolloutStatus:
    return ended(view, finding, "InitialDeploy").model_copy(update={"candidate": None, "started_at": None})


def _tidy(view: View, finding: Finding) -> RolloutStatus:
    """At rest, with the spec at what is stable: nothing is held against anything any more."""
    del finding
    wanted = view.wanted
    return forget_rollout(view.state).model_copy(
        update={
            "stable": view.state.stable if wanted is None else wanted.as_ref(),
            "candidate": None,
            "quarantine": (),
            "refused": "",
        }
    )


def _queue(view: View, finding: Finding) -> RolloutStatus:
    del finding
    wanted = view.wanted
    if wanted is None:
        raise EngineError("nothing is wanted, so nothing can wait")
    return view.state.model_copy(update={"candidate": wanted.as_ref(), "refused": ""})


def _leave_queue(view: View, finding: Finding) -> RolloutStatus:
    del finding
    return view.state.model_copy(update={"candidate": None})


def _refuse(view: View, finding: Finding) -> RolloutStatus:
    del finding
    wanted = view.wanted
    if wanted is None:
        raise EngineError("nothing is wanted, so nothing can be refused")
    return view.state.model_copy(update={"refused": wanted.digest, "candidate": wanted.as_ref()})


def _take_step(view: View, finding: Finding) -> RolloutStatus:
    state, settings, index = _counted(view, finding), view.settings, view.next_step
    if settings is None or index is None:
        raise EngineError("there is no step to take")
    return state.model_copy(
        update={
            "weight": float(settings.step_weights[index]),
            "step": index + 1,
            "step_since": view.now,
            "passed": False,
        }
    )


def _lower_weight(view: View, finding: Finding) -> RolloutStatus:
    del finding
    if view.settings is None:
        raise EngineError("there are no steps to lower the weight to")
    steps = view.settings.step_weights
    return view.state.model_copy(
        update={"weight": float(steps[-1]), "step": len(steps), "step_since": view.now, "passed": False}
    )


def _promote(view: View, finding: Finding) -> RolloutStatus:
    """All of the traffic is the candidate's from here on, and stable's figures stay as they are."""
    state = _counted(view, finding)
    frozen = stable_figures(state) or state.baselines
    return state.model_copy(
        update={"weight": 100.0, "step_since": view.now, "passed": False, "baselines": frozen},
    )


def _measure(view: View, finding: Finding) -> RolloutStatus:
    del finding
    return _measured_from_now(view)


def _acknowledge(view: View, finding: Finding) -> RolloutStatus:
    """Measurements of this weight begin now; while baking with a test of its own."""
    del finding
    state = _measured_from_now(view)
    if state.phase is not Phase.PROMOTING:
        return state
    return state.model_copy(update={"metrics": (), "tested_from": None})


def _measured_from_now(view: View) -> RolloutStatus:
    state, settings = view.state, view.settings
    if settings is None:
        raise EngineError("there are no settings to measure by")
    begin = first_boundary(view.now, settings, view.snapshot.scrape_interval_seconds)
    return state.model_copy(
        update={
            "acknowledged_at": view.now,
            "measured_from": begin,
            "counted_until": begin,
            "gap_until": None,
            "intervals": 0,
            "quiet_intervals": 0,
            "metrics": fresh_evidence(state),
        }
    )


def _count(view: View, finding: Finding) -> RolloutStatus:
    """In Soaking the closed interval is only noticed; Evaluating counts it with its verdict."""
    if view.state.phase is Phase.SOAKING:
        return view.state
    return _counted(view, finding)


def _counted(view: View, finding: Finding) -> RolloutStatus:
    del finding
    return view.state if view.evaluation is None else absorb(view.state, view.evaluation)


def _lose_readiness(view: View, finding: Finding) -> RolloutStatus:
    """The time that it was ready and waited for others does not count against the step."""
    del finding
    return view.state.model_copy(update={"passed": False, "step_since": view.now})


def _pass_alone(view: View, finding: Finding) -> RolloutStatus:
    return _counted(view, finding).model_copy(update={"passed": True})


def _note_gap(view: View, finding: Finding) -> RolloutStatus:
    del finding
    if view.evaluation is None:
        raise EngineError("there is no interval that could be a gap")
    return view.state.model_copy(update={"gap_until": view.evaluation.gap_until})


def _hold(view: View, finding: Finding) -> RolloutStatus:
    del finding
    if view.state.phase is Phase.HELD:
        return view.state
    # Evaluating lasts for one turn only, so a hold goes back to where the next interval is waited for.
    came_from = Phase.SOAKING if view.state.phase is Phase.EVALUATING else view.state.phase
    return view.state.model_copy(update={"held_from": came_from, "held_since": view.now, "passed": False})


def _hold_undecided(view: View, finding: Finding) -> RolloutStatus:
    held = _counted(view, finding)
    came_from = Phase.SOAKING if held.phase is Phase.EVALUATING else held.phase
    return held.model_copy(update={"held_from": came_from, "held_since": view.now})


def _release(view: View, finding: Finding) -> RolloutStatus:
    """The time of a hold does not count against the step, except where the step's own deadline caused it."""
    del finding
    state = view.state
    shift = 0.0 if state.reason == HeldReason.INCONCLUSIVE else view.seconds_since(state.held_since)
    return state.model_copy(
        update={"held_from": None, "held_since": None, "step_since": _later(state.step_since, shift)}
    )


def _pause(view: View, finding: Finding) -> RolloutStatus:
    del finding
    return view.state.model_copy(update={"paused_from": view.state.phase, "paused_since": view.now, "passed": False})


def _resume(view: View, finding: Finding) -> RolloutStatus:
    del finding
    state, shift = view.state, view.seconds_since(view.state.paused_since)
    return state.model_copy(
        update={
            "paused_from": None,
            "paused_since": None,
            "step_since": _later(state.step_since, shift),
            "held_since": _later(state.held_since, shift),
        }
    )


def _roll_back(view: View, finding: Finding) -> RolloutStatus:
    """The candidate's share is 0 from here on; whatever else is written can wait."""
    state = view.state
    if finding.judgement is not None:
        judgement = finding.judgement
        evaluation = view.evaluation
        if evaluation is not None and any(judgement is judged for judged in evaluation.judging):
            state = with_decision(state, judgement, evaluation.window, evaluation.measured)
        else:
            state = with_decision(state, judgement, Window(state.counted_until or view.now, view.now))
    return quarantined(view, state, finding).model_copy(
        update={
            "weight": 0.0,
            "held_from": None,
            "held_since": None,
            "paused_from": None,
            "paused_since": None,
        }
    )


def _fail_preflight(view: View, finding: Finding) -> RolloutStatus:
    return _rolled_back(view, finding, state=quarantined(view, view.state, finding))


def _finish_rollback(view: View, finding: Finding) -> RolloutStatus:
    return _rolled_back(view, finding, state=view.state)


def _rolled_back(view: View, finding: Finding, *, state: RolloutStatus) -> RolloutStatus:
    past = ended(View(view.snapshot, state, view.settings), finding, "RolledBack")
    return forget_rollout(past).model_copy(update={"candidate": state.candidate, "baselines": state.baselines})


def _baked(view: View, finding: Finding) -> RolloutStatus:
    """The pointer moves: what was the candidate is stable now, and nothing has to be written anywhere else."""
    state, settings = view.state, view.settings
    if settings is None or state.stable is None or state.candidate is None:
        raise EngineError("a bake cannot end without settings and two versions")
    earlier = (state.stable, *(ref for ref in state.earlier if ref.version != state.candidate.version))
    return forget_rollout(ended(view, finding, "Promoted")).model_copy(
        update={
            "stable": state.candidate,
            "candidate": None,
            "earlier": earlier[: settings.rollback_window],
            "baselines": candidate_figures(state) or state.baselines,
            "quarantine": (),
        }
    )


def _later(moment: float | None, seconds: float) -> float | None:
    return None if moment is None else round(moment + seconds, 3)


EFFECTS: Mapping[Event, Effect] = {
    Event.FIRST_VERSION: _first_version,
    Event.INITIAL_DEPLOYED: _initially_deployed,
    Event.NEW_CANDIDATE: _begin,
    Event.KNOWN_CANDIDATE: _begin,
    Event.SAME_AS_STABLE: _tidy,
    Event.SPEC_AT_STABLE: _tidy,
    Event.CANDIDATE_REFUSED: _refuse,
    Event.QUEUED: _queue,
    Event.LEFT_QUEUE: _leave_queue,
    Event.PREFLIGHT_PASSED: _take_step,
    Event.PREFLIGHT_PASSED_KNOWN: _promote,
    Event.PREFLIGHT_PASSED_AT_ONCE: _promote,
    Event.MEASURING: _measure,
    Event.READINESS_LOST: _lose_readiness,
    Event.PREFLIGHT_FAILED: _fail_preflight,
    Event.ACKNOWLEDGED: _acknowledge,
    Event.NOT_ACKNOWLEDGED: _hold,
    Event.INTERVAL_CLOSED: _count,
    Event.GAP_FOUND: _note_gap,
    Event.PASSED: _take_step,
    Event.PASSED_LAST_STEP: _promote,
    Event.PASSED_ALONE: _pass_alone,
    Event.NOT_YET: _counted,
    Event.GATE_REJECTED: _roll_back,
    Event.DEADLINE_ROLLBACK: _roll_back,
    Event.DEADLINE_HOLD: _hold_undecided,
    Event.STEPS_LOWERED: _lower_weight,
    Event.BAKED: _baked,
    Event.HOLD: _hold,
    Event.DATA_RETURNED: _release,
    Event.HOLD_EXPIRED: _roll_back,
    Event.PAUSE: _pause,
    Event.RESUME: _resume,
    Event.GUARDRAIL_FAILED: _roll_back,
    Event.SUPERSEDED: _roll_back,
    Event.SPEC_REVERTED: _roll_back,
    Event.CANDIDATE_DELETED: _roll_back,
    Event.QUARANTINED: _roll_back,
    Event.SETTINGS_LOST: _roll_back,
    Event.ROLLBACK_ACKNOWLEDGED: _finish_rollback,
}
"""Events that are not here change nothing but the phase."""
