"""The status of a RoutingPolicy: verdicts about the object, and all that moves by itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelway_contract.config import ExamplesFit
from modelway_operator.api.conditions import (
    PENDING_CONDITIONS,
    AcceptedReason,
    ConditionType,
    ReadyReason,
    ResolvedRefsReason,
    RollingOutReason,
    StalledReason,
)
from modelway_operator.api.rollout_status import RolloutPhase, RolloutStatus, instant_text
from modelway_operator.api.routingpolicy import (
    PolicyGateways,
    PolicySummary,
    RoutingPolicyStatus,
    RuleStatus,
)
from modelway_operator.core.acknowledgements import Tally
from modelway_operator.core.findings import Area, Event
from modelway_operator.core.outcomes import PolicyOutcome
from modelway_operator.core.rollout.phases import ACTIVE
from modelway_operator.core.shares import rule_shares, shares_line
from modelway_operator.core.signal_figures import figures_of
from modelway_operator.core.snapshot import Snapshot
from modelway_operator.core.status import (
    Verdict,
    bounded,
    conditions_of,
    first_finding,
    no,
    programmed,
    ready,
    transitions,
    unknown,
    yes,
)

MAX_STATUS_BYTES = 64 * 1024


def policy_status(
    outcome: PolicyOutcome,
    tally: Tally,
    *,
    revision: str,
    can_serve: bool,
    fits: tuple[ExamplesFit, ...],
    snapshot: Snapshot,
    refused: str | None,
) -> tuple[Mapping[str, Any], tuple[Event, ...]]:
    """The new status and what to tell of it."""
    entry, before = outcome.entry, outcome.entry.status
    generation = entry.head.generation
    rules, weights = _rules(outcome, snapshot), shares_line(outcome.rules)
    signals = figures_of(entry.serving, before.signals, fits) if entry.serving is not None else before.signals
    if tally.fresh:
        # What moves is written at once, for it must stand before it is pushed; the verdicts wait for the gateways.
        status = before.model_copy(
            update={
                "conditions": before.conditions or PENDING_CONDITIONS,
                "rules": rules,
                "signals": signals,
                "rollouts": outcome.states,
                "weights": weights,
                "summary": PolicySummary(gateways=before.summary.gateways, rollout=_rollout_line(outcome.states)),
            }
        )
        return _fitted(status), ()
    conditions = conditions_of(
        _verdicts(outcome, tally, can_serve, refused), before.conditions, generation=generation, now=snapshot.now
    )
    status = RoutingPolicyStatus(
        observed_generation=generation,
        conditions=conditions,
        rules=rules,
        signals=signals,
        rollouts=outcome.states,
        weights=weights,
        gateways=PolicyGateways(
            ready=tally.ready,
            acknowledged=tally.acknowledged,
            rejected=tally.rejected,
            message=bounded(tally.message, 1024),
        ),
        summary=PolicySummary(gateways=f"{tally.acknowledged}/{tally.ready}", rollout=_rollout_line(outcome.states)),
        revision=revision,
    )
    return _fitted(status), transitions(entry.head.ref, before.conditions, conditions)


def _verdicts(outcome: PolicyOutcome, tally: Tally, can_serve: bool, refused: str | None) -> list[Verdict]:
    entry, findings = outcome.entry, outcome.findings
    accepted = first_finding(findings, Area.ACCEPTED)
    refs = first_finding(findings, Area.RESOLVED_REFS)
    partial = first_finding(findings, Area.PARTIAL)
    verdicts = [
        no(ConditionType.ACCEPTED, *accepted)
        if accepted is not None
        else yes(ConditionType.ACCEPTED, AcceptedReason.ACCEPTED)
    ]
    if entry.serving is None:
        message = "the policy must be accepted first"
        verdicts.append(unknown(ConditionType.RESOLVED_REFS, ResolvedRefsReason.PENDING, message))
    elif refs is not None:
        verdicts.append(no(ConditionType.RESOLVED_REFS, *refs))
    else:
        verdicts.append(yes(ConditionType.RESOLVED_REFS, ResolvedRefsReason.RESOLVED_REFS))
    serves = entry.serving is not None
    verdicts.append(programmed(tally, accepted=entry.accepted, serving_before=serves, refused=refused))
    before = entry.status.conditions
    verdicts.append(ready(tally, _obstacle(outcome, can_serve), before, generation=entry.head.generation))
    verdicts += _rollout_verdicts(outcome.states) if serves else []
    stalled = _stalled(outcome, accepted)
    verdicts += [stalled] if stalled is not None else []
    if partial is not None:
        verdicts.append(yes(ConditionType.PARTIALLY_INVALID, *partial))
    return verdicts


def _obstacle(outcome: PolicyOutcome, can_serve: bool) -> tuple[ReadyReason, str] | None:
    """Why it could not serve even if every gateway had it."""
    if outcome.entry.serving is None:
        return ReadyReason.NOT_PROGRAMMED, "no generation of it is accepted"
    if not can_serve:
        return ReadyReason.NO_HEALTHY_BACKEND, "none of its targets has a backend that can be called"
    return None


def can_be_called(outcome: PolicyOutcome, snapshot: Snapshot) -> bool:
    """Whether any backend of any of its targets has an address."""
    return any(
        backend.problem is None and (backend.service is None or bool(snapshot.endpoints.get(backend.service)))
        for model in outcome.models.values()
        for backend in model.backends
    )


def _rollout_verdicts(states: Sequence[RolloutStatus]) -> list[Verdict]:
    verdicts = []
    back = [state for state in states if state.phase is RolloutPhase.ROLLING_BACK]
    active = [state for state in states if state.phase in ACTIVE]
    queued = [state for state in states if state.phase is RolloutPhase.QUEUED]
    if back or active:
        reason = RollingOutReason.ROLLING_BACK if back else RollingOutReason.PROGRESSING
        verdicts.append(yes(ConditionType.ROLLING_OUT, reason, _messages([*back, *active, *queued])))
    held = [state for state in states if state.phase is RolloutPhase.HELD]
    if held:
        verdicts.append(yes(ConditionType.HELD, held[0].reason or "Held", _messages(held)))
    return verdicts


def _stalled(outcome: PolicyOutcome, accepted: tuple[str, str] | None) -> Verdict | None:
    if accepted is not None:
        return yes(ConditionType.STALLED, StalledReason.INVALID_SPEC, accepted[1])
    failed = [state for state in outcome.states if state.phase is RolloutPhase.ROLLED_BACK]
    if failed and outcome.entry.serving is not None:
        return yes(ConditionType.STALLED, StalledReason.ROLLED_BACK, _messages(failed))
    return None


def _messages(states: Sequence[RolloutStatus]) -> str:
    return "; ".join(f"{state.name}: {state.message}" for state in states)


def _rules(outcome: PolicyOutcome, snapshot: Snapshot) -> tuple[RuleStatus, ...]:
    if outcome.entry.serving is None:
        return outcome.entry.status.rules
    before = {rule.name: rule for rule in outcome.entry.status.rules}
    namespace, now = outcome.entry.head.ref.namespace, instant_text(int(snapshot.now))
    return tuple(
        RuleStatus(
            name=rule.rule.name,
            state=rule.state,
            message=bounded(rule.message, 1024),
            weights=rule_shares(rule, before.get(rule.rule.name), namespace=namespace, now=now),
        )
        for rule in outcome.rules
    )


def _rollout_line(states: Sequence[RolloutStatus]) -> str:
    """One text for the column: the rollout's own where there is one, else each with its name."""
    if len(states) == 1:
        return bounded(_rollout_text(states[0]), 256)
    moving = [state for state in states if state.phase is not RolloutPhase.STABLE]
    if states and not moving:
        return "Stable"
    return bounded("; ".join(f"{state.name}: {_rollout_text(state)}" for state in moving), 256)


