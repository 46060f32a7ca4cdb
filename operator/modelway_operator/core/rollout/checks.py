"""What may have happened to a target, phase by phase: small questions, of which the first that is answered decides.

The rule to know: a check is `(View) -> Finding | None` and looks at nothing else; the order here is the precedence.
"""

from collections.abc import Mapping

from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.core.rollout import candidates, preflight, steps
from modelway_operator.core.rollout.view import Check

ENDS: tuple[Check, ...] = (
    candidates.is_spec_reverted,
    candidates.is_superseded,
    candidates.is_candidate_deleted,
    # Before what is remembered of the candidate, which may be this very failure, written down by one that then died.
    candidates.fails_guardrail,
    candidates.is_quarantined_elsewhere,
    candidates.are_settings_lost,
    steps.rejects_guarded,
)
ANY_ACTIVE: tuple[Check, ...] = (*ENDS, candidates.is_pause_asked)

CHECKS: Mapping[Phase, tuple[Check, ...]] = {
    Phase.STABLE: (
        candidates.is_first_version,
        candidates.equals_stable,
        candidates.is_refused,
        candidates.is_queued,
        candidates.is_known_candidate,
        candidates.is_new_candidate,
    ),
    Phase.QUEUED: (
        candidates.is_at_stable,
        candidates.has_left_queue,
        candidates.is_refused,
        candidates.is_queued,
        candidates.is_known_candidate,
        candidates.is_new_candidate,
    ),
    Phase.PREFLIGHT: (
        *ANY_ACTIVE,
        preflight.has_lost_readiness,
        preflight.begins_measuring,
        preflight.has_passed,
        preflight.cannot_measure,
        steps.is_gap,
        steps.lacks_data,
        preflight.gives_up,
        steps.has_interval_closed,
    ),
    Phase.APPLYING: (
        *ANY_ACTIVE,
        steps.are_steps_lowered,
        steps.has_no_share,
        steps.has_acknowledged,
        steps.has_not_converged,
    ),
    Phase.WARMING: (*ANY_ACTIVE, steps.are_steps_lowered, steps.has_no_share, steps.is_warmed_up),
    Phase.SOAKING: (
        *ANY_ACTIVE,
        steps.are_steps_lowered,
        steps.has_no_share,
        steps.has_clock_skew,
        steps.has_interval_closed,
        steps.is_released,
    ),
    Phase.EVALUATING: (
        steps.is_rejected,
        steps.is_gap,
        steps.lacks_data,
        steps.is_passed,
        steps.gives_up_waiting,
        steps.stays,
    ),
    Phase.HELD: (
        *ANY_ACTIVE,
        steps.has_held_data_returned,
        steps.has_hold_expired,
        steps.is_gap,
        steps.has_hold_changed,
        steps.counts_interval,
    ),
    Phase.PAUSED: (*ENDS, steps.is_resumed, steps.is_gap, steps.counts_interval),
    Phase.PROMOTING: (steps.is_initially_deployed, *ANY_ACTIVE, steps.has_acknowledged, steps.has_not_converged),
    Phase.BAKING: (
        *ANY_ACTIVE,
        steps.is_baked,
        steps.has_no_share,
        steps.has_clock_skew,
        steps.is_rejected,
        steps.is_gap,
        steps.lacks_data,
        steps.has_interval_closed,
    ),
    Phase.ROLLING_BACK: (steps.is_rolled_back,),
    Phase.ROLLED_BACK: (
        candidates.is_at_stable,
        candidates.is_refused,
        candidates.is_queued,
        candidates.is_known_candidate,
        candidates.is_new_candidate,
    ),
}
"""The questions of each phase in the order of their precedence."""
