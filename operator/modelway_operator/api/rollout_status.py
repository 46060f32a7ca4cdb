"""`status.rollouts[]`: all that moves by itself, and everything a restarted operator needs to go on.

The rule to know: a decision is a function of this, of the objects and of the metrics' history. Whatever the engine must
know at its next look therefore stands here, bounded in size; nothing is remembered anywhere else.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from modelway_operator.api.base import StatusObject
from modelway_operator.api.rules import ListMap


def instant_text(seconds: float) -> str:
    """The moment as people read it: `2026-03-01T12:00:00.250Z`, or without the fraction where there is none."""
    moment = datetime.fromtimestamp(round(seconds * 1000) // 1000, tz=UTC)
    millis = round(seconds * 1000) % 1000
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{millis:03d}Z" if millis else "Z")


def _instant_seconds(value: object) -> object:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(f"{value!r} names no time zone; write it like 2026-03-01T12:00:00Z")
        # Through whole milliseconds, so that writing and reading gives the same number again.
        return round(moment.timestamp() * 1000) / 1000
    return value


Instant = Annotated[
    float,
    BeforeValidator(_instant_seconds),
    PlainSerializer(instant_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]
"""A moment: seconds since 1970, to the millisecond, for the engine; RFC 3339 text in the object."""

Count = Annotated[int, Field(ge=0)]
ShortText = Annotated[str, Field(max_length=64)]
Message = Annotated[str, Field(max_length=1024)]
LogWeights = Annotated[tuple[float, ...], Field(max_length=8)]


class RolloutPhase(StrEnum):
    """Where a rollout stands; Applying, Warming, Soaking and Evaluating are the parts of one step."""

    STABLE = "Stable"
    QUEUED = "Queued"
    PREFLIGHT = "Preflight"
    APPLYING = "Applying"
    WARMING = "Warming"
    SOAKING = "Soaking"
    EVALUATING = "Evaluating"
    HELD = "Held"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    BAKING = "Baking"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"


class RollbackReason(StrEnum):
    """Why a candidate was taken back."""

    GUARDRAIL_FAILED = "GuardrailFailed"
    GATE_FAILED = "GateFailed"
    PREFLIGHT = "Preflight"
    INCONCLUSIVE = "Inconclusive"
    HOLD_TIMEOUT = "HoldTimeout"
    SPEC_REVERTED = "SpecReverted"
    SUPERSEDED = "Superseded"
    CANDIDATE_DELETED = "CandidateDeleted"
    QUARANTINED = "Quarantined"
    SETTINGS_LOST = "SettingsLost"


class Verdict(StrEnum):
    """What a metric says after an interval; only Fail rolls back, and NoData, Error and Stale hold."""

    PASS = "Pass"  # noqa: S105 - a verdict, not a password
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    NO_DATA = "NoData"
    ERROR = "Error"
    STALE = "Stale"


class VersionRef(StatusObject):
    """One version of one model."""

    model: Annotated[str, Field(max_length=127)]
    """The LLMModel, as namespace/name."""
    version: Annotated[str, Field(max_length=80)]
    """Digest of what the model is."""


class MetricEvidence(StatusObject):
    """What one metric has shown so far: running sums and the state of its sequential test."""

    name: Annotated[str, Field(max_length=63)]
    """The metric."""
    test: Annotated[str, Field(max_length=80)] = ""
    """What the test compares with; when it is edited, the test begins anew."""
    verdict: Verdict = Verdict.INCONCLUSIVE
    """What the metric said after the last interval."""
    candidate_total: Count = 0
    """Requests of the candidate since the test began."""
    candidate_bad: Count = 0
    """Those of them that were bad."""
    stable_total: Count = 0
    """Requests of stable over the same intervals."""
    stable_bad: Count = 0
    """Those of them that were bad."""
    step_candidate_total: Count = 0
    """Requests of the candidate in this step."""
    step_stable_total: Count = 0
    """Requests of stable in this step."""
    worse: LogWeights = ()
    """Natural logarithms of the evidence that the candidate is worse, one for each alternative."""
    no_worse: LogWeights = ()
    """The same for it being no worse than allowed."""


class Baseline(StatusObject):
    """A version's figures, frozen when its traffic went to another one."""

    name: Annotated[str, Field(max_length=63)]
    """The metric."""
    total: Count
    """Requests counted."""
    bad: Count
    """Those of them that were bad."""


class Decision(StatusObject):
    """The evidence behind the last decision."""

    metric: Annotated[str, Field(max_length=63)]
    """The deciding metric."""
    verdict: Verdict
    """What it said."""
    value: float
    """The candidate's rate."""
    baseline: float | None = None
    """Stable's rate, where the metric compares with it."""
    bound: float
    """The rate that the candidate may have."""
    samples: Count
    """Requests of the candidate behind it."""
    e_value: float
    """The evidence against the candidate."""
    threshold: float
    """The evidence at which it is rejected."""
    window_from: Instant
    """The beginning of what was looked at."""
    window_to: Instant
    """The end of it."""


class IntervalFigures(StatusObject):
    """One measurement of the deciding metric."""

    start: Instant
    """The beginning of the interval."""
    end: Instant
    """The end of it."""
    candidate_total: Count
    """Requests of the candidate."""
    candidate_bad: Count
    """Those of them that were bad."""
    stable_total: Count
    """Requests of stable."""
    stable_bad: Count
    """Those of them that were bad."""


