"""Findings: verdicts with a reason and a message, the one source of conditions, Events and log lines.

Rule: a message names the object, the field and the remedy, and never the content of a Secret.
"""

from dataclasses import dataclass
from enum import StrEnum

from modelway_contract import names


class Kind(StrEnum):
    """Kinds of objects that findings and Events are about."""

    LLM_MODEL = "LLMModel"
    ROUTING_POLICY = "RoutingPolicy"
    SECRET = "Secret"  # noqa: S105 - a kind, not a password

    @property
    def api_version(self) -> str:
        """As a manifest spells it."""
        return "v1" if self is Kind.SECRET else names.API_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """One object, as Events and owner references point at it."""

    kind: Kind
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Severity(StrEnum):
    """The two types of Events that Kubernetes knows."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an object, told once."""

    about: ObjectRef
    severity: Severity
    reason: str
    message: str


class Area(StrEnum):
    """The part of an object's life that a finding belongs to; each feeds one condition."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    PARTIAL = "PartiallyInvalid"
    NOTE = "Note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as its author meant it; `part` names the backend, rule or target that is left out."""

    about: ObjectRef
    area: Area
    reason: str
    message: str
    part: str = ""
