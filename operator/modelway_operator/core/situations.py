"""What the rollout engine is told of each target.

Rule: everything that lets a target move is read from the present objects, everything that holds it where it is from
status and memory. A rollout entry that does not work on this install holds its target, since without an entry the
target would go to all traffic at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from modelway_operator.api.conditions import PartiallyInvalidReason
from modelway_operator.api.rollout_status import RolloutPhase, RolloutStatus
from modelway_operator.api.routingpolicy import PolicyRule, RoutingPolicy
from modelway_operator.api.strategy import Rollout
from modelway_operator.core.compile.fallbacks import fallbacks_of
from modelway_operator.core.compile.inventory import Inventory
from modelway_operator.core.compile.policies import PolicyEntry, TargetRef, resolve_target
from modelway_operator.core.compile.versions import model_key
from modelway_operator.core.findings import Area, Finding
from modelway_operator.core.remembered import TargetMemory
from modelway_operator.core.rollout.model import (
    MetricsSource,
    Preflight,
    ReplicaView,
    RolloutSettings,
    SplitView,
    TargetKey,
    TargetPlan,
    TargetSnapshot,
    Version,
)
from modelway_operator.core.rollout.phases import AT_REST
from modelway_operator.core.rollout.settings import settings_of
from modelway_operator.core.running import running_targets
from modelway_operator.core.snapshot import ObjectKey, Snapshot
from modelway_operator.errors import InvalidObjectError

CANDIDATE_SHARE = "Candidate"
"""The `reason` of a share in a status that a rollout's candidate has."""

_NO_SOURCE = MetricsSource(available=False, message="this install has no source of metrics; set one up")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One target, what it points at, and what the engine is told of it."""

    ref: TargetRef
    rule: PolicyRule
    snapshot: TargetSnapshot
    frozen: bool = False
    """The engine is not asked: the target goes on serving what it serves."""
    failed: frozenset[str] = frozenset()
    """Versions that are remembered as failed here, wherever that is remembered."""


def situations_of(
    entry: PolicyEntry, inventory: Inventory, snapshot: Snapshot
) -> tuple[tuple[Situation, ...], tuple[Finding, ...]]:
    """All targets of a policy, in order, and what is wrong with its rollout entries."""
    policy = entry.serving
    if policy is None:
        return (), ()
    findings: list[Finding] = []
    entries = {(rollout.rule, rollout.target): rollout for rollout in policy.spec.rollouts}
    states = {(state.rule, state.target): state for state in entry.status.rollouts}
    splits = _splits(snapshot)
    memories = _memories(entry, policy, states, inventory, snapshot)
    failed = _failed(states, memories)
    situations = []
    for rule in policy.spec.rules:
        for target in rule.targets:
            place = (rule.name, target.name)
            key = TargetKey(entry.head.ref.namespace, entry.head.ref.name, *place)
            ref = resolve_target(policy, target, inventory, snapshot.install)
            rollout, state = entries.get(place), states.get(place)
            settings, finding = _settings(entry, rollout, snapshot)
            findings += [finding] if finding is not None else []
            quarantined = frozenset().union(*(digests for other, digests in failed.items() if other != place))
            memory = memories.get(place, TargetMemory())
            situations.append(
                Situation(
                    ref=ref,
                    rule=rule,
                    failed=memory.failed,
                    frozen=finding is not None and (state is None or state.phase in AT_REST),
                    snapshot=TargetSnapshot(
                        now=snapshot.now,
                        key=key,
                        settings=settings,
                        scrape_interval_seconds=snapshot.install.scrape_interval_seconds,
                        wanted=Version(ref.model, ref.entry.version) if ref.entry is not None else None,
                        serving=memory.serving or _serving_by_status(entry, policy, place),
                        state=state,
                        quarantined=quarantined | memory.failed,
                        share_is_zero=target.weight == 0,
                        paused=rollout is not None and rollout.paused,
                        replicas=_replicas(snapshot, key, splits),
                        preflight=_preflight(ref, snapshot),
                        measurements=snapshot.measurements,
                        source=snapshot.source if snapshot.install.metrics_configured else _NO_SOURCE,
                    ),
                )
            )
    return tuple(situations), tuple(findings)


def quiet_key(entry: PolicyEntry, inventory: Inventory, snapshot: Snapshot) -> tuple[object, ...] | None:
    """All that a policy's outcome depends on, where that is not time, metrics or gateways; None where it is."""
    policy = entry.serving
    if policy is None or policy.spec.rollouts or entry.status.rollouts:
        return None
    seen: list[object] = []
    targets = [target.model_ref for rule in policy.spec.rules for target in rule.targets]
    for ref in (*targets, *(target.model_ref for _, target in fallbacks_of(policy))):
        model = inventory.find(ref.namespace or policy.metadata.namespace, ref.name)
        if model is None:
            return None
        seen.append((model.compiled, model.version))
    status, shared = entry.raw.get("status"), snapshot.install.shared_namespaces
    return (entry.head, policy, entry.names, entry.lost, entry.problems, status, entry.remembered, seen, shared)


