"""All that one decision may look at, read in advance.

Rule: whoever builds a snapshot reads and does not judge. Objects are raw, as the API server returns them (with the last
known status); what is wrong with them is found here in `core`, so that a cluster and one machine come to the same
verdicts. `memory` is what the last decision handed on: keep it from turn to turn, never look into it; a process that
starts without it decides the same, only slower.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from modelway_contract.codec import MAX_DOCUMENT_BYTES
from modelway_contract.config import Ack, ProbeResult, Push
from modelway_operator.core.memory import Memory
from modelway_operator.core.rollout.model import Measurement, MeasurementRequest, MetricsSource

RawObject: TypeAlias = Mapping[str, Any]
"""An object as the API server sends it; only `api.parsing` reads what is in it."""


class ObjectKey(NamedTuple):
    """Where an object stands in its kind."""

    namespace: str
    name: str


class ServicePort(NamedTuple):
    """One port of one Service, by the number that clients of the Service use."""

    namespace: str
    service: str
    port: int


class Address(NamedTuple):
    """One endpoint that is ready: an IP literal, and the port that the pod itself listens on."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """What an installation decides about all of its objects."""

    gateway: str = "default"
    namespace: str = "modelway"
    shared_namespaces: tuple[str, ...] = ()
    anonymous_namespace: str | None = None
    scrape_interval_seconds: float = 15.0
    metrics_configured: bool = True
    """Whether there is anything to ask for measurements."""
    max_config_bytes: int = MAX_DOCUMENT_BYTES
    """A larger config is refused before anybody gets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Secret that carries the label `modelway.dev/secret`; nobody prints its data."""

    uid: str
    resource_version: str
    use: str
    """The label's value: client, credentials, or remembered for those that the operator writes itself."""
    data: Mapping[str, bytes] = field(repr=False)
    """Decoded from base64."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    creation_timestamp: str = ""
    deleting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What matters of a Service: the numbers of its ports."""

    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap:
    """A ConfigMap that some model names (`Wanted.config_maps`)."""

    uid: str
    resource_version: str
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One gateway and its last answer."""

    name: str
    ready: bool
    """Its pod is Ready: users' requests reach it."""
    live: bool
    """It answered us within 30 seconds."""
    ack: Ack | None = None
    """What it runs, as it said last; `None` until it has said anything."""
    rejected: str | None = None
    """Why it refused the last push, where it did and has accepted none since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The world at one moment."""

    now: float
    """Wall clock, seconds since 1970."""
    install: Install = Install()
    models: tuple[RawObject, ...] = ()
    policies: tuple[RawObject, ...] = ()
    secrets: Mapping[ObjectKey, Secret] = field(default_factory=dict)
    services: Mapping[ObjectKey, Service] = field(default_factory=dict)
    endpoints: Mapping[ServicePort, tuple[Address, ...]] = field(default_factory=dict)
    config_maps: Mapping[ObjectKey, ConfigMap] = field(default_factory=dict)
    replicas: tuple[Replica, ...] = ()
    epoch: int = 1
    pushed: Push | None = field(default=None, repr=False)
    """The last push that was handed to the gateways under this epoch, whether or not they took it."""
    models_before: int = 0
    """How many models the gateways run by the word of a former leader; counts until there is a push of this epoch."""
    bundle: Push | None = field(default=None, repr=False)
    """What the bundle held when this replica began to lead: what gateways ran before anything was pushed."""
    measurements: Mapping[MeasurementRequest, Measurement] = field(default_factory=dict)
    """Answers to `Wanted.measurements`; what could not be fetched stands here with the reason."""
    source: MetricsSource = field(default_factory=MetricsSource)
    """How the place that measurements come from is doing."""
    probes: Mapping[str, ProbeResult] = field(default_factory=dict)
    """Answers to `Wanted.probes`, by model key."""
    memory: Memory = field(default_factory=Memory)
