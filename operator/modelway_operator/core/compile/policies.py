"""All RoutingPolicies of the install: what each says now, who answers for which name, and what its rules come to.

Two rules. A policy that cannot be read counts as its last valid generation, which its Secret remembers. And a rule
whose targets are all unusable stays in the config and answers 503: were it left out, the next rule would take requests
that its author meant to keep from it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from modelway_operator.api.conditions import AcceptedReason, ResolvedRefsReason
from modelway_operator.api.parsing import parse_routingpolicy
from modelway_operator.api.routingpolicy import ModelRef, PolicyRule, RoutingPolicy, RoutingPolicyStatus, Target
from modelway_operator.core.compile.inventory import Inventory, ModelEntry, unusable_message
from modelway_operator.core.findings import Area, Finding, Kind
from modelway_operator.core.objects import Head, head_of, wishes_of
from modelway_operator.core.parts import Parts
from modelway_operator.core.remembered import Remembered, read_remembered, remembered_secret
from modelway_operator.core.snapshot import Install, RawObject, Snapshot
from modelway_operator.errors import InvalidObjectError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPolicy:
    """A spec that could be read; or why it could not."""

    policy: RoutingPolicy | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntry:
    """One RoutingPolicy of this install."""

    head: Head
    raw: RawObject
    problems: tuple[str, ...]
    """Why the present generation is not accepted, where it cannot be read."""
    policy: RoutingPolicy | None
    """What serves: the present generation, or the last valid one."""
    status: RoutingPolicyStatus
    """The last known status; empty where it makes no sense."""
    remembered: Remembered
    names: tuple[str, ...]
    """Public names and globs that it answers for."""
    lost: tuple[tuple[str, str], ...]
    """Names that another policy answers for, and which."""

    @property
    def conflicted(self) -> bool:
        """It answers for nothing."""
        return self.policy is not None and not self.names

    @property
    def accepted(self) -> bool:
        """Whether the present generation is."""
        return not self.problems and not self.conflicted

    @property
    def serving(self) -> RoutingPolicy | None:
        """What of it goes into the config."""
        return self.policy if self.names else None

    def findings(self) -> Iterator[Finding]:
        """What stands against the policy as a whole."""
        about = self.head.ref
        told = ", ".join(f"{name} (policy {winner})" for name, winner in self.lost)
        remedy = "raise spec.priority, or take other names"
        if self.problems:
            yield Finding(
                about=about, area=Area.ACCEPTED, reason=AcceptedReason.INVALID, message="; ".join(self.problems)
            )
        elif self.conflicted:
            message = f"other policies answer for all of its names: {told}; {remedy}"
            yield Finding(about=about, area=Area.ACCEPTED, reason=AcceptedReason.CONFLICTED, message=message)
        elif self.lost:
            message = f"other policies answer for some of its names: {told}; {remedy}"
            yield Finding(about=about, area=Area.PARTIAL, reason=AcceptedReason.CONFLICTED, message=message)


def read_policies(snapshot: Snapshot, parts: Parts) -> tuple[PolicyEntry, ...]:
    """Read all policies of this install; in order of precedence within each namespace."""
    heads = [(head_of(Kind.ROUTING_POLICY, raw), raw) for raw in snapshot.policies]
    mine = [(h, raw) for h, raw in heads if h.gateway == snapshot.install.gateway and not h.deleting and h.ref.name]
    entries = [_read(head, raw, snapshot, parts) for head, raw in mine]
    entries.sort(key=_precedence)
    holders: dict[tuple[str, str], str] = {}
    return tuple(_with_names(entry, holders) for entry in entries)


def _precedence(entry: PolicyEntry) -> tuple[str, int, int, str]:
    priority = entry.policy.spec.priority if entry.policy is not None else 0
    return (entry.head.ref.namespace, -priority, entry.head.created, entry.head.ref.name)


def _with_names(entry: PolicyEntry, holders: dict[tuple[str, str], str]) -> PolicyEntry:
    if entry.policy is None:
        return entry
    ref = entry.head.ref
    won, lost = [], []
    for name in entry.policy.spec.models:
        holder = holders.setdefault((ref.namespace, name), ref.name)
        if holder == ref.name:
            won.append(name)
        else:
            lost.append((name, holder))
    return replace(entry, names=tuple(won), lost=tuple(lost))


def _read(head: Head, raw: RawObject, snapshot: Snapshot, parts: Parts) -> PolicyEntry:
    wishes, meta = wishes_of(raw), {"metadata": raw.get("metadata")}
    read = parts.get(f"policy {head.identity}", (head.ref, head.generation, wishes), lambda: _parse({**wishes, **meta}))
    secret = remembered_secret(head.ref, snapshot.secrets)
    remembered = parts.get(f"remembered {head.identity}", secret, lambda: read_remembered(secret))
    policy = read.policy
    if policy is None and remembered.policy_spec is not None:
        last = {**wishes, **meta, "spec": remembered.policy_spec}
        policy = parts.get(f"last valid policy {head.identity}", last, lambda: _parse(last).policy)
    return PolicyEntry(
        head=head,
        raw=raw,
        problems=read.problems,
        policy=policy,
        status=_status(head, raw.get("status"), parts),
        remembered=remembered,
        names=(),
        lost=(),
    )


def _parse(raw: RawObject) -> ReadPolicy:
    try:
        return ReadPolicy(policy=parse_routingpolicy(raw))
    except InvalidObjectError as exc:
        return ReadPolicy(policy=None, problems=exc.problems)


def _status(head: Head, raw: Any, parts: Parts) -> RoutingPolicyStatus:
    if not isinstance(raw, Mapping):
        return RoutingPolicyStatus()

    def parse() -> RoutingPolicyStatus:
        try:
            return RoutingPolicyStatus.model_validate(raw, by_alias=True, by_name=False)
        except ValueError:
            return RoutingPolicyStatus()

    return parts.get(f"status {head.identity}", raw, parse)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """The model that a policy points at, or why it cannot have it."""

    namespace: str
    name: str
    entry: ModelEntry | None
    reason: ResolvedRefsReason | None = None
    message: str = ""

    @property
    def model(self) -> str:
        """The model as `namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRef(ResolvedModel):
    """The model that a target points at."""

    target: Target


def resolve_target(policy: RoutingPolicy, target: Target, inventory: Inventory, install: Install) -> TargetRef:
    """Find the model that a target points at."""
    found = resolve_model(policy.metadata.namespace, target.model_ref, inventory, install)
    return TargetRef(
        target=target,
        namespace=found.namespace,
        name=found.name,
        entry=found.entry,
        reason=found.reason,
        message=found.message,
    )


def resolve_model(own: str, ref: ModelRef, inventory: Inventory, install: Install) -> ResolvedModel:
    """Find the model that a policy of this namespace points at."""
    namespace, name = ref.namespace or own, ref.name
    if not may_refer(own, namespace, install):
        return ResolvedModel(
            namespace=namespace,
            name=name,
            entry=None,
            reason=ResolvedRefsReason.REF_NOT_PERMITTED,
            message=f"namespace {namespace} is not shared by this install, so LLMModel {name} may not be used from "
            f"namespace {own}; use a model of {own}, or ask whoever runs the install to share {namespace}",
        )
    entry = inventory.find(namespace, name)
    if entry is None:
        reason, message = unusable_message(namespace, name, inventory)
        return ResolvedModel(namespace=namespace, name=name, entry=None, reason=reason, message=message)
    return ResolvedModel(namespace=namespace, name=name, entry=entry)


def may_refer(own: str, other: str, install: Install) -> bool:
    """Whether objects of one namespace may use models of the other."""
    return own == other or other in install.shared_namespaces


def unreachable_rules(rules: tuple[PolicyRule, ...]) -> dict[str, str]:
    """Rules that can never match, with the reason."""
    found: dict[str, str] = {}
    catch_all: str | None = None
    for index, rule in enumerate(rules):
        same = next((earlier.name for earlier in rules[:index] if earlier.when == rule.when), None)
        if catch_all is not None:
            found[rule.name] = f"rule {catch_all} before it has no `when` and takes every request; move that to the end"
        elif same is not None:
            found[rule.name] = f"rule {same} before it has the same `when`; join the two, or change one"
        elif rule.when is None:
            catch_all = rule.name
    return found