def _rollout_text(state: RolloutStatus) -> str:
    match state.phase:
        case RolloutPhase.APPLYING | RolloutPhase.WARMING | RolloutPhase.SOAKING | RolloutPhase.EVALUATING:
            return f"Progressing {state.weight:g} % ({state.step}/{state.steps})"
        case RolloutPhase.HELD | RolloutPhase.PAUSED:
            reason = f" ({state.reason})" if state.reason else ""
            return f"{state.phase} {state.weight:g} %{reason}"
        case RolloutPhase.ROLLED_BACK | RolloutPhase.ROLLING_BACK:
            return f"{state.phase} ({state.reason})" if state.reason else str(state.phase)
        case _:
            return str(state.phase)


def _fitted(status: RoutingPolicyStatus) -> Mapping[str, Any]:
    """The status as a document within its bound: what explains the past goes before what is needed to go on."""
    document = status.as_manifest()
    for spare in ({"measurements": ()}, {"history": ()}):
        if _size(document) <= MAX_STATUS_BYTES:
            break
        status = status.model_copy(
            update={"rollouts": tuple(state.model_copy(update=spare) for state in status.rollouts)}
        )
        document = status.as_manifest()
    if _size(document) > MAX_STATUS_BYTES:
        rules = tuple(rule.model_copy(update={"message": bounded(rule.message, 128)}) for rule in status.rules)
        document = status.model_copy(update={"rules": rules}).as_manifest()
    return document


def _size(document: Mapping[str, Any]) -> int:
    return len(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))
