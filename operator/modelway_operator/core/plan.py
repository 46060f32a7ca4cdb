"""What a decision asks for: pushes, writes and Events, in the order in which they are carried out.

Pushes carry keys, so neither a plan nor a snapshot shows them when it is printed.

Rule: first `push_first`, then `secrets`, then `statuses`, then `push`. Whoever carries a plan out holds back the rises
of each policy whose Secret or status could not be written, until a later plan. So a candidate's share falls before
anything is written, and rises only when the status that announces it is in the API server, while one namespace that
is stuck stops nobody else. Events and counts come last and may fail.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelway_contract.config import Push
from modelway_operator.core.findings import Event, Finding, ObjectRef
from modelway_operator.core.memory import Memory
from modelway_operator.core.rollout.model import MeasurementRequest
from modelway_operator.core.snapshot import ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusWrite:
    """The whole new status of one object; only objects whose status changes get one."""

    about: ObjectRef
    resource_version: str
    """Of the object that was judged. The write is void if its uid differs; a conflict is tried again next turn."""
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretWrite:
    """A Secret of the operator's own, to be created or replaced; holds specs, never keys."""

    namespace: str
    name: str
    owner: ObjectRef
    """Goes with its owner: set it as the (controlling) owner reference."""
    labels: Mapping[str, str]
    data: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Figures for the operator's own metrics."""

    models: int = 0
    models_accepted: int = 0
    policies: int = 0
    policies_accepted: int = 0
    compiled: int = 0
    """Parts that were compiled or judged anew in this turn; the others came from memory."""
    config_bytes: int = 0
    """Size of all sections, unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What must be fetched before `decide`; unknown things are looked up each turn until they are known."""

    config_maps: tuple[ObjectKey, ...] = ()
    """ConfigMaps that models name, for `Snapshot.config_maps`."""
    measurements: tuple[MeasurementRequest, ...] = ()
    probes: tuple[str, ...] = ()
    """Keys of the models that one ready gateway is to be asked to probe."""
    memory: Memory = field(default_factory=Memory)
    """Put it into the snapshot that goes to `decide`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is to be done now. At rest it holds nothing but `push`, for the heartbeat."""

    push_first: Push | None = field(default=None, repr=False)
    """Where set, goes out before anything is written: the new config with every rising share still held back."""
    secrets: tuple[SecretWrite, ...] = ()
    statuses: tuple[StatusWrite, ...] = ()
    push: Push | None = field(default=None, repr=False)
    """The complete config; the same as `Snapshot.pushed`, sequence and all, where nothing changed. `None`: refused."""
    refused: str | None = None
    """Why there is no push: the gateways keep what they have."""
    shrunk: bool = False
    """Fewer than half of the models pushed last are left: list everything anew and decide again before acting."""
    events: tuple[Event, ...] = ()
    findings: tuple[Finding, ...] = ()
    """All that stands against objects now, for logs and command lines."""
    counts: Counts = Counts()
    memory: Memory = field(default_factory=Memory)
