"""The rollout as a table of phases and events.

Two rules. Everything that decides which phase may follow which lives in this file: `checks` says *that* an event has
happened, `effects` says what else changes with it, and neither names a phase to go to. And this file knows nothing of
metrics, gateways or versions: it can be read, drawn (`tools/draw_states.py`) and tested by itself.

Theory of operation. A target is at rest in Stable or in RolledBack. A new candidate takes it through Preflight,
where the weight is still 0, into the steps. Each step passes through four phases: Applying (the weight is
announced and pushed), Warming (all gateways have it; results are not counted yet), Soaking (waiting for an
interval to close) and Evaluating (judging the one that did). Evaluating never outlasts one call of `advance`: it
ends in the next step's Applying, back in Soaking, or worse. After the last step, Promoting pushes all of the
traffic and Baking watches it with the old version kept warm; then the candidate is what is stable.

Blue-green is the same machine with no steps: Preflight also counts intervals of stable, to have something to compare
with, and leads straight to Promoting.

Of one policy's targets, those that make the same move go in lock-step (`together`): where one has passed and another
has not, it stays, and its verdict is remembered as `passed`. All others wait in Queued, which is at rest.

Three things can happen nearly everywhere, and are written once for all of ACTIVE:

- the rollout ends in RollingBack: a guardrail failed, the spec points elsewhere, or the candidate is gone. RollingBack
  waits for one thing only: that every live gateway has given the candidate's traffic back.
- it is Held: something that is needed to judge is missing. Missing data is never a verdict. A hold freezes the weight,
  keeps the evidence, and ends in BACK, the phase it came from.
- it is Paused by a person. The weight is frozen and deadlines stop, guardrails do not. Its end is BACK too.

A rollout that is replaced by another (v3 during v2) rolls back first and is RolledBack for a moment; a different
candidate then leaves RolledBack as always. So "v2 to 0 and acknowledged" needs no rows of its own.

A key that is missing is a fault of the engine: it means that a check fires where nobody thought of it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.core.rollout.errors import EngineError


class Event(StrEnum):
    """What can happen to a target."""

    FIRST_VERSION = "first version ever"
    INITIAL_DEPLOYED = "initial deploy done"
    NEW_CANDIDATE = "new candidate"
    KNOWN_CANDIDATE = "a candidate that was stable before"
    SAME_AS_STABLE = "candidate equals stable"
    CANDIDATE_REFUSED = "quarantined candidate"
    QUEUED = "another rollout of the policy is under way"
    LEFT_QUEUE = "candidate deleted while it waited"
    SPEC_AT_STABLE = "spec points at stable"

    PREFLIGHT_PASSED = "preflight passed"
    PREFLIGHT_PASSED_KNOWN = "preflight passed, was stable before"
    PREFLIGHT_PASSED_AT_ONCE = "preflight passed, BlueGreen"
    MEASURING = "stable is measured before the cut-over"
    READINESS_LOST = "was ready, and is not any more"
    PREFLIGHT_FAILED = "preflight not passed by stepDeadline"

    ACKNOWLEDGED = "acknowledged by every ready gateway"
    NOT_ACKNOWLEDGED = "not acknowledged in convergeTimeout"
    WARMED_UP = "warmed up"
    INTERVAL_CLOSED = "interval closed and settled"
    GAP_FOUND = "no samples for that interval"
    PASSED = "passed"
    PASSED_LAST_STEP = "passed the last step"
    PASSED_ALONE = "passed, but not all that move together"
    NOT_YET = "neither passed nor failed"
    GATE_REJECTED = "a gate rejects"
    DEADLINE_ROLLBACK = "stepDeadline, onInconclusive Rollback"
    DEADLINE_HOLD = "stepDeadline, onInconclusive Hold"
    STEPS_LOWERED = "steps edited to end below the weight"
    BAKED = "bake.intervals clean"

    HOLD = "data missing"
    DATA_RETURNED = "data return"
    HOLD_EXPIRED = "holdDeadline, onHoldTimeout Rollback"
    PAUSE = "pause"
    RESUME = "resume"

    GUARDRAIL_FAILED = "a guardrail fails"
    SUPERSEDED = "another candidate"
    SPEC_REVERTED = "spec points at stable again"
    CANDIDATE_DELETED = "candidate deleted"
    QUARANTINED = "failed elsewhere in the policy"
    SETTINGS_LOST = "settings lost"
    ROLLBACK_ACKNOWLEDGED = "stable = 100 acknowledged by every live gateway"


BACK: Final = "back to where it came from"
"""Stands for the phase that a hold or a pause remembers."""

Next = Phase | str
"""A phase, or BACK."""

ACTIVE: Final = frozenset(
    {
        Phase.PREFLIGHT,
        Phase.APPLYING,
        Phase.WARMING,
        Phase.SOAKING,
        Phase.EVALUATING,
        Phase.HELD,
        Phase.PAUSED,
        Phase.PROMOTING,
        Phase.BAKING,
    }
)
"""The phases of a rollout that is under way and not on its way back."""

AT_REST: Final = frozenset({Phase.STABLE, Phase.QUEUED, Phase.ROLLED_BACK})
"""The phases in which no rollout is under way here."""

_ENDS: Final[Mapping[Event, Next]] = {
    Event.GUARDRAIL_FAILED: Phase.ROLLING_BACK,
    Event.SUPERSEDED: Phase.ROLLING_BACK,
    Event.SPEC_REVERTED: Phase.ROLLING_BACK,
    Event.CANDIDATE_DELETED: Phase.ROLLING_BACK,
    Event.QUARANTINED: Phase.ROLLING_BACK,
    Event.SETTINGS_LOST: Phase.ROLLING_BACK,
}
"""What ends a rollout in any of the ACTIVE phases."""

_ACTIVE_EVENTS: Final[Mapping[Event, Next]] = {**_ENDS, Event.PAUSE: Phase.PAUSED}

TRANSITIONS: Final[Mapping[Phase, Mapping[Event, Next]]] = MappingProxyType(
    {
        Phase.STABLE: {
            Event.FIRST_VERSION: Phase.PROMOTING,
            Event.NEW_CANDIDATE: Phase.PREFLIGHT,
            Event.KNOWN_CANDIDATE: Phase.PREFLIGHT,
            Event.SAME_AS_STABLE: Phase.STABLE,
            Event.CANDIDATE_REFUSED: Phase.ROLLED_BACK,
            Event.QUEUED: Phase.QUEUED,
        },
        Phase.QUEUED: {
            Event.QUEUED: Phase.QUEUED,
            Event.NEW_CANDIDATE: Phase.PREFLIGHT,
            Event.KNOWN_CANDIDATE: Phase.PREFLIGHT,
            Event.CANDIDATE_REFUSED: Phase.ROLLED_BACK,
            Event.SPEC_AT_STABLE: Phase.STABLE,
            Event.LEFT_QUEUE: Phase.STABLE,
        },
        Phase.PREFLIGHT: {
            **_ACTIVE_EVENTS,
            Event.PREFLIGHT_PASSED: Phase.APPLYING,
            Event.PREFLIGHT_PASSED_KNOWN: Phase.PROMOTING,
            Event.PREFLIGHT_PASSED_AT_ONCE: Phase.PROMOTING,
            Event.PASSED_ALONE: Phase.PREFLIGHT,
            Event.MEASURING: Phase.PREFLIGHT,
            Event.READINESS_LOST: Phase.PREFLIGHT,
            Event.INTERVAL_CLOSED: Phase.PREFLIGHT,
            Event.GAP_FOUND: Phase.PREFLIGHT,
            Event.HOLD: Phase.HELD,
            Event.DEADLINE_HOLD: Phase.HELD,
            Event.PREFLIGHT_FAILED: Phase.ROLLED_BACK,
        },
        Phase.APPLYING: {
            **_ACTIVE_EVENTS,
            Event.ACKNOWLEDGED: Phase.WARMING,
            Event.NOT_ACKNOWLEDGED: Phase.HELD,
            Event.HOLD: Phase.HELD,
            Event.STEPS_LOWERED: Phase.APPLYING,
        },
        Phase.WARMING: {
            **_ACTIVE_EVENTS,
            Event.WARMED_UP: Phase.SOAKING,
            Event.HOLD: Phase.HELD,
            Event.STEPS_LOWERED: Phase.APPLYING,
        },
        Phase.SOAKING: {
            **_ACTIVE_EVENTS,
            Event.INTERVAL_CLOSED: Phase.EVALUATING,
            Event.PASSED: Phase.APPLYING,
            Event.PASSED_LAST_STEP: Phase.PROMOTING,
            Event.HOLD: Phase.HELD,
            Event.STEPS_LOWERED: Phase.APPLYING,
        },
        Phase.EVALUATING: {
            **_ACTIVE_EVENTS,
            Event.GATE_REJECTED: Phase.ROLLING_BACK,
            Event.PASSED: Phase.APPLYING,
            Event.PASSED_LAST_STEP: Phase.PROMOTING,
            Event.PASSED_ALONE: Phase.SOAKING,
            Event.NOT_YET: Phase.SOAKING,
            Event.GAP_FOUND: Phase.SOAKING,
            Event.HOLD: Phase.HELD,
            Event.DEADLINE_ROLLBACK: Phase.ROLLING_BACK,
            Event.DEADLINE_HOLD: Phase.HELD,
        },
        Phase.HELD: {
            **_ACTIVE_EVENTS,
            Event.DATA_RETURNED: BACK,
            Event.INTERVAL_CLOSED: Phase.HELD,
            Event.GAP_FOUND: Phase.HELD,
            Event.HOLD: Phase.HELD,
            Event.HOLD_EXPIRED: Phase.ROLLING_BACK,
        },
        Phase.PAUSED: {
            **_ENDS,
            Event.RESUME: BACK,
            Event.INTERVAL_CLOSED: Phase.PAUSED,
            Event.GAP_FOUND: Phase.PAUSED,
        },
        Phase.PROMOTING: {
            **_ACTIVE_EVENTS,
            Event.INITIAL_DEPLOYED: Phase.STABLE,
            Event.ACKNOWLEDGED: Phase.BAKING,
            Event.NOT_ACKNOWLEDGED: Phase.HELD,
        },
        Phase.BAKING: {
            **_ACTIVE_EVENTS,
            Event.INTERVAL_CLOSED: Phase.BAKING,
            Event.GAP_FOUND: Phase.BAKING,
            Event.GATE_REJECTED: Phase.ROLLING_BACK,
            Event.HOLD: Phase.HELD,
            Event.BAKED: Phase.STABLE,
        },
        Phase.ROLLING_BACK: {
            Event.ROLLBACK_ACKNOWLEDGED: Phase.ROLLED_BACK,
        },
        Phase.ROLLED_BACK: {
            Event.CANDIDATE_REFUSED: Phase.ROLLED_BACK,
            Event.QUEUED: Phase.QUEUED,
            Event.NEW_CANDIDATE: Phase.PREFLIGHT,
            Event.KNOWN_CANDIDATE: Phase.PREFLIGHT,
            Event.SPEC_AT_STABLE: Phase.STABLE,
        },
    }
)


def next_phase(phase: Phase, event: Event, *, came_from: Phase | None) -> Phase:
    """The phase that follows; `came_from` is what a hold or a pause goes back to."""
    try:
        following = TRANSITIONS[phase][event]
    except KeyError:
        raise EngineError(f"{event.name} cannot happen in {phase}") from None
    if isinstance(following, Phase):
        return following
    if came_from is None:
        raise EngineError(f"{event.name} in {phase} does not know where to go back to")
    return came_from
