"""The operator's decision: a snapshot in, a plan out.

`wanted` says what must be fetched first, `decide` decides with it. Both compile, so hand the memory of the one to the
other. Rule: neither fails for any object that an API server stores; whatever is wrong with one ends as a finding of its
own, and everything else goes live.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from modelway_operator.core.acknowledgements import Acknowledgements
from modelway_operator.core.arms import Arms
from modelway_operator.core.compile.clients import Clients, compile_clients
from modelway_operator.core.compile.models import references_of
from modelway_operator.core.compile.versions import model_key
from modelway_operator.core.document import Document, document_of
from modelway_operator.core.findings import Area, Event, Finding, Severity
from modelway_operator.core.in_place import switched_at_once, versions_of
from modelway_operator.core.memory import Memory
from modelway_operator.core.outcomes import PolicyOutcome, policy_outcome
from modelway_operator.core.parts import Parts
from modelway_operator.core.plan import Counts, Plan, Wanted
from modelway_operator.core.pushes import is_shrunk, pushes_of
from modelway_operator.core.reading import Reading, once, read_all
from modelway_operator.core.remembered import read_spec
from modelway_operator.core.rollout.wanted import measurements_wanted
from modelway_operator.core.situations import is_probe_due
from modelway_operator.core.snapshot import ObjectKey, Snapshot
from modelway_operator.core.statuses import Statuses


def wanted(snapshot: Snapshot) -> Wanted:
    """What `decide` will look at beyond this snapshot."""
    parts = Parts(snapshot.memory.parts)
    reading = read_all(snapshot, parts)
    situations = [situation for policy in reading.policies for situation in policy.situations]
    requests = [request for each in situations if not each.frozen for request in measurements_wanted(each.snapshot)]
    probes = [
        model_key(each.ref.model, each.ref.entry.version)
        for each in situations
        if each.ref.entry is not None and is_probe_due(each)
    ]
    return Wanted(
        config_maps=tuple(sorted(_config_maps(reading))),
        measurements=tuple(dict.fromkeys(requests)),
        probes=tuple(dict.fromkeys(probes)),
        memory=replace(snapshot.memory, parts={**snapshot.memory.parts, **parts.kept()}, made=parts.made),
    )


def decide(snapshot: Snapshot) -> Plan:
    """All that is to be done now."""
    parts = Parts(snapshot.memory.parts)
    reading = read_all(snapshot, parts)
    outcomes = _outcomes(reading, snapshot, parts)
    clients = parts.get("clients", snapshot.secrets, partial(compile_clients, snapshot.secrets))
    made_of = (reading.inventory, outcomes, clients, snapshot.endpoints, snapshot.install)
    document = parts.get("document", made_of, partial(document_of, reading.inventory, outcomes, clients, snapshot))
    pushes = pushes_of(document, snapshot)
    answers = Acknowledgements(document, snapshot)
    statuses = Statuses(document, answers, refused=pushes.refused, parts=parts, snapshot=snapshot)
    statuses.add_models(reading)
    statuses.add_policies(reading, outcomes)
    findings = _findings(reading, outcomes, clients)
    notes, told = _notes(findings, snapshot)
    return Plan(
        push_first=pushes.first,
        secrets=tuple(outcome.secret for outcome in outcomes if outcome.secret is not None),
        statuses=tuple(statuses.writes),
        push=pushes.last,
        refused=pushes.refused,
        shrunk=is_shrunk(document, snapshot),
        events=(*statuses.events, *notes, *switched_at_once(reading, snapshot.memory.versions)),
        findings=findings,
        counts=_counts(reading, outcomes, document, made=snapshot.memory.made + parts.made),
        memory=Memory(
            parts=parts.kept(),
            known=answers.known,
            valid_models=reading.inventory.valid,
            versions=versions_of(reading),
            told=told,
        ),
    )


def _outcomes(reading: Reading, snapshot: Snapshot, parts: Parts) -> tuple[PolicyOutcome, ...]:
    arms = Arms(reading.inventory, [policy.entry for policy in reading.policies], snapshot, parts)
    outcomes = []
    for policy in reading.policies:
        make = partial(policy_outcome, policy.entry, policy.situations, policy.findings, arms, snapshot)
        outcomes.append(once(parts, "outcome", policy.entry, policy.quiet, make))
    return tuple(outcomes)


def _config_maps(reading: Reading) -> set[ObjectKey]:
    """ConfigMaps that present and remembered models name."""
    models = [entry.model for entry in reading.inventory.entries.values() if entry.model is not None]
    for policy in reading.policies:
        for version, text in policy.entry.remembered.specs.items():
            model = read_spec(version, text) if "caRef" in text else None
            models += [model] if model is not None else []
    return {key for model in models for key in references_of(model)[1]}


def _findings(reading: Reading, outcomes: Sequence[PolicyOutcome], clients: Clients) -> tuple[Finding, ...]:
    models = [finding for entry in reading.inventory.entries.values() for finding in entry.findings()]
    policies = [finding for outcome in outcomes for finding in outcome.findings]
    return (*models, *policies, *clients.findings)


def _notes(findings: Sequence[Finding], snapshot: Snapshot) -> tuple[tuple[Event, ...], frozenset[str]]:
    """Events about what stands in no status: told when it is new."""
    notes = (finding for finding in findings if finding.area is Area.NOTE)
    standing = {f"{note.about.uid} {note.reason} {note.message}": note for note in notes}
    events = tuple(
        Event(about=finding.about, severity=Severity.WARNING, reason=finding.reason, message=finding.message)
        for text, finding in standing.items()
        if text not in snapshot.memory.told
    )
    return events, frozenset(standing)


def _counts(reading: Reading, outcomes: Sequence[PolicyOutcome], document: Document, *, made: int) -> Counts:
    entries = reading.inventory.entries.values()
    return Counts(
        models=len(entries),
        models_accepted=sum(1 for entry in entries if entry.accepted),
        policies=len(outcomes),
        policies_accepted=sum(1 for outcome in outcomes if outcome.entry.accepted),
        compiled=made,
        config_bytes=document.size,
    )
