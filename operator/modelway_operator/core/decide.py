"""The operator's decision: a snapshot in, a plan out.

`wanted` says what must be fetched first, `decide` decides with it. Both compile, so hand the memory of the one to the
other. Rule: neither fails for any object that an API server stores; whatever is wrong with one ends as a finding of its
own, and everything else goes live.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelway_operator.core.acknowledgements import Acknowledgements
from modelway_operator.core.arms import Arms
from modelway_operator.core.compile.clients import Clients, compile_clients
from modelway_operator.core.compile.inventory import Inventory, ModelEntry, read_inventory
from modelway_operator.core.compile.models import references_of
from modelway_operator.core.compile.policies import PolicyEntry, read_policies
from modelway_operator.core.compile.versions import model_key
from modelway_operator.core.document import Document, document_of
from modelway_operator.core.findings import Event, Finding, Severity
from modelway_operator.core.memory import Memory
from modelway_operator.core.objects import Head
from modelway_operator.core.outcomes import PolicyOutcome, policy_outcome
from modelway_operator.core.parts import Parts
from modelway_operator.core.plan import Counts, Plan, StatusWrite, Wanted
from modelway_operator.core.pushes import Pushes, is_shrunk, pushes_of
from modelway_operator.core.remembered import read_spec
from modelway_operator.core.rollout.phases import AT_REST
from modelway_operator.core.rollout.wanted import measurements_wanted
from modelway_operator.core.situations import Situation, is_probe_due, situations_of
from modelway_operator.core.snapshot import ObjectKey, RawObject, Snapshot
from modelway_operator.core.status_model import model_status
from modelway_operator.core.status_policy import policy_status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """All objects of the install, read and related to each other."""

    inventory: Inventory
    policies: tuple[PolicyEntry, ...]
    situations: tuple[tuple[Situation, ...], ...]
    """Of each policy."""
    findings: tuple[tuple[Finding, ...], ...]
    """About each policy's rollout entries."""


def wanted(snapshot: Snapshot) -> Wanted:
    """What `decide` will look at beyond this snapshot."""
    parts = Parts(snapshot.memory.parts)
    reading = _read(snapshot, parts)
    situations = [situation for of_policy in reading.situations for situation in of_policy]
    requests = [request for each in situations if not each.frozen for request in measurements_wanted(each.snapshot)]
    probes = [
        model_key(each.ref.model, each.ref.entry.version)
        for each in situations
        if each.ref.entry is not None and is_probe_due(each)
    ]
    return Wanted(
        config_maps=tuple(sorted(_config_maps(reading, snapshot))),
        measurements=tuple(dict.fromkeys(requests)),
        probes=tuple(dict.fromkeys(probes)),
        memory=replace(snapshot.memory, parts={**snapshot.memory.parts, **parts.kept()}, made=parts.made),
    )


def decide(snapshot: Snapshot) -> Plan:
    """All that is to be done now."""
    parts = Parts(snapshot.memory.parts)
    reading = _read(snapshot, parts)
    arms = Arms(reading.inventory, reading.policies, snapshot, parts)
    outcomes = tuple(
        policy_outcome(entry, situations, findings, arms, snapshot)
        for entry, situations, findings in zip(reading.policies, reading.situations, reading.findings, strict=True)
    )
    clients = compile_clients(snapshot.secrets)
    document = document_of(reading.inventory, outcomes, clients, snapshot)
    pushes = pushes_of(document, snapshot)
    answers = Acknowledgements(document, snapshot)
    statuses, events = _statuses(reading, outcomes, answers, document, pushes, snapshot)
    standing = _findings(reading, outcomes, clients)
    notes, told = _notes(clients, snapshot)
    return Plan(
        push_first=pushes.first,
        secrets=tuple(outcome.secret for outcome in outcomes if outcome.secret is not None),
        statuses=statuses,
        push=pushes.last,
        refused=pushes.refused,
        shrunk=is_shrunk(document, snapshot),
        events=(*events, *notes),
        findings=standing,
        counts=_counts(reading, outcomes, parts, document, snapshot),
        memory=Memory(parts=parts.kept(), known=answers.known, valid_models=reading.inventory.valid, told=told),
    )