def frozen_plan(snapshot: TargetSnapshot) -> TargetPlan:
    """What the target serves now, and nothing else; what never served before serves what it points at."""
    state = snapshot.state
    stable = Version.of(state.stable) if state is not None and state.stable is not None else None
    stable = stable or snapshot.serving or snapshot.wanted
    candidate = None
    if state is not None and state.phase not in AT_REST and state.candidate is not None:
        candidate = Version.of(state.candidate)
        candidate = candidate if candidate != stable else None
    earlier = [Version.of(each) for each in state.earlier] if state is not None else []
    return TargetPlan(
        key=snapshot.key,
        state=state,
        stable=stable,
        candidate=candidate,
        share_bp=round(state.weight * 100) if state is not None and candidate is not None else 0,
        rollout_id=state.rollout_id if state is not None and candidate is not None else None,
        remembered=tuple(dict.fromkeys(each for each in (stable, candidate, *earlier) if each is not None)),
    )


def is_probe_due(situation: Situation) -> bool:
    """Whether the backends of what the target points at have to be asked."""
    state = situation.snapshot.state
    if situation.frozen or situation.ref.entry is None or state is None:
        return False
    return RolloutPhase.PREFLIGHT in (state.phase, state.held_from, state.paused_from)


def _settings(
    entry: PolicyEntry, rollout: Rollout | None, snapshot: Snapshot
) -> tuple[RolloutSettings | None, Finding | None]:
    if rollout is None:
        return None, None
    try:
        return settings_of(rollout, snapshot.install.scrape_interval_seconds), None
    except InvalidObjectError as exc:
        finding = Finding(
            about=entry.head.ref,
            area=Area.PARTIAL,
            reason=PartiallyInvalidReason.INVALID_RULES,
            message=f"{exc}; until then the target stays where it is",
            part=rollout.name,
        )
        return None, finding


def _failed(
    states: Mapping[tuple[str, str], RolloutStatus], memories: Mapping[tuple[str, str], TargetMemory]
) -> dict[tuple[str, str], frozenset[str]]:
    """Versions that failed, by target: from the status, and from memory in case the status was lost."""
    failed = {place: memory.failed for place, memory in memories.items()}
    for place, state in states.items():
        failed[place] = failed.get(place, frozenset()) | {each.version for each in state.quarantine}
    return failed


def _memories(
    entry: PolicyEntry,
    policy: RoutingPolicy,
    states: Mapping[tuple[str, str], RolloutStatus],
    inventory: Inventory,
    snapshot: Snapshot,
) -> Mapping[tuple[str, str], TargetMemory]:
    """What is remembered of the targets; by the gateways, where neither the Secret nor the status knows any."""
    if entry.remembered.targets or states or entry.status.rules:
        return entry.remembered.targets
    return running_targets(ObjectKey(entry.head.ref.namespace, policy.metadata.name), inventory, snapshot)


def _serving_by_status(entry: PolicyEntry, policy: RoutingPolicy, place: tuple[str, str]) -> Version | None:
    """What the target served last, outside of any rollout."""
    for rule in entry.status.rules:
        for share in rule.weights:
            if (rule.name, share.target) != place or not share.version or share.reason == CANDIDATE_SHARE:
                continue
            name = share.model if "/" in share.model else f"{policy.metadata.namespace}/{share.model}"
            return Version(name, share.version)
    return None


def _preflight(ref: TargetRef, snapshot: Snapshot) -> Preflight | None:
    if ref.entry is None or ref.entry.compiled is None:
        return None
    problems = ref.entry.compiled.problems
    probe = snapshot.probes.get(model_key(ref.model, ref.entry.version))
    return Preflight(
        references_resolve=not problems,
        references_message="; ".join(f"backend {name}: {problem.message}" for name, problem in problems),
        probe_ok=probe.ok if probe is not None else None,
        probe_message=probe.message if probe is not None else "",
    )


_Splits = Mapping[str, Mapping[TargetKey, SplitView]]


def _splits(snapshot: Snapshot) -> _Splits:
    """The splits that each replica says it runs."""
    return {
        replica.name: {
            TargetKey(split.namespace, split.policy, split.rule, split.target): SplitView(
                rollout_id=split.rollout_id, share_bp=split.share
            )
            for split in (replica.ack.splits if replica.ack is not None else ())
        }
        for replica in snapshot.replicas
    }


def _replicas(snapshot: Snapshot, key: TargetKey, splits: _Splits) -> tuple[ReplicaView, ...]:
    return tuple(
        ReplicaView(name=replica.name, ready=replica.ready, live=replica.live, split=splits[replica.name].get(key))
        for replica in snapshot.replicas
    )
