"""What every status has: conditions, and how far the gateways are.

Three rules. `lastTransitionTime` moves only when the status flips. `observedGeneration` is that of the object that was
judged. And Ready is never True for a generation that the gateways have not got: tools read the object's own
observedGeneration, so in the turn in which a part is new all conditions stay as they were, and from the next turn on
Ready is what the gateways' answers say. Only of a generation that was Ready before is Ready kept while the gateways
take a change that came from elsewhere: a rotated key, the end of a rollout, a replica that just started.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelway_operator.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    ProgrammedReason,
    ReadyReason,
)
from modelway_operator.api.rollout_status import instant_text
from modelway_operator.core.acknowledgements import Tally
from modelway_operator.core.findings import Area, Event, Finding, ObjectRef, Severity

MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said under one condition."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str = ""


def yes(kind: ConditionType, reason: str, message: str = "") -> Verdict:
    """It is so."""
    return Verdict(type=kind, status=ConditionStatus.TRUE, reason=reason, message=message)


def no(kind: ConditionType, reason: str, message: str) -> Verdict:
    """It is not so."""
    return Verdict(type=kind, status=ConditionStatus.FALSE, reason=reason, message=message)


def unknown(kind: ConditionType, reason: str, message: str) -> Verdict:
    """Nobody can say."""
    return Verdict(type=kind, status=ConditionStatus.UNKNOWN, reason=reason, message=message)


def conditions_of(
    verdicts: Iterable[Verdict], before: Sequence[Condition], *, generation: int, now: float
) -> tuple[Condition, ...]:
    """The conditions, each with the time at which its status last flipped."""
    known = {condition.type: condition for condition in before}
    return tuple(
        Condition(
            type=verdict.type,
            status=verdict.status,
            reason=verdict.reason,
            message=bounded(verdict.message, MAX_MESSAGE),
            last_transition_time=_since(known.get(verdict.type), verdict, now),
            observed_generation=generation,
        )
        for verdict in verdicts
    )


def _since(before: Condition | None, verdict: Verdict, now: float) -> str:
    if before is not None and before.status is verdict.status:
        return before.last_transition_time
    return instant_text(int(now))


def first_finding(findings: Iterable[Finding], area: Area) -> tuple[str, str] | None:
    """The reason of the first finding of an area, with the messages of all."""
    found = [finding for finding in findings if finding.area is area]
    return (found[0].reason, "; ".join(finding.message for finding in found)) if found else None


def programmed(tally: Tally, *, accepted: bool, serving_before: bool, refused: str | None) -> Verdict:
    """Whether every ready gateway runs the present generation."""
    kind = ConditionType.PROGRAMMED
    if not accepted:
        last = "; the last valid one goes on serving" if serving_before else ""
        return no(kind, ProgrammedReason.PENDING, f"this generation is not accepted{last}")
    if refused is not None and not tally.programmed:
        return no(kind, ProgrammedReason.PENDING, refused)
    if tally.ready == 0:
        return no(kind, ProgrammedReason.NO_GATEWAYS, "no gateway is ready")
    if tally.programmed:
        return yes(kind, ProgrammedReason.PROGRAMMED)
    counts = f"{tally.acknowledged} of {tally.ready} gateways run it"
    if tally.rejected:
        return no(kind, ProgrammedReason.REJECTED_BY_GATEWAY, f"{counts}; one refused it: {tally.message}")
    reason = ProgrammedReason.PARTIALLY_ACKNOWLEDGED if tally.acknowledged else ProgrammedReason.PENDING
    return no(kind, reason, counts)


def ready(
    tally: Tally, obstacle: tuple[ReadyReason, str] | None, before: Sequence[Condition], *, generation: int
) -> Verdict:
    """Whether the object can serve now, given what else stands in the way."""
    kind = ConditionType.READY
    if obstacle is not None:
        return no(kind, *obstacle)
    if tally.programmed:
        return yes(kind, ReadyReason.SERVING)
    counts = f"{tally.acknowledged} of {tally.ready} gateways run it"
    if tally.ready == 0 or not _was_ready(before, generation):
        return no(kind, ReadyReason.NOT_PROGRAMMED, counts)
    return yes(kind, ReadyReason.SERVING, f"{counts}; the others run what they had")


def _was_ready(before: Sequence[Condition], generation: int) -> bool:
    return any(
        condition.type == ConditionType.READY
        and condition.status is ConditionStatus.TRUE
        and condition.observed_generation == generation
        for condition in before
    )


def transitions(about: ObjectRef, before: Sequence[Condition], after: Sequence[Condition]) -> tuple[Event, ...]:
    """Events for what went wrong, and for what came right again."""
    known = {condition.type: condition for condition in before}
    events = []
    for condition in after:
        old = known.get(condition.type)
        bad, was_bad = _is_bad(condition), old is not None and _is_bad(old)
        if bad and not (was_bad and old is not None and old.reason == condition.reason):
            events.append(_event(about, Severity.WARNING, condition.reason, condition.message))
        elif was_bad and not bad and condition.type in _TOLD:
            events.append(_event(about, Severity.NORMAL, condition.reason, f"{condition.type} again"))
    return tuple(events)


_TOLD = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS)


def _is_bad(condition: Condition) -> bool:
    if condition.type in _TOLD:
        return condition.status is ConditionStatus.FALSE
    if condition.type == ConditionType.PROGRAMMED:
        return condition.reason == ProgrammedReason.REJECTED_BY_GATEWAY
    return condition.type == ConditionType.PARTIALLY_INVALID


def _event(about: ObjectRef, severity: Severity, reason: str, message: str) -> Event:
    return Event(about=about, severity=severity, reason=reason, message=message)


def bounded(text: str, longest: int) -> str:
    """The text, cut where it would be refused."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def conditions_in(status: Any) -> tuple[Condition, ...]:
    """The conditions of a raw status; none where they make no sense."""
    entries = status.get("conditions") if isinstance(status, Mapping) else None
    try:
        return tuple(Condition.model_validate(entry) for entry in entries or ())
    except (ValueError, TypeError):
        return ()
