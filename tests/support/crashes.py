"""A world outside of the operator that can be copied: an API server, gateways, a clock. A crash is a copy of it.

The operator on it is the real one (loop, applier, lease, store, Secrets, Events, decision); only what it speaks to is
here and in memory. All that it does outside of itself passes `World.effect`, one effect after the other, and whatever
was done before an effect is all that a process which dies there leaves behind. So a run keeps a copy of the world from
before each effect, and a crash before the n-th (which is one after the effect before it) is a new process, with nothing
in its memory, on the n-th copy.
"""

from __future__ import annotations

import copy
import ssl
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from modelway_contract import codec
from modelway_contract.config import Ack, Fenced, ProbeResult, Push
from modelway_operator.apply import Applier
from modelway_operator.clients.cluster import Cluster
from modelway_operator.clients.events import Events
from modelway_operator.clients.gateways import Endpoint, Gateways, Report
from modelway_operator.clients.lease import Lease, Role
from modelway_operator.clients.own_secrets import OwnSecrets
from modelway_operator.core.decide import decide, wanted
from modelway_operator.core.rollout.model import Measurement, MeasurementRequest, MetricsSource
from modelway_operator.errors import ConflictError, NotFoundError
from modelway_operator.gather import Gatherer, gather_lists
from modelway_operator.kinds import ENDPOINT_SLICE, LLM_MODEL, ROUTING_POLICY, Kind, Raw
from modelway_operator.loop import Alarm, Loop, Parts
from modelway_operator.settings import Settings, load_settings
from modelway_operator.store import Store
from modelway_operator.telemetry import Metrics

NAMESPACE: Final = "team"
START: Final = 1_800_000_000.0
GATEWAYS: Final = ("gateway-0", "gateway-1")

