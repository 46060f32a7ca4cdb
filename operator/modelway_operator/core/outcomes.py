"""What each policy comes to: its wire form, its splits, and all that its status and its memory are to say.

Rule: which version a target serves is the engine's word, whether that version can be served is `Arms`'; where it
cannot, the target is left out, and a rule with no target left answers 503.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelway_contract import config
from modelway_operator.api.conditions import HeldReason, PartiallyInvalidReason
from modelway_operator.api.rollout_status import RolloutStatus
from modelway_operator.api.routingpolicy import PolicyRule, RoutingPolicy, RuleState
from modelway_operator.core.arms import Arms
from modelway_operator.core.compile.conditions import (
    compile_require,
    compile_sticky,
    compile_when,
    unused_signals,
)
from modelway_operator.core.compile.fallbacks import CompiledFallback, compile_fallback
from modelway_operator.core.compile.models import CompiledModel, absent_model
from modelway_operator.core.compile.policies import PolicyEntry, unreachable_rules
from modelway_operator.core.compile.signals import compile_signals
from modelway_operator.core.findings import Area, Event, Finding, Severity
from modelway_operator.core.plan import SecretWrite
from modelway_operator.core.remembered import TargetMemory, remembered_write
from modelway_operator.core.rollout.advance import advance
from modelway_operator.core.rollout.errors import EngineError
from modelway_operator.core.rollout.model import TargetKey, TargetPlan, TargetSnapshot, Version
from modelway_operator.core.rollout.together import advance_together
from modelway_operator.core.signal_figures import indistinct
from modelway_operator.core.situations import Situation, frozen_plan
from modelway_operator.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOutcome:
    """One target: what it serves, and why that is not what it points at."""

    situation: Situation
    plan: TargetPlan
    stable: CompiledModel | None
    candidate: CompiledModel | None
    message: str = ""
    """What is wrong with what it points at, and what serves instead."""

    @property
    def usable(self) -> bool:
        """Whether it can serve anything."""
        return self.stable is not None

    @property
    def name(self) -> str:
        """Its name in the rule."""
        return self.situation.ref.target.name

    @property
    def weight(self) -> int:
        """Its share of the rule's weights."""
        return self.situation.ref.target.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOutcome:
    """One rule and its targets."""

    rule: PolicyRule
    state: RuleState
    message: str
    targets: tuple[TargetOutcome, ...]
    fallback: CompiledFallback


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutcome:
    """One policy."""

    entry: PolicyEntry
    wire: config.Policy | None = None
    models: Mapping[str, CompiledModel] = field(default_factory=dict)
    """Models that its targets serve, by key."""
    stand_ins: tuple[config.Model, ...] = ()
    splits: tuple[config.Split, ...] = ()
    rules: tuple[RuleOutcome, ...] = ()
    states: tuple[RolloutStatus, ...] = ()
    findings: tuple[Finding, ...] = ()
    events: tuple[Event, ...] = ()
    secret: SecretWrite | None = None


def policy_outcome(
    entry: PolicyEntry,
    situations: tuple[Situation, ...],
    findings: tuple[Finding, ...],
    arms: Arms,
    snapshot: Snapshot,
) -> PolicyOutcome:
    """Let every target take its next step, and put the policy together."""
    policy = entry.serving
    if policy is None:
        return PolicyOutcome(entry=entry, states=entry.status.rollouts, findings=tuple(entry.findings()))
    told = [*entry.findings(), *findings]
    targets: dict[str, list[TargetOutcome]] = {}
    events: list[Event] = []
    plans, faults = _advance(entry, situations)
    told += faults
    for situation, plan in zip(situations, plans, strict=True):
        outcome = _target(entry, situation, plan, arms)
        targets.setdefault(situation.rule.name, []).append(outcome)
        told += _target_findings(entry, outcome)
        events += _events(entry, outcome)
    unreachable = unreachable_rules(policy.spec.rules)
    rules = tuple(
        _rule(
            rule,
            tuple(targets[rule.name]),
            unreachable.get(rule.name),
            compile_fallback(policy, rule, arms.inventory, snapshot.install),
        )
        for rule in policy.spec.rules
    )
    told += _rule_findings(entry, rules)
    told += _signal_findings(entry, policy)
    told += indistinct(entry.head.ref, policy, entry.status.signals)
    wires, stand_ins, splits = [], [], []
    models: dict[str, CompiledModel] = {}
    for rule in rules:
        wire, absent = _wire_rule(rule)
        wires.append(wire)
        stand_ins += [absent] if absent is not None else []
        splits += [split for target in _serving(rule.targets) if (split := _split(target)) is not None]
        for target in rule.targets:
            models |= {arm.wire.key: arm for arm in (target.stable, target.candidate) if arm is not None}
    outcomes = [target for rule in rules for target in rule.targets]
    return PolicyOutcome(
        entry=entry,
        wire=config.Policy(
            namespace=entry.head.ref.namespace,
            name=entry.head.ref.name,
            models=entry.names,
            signals=compile_signals(policy.spec.signals),
            rules=tuple(wires),
        ),
        models=models,
        stand_ins=tuple(stand_ins),
        splits=tuple(splits),
        rules=rules,
        states=_states(outcomes),
        findings=tuple(told),
        events=tuple(events),
        secret=_secret(entry, outcomes, arms, snapshot),
    )


