"""The status of an LLMModel."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelway_operator.api.conditions import (
    AcceptedReason,
    ConditionType,
    ReadyReason,
    ResolvedRefsReason,
    StalledReason,
)
from modelway_operator.api.llmmodel import (
    BackendStatus,
    LLMModelStatus,
    ModelGateways,
    ModelSummary,
    ReferencedBy,
    TrafficState,
)
from modelway_operator.core.acknowledgements import Tally
from modelway_operator.core.compile.inventory import ModelEntry
from modelway_operator.core.document import endpoint_count
from modelway_operator.core.findings import Area, Event
from modelway_operator.core.snapshot import Snapshot
from modelway_operator.core.status import (
    Verdict,
    bounded,
    conditions_in,
    conditions_of,
    first_finding,
    no,
    programmed,
    ready,
    transitions,
    unknown,
    yes,
)

MAX_POLICIES = 16
"""How many of the policies that use a model are named."""


def model_status(
    entry: ModelEntry,
    tally: Tally,
    *,
    revision: str,
    used_by: Sequence[str],
    snapshot: Snapshot,
    refused: str | None,
) -> tuple[Mapping[str, Any], tuple[Event, ...]] | None:
    """The new status and what to tell of it; None where it is to stay as it is."""
    if tally.fresh:
        return None
    before = conditions_in(entry.raw.get("status"))
    generation = entry.head.generation
    conditions = conditions_of(
        _verdicts(entry, tally, snapshot, refused), before, generation=generation, now=snapshot.now
    )
    status = LLMModelStatus(
        observed_generation=generation,
        conditions=conditions,
        backends=_backends(entry, snapshot),
        referenced_by=ReferencedBy(count=len(used_by), policies=tuple(sorted(used_by)[:MAX_POLICIES])),
        gateways=ModelGateways(ready=tally.ready, acknowledged=tally.acknowledged),
        summary=_summary(entry, snapshot),
        revision=revision,
    )
    return status.as_manifest(), transitions(entry.head.ref, before, conditions)


def _verdicts(entry: ModelEntry, tally: Tally, snapshot: Snapshot, refused: str | None) -> list[Verdict]:
    findings = list(entry.findings())
    accepted = first_finding(findings, Area.ACCEPTED)
    refs = first_finding(findings, Area.RESOLVED_REFS)
    verdicts = [
        no(ConditionType.ACCEPTED, *accepted)
        if accepted is not None
        else yes(ConditionType.ACCEPTED, AcceptedReason.ACCEPTED)
    ]
    if entry.model is None:
        verdicts.append(
            unknown(ConditionType.RESOLVED_REFS, ResolvedRefsReason.PENDING, "the spec must be valid first")
        )
    elif refs is not None:
        verdicts.append(no(ConditionType.RESOLVED_REFS, *refs))
    else:
        verdicts.append(yes(ConditionType.RESOLVED_REFS, ResolvedRefsReason.RESOLVED_REFS))
    before = conditions_in(entry.raw.get("status"))
    verdicts.append(programmed(tally, accepted=entry.accepted, serving_before=entry.usable, refused=refused))
    verdicts.append(ready(tally, _obstacle(entry, snapshot), before, generation=entry.head.generation))
    if accepted is not None:
        verdicts.append(yes(ConditionType.STALLED, StalledReason.INVALID_SPEC, accepted[1]))
    return verdicts


def _obstacle(entry: ModelEntry, snapshot: Snapshot) -> tuple[ReadyReason, str] | None:
    """Why it could not serve even if every gateway had it."""
    if not entry.usable or entry.model is None:
        return ReadyReason.NOT_PROGRAMMED, "no generation of it is accepted"
    state = entry.model.spec.traffic_state
    if state is not TrafficState.ENABLED:
        return ReadyReason.DRAINING, f"trafficState is {state}"
    if not any(each.endpoints for each in _backends(entry, snapshot)):
        return ReadyReason.NO_HEALTHY_BACKEND, "no backend can be called: none has an address and all that it needs"
    return None


def _backends(entry: ModelEntry, snapshot: Snapshot) -> tuple[BackendStatus, ...]:
    return tuple(
        BackendStatus(
            name=backend.name,
            endpoints=(count := endpoint_count(entry, backend.name, snapshot)),
            reason=str(backend.problem.reason) if backend.problem is not None else "" if count else "NoEndpoints",
        )
        for backend in (entry.compiled.backends if entry.compiled is not None else ())
    )


def _summary(entry: ModelEntry, snapshot: Snapshot) -> ModelSummary:
    if entry.compiled is None or entry.model is None:
        return ModelSummary()
    backends = _backends(entry, snapshot)
    regions = sorted({backend.region for backend in entry.compiled.backends if backend.region})
    return ModelSummary(
        model=entry.model.model_name,
        backends=f"{sum(1 for each in backends if each.endpoints)}/{len(backends)}",
        regions=bounded(",".join(regions), 1024),
    )
