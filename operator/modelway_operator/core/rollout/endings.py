"""How a rollout ends: what is kept of it, what is held against its candidate, and what is forgotten.

The rule to know: at rest only the outcome is kept, so that a status stays small and the next rollout begins anew.
"""

from modelway_operator.api.rollout_status import (
    Baseline,
    PastRollout,
    QuarantinedVersion,
    RollbackReason,
    RolloutStatus,
)
from modelway_operator.core.rollout.errors import EngineError
from modelway_operator.core.rollout.view import Finding, View

KEPT_ROLLOUTS = 10
KEPT_QUARANTINE = 10
PAST_MESSAGE_LENGTH = 256

NOT_BLAMED = frozenset({RollbackReason.SPEC_REVERTED, RollbackReason.SUPERSEDED, RollbackReason.CANDIDATE_DELETED})
"""Ends that say nothing against the candidate: it may be tried again."""


def quarantined(view: View, state: RolloutStatus, finding: Finding) -> RolloutStatus:
    """The state with the candidate among the versions that failed, unless the end says nothing against it."""
    candidate = view.candidate
    if candidate is None or finding.reason in NOT_BLAMED:
        return state
    failed = QuarantinedVersion(model=candidate.model, version=candidate.digest, reason=finding.reason, since=view.now)
    others = tuple(other for other in state.quarantine if other.version != failed.version)
    return state.model_copy(update={"quarantine": (failed, *others)[:KEPT_QUARANTINE]})


def ended(view: View, finding: Finding, result: str) -> RolloutStatus:
    """The state with this rollout in its history."""
    state = view.state
    if state.candidate is None:
        raise EngineError("a rollout without a candidate cannot end")
    past = PastRollout(
        rollout_id=state.rollout_id,
        result=result,
        reason=finding.reason,
        message=finding.message[:PAST_MESSAGE_LENGTH],
        stable=None if state.stable == state.candidate else state.stable,
        candidate=state.candidate,
        started=state.started_at if state.started_at is not None else view.now,
        ended=view.now,
    )
    return state.model_copy(update={"history": (past, *state.history)[:KEPT_ROLLOUTS]})


def forget_evidence(state: RolloutStatus) -> RolloutStatus:
    """Nothing was measured yet: a step or an attempt begins."""
    return state.model_copy(
        update={
            "acknowledged_at": None,
            "measured_from": None,
            "counted_until": None,
            "tested_from": None,
            "gap_until": None,
            "intervals": 0,
            "quiet_intervals": 0,
            "passed": False,
            "metrics": (),
        }
    )


def forget_rollout(state: RolloutStatus) -> RolloutStatus:
    """At rest only the outcome is kept: the decision, its measurements, and the history."""
    return forget_evidence(state).model_copy(
        update={
            "weight": 0.0,
            "step": 0,
            "step_since": None,
            "held_from": None,
            "held_since": None,
            "paused_from": None,
            "paused_since": None,
            "returning": False,
            "entry": "",
        }
    )


def stable_figures(state: RolloutStatus) -> tuple[Baseline, ...]:
    """What stable did over this rollout's intervals, to be frozen."""
    return tuple(
        Baseline(name=evidence.name, total=evidence.stable_total, bad=evidence.stable_bad) for evidence in state.metrics
    )


def candidate_figures(state: RolloutStatus) -> tuple[Baseline, ...]:
    """The same of the candidate."""
    return tuple(
        Baseline(name=evidence.name, total=evidence.candidate_total, bad=evidence.candidate_bad)
        for evidence in state.metrics
    )