Key = tuple[Kind, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """A candidate's share that became higher at a gateway, and what the API server said of its rollout by then."""

    gateway: str
    share_bp: int
    state: Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A world as it was before an effect."""

    before: str
    world: World


@dataclass
class World:
    """All that outlives a process."""

    measurement: Measurement
    """The answer to every measurement."""
    objects: dict[Key, Raw] = field(default_factory=dict)
    gateways: dict[str, Push | None] = field(default_factory=lambda: dict.fromkeys(GATEWAYS))
    now: float = START
    clock_error_seconds: float = 0.0
    """How far the operator's wall clock is from everybody else's."""
    version: int = 100
    rises: list[Rise] = field(default_factory=list)
    fenced: int = 0
    """Pushes that gateways refused as older than what they had seen."""
    crashes: list[Crash] | None = None
    """Copies from before each effect, where they are kept."""

    def copy(self) -> World:
        """The same world, to be lived on in another way; copies are not kept there."""
        return World(
            measurement=self.measurement,
            objects={key: copy.deepcopy(raw) for key, raw in self.objects.items()},
            gateways=dict(self.gateways),
            now=self.now,
            clock_error_seconds=self.clock_error_seconds,
            version=self.version,
            rises=list(self.rises),
            fenced=self.fenced,
        )

    def effect(self, name: str) -> None:
        """Something is about to be done that outlives the process."""
        if self.crashes is not None:
            self.crashes.append(Crash(before=name, world=self.copy()))

    def keep(self, kind: Kind, raw: Raw) -> Raw:
        """Store an object in a new version."""
        self.version += 1
        metadata = {"uid": f"uid-{self.version}", **raw["metadata"], "resourceVersion": str(self.version)}
        stored = {**copy.deepcopy(raw), "apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
        self.objects[kind, metadata["namespace"], metadata["name"]] = stored
        return copy.deepcopy(stored)

    def edit(self, kind: Kind, name: str, **spec: Any) -> None:
        """A user's edit."""
        raw = self.objects[kind, NAMESPACE, name]
        metadata = {**raw["metadata"], "generation": raw["metadata"]["generation"] + 1}
        self.keep(kind, {**raw, "metadata": metadata, "spec": {**raw["spec"], **spec}})

    def rollout(self, policy: str = "chat") -> Raw:
        """The first rollout in a policy's status; nothing where there is none."""
        status = self.objects[ROUTING_POLICY, NAMESPACE, policy].get("status") or {}
        return next(iter(status.get("rollouts") or ()), {})

    def take(self, gateway: str, push: Push) -> bool:
        """A push arrives at a gateway; whether it runs it."""
        running = self.gateways[gateway]
        if running is not None and _pair(push) < _pair(running):
            self.fenced += 1
            return False
        before = {} if running is None else {_place(one): one.share for one in running.live.state.splits}
        self.gateways[gateway] = push
        for split in push.live.state.splits:
            if split.share > before.get(_place(split), 0):
                self.rises.append(Rise(gateway=gateway, share_bp=split.share, state=copy.deepcopy(self.rollout())))
        return True


def a_world(models: Iterable[Raw], policies: Iterable[Raw], measurement: Measurement) -> World:
    """These objects, two gateways that run nothing yet, and no operator."""
    world = World(measurement=measurement)
    for kind, raws in ((LLM_MODEL, models), (ROUTING_POLICY, policies)):
        for raw in raws:
            world.keep(kind, raw)
    endpoints = [
        {"addresses": [f"10.0.0.{number}"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}}
        for number, name in enumerate(GATEWAYS, start=1)
    ]
    labels = {"kubernetes.io/service-name": "modelway-gateway-admin"}
    world.keep(
        ENDPOINT_SLICE,
        {
            "metadata": {"namespace": NAMESPACE, "name": "gateways", "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "admin", "port": 8443}],
            "endpoints": endpoints,
        },
    )
    return world


class MemoryCluster(Cluster):
    """The API server."""

    def __init__(self, world: World) -> None:
        # Not the parent's: there is no connection to hold.
        self.last_answer = 0.0
        self._world = world

    async def close(self) -> None:
        """Nothing is held."""

    async def list_objects(self, kind: Kind, namespace: str | None = None) -> list[Raw]:
        """Every object of a kind that carries the label which reading asks for."""
        return [
            copy.deepcopy(raw)
            for (of, where, _), raw in self._world.objects.items()
            if of is kind and namespace in (None, where) and (not kind.selector or kind.selector in _labels(raw))
        ]

    async def get_object(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """One object by name."""
        return copy.deepcopy(self._world.objects.get((kind, namespace, name)))

    async def create_object(self, kind: Kind, namespace: str, body: Raw) -> Raw:
        """Create; a conflict where it exists."""
        self._world.effect(f"create {kind.name}")
        if (kind, namespace, body["metadata"]["name"]) in self._world.objects:
            raise ConflictError("it exists", status=409)
        return self._world.keep(kind, body)

    async def replace_object(self, kind: Kind, body: Raw) -> Raw:
        """Replace the very version that the body names."""
        self._world.effect(f"replace {kind.name}")
        self._check(kind, body["metadata"]["namespace"], body["metadata"]["name"], body["metadata"]["resourceVersion"])
        return self._world.keep(kind, body)

    async def apply_object(self, kind: Kind, body: Raw) -> Raw:
        """Create or change an object of the operator's own."""
        self._world.effect(f"apply {kind.name}")
        before = self._world.objects.get((kind, body["metadata"]["namespace"], body["metadata"]["name"]))
        known = {} if before is None else {"uid": before["metadata"]["uid"]}
        return self._world.keep(kind, {**body, "metadata": {**body["metadata"], **known}})

    async def apply_status(
        self, kind: Kind, *, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Raw:
        """Write a status to the version that was judged."""
        self._world.effect(f"status {kind.name}")
        before = self._check(kind, namespace, name, resource_version)
        return self._world.keep(kind, {**before, "status": dict(status)})

    def _check(self, kind: Kind, namespace: str, name: str, version: str) -> Raw:
        before = self._world.objects.get((kind, namespace, name))
        if before is None:
            raise NotFoundError("it is not there", status=404)
        if before["metadata"]["resourceVersion"] != version:
            raise ConflictError("it has changed", status=409)
        return before


class MemoryGateways(Gateways):
    """All replicas; each takes a push at once, one after the other."""

    def __init__(self, world: World, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self._world = world
        self._endpoints: tuple[Endpoint, ...] = ()
        self._push: Push | None = None
        self._fenced: dict[str, Fenced] = {}

    async def set_identity(self, context: ssl.SSLContext) -> None:
        """There is nobody to show it to."""

    def set_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Take note of who is there."""
        self._endpoints = tuple(sorted(endpoints, key=lambda one: one.pod))

    def reports(self) -> tuple[Report, ...]:
        """What each would say if it was asked now."""
        return tuple(
            Report(
                endpoint=endpoint,
                ack=_ack(self._world.gateways[endpoint.pod]),
                answered_at=self.clock(),
                fenced=self._fenced.get(endpoint.pod),
            )
            for endpoint in self._endpoints
        )

    @property
    def offered(self) -> Push | None:
        """What is offered now."""
        return self._push

    def propose(self, push: Push | None) -> None:
        """Push it to each that does not run it."""
        self._push = push
        for endpoint in self._endpoints if push is not None else ():
            assert push is not None
            if self._world.gateways[endpoint.pod] is not push:
                self._world.effect(f"push to {endpoint.pod}")
                if self._world.take(endpoint.pod, push):
                    self._fenced.pop(endpoint.pod, None)
                else:
                    running = self._world.gateways[endpoint.pod]
                    assert running is not None
                    self._fenced[endpoint.pod] = Fenced(epoch=running.live.epoch, sequence=running.live.sequence)

    async def meet(self, *, within_seconds: float) -> None:
        """They are known already."""

    async def settle(self, *, within_seconds: float) -> None:
        """They have answered already."""

    async def probe(self, endpoint: Endpoint, model: str) -> ProbeResult:
        """Every model is well."""
        del endpoint, model
        return ProbeResult(ok=True, status=200)


class _Source:
    """Measurements as the world has them."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def health(self) -> MetricsSource:
        return MetricsSource(clock_skew_seconds=-self._world.clock_error_seconds)

    async def fetch(self, requests: Collection[MeasurementRequest]) -> Mapping[MeasurementRequest, Measurement]:
        return dict.fromkeys(requests, self._world.measurement)

    async def close(self) -> None:
        """Nothing is held."""


class Process:
    """One operator on the world, from its start with nothing in its memory; another release has another Lease."""

    def __init__(self, world: World, release: str = "modelway") -> None:
        self.world = world
        self.settings = _settings(release)
        cluster, metrics = MemoryCluster(world), Metrics()
        self._store = Store(namespaces=(NAMESPACE,), clock=self._clock)
        self._gateways = MemoryGateways(world, self._clock)
        self.lease = Lease(
            cluster, namespace=NAMESPACE, name=self.settings.lease, identity="operator", clock=self._clock
        )
        self._cluster = cluster
        parts = Parts(
            wanted=wanted,
            decide=decide,
            cluster=cluster,
            store=self._store,
            lease=self.lease,
            gateways=self._gateways,
            source=_Source(world),
            own_secrets=OwnSecrets(cluster, self.settings),
            gatherer=Gatherer(self._store, self.settings),
            applier=Applier(
                cluster=cluster,
                store=self._store,
                gateways=self._gateways,
                events=Events(cluster, instance="operator", clock=self._clock),
                metrics=metrics,
                may_write=lambda: self.lease.role is Role.LEADING,
                clock=self._clock,
            ),
            metrics=metrics,
        )
        self._loop = Loop(parts, Alarm(), clock=self._clock, wall_clock=lambda: world.now + world.clock_error_seconds)

    async def turn(self, *, seconds: float) -> None:
        """Look at everything, renew the lease, turn once; then let time pass."""
        await gather_lists(self._store, self._cluster, clock=self._clock)
        await self.lease.step()
        await self._loop.turn()
        self.world.now += seconds

    def _clock(self) -> float:
        return self.world.now


def _settings(release: str) -> Settings:
    arguments = ["--namespace", NAMESPACE, "--watch-namespaces", NAMESPACE, "--metrics-source", "gateways"]
    arguments += ["--release", release, "--admin-service", "modelway-gateway-admin"]
    return load_settings([*arguments, "--scrape-interval", "1s"], {})


def _labels(raw: Raw) -> Mapping[str, str]:
    return raw["metadata"].get("labels") or {}


def _ack(push: Push | None) -> Ack | None:
    if push is None:
        return None
    return Ack(
        base=push.base_digest,
        credentials=push.credentials_digest,
        live=codec.digest_live(push.live.state),
        epoch=push.live.epoch,
        sequence=push.live.sequence,
        splits=push.live.state.splits,
    )


def _pair(push: Push) -> tuple[int, int]:
    return push.live.epoch, push.live.sequence


def _place(split: Any) -> tuple[str, ...]:
    return split.namespace, split.policy, split.rule, split.target, split.rollout_id
