"""Conditions: the types, their reasons, and what stands there before the operator has seen an object.

The rule to know: `Accepted`, `ResolvedRefs`, `Programmed` and `Ready` are on every object from first sight, any other
type only while it is True; one writer for each, and `lastTransitionTime` moves only when the status flips.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelway_operator.api.base import StatusObject
from modelway_operator.api.rules import ListMap


class ConditionType(StrEnum):
    """What a condition speaks about."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    PROGRAMMED = "Programmed"
    READY = "Ready"
    ROLLING_OUT = "RollingOut"
    STALLED = "Stalled"
    PARTIALLY_INVALID = "PartiallyInvalid"
    HELD = "Held"


ALWAYS_PRESENT = (
    ConditionType.ACCEPTED,
    ConditionType.RESOLVED_REFS,
    ConditionType.PROGRAMMED,
    ConditionType.READY,
)
"""The conditions every object has from first sight, in the order they are shown."""


class ConditionStatus(StrEnum):
    """Whether it is so."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class AcceptedReason(StrEnum):
    """Why an object is accepted or not."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    DUPLICATE_MODEL_NAME = "DuplicateModelName"
    CONFLICTED = "Conflicted"
    PENDING = "Pending"


class ResolvedRefsReason(StrEnum):
    """Whether everything an object names was found."""

    RESOLVED_REFS = "ResolvedRefs"
    MODEL_NOT_FOUND = "ModelNotFound"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password
    SECRET_KEY_MISSING = "SecretKeyMissing"  # noqa: S105 - a reason, not a password
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    REF_NOT_PERMITTED = "RefNotPermitted"
    PENDING = "Pending"


class ProgrammedReason(StrEnum):
    """Whether the gateways run what the object says."""

    PROGRAMMED = "Programmed"
    PENDING = "Pending"
    PARTIALLY_ACKNOWLEDGED = "PartiallyAcknowledged"
    REJECTED_BY_GATEWAY = "RejectedByGateway"
    NO_GATEWAYS = "NoGateways"


class ReadyReason(StrEnum):
    """Whether the object can serve now."""

    SERVING = "Serving"
    NOT_PROGRAMMED = "NotProgrammed"
    NO_HEALTHY_BACKEND = "NoHealthyBackend"
    DRAINING = "Draining"
    PENDING = "Pending"


class StalledReason(StrEnum):
    """Why a person has to act: Git and what is live differ."""

    INVALID_SPEC = "InvalidSpec"
    ROLLED_BACK = "RolledBack"


class HeldReason(StrEnum):
    """Why a rollout stands still, its weight frozen."""

    METRICS_UNAVAILABLE = "MetricsUnavailable"
    NO_TRAFFIC = "NoTraffic"
    STALE_METRICS = "StaleMetrics"
    GATEWAY_NOT_CONVERGED = "GatewayNotConverged"
    TARGET_WEIGHT_ZERO = "TargetWeightZero"
    CONFIG_ERROR = "ConfigError"
    INCONCLUSIVE = "Inconclusive"
    CLOCK_SKEW = "ClockSkew"
    BASELINE_UNHEALTHY = "BaselineUnhealthy"
    BOTH_UNHEALTHY = "BothUnhealthy"


class RollingOutReason(StrEnum):
    """What a running rollout is doing."""

    PROGRESSING = "Progressing"
    ROLLING_BACK = "RollingBack"


class PartiallyInvalidReason(StrEnum):
    """Why a part of a policy is left out while the rest serves."""

    INVALID_RULES = "InvalidRules"


NEVER = "1970-01-01T00:00:00Z"
"""The transition time of a condition that nobody has judged yet."""


class Condition(StatusObject):
    """One verdict about the object, as kubectl, Argo CD and Flux read it."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """What the verdict is about: Accepted, ResolvedRefs, Programmed, Ready, or one that stands only while True."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=64)]
    """The reason in one word, for programs."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """The reason in a sentence, for people."""
    last_transition_time: Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})] = NEVER
    """When the status last flipped."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the object that was judged."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")]

PENDING_CONDITIONS = tuple(
    Condition(
        type=kind,
        status=ConditionStatus.UNKNOWN,
        reason="Pending",
        message="Waiting for the operator",
        last_transition_time=NEVER,
    )
    for kind in ALWAYS_PRESENT
)
"""What a new object's status says, so that no tool reads "Current" before the operator has seen it."""
