"""One decision about one target: a snapshot in, a plan out.

The rules to know: the plan says what the target serves from now on *whatever* it served before, so a lost push or
a crash is mended by the next turn; a target without a rollout entry serves at once what the spec points to; and
the candidate's share rises only along a move that a check named.
"""

from dataclasses import replace

from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.api.rollout_status import RolloutStatus
from modelway_operator.core.rollout import preflight
from modelway_operator.core.rollout.announcements import announcements
from modelway_operator.core.rollout.candidates import is_quarantined
from modelway_operator.core.rollout.checks import CHECKS
from modelway_operator.core.rollout.effects import carry_out
from modelway_operator.core.rollout.errors import EngineError
from modelway_operator.core.rollout.evaluation import with_all_answers
from modelway_operator.core.rollout.model import RolloutEvent, RolloutSettings, TargetPlan, TargetSnapshot, Version
from modelway_operator.core.rollout.phases import ACTIVE, AT_REST, Event, next_phase
from modelway_operator.core.rollout.steps import has_baked
from modelway_operator.core.rollout.view import Finding, View, is_acknowledged, name_of, waiting_gateways
from modelway_operator.core.rollout.wanted import settings_in_force

MOVES_PER_INTERVAL = 3
MOVES_BESIDE_INTERVALS = 32

KEEPS_MESSAGE = frozenset({Event.INTERVAL_CLOSED, Event.GAP_FOUND})
"""Moves that leave a hold or a pause, and what is said of it, as they are."""


def advance(snapshot: TargetSnapshot) -> TargetPlan:
    """What the target does next."""
    # To the millisecond, which is what a status can hold: a decision must not depend on what is lost in writing it.
    snapshot = with_all_answers(replace(snapshot, now=round(snapshot.now, 3)))
    settings = settings_in_force(snapshot)
    state = snapshot.state
    if snapshot.settings is None and _needs_no_rollout(snapshot, state):
        return _plan_without_rollout(snapshot)
    if state is None:
        if settings is None:
            return _plan_without_rollout(snapshot)
        state = _state_at_rest(snapshot, settings)
    events: list[RolloutEvent] = []
    for _ in range(_move_limit(settings)):
        view = View(snapshot, state, settings)
        finding = next((found for check in CHECKS[state.phase] if (found := check(view)) is not None), None)
        if finding is None:
            break
        events += announcements(view, finding)
        state = _moved(view, finding)
    else:
        raise EngineError(f"{snapshot.key} does not come to rest: last in {state.phase}, {state.message}")
    view = View(snapshot, state, settings)
    return replace(_plan(snapshot, _described(view), tuple(events)), ready=is_ready(view))


def is_ready(view: View) -> bool:
    """Whether nothing but the rollouts that this one moves with keeps it where it is."""
    match view.state.phase:
        case Phase.PREFLIGHT:
            return preflight.is_ready(view)
        case Phase.SOAKING:
            return view.state.passed
        case Phase.BAKING:
            return has_baked(view)
        case _:
            return False


def _needs_no_rollout(snapshot: TargetSnapshot, state: RolloutStatus | None) -> bool:
    """Without an entry nothing is gated; but what is under way ends first, and what failed stays out."""
    if state is None or state.phase is Phase.STABLE:
        return True
    if state.phase not in AT_REST:
        return False
    wanted = snapshot.wanted
    return wanted is not None and not is_quarantined(View(snapshot, state, None), wanted)


def _plan_without_rollout(snapshot: TargetSnapshot) -> TargetPlan:
    stable = snapshot.wanted or _stable_of(snapshot.state) or snapshot.serving
    return TargetPlan(key=snapshot.key, state=None, stable=stable, remembered=() if stable is None else (stable,))