class PastRollout(StatusObject):
    """A rollout that ended."""

    rollout_id: ShortText
    """Its id."""
    result: ShortText
    """Promoted, RolledBack or InitialDeploy."""
    reason: ShortText = ""
    """Why it was rolled back."""
    message: Annotated[str, Field(max_length=256)] = ""
    """The same in a sentence."""
    stable: VersionRef | None = None
    """What served before."""
    candidate: VersionRef
    """What was tried."""
    started: Instant
    """When it began."""
    ended: Instant
    """When it ended."""


class QuarantinedVersion(StatusObject):
    """A version that failed, and is not tried again before the spec has pointed at what is stable."""

    model: Annotated[str, Field(max_length=127)]
    """The LLMModel, as namespace/name."""
    version: Annotated[str, Field(max_length=80)]
    """Digest of what the model is."""
    reason: ShortText
    """Why it failed."""
    since: Instant
    """When."""


class RolloutStatus(StatusObject):
    """One rollout entry's present state."""

    name: Annotated[str, Field(max_length=63)]
    """The entry in spec.rollouts."""
    rule: Annotated[str, Field(max_length=63)]
    """The rule whose target moves."""
    target: Annotated[str, Field(max_length=63)]
    """The target that moves."""
    phase: RolloutPhase = RolloutPhase.STABLE
    """Where it stands."""
    reason: ShortText = ""
    """Why it is held or was rolled back, in one word."""
    message: Message = ""
    """Where it stands, in a sentence with the figures behind it."""
    step: Annotated[int, Field(ge=0, le=30)] = 0
    """The step it is on, from 1; 0 before the first."""
    steps: Annotated[int, Field(ge=0, le=30)] = 0
    """How many steps there are."""
    weight: Annotated[float, Field(ge=0, le=100)] = 0
    """Percent of the target's share that the candidate gets."""
    rollout_id: ShortText = ""
    """Tells this rollout from earlier ones; also the salt of the assignment to arms."""
    attempt: Annotated[int, Field(ge=0)] = 0
    """The how-manieth try of this candidate."""
    stable: VersionRef | None = None
    """What was promoted last, and serves whatever the candidate does not get."""
    candidate: VersionRef | None = None
    """What the spec points to, while it is being tried or after it failed."""
    returning: bool = False
    """The candidate was stable before: it goes to all traffic at once, with guardrails armed."""

    started_at: Instant | None = None
    """When this rollout began."""
    phase_since: Instant | None = None
    """When the phase was entered."""
    step_since: Instant | None = None
    """When the step began, moved on by the time it was held or paused: stepDeadline counts from here."""
    held_from: RolloutPhase | None = None
    """The phase a held rollout goes back to."""
    held_since: Instant | None = None
    """When the hold began, moved on by the time it was paused: holdDeadline counts from here."""
    paused_from: RolloutPhase | None = None
    """The phase a paused rollout goes back to."""
    paused_since: Instant | None = None
    """When the pause began."""
    acknowledged_at: Instant | None = None
    """When all gateways had acknowledged the present weight."""
    measured_from: Instant | None = None
    """The beginning of the step's first interval."""
    counted_until: Instant | None = None
    """The end of the last interval that was counted."""
    tested_from: Instant | None = None
    """The beginning of the first interval that the evidence holds."""
    gap_until: Instant | None = None
    """The last interval's end for which Prometheus has no samples; the interval after it covers the gap too."""
    intervals: Count = 0
    """Intervals counted in this step, or clean ones while baking."""
    quiet_intervals: Count = 0
    """While baking, the last intervals in a row in which the candidate had no request."""
    passed: bool = False
    """The last interval would have led to the next step, if the rollouts that this one moves with were as far."""

    metrics: Annotated[tuple[MetricEvidence, ...], Field(max_length=16), ListMap("name")] = ()
    """The evidence of each metric."""
    baselines: Annotated[tuple[Baseline, ...], Field(max_length=16), ListMap("name")] = ()
    """While baking the old stable's figures, frozen at promotion; at rest those of what is stable now."""
    decision: Decision | None = None
    """The evidence behind the last decision."""
    measurements: Annotated[tuple[IntervalFigures, ...], Field(max_length=20)] = ()
    """The last intervals of the deciding metric."""
    history: Annotated[tuple[PastRollout, ...], Field(max_length=10)] = ()
    """The last rollouts, the youngest first."""
    earlier: Annotated[tuple[VersionRef, ...], Field(max_length=10)] = ()
    """Former stable versions that may be returned to at once, the youngest first."""
    quarantine: Annotated[tuple[QuarantinedVersion, ...], Field(max_length=10)] = ()
    """Versions that failed here."""
    refused: Annotated[str, Field(max_length=80)] = ""
    """The quarantined version that was last refused, so that this is said once."""
    entry: Annotated[str, Field(max_length=16384)] = ""
    """The entry this rollout runs on, as JSON: it ends on it if the entry is removed or becomes invalid."""


Rollouts = Annotated[tuple[RolloutStatus, ...], Field(max_length=16), ListMap("name")]
"""One for each rollout entry, and for each that ended but must not be forgotten."""