def _read(snapshot: Snapshot, parts: Parts) -> _Reading:
    inventory = read_inventory(snapshot, parts)
    policies = read_policies(snapshot, parts)
    told = [situations_of(entry, inventory, snapshot) for entry in policies]
    return _Reading(
        inventory=inventory,
        policies=policies,
        situations=tuple(situations for situations, _ in told),
        findings=tuple(findings for _, findings in told),
    )


def _config_maps(reading: _Reading, snapshot: Snapshot) -> set[ObjectKey]:
    """ConfigMaps that present and remembered models name."""
    del snapshot
    models = [entry.model for entry in reading.inventory.entries.values() if entry.model is not None]
    for policy in reading.policies:
        models += [
            model
            for version, text in policy.remembered.specs.items()
            if "caRef" in text and (model := read_spec(version, text)) is not None
        ]
    return {key for model in models for key in references_of(model)[1]}


def _statuses(
    reading: _Reading,
    outcomes: Sequence[PolicyOutcome],
    answers: Acknowledgements,
    document: Document,
    pushes: Pushes,
    snapshot: Snapshot,
) -> tuple[tuple[StatusWrite, ...], tuple[Event, ...]]:
    writes: list[StatusWrite] = []
    events: list[Event] = []
    used_by = _used_by(reading)
    for key, entry in reading.inventory.entries.items():
        identity = entry.head.identity
        told = model_status(
            entry,
            answers.tally(identity),
            revision=document.revisions.get(identity, ""),
            used_by=used_by.get(key, ()),
            snapshot=snapshot,
            refused=pushes.refused,
        )
        if told is not None:
            _add(writes, events, entry.head, entry.raw, told)
    for outcome in outcomes:
        identity = outcome.entry.head.identity
        told = policy_status(
            outcome,
            answers.tally(identity),
            revision=document.revisions.get(identity, ""),
            snapshot=snapshot,
            refused=pushes.refused,
        )
        _add(writes, events, outcome.entry.head, outcome.entry.raw, told)
        events += outcome.events
    return tuple(writes), tuple(events)


def _add(
    writes: list[StatusWrite],
    events: list[Event],
    head: Head,
    raw: RawObject,
    told: tuple[Mapping[str, Any], tuple[Event, ...]],
) -> None:
    status, happened = told
    if raw.get("status") != status:
        writes.append(StatusWrite(about=head.ref, resource_version=head.resource_version, status=status))
        events += happened


def _used_by(reading: _Reading) -> Mapping[ObjectKey, Sequence[str]]:
    """Policies by the model that they use, named with their namespace where that is another."""
    users: dict[ObjectKey, dict[str, None]] = {}
    for entry, situations in zip(reading.policies, reading.situations, strict=True):
        ref = entry.head.ref
        for situation in situations:
            key = ObjectKey(situation.ref.namespace, situation.ref.target.model_ref.name)
            name = ref.name if ref.namespace == key.namespace else f"{ref.namespace}/{ref.name}"
            users.setdefault(key, {})[name] = None
    return {key: tuple(names) for key, names in users.items()}


def _findings(reading: _Reading, outcomes: Iterable[PolicyOutcome], clients: Clients) -> tuple[Finding, ...]:
    models = [finding for entry in reading.inventory.entries.values() for finding in entry.findings()]
    policies = [finding for outcome in outcomes for finding in outcome.findings]
    return (*models, *policies, *clients.findings)


def _notes(clients: Clients, snapshot: Snapshot) -> tuple[tuple[Event, ...], frozenset[str]]:
    """Events about Secrets, which have no status to compare with: told when they are new."""
    standing = {f"{finding.about.uid} {finding.reason} {finding.message}": finding for finding in clients.findings}
    events = tuple(
        Event(about=finding.about, severity=Severity.WARNING, reason=finding.reason, message=finding.message)
        for text, finding in standing.items()
        if text not in snapshot.memory.told
    )
    return events, frozenset(standing)


def _counts(
    reading: _Reading, outcomes: Sequence[PolicyOutcome], parts: Parts, document: Document, snapshot: Snapshot
) -> Counts:
    entries: list[ModelEntry] = list(reading.inventory.entries.values())
    return Counts(
        models=len(entries),
        models_accepted=sum(1 for entry in entries if entry.accepted),
        policies=len(outcomes),
        policies_accepted=sum(1 for outcome in outcomes if outcome.entry.accepted),
        rollouts_active=sum(1 for each in outcomes for state in each.states if state.phase not in AT_REST),
        compiled=snapshot.memory.made + parts.made,
        config_bytes=document.size,
    )
