"""All targets of one policy at once: those that make the same move go in lock-step, the others wait for their turn.

Three rules. A policy makes one move at a time, from one version to one other in the same steps; a target that is to
make another one waits in Queued until all that are under way have ended, and so does one that comes to a move which has
begun. Of those that move together none goes further before all are as far and have passed; the slowest goes first. And
what fails at one target is taken back at all of them in the same turn.

`advance` decides about one target and knows nothing of others. What is passed between them here is words only: what a
target is held back by, and what it waits for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.api.rollout_status import RolloutStatus
from modelway_operator.core.rollout.model import TargetPlan, TargetSnapshot
from modelway_operator.core.rollout.phases import ACTIVE

Advance = Callable[[TargetSnapshot], TargetPlan]

_Plans = dict[int, TargetPlan]


def advance_together(snapshots: Sequence[TargetSnapshot], advance: Advance) -> tuple[TargetPlan, ...]:
    """What each target of a policy does next, in the order of the snapshots."""
    if sum(snapshot.settings is not None or snapshot.state is not None for snapshot in snapshots) < 2:
        return tuple(advance(snapshot) for snapshot in snapshots)
    told = _in_step(snapshots, advance)
    plans = {index: advance(snapshot) for index, snapshot in enumerate(told)}
    for index, front in _waiting(snapshots, plans).items():
        plans[index] = advance(replace(told[index], queued_behind=front))
    return tuple(plans[index] for index in range(len(snapshots)))


# ---------------------------------------------------------------------------------------------------------- lock-step


def _in_step(snapshots: Sequence[TargetSnapshot], advance: Advance) -> list[TargetSnapshot]:
    """The snapshots, each with the names of those that it must not leave behind, and with what has failed just now."""
    groups = _groups(snapshots)
    tried = {
        index: advance(replace(snapshots[index], held_back_by="the others"))
        for group in groups
        if len(group) > 1
        for index in group
    }
    failed = {index: _failed_now(snapshots[index], plan) for index, plan in tried.items()}
    behind = {
        index: [other for other in group if other != index and _holds_back(tried[other], tried[index])]
        for group in groups
        if len(group) > 1
        for index in group
    }
    told = []
    for index, snapshot in enumerate(snapshots):
        elsewhere = frozenset().union(*(digests for other, digests in failed.items() if other != index))
        names = [_name(tried[other].state) for other in behind.get(index, ())]
        told.append(
            replace(snapshot, quarantined=snapshot.quarantined | elsewhere, held_back_by=_listed(names))
            if elsewhere or names
            else snapshot
        )
    return told


def _groups(snapshots: Sequence[TargetSnapshot]) -> list[list[int]]:
    """Those under way, by the move they make."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, snapshot in enumerate(snapshots):
        state = snapshot.state
        if state is None or state.phase not in ACTIVE or state.stable is None or state.candidate is None:
            continue
        groups.setdefault((state.stable.version, state.candidate.version), []).append(index)
    return list(groups.values())


def _failed_now(snapshot: TargetSnapshot, plan: TargetPlan) -> frozenset[str]:
    before = () if snapshot.state is None else snapshot.state.quarantine
    after = () if plan.state is None else plan.state.quarantine
    return frozenset(failed.version for failed in after) - {failed.version for failed in before}


def _holds_back(other: TargetPlan, one: TargetPlan) -> bool:
    """Whether the one must not go on before the other has moved."""
    if other.state is None or one.state is None or other.state.phase not in ACTIVE:
        return False
    return other.share_bp < one.share_bp or (other.share_bp == one.share_bp and not other.ready)


# -------------------------------------------------------------------------------------------------------------- queue


def _waiting(snapshots: Sequence[TargetSnapshot], plans: _Plans) -> Mapping[int, str]:
    """Those that would begin now and may not, each with what it waits for."""
    beginners = [index for index, plan in plans.items() if _begins(snapshots[index], plan)]
    front = [index for index, plan in plans.items() if index not in beginners and _is_under_way(plan)]
    if not front and beginners:
        first = min(beginners, key=lambda index: _place_in_queue(snapshots[index], index))
        move = _move(snapshots[first], plans[first])
        front = [index for index in beginners if _move(snapshots[index], plans[index]) == move]
    named = _listed([_described(plans[index].state) for index in front])
    return {index: named for index in beginners if index not in front}


def _begins(snapshot: TargetSnapshot, plan: TargetPlan) -> bool:
    before = "" if snapshot.state is None else snapshot.state.rollout_id
    return plan.state is not None and plan.state.phase in ACTIVE and plan.state.rollout_id != before


def _is_under_way(plan: TargetPlan) -> bool:
    return plan.state is not None and (plan.state.phase in ACTIVE or plan.state.phase is Phase.ROLLING_BACK)


def _place_in_queue(snapshot: TargetSnapshot, index: int) -> tuple[float, int]:
    """Who has waited longest comes first, and then in the order of the rules."""
    state = snapshot.state
    if state is None or state.phase is not Phase.QUEUED or state.phase_since is None:
        return snapshot.now, index
    return state.phase_since, index


def _move(snapshot: TargetSnapshot, plan: TargetPlan) -> object:
    """The two versions, and the way from one to the other."""
    state, settings = plan.state, snapshot.settings
    if state is None or settings is None or plan.stable is None or plan.candidate is None:
        return None
    return plan.stable.digest, plan.candidate.digest, state.returning, settings.step_weights


# -------------------------------------------------------------------------------------------------------------- words


def _described(state: RolloutStatus | None) -> str:
    if state is None or state.phase not in {Phase.HELD, Phase.PAUSED}:
        return _name(state)
    return f"{_name(state)} ({state.phase}{f', {state.reason}' if state.reason else ''})"


def _name(state: RolloutStatus | None) -> str:
    return "another rollout" if state is None else f"rollout {state.name}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