def _state_at_rest(snapshot: TargetSnapshot, settings: RolloutSettings) -> RolloutStatus:
    """The first state of a target: stable is what it served before it had a rollout, however it came to be changed."""
    return RolloutStatus(
        name=settings.name,
        rule=snapshot.key.rule,
        target=snapshot.key.target,
        stable=None if snapshot.serving is None else snapshot.serving.as_ref(),
        phase_since=snapshot.now,
    )


def _moved(view: View, finding: Finding) -> RolloutStatus:
    before, after = view.state, carry_out(view, finding)
    came_from = before.paused_from if before.phase is Phase.PAUSED else before.held_from
    phase = next_phase(before.phase, finding.event, came_from=came_from)
    update: dict[str, object] = {"phase": phase}
    if phase is not before.phase:
        update["phase_since"] = view.now
    if not (phase is before.phase and finding.event in KEEPS_MESSAGE):
        update["message"] = finding.message[:1024]
        update["reason"] = _reason(before, phase, finding)
    if finding.event is Event.CANDIDATE_REFUSED and before.phase is Phase.ROLLED_BACK:
        # Why it failed says more than that it is still out.
        update |= {"message": before.message, "reason": before.reason}
    return after.model_copy(update=update)


def _reason(before: RolloutStatus, phase: Phase, finding: Finding) -> str:
    if finding.reason:
        return finding.reason
    # A hold is still the same one after a pause.
    return before.reason if before.held_from is not None and phase in {Phase.PAUSED, Phase.HELD} else ""


def _described(view: View) -> RolloutStatus:
    """The state with the entry it runs on, and in the phases that wait for others, with whom they wait for."""
    state, settings = view.state, view.settings
    update: dict[str, object] = {}
    if settings is not None:
        update["name"] = settings.name
        update["steps"] = len(settings.step_weights)
        if state.phase not in AT_REST and view.snapshot.settings is not None:
            update["entry"] = settings.source
    if is_ready(view) and state.phase is not Phase.SOAKING:
        update["message"] = f"{_done_here(view)}; waits for {view.snapshot.held_back_by}"
    elif state.phase is Phase.PREFLIGHT:
        update["message"] = (
            f"before any traffic: {preflight.obstacle(view) or preflight.too_little_to_compare_with(view)}"
        )
    elif state.phase in {Phase.APPLYING, Phase.PROMOTING} and not is_acknowledged(view):
        update["message"] = waiting_gateways(view)
    changed = {name: value for name, value in update.items() if getattr(state, name) != value}
    return state.model_copy(update=changed) if changed else state


def _done_here(view: View) -> str:
    if view.state.phase is Phase.PREFLIGHT:
        return f"{name_of(view.candidate)} is ready for traffic"
    return f"{view.state.intervals} clean intervals with all traffic"


def _plan(snapshot: TargetSnapshot, state: RolloutStatus, events: tuple[RolloutEvent, ...]) -> TargetPlan:
    stable = _stable_of(state)
    under_way = state.phase in ACTIVE or state.phase is Phase.ROLLING_BACK
    candidate = Version.of(state.candidate) if under_way and state.candidate is not None else None
    earlier = [Version.of(ref) for ref in state.earlier]
    known = [version for version in (stable, candidate, *earlier) if version is not None]
    if snapshot.settings is None and state.phase is Phase.STABLE:
        return replace(_plan_without_rollout(replace(snapshot, state=state)), events=events)
    return TargetPlan(
        key=snapshot.key,
        state=state,
        stable=stable,
        candidate=candidate,
        share_bp=round(state.weight * 100) if candidate is not None else 0,
        rollout_id=state.rollout_id if candidate is not None else None,
        events=events,
        remembered=tuple(dict.fromkeys(known)),
    )


def _stable_of(state: RolloutStatus | None) -> Version | None:
    return None if state is None or state.stable is None else Version.of(state.stable)


def _move_limit(settings: RolloutSettings | None) -> int:
    replays = 0 if settings is None else settings.max_replay
    return MOVES_PER_INTERVAL * replays + MOVES_BESIDE_INTERVALS