def _advance(
    entry: PolicyEntry, situations: tuple[Situation, ...]
) -> tuple[tuple[TargetPlan, ...], tuple[Finding, ...]]:
    """The engine's word; where it contradicts itself, that target stands still and says so, and all others go on."""
    frozen = {situation.snapshot.key for situation in situations if situation.frozen}
    faults: dict[TargetKey, Finding] = {}

    def advance_one(snapshot: TargetSnapshot) -> TargetPlan:
        if snapshot.key in frozen:
            return frozen_plan(snapshot)
        try:
            return advance(snapshot)
        except EngineError as exc:
            faults[snapshot.key] = _fault(entry, snapshot.key, exc)
            return frozen_plan(snapshot)

    plans = advance_together([situation.snapshot for situation in situations], advance_one)
    return plans, tuple(faults.values())


def _fault(entry: PolicyEntry, key: TargetKey, exc: EngineError) -> Finding:
    return Finding(
        about=entry.head.ref,
        area=Area.PARTIAL,
        reason=HeldReason.CONFIG_ERROR,
        message=f"rule {key.rule}, target {key.target}: the rollout stands still, which is a fault of the operator "
        f"and should be reported: {exc}",
        part=f"{key.rule}/{key.target}",
    )


def _target(entry: PolicyEntry, situation: Situation, plan: TargetPlan, arms: Arms) -> TargetOutcome:
    namespace = entry.head.ref.namespace
    stable = arms.find(plan.stable, namespace) if plan.stable is not None else None
    candidate = arms.find(plan.candidate, namespace) if plan.candidate is not None else None
    notes = [situation.ref.message] if situation.ref.message else []
    if stable is None and candidate is not None and plan.share_bp > 0:
        notes.append(f"{_named(plan.stable)} is remembered nowhere, so {_named(plan.candidate)} serves all of it")
        stable, candidate = candidate, None
    elif stable is None:
        candidate = None
        if plan.stable is not None and not notes:
            notes.append(f"{_named(plan.stable)} is remembered nowhere; point the target at a model that exists")
    elif situation.ref.entry is None:
        notes.append(f"{_named(plan.stable)} goes on serving")
    if candidate is not None and stable is not None and candidate.wire.key == stable.wire.key:
        candidate = None
    return TargetOutcome(situation=situation, plan=plan, stable=stable, candidate=candidate, message="; ".join(notes))


def _rule(
    rule: PolicyRule, targets: tuple[TargetOutcome, ...], unreachable: str | None, fallback: CompiledFallback
) -> RuleOutcome:
    messages = [f"target {target.name}: {target.message}" for target in targets if target.message]
    messages += [problem.message for problem in fallback.problems]
    state = RuleState.ACTIVE
    if not _serving(targets):
        state = RuleState.INVALID
        messages.insert(0, "no target can serve, so its requests are answered with 503")
    elif unreachable is not None:
        state = RuleState.UNREACHABLE
        messages.insert(0, unreachable)
    elif left_out := [target.name for target in targets if not target.usable]:
        messages.insert(0, f"the other targets share what {', '.join(left_out)} should have")
    return RuleOutcome(rule=rule, state=state, message="; ".join(messages), targets=targets, fallback=fallback)


def _serving(targets: tuple[TargetOutcome, ...]) -> tuple[TargetOutcome, ...]:
    """The targets that can serve, none where they have no weight."""
    usable = tuple(target for target in targets if target.usable)
    return usable if any(target.weight for target in usable) else ()


def _wire_rule(outcome: RuleOutcome) -> tuple[config.Rule, config.Model | None]:
    rule = outcome.rule
    absent, fallback = None, outcome.fallback.wire
    targets = [_wire_target(target) for target in _serving(outcome.targets)]
    if not targets:
        fallback = None  # it helps where a model fails, not where there is none
        ref = next((each for each in outcome.targets if not each.usable), outcome.targets[0]).situation.ref
        absent = absent_model(ref.namespace, ref.name)
        targets = [config.Target(name=ref.target.name, weight=1, stable=absent.key)]
    wire = config.Rule(
        name=rule.name,
        when=compile_when(rule.when),
        require=compile_require(rule.require),
        targets=tuple(targets),
        sticky=compile_sticky(rule),
        fallback=fallback,
    )
    return wire, absent


def _wire_target(target: TargetOutcome) -> config.Target:
    assert target.stable is not None
    return config.Target(
        name=target.name,
        weight=target.weight,
        stable=target.stable.wire.key,
        candidate=target.candidate.wire.key if target.candidate is not None else None,
        rollout_id=target.plan.rollout_id if target.candidate is not None else None,
        failed=tuple(sorted(_failed(target) - _on_its_way_back(target))),
    )


def _on_its_way_back(target: TargetOutcome) -> frozenset[str]:
    """A rollback pushes shares and nothing else; that the version failed is for the config without it."""
    return frozenset() if target.plan.candidate is None else frozenset({target.plan.candidate.digest})


