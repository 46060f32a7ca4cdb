"""Which Events a move is worth, and what they say.

The rule to know: one Event for a transition that a person would want to know of, none for what happens at every
interval.
"""

from collections.abc import Mapping

from modelway_operator.api.rollout_status import RollbackReason
from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.core.rollout.model import EventReason, EventType, RolloutEvent
from modelway_operator.core.rollout.phases import Event
from modelway_operator.core.rollout.view import Finding, View, name_of

REASONS: Mapping[Event, tuple[EventReason, ...]] = {
    Event.FIRST_VERSION: (EventReason.INITIAL_DEPLOY,),
    Event.QUEUED: (EventReason.ROLLOUT_QUEUED,),
    Event.NEW_CANDIDATE: (EventReason.ROLLOUT_STARTED,),
    Event.KNOWN_CANDIDATE: (EventReason.ROLLOUT_STARTED,),
    Event.CANDIDATE_REFUSED: (EventReason.CANDIDATE_QUARANTINED,),
    Event.PREFLIGHT_FAILED: (EventReason.ROLLED_BACK,),
    Event.NOT_ACKNOWLEDGED: (EventReason.HELD,),
    Event.GATE_REJECTED: (EventReason.GATE_FAILED, EventReason.ROLLBACK_STARTED),
    Event.GUARDRAIL_FAILED: (EventReason.GATE_FAILED, EventReason.ROLLBACK_STARTED),
    Event.DEADLINE_ROLLBACK: (EventReason.ROLLBACK_STARTED,),
    Event.DEADLINE_HOLD: (EventReason.HELD,),
    Event.HOLD: (EventReason.HELD,),
    Event.HOLD_EXPIRED: (EventReason.ROLLBACK_STARTED,),
    Event.DATA_RETURNED: (EventReason.RESUMED,),
    Event.PAUSE: (EventReason.PAUSED,),
    Event.RESUME: (EventReason.RESUMED,),
    Event.SUPERSEDED: (EventReason.SUPERSEDED, EventReason.ROLLBACK_STARTED),
    Event.SPEC_REVERTED: (EventReason.ROLLBACK_STARTED,),
    Event.CANDIDATE_DELETED: (EventReason.ROLLBACK_STARTED,),
    Event.QUARANTINED: (EventReason.ROLLBACK_STARTED,),
    Event.SETTINGS_LOST: (EventReason.ROLLBACK_STARTED,),
    Event.BAKED: (EventReason.BAKE_FINISHED,),
    Event.ROLLBACK_ACKNOWLEDGED: (EventReason.ROLLED_BACK,),
}

ASKED_FOR = frozenset({Event.SUPERSEDED, Event.SPEC_REVERTED})
"""A rollback that the user's own edit caused is no warning."""

WARNINGS = frozenset(
    {
        EventReason.HELD,
        EventReason.GATE_FAILED,
        EventReason.ROLLBACK_STARTED,
        EventReason.ROLLED_BACK,
        EventReason.CANDIDATE_QUARANTINED,
    }
)


def announcements(view: View, finding: Finding) -> tuple[RolloutEvent, ...]:
    """The Events of one move."""
    reasons = REASONS.get(finding.event, ())
    if finding.event is Event.QUEUED and view.state.phase is Phase.QUEUED:
        # It waits for something else now, which its status says.
        return ()
    if finding.event is Event.ACKNOWLEDGED:
        reasons = (EventReason.PROMOTED,) if view.state.weight == 100 else (EventReason.STEP_APPLIED,)
    message = f"{finding.message} [{view.snapshot.key.rule}/{view.snapshot.key.target}]"
    if finding.event is Event.ROLLBACK_ACKNOWLEDGED:
        message = f"{name_of(view.candidate)} has no traffic any more, {name_of(view.stable)} serves: {message}"
    quiet = finding.event in ASKED_FOR or (
        finding.event is Event.ROLLBACK_ACKNOWLEDGED
        and finding.reason in {RollbackReason.SUPERSEDED, RollbackReason.SPEC_REVERTED}
    )
    return tuple(
        RolloutEvent(
            type=EventType.WARNING if reason in WARNINGS and not quiet else EventType.NORMAL,
            reason=reason,
            message=message,
        )
        for reason in reasons
    )
