"""A world of plain values that the operator's decisions act upon: what a turn of the loop does, without a loop.

`World.turn()` decides, carries the plan out in the order the plan demands, and lets every gateway take the push. What a
test wants to go wrong it changes between turns.
"""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from modelway_contract import codec
from modelway_contract.config import Ack, ExamplesFit, ProbeResult, Push
from modelway_operator.core.decide import decide, wanted
from modelway_operator.core.findings import Event
from modelway_operator.core.memory import Memory
from modelway_operator.core.plan import Plan
from modelway_operator.core.rollout.model import Counts, Measurement, MetricsSource
from modelway_operator.core.snapshot import (
    Address,
    ConfigMap,
    Install,
    ObjectKey,
    Replica,
    Secret,
    Service,
    ServicePort,
    Snapshot,
)

START = 1_800_000_000.0


@dataclass
class World:
    """Objects, gateways and the operator's memory."""

    models: list[dict[str, Any]] = field(default_factory=list)
    policies: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[ObjectKey, Secret] = field(default_factory=dict)
    services: dict[ObjectKey, Service] = field(default_factory=dict)
    endpoints: dict[ServicePort, tuple[Address, ...]] = field(default_factory=dict)
    config_maps: dict[ObjectKey, ConfigMap] = field(default_factory=dict)
    install: Install = field(default_factory=lambda: Install(shared_namespaces=("modelway",)))
    gateways: dict[str, Push | None] = field(default_factory=lambda: {"gateway-0": None, "gateway-1": None})
    deaf: set[str] = field(default_factory=set)
    """Gateways that take no push."""
    fits: dict[str, tuple[ExamplesFit, ...]] = field(default_factory=dict)
    """What gateways say of policies' examples."""
    rejections: dict[str, str] = field(default_factory=dict)
    """What gateways that refuse every push say."""
    now: float = START
    epoch: int = 1
    pushed: Push | None = None
    bundle: Push | None = None
    """What the last process saved of its pushes."""
    memory: Memory = field(default_factory=Memory)
    source: MetricsSource = field(default_factory=MetricsSource)
    counts: Measurement = field(
        default_factory=lambda: Measurement(candidate=Counts(total=500, bad=0), stable=Counts(total=500, bad=0))
    )
    """The answer to every measurement."""
    probe: ProbeResult = field(default_factory=lambda: ProbeResult(ok=True, status=200))
    """The answer to every probe."""
    events: list[Event] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    """All that the gateways were given, in order."""

    def snapshot(self) -> Snapshot:
        """The world as the operator reads it."""
        snapshot = Snapshot(
            now=self.now,
            install=self.install,
            models=tuple(self.models),
            policies=tuple(self.policies),
            secrets=dict(self.secrets),
            services=dict(self.services),
            endpoints=dict(self.endpoints),
            config_maps=dict(self.config_maps),
            replicas=tuple(self._replica(name) for name in self.gateways),
            epoch=self.epoch,
            pushed=self.pushed,
            bundle=self.bundle,
            source=self.source,
            memory=self.memory,
        )
        needs = wanted(snapshot)
        return replace(
            snapshot,
            measurements=dict.fromkeys(needs.measurements, self.counts),
            probes=dict.fromkeys(needs.probes, self.probe),
            memory=needs.memory,
        )

    def decide(self) -> Plan:
        """The plan, with nothing of it done."""
        return decide(self.snapshot())

    def turn(self, *, seconds: float = 2.0) -> Plan:
        """Decide, do it all, and let time pass."""
        plan = self.decide()
        self.apply(plan)
        self.now += seconds
        return plan

    def apply(self, plan: Plan) -> None:
        """Carry a plan out."""
        if plan.push_first is not None:
            self._push(plan.push_first)
        for write in plan.secrets:
            key = ObjectKey(write.namespace, write.name)
            version = str(int(self.secrets[key].resource_version) + 1) if key in self.secrets else "1"
            self.secrets[key] = Secret(
                uid=f"uid-{write.name}", resource_version=version, use="remembered", data=dict(write.data)
            )
        for status in plan.statuses:
            for objects in (self.models, self.policies):
                for index, raw in enumerate(objects):
                    if raw["metadata"]["uid"] == status.about.uid:
                        objects[index] = {**raw, "status": copy.deepcopy(dict(status.status))}
        if plan.push is not None:
            self._push(plan.push)
        self.events += plan.events
        self.memory = plan.memory

    def settle(self, turns: int = 4) -> Plan:
        """Turn until nothing is written; fails if that does not come."""
        for _ in range(turns):
            plan = self.turn()
        assert () == plan.statuses
        assert () == plan.secrets
        return plan

    def edit_model(self, name: str, **spec: Any) -> None:
        """A user's edit of a model: the generation rises."""
        self.models = [self._edited(raw, spec) if raw["metadata"]["name"] == name else raw for raw in self.models]

    def edit_policy(self, name: str = "chat", **spec: Any) -> None:
        """A user's edit of a policy: the generation rises."""
        self.policies = [self._edited(raw, spec) if raw["metadata"]["name"] == name else raw for raw in self.policies]

    def restart(self) -> None:
        """A new process takes over: it knows what stands in the API server and what gateways say."""
        self.bundle = self.pushed or self.bundle
        self.memory, self.pushed, self.epoch = Memory(), None, self.epoch + 1

    def model(self, name: str) -> dict[str, Any]:
        """A model as it stands."""
        return next(raw for raw in self.models if raw["metadata"]["name"] == name)

    def policy(self, name: str = "chat") -> dict[str, Any]:
        """A policy as it stands."""
        return next(raw for raw in self.policies if raw["metadata"]["name"] == name)

    @staticmethod
    def _edited(raw: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        meta = {**raw["metadata"], "generation": raw["metadata"]["generation"] + 1}
        return {**raw, "metadata": meta, "spec": {**raw["spec"], **spec}}

    def _push(self, push: Push) -> None:
        self.pushed = push
        self.pushes.append(push)
        for name in self.gateways:
            if name not in self.deaf and name not in self.rejections:
                self.gateways[name] = push

    def _replica(self, name: str) -> Replica:
        push = self.gateways[name]
        ack = None
        if push is not None:
            ack = Ack(
                base=push.base_digest,
                credentials=push.credentials_digest,
                live=codec.digest_live(push.live.state),
                epoch=push.live.epoch,
                sequence=push.live.sequence,
                splits=push.live.state.splits,
                examples=self.fits.get(name, ()),
            )
        return Replica(name=name, ready=True, live=name not in self.deaf, ack=ack, rejected=self.rejections.get(name))


def condition(raw: dict[str, Any], kind: str) -> tuple[str, str] | None:
    """Status and reason of a condition, None where it is not there."""
    for entry in raw.get("status", {}).get("conditions", ()):
        if entry["type"] == kind:
            return entry["status"], entry["reason"]
    return None


def message(raw: dict[str, Any], kind: str) -> str:
    """The message of a condition."""
    return next(str(entry["message"]) for entry in raw["status"]["conditions"] if entry["type"] == kind)