def _split(target: TargetOutcome) -> config.Split | None:
    key, rollout_id = target.plan.key, target.plan.rollout_id
    if target.candidate is None or rollout_id is None:
        return None
    return config.Split(
        namespace=key.namespace,
        policy=key.policy,
        rule=key.rule,
        target=key.target,
        rollout_id=rollout_id,
        share=target.plan.share_bp,
    )


def _states(targets: list[TargetOutcome]) -> tuple[RolloutStatus, ...]:
    """What `status.rollouts` keeps: entries first, then what ended and must not be forgotten; no name twice."""
    kept = [(target.situation.snapshot.settings is None, target.plan.state) for target in targets]
    states: dict[str, RolloutStatus] = {}
    for _, state in sorted(kept, key=lambda pair: pair[0]):
        if state is None:
            continue
        name = state.name if state.name not in states else f"{state.rule}-{state.target}"[:63]
        states.setdefault(name, state if name == state.name else state.model_copy(update={"name": name}))
    return tuple(states.values())[:16]


def _target_findings(entry: PolicyEntry, target: TargetOutcome) -> list[Finding]:
    ref, key = target.situation.ref, target.plan.key
    if ref.reason is None:
        return []
    message = f"rule {key.rule}, target {key.target}: {target.message}"
    return [
        Finding(
            about=entry.head.ref,
            area=Area.RESOLVED_REFS,
            reason=ref.reason,
            message=message,
            part=f"{key.rule}/{key.target}",
        )
    ]


def _rule_findings(entry: PolicyEntry, rules: tuple[RuleOutcome, ...]) -> list[Finding]:
    about = entry.head.ref
    unresolved = [
        Finding(
            about=about,
            area=Area.RESOLVED_REFS,
            reason=problem.reason,
            message=f"rule {outcome.rule.name}, {problem.message}",
            part=outcome.rule.name,
        )
        for outcome in rules
        for problem in outcome.fallback.problems
        if problem.reason is not None
    ]
    incomplete = [
        Finding(
            about=about,
            area=Area.PARTIAL,
            reason=PartiallyInvalidReason.INVALID_RULES,
            message=f"rule {outcome.rule.name}: {outcome.message}",
            part=outcome.rule.name,
        )
        for outcome in rules
        if outcome.state is not RuleState.ACTIVE
        or outcome.fallback.problems
        or not all(target.usable for target in outcome.targets)
    ]
    return [*unresolved, *incomplete]


def _signal_findings(entry: PolicyEntry, policy: RoutingPolicy) -> list[Finding]:
    unused = unused_signals(policy.spec)
    if not unused:
        return []
    message = f"no rule reads these signals: {', '.join(unused)}; use them in a rule's when, or remove them"
    return [Finding(about=entry.head.ref, area=Area.NOTE, reason="UnusedSignal", message=message)]


def _events(entry: PolicyEntry, target: TargetOutcome) -> list[Event]:
    key, plan, before = target.plan.key, target.plan, target.situation.snapshot
    place = f"rule {key.rule}, target {key.target}"
    events = [
        Event(
            about=entry.head.ref,
            severity=Severity(told.type.value),
            reason=told.reason.value,
            message=f"{place}: {told.message}",
        )
        for told in plan.events
    ]
    served = Version.of(before.state.stable) if before.state and before.state.stable else before.serving
    if plan.state is None and served is not None and plan.stable is not None and served != plan.stable:
        message = (
            f"{place}: went from {_named(served)} to {_named(plan.stable)} at once, since no rollout entry names it"
        )
        events.append(Event(about=entry.head.ref, severity=Severity.WARNING, reason="TargetSwitched", message=message))
    return events


def _secret(entry: PolicyEntry, targets: list[TargetOutcome], arms: Arms, snapshot: Snapshot) -> SecretWrite | None:
    """Serving versions first, then those that may be returned to."""
    serving: list[Version] = []
    others: list[Version] = []
    memories: dict[TargetKey, TargetMemory] = {}
    for target in targets:
        plan = target.plan
        serving += [version for version in (plan.stable, plan.candidate) if version is not None]
        others += plan.remembered
        memories[plan.key] = TargetMemory(serving=plan.stable, failed=_failed(target))
    specs = {version: arms.spec(version) for version in dict.fromkeys((*serving, *others))}
    return remembered_write(
        entry.head.ref,
        policy_spec=entry.raw.get("spec") if not entry.problems else entry.remembered.policy_spec,
        targets=memories,
        specs={version: text for version, text in specs.items() if text is not None},
        secrets=snapshot.secrets,
    )


def _failed(target: TargetOutcome) -> frozenset[str]:
    """Versions that failed at this target; forgotten once it points at what serves."""
    wanted, stable, state = target.situation.snapshot.wanted, target.plan.stable, target.plan.state
    if wanted is not None and stable is not None and wanted.digest == stable.digest:
        return frozenset()
    return target.situation.failed | {each.version for each in (state.quarantine if state is not None else ())}


def _named(version: Version | None) -> str:
    return f"{version.model} ({version.digest})" if version is not None else "the model"
