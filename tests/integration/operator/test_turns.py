"""The turn's promises, with the decision put in by the test: order, fencing, what is done when things fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from modelway_contract.config import Push
from modelway_operator.apply import Applier
from modelway_operator.clients.cluster import Cluster, read_connection
from modelway_operator.clients.events import Events
from modelway_operator.clients.gateways import Gateways
from modelway_operator.clients.lease import RENEW_DEADLINE_SECONDS, Lease, Role
from modelway_operator.clients.metrics import NoSource
from modelway_operator.clients.own_secrets import OwnSecrets
from modelway_operator.core.findings import Event, Kind, ObjectRef, Severity
from modelway_operator.core.plan import Plan, SecretWrite, StatusWrite, Wanted
from modelway_operator.core.snapshot import ObjectKey, Snapshot
from modelway_operator.errors import UnreachableError
from modelway_operator.gather import Gatherer, gather_lists
from modelway_operator.kinds import LLM_MODEL, WATCHED
from modelway_operator.loop import Alarm, Loop, Parts
from modelway_operator.settings import Settings
from modelway_operator.store import Store
from modelway_operator.telemetry import Metrics

from tests.integration.operator.test_cluster import a_condition, a_model
from tests.integration.operator.test_gateways import BASE
from tests.integration.operator.test_lease import Clock
from tests.support.apiserver import ApiServer, Kube
from tests.support.cut import Line, a_line
from tests.support.gateway import a_push, a_split
from tests.support.waiting import eventually


@dataclass
class Replica:
    """An operator whose decisions are the test's."""

    cluster: Cluster
    store: Store
    lease: Lease
    gateways: Gateways
    own_secrets: OwnSecrets
    metrics: Metrics
    line: Line
    clock: Clock
    loop: Loop = field(init=False)
    plan: Plan = field(default_factory=Plan)
    wanted: Wanted = field(default_factory=Wanted)
    snapshots: list[Snapshot] = field(default_factory=list)

    def decide(self, snapshot: Snapshot) -> Plan:
        self.snapshots.append(snapshot)
        return self.plan

    async def turn(self, plan: Plan | None = None) -> Snapshot:
        """One turn with this decision; what it was made from."""
        self.plan = plan if plan is not None else self.plan
        await self.loop.turn()
        return self.snapshots[-1]


@asynccontextmanager
async def a_replica(apiserver: ApiServer, settings: Settings, name: str = "one") -> AsyncIterator[Replica]:
    async with a_line(apiserver.url) as line:
        settings = replace(settings, kubeconfig=apiserver.kubeconfig(url=line.url))
        cluster, clock = Cluster(await read_connection(settings)), Clock()
        store, gateways, metrics = Store(namespaces=settings.watch_namespaces), Gateways(), Metrics()
        lease = Lease(cluster, namespace=settings.namespace, name=settings.lease, identity=name, clock=clock)
        own_secrets = OwnSecrets(cluster, settings)
        gatherer = Gatherer(store, settings)
        replica = Replica(cluster, store, lease, gateways, own_secrets, metrics, line, clock)
        applier = Applier(
            cluster=cluster,
            store=store,
            gateways=gateways,
            events=Events(cluster, instance=name),
            metrics=metrics,
            may_write=lambda: lease.role is Role.LEADING,
        )
        parts = Parts(
            wanted=lambda _: replica.wanted,
            decide=replica.decide,
            cluster=cluster,
            store=store,
            lease=lease,
            gateways=gateways,
            source=NoSource(),
            own_secrets=own_secrets,
            gatherer=gatherer,
            applier=applier,
            metrics=metrics,
        )
        replica.loop = Loop(parts, Alarm())
        await gather_lists(store, cluster)
        await lease.step()
        yield replica
        await gateways.close()
        await cluster.close()


@pytest.fixture
async def replica(apiserver: ApiServer, settings: Settings) -> AsyncIterator[Replica]:
    """One that leads."""
    async with a_replica(apiserver, settings) as one:
        yield one


def ref(model: dict[str, Any]) -> ObjectRef:
    metadata = model["metadata"]
    return ObjectRef(
        kind=Kind(model["kind"]), namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"]
    )


def a_status(model: dict[str, Any], *, version: str | None = None) -> StatusWrite:
    status = {"observedGeneration": 1, "conditions": [a_condition("Accepted")]}
    return StatusWrite(
        about=ref(model), resource_version=version or model["metadata"]["resourceVersion"], status=status
    )


def is_written(model: dict[str, Any]) -> bool:
    return any(one["type"] == "Accepted" and one["status"] == "True" for one in model["status"]["conditions"])


LOW, HIGH = a_push(BASE, splits=(a_split(100),)), a_push(BASE, sequence=2, splits=(a_split(500),))


def a_policy(namespace: str, name: str) -> dict[str, Any]:
    rule = {"name": "default", "targets": [{"name": "main", "modelRef": {"name": "llama"}, "weight": 1}]}
    return {
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"models": [name], "rules": [rule]},
    }


def shares(replica: Replica) -> dict[str, int]:
    """What the gateways are offered, by policy."""
    offered = replica.gateways.offered
    return {} if offered is None else {split.policy: split.share for split in offered.live.state.splits}


def two_splits(namespace: str, one: int, two: int, sequence: int) -> Push:
    splits = [a_split(share, namespace=namespace, policy=name) for name, share in (("one", one), ("two", two))]
    return a_push(BASE, sequence=sequence, splits=tuple(splits))


async def test_share_rises_only_after_the_status_that_announces_it(
    replica: Replica, kube: Kube, namespace: str
) -> None:
    """One policy's status could not be written: its rise waits, the other's status and rise do not."""
    one = await kube.create(a_policy(namespace, "one"))
    two = await kube.create(a_policy(namespace, "two"))
    low, high = two_splits(namespace, 100, 100, 1), two_splits(namespace, 500, 500, 2)
    await replica.turn(Plan(push_first=low, statuses=(a_status(one, version="1"), a_status(two)), push=high))

    assert {"one": 100, "two": 500} == shares(replica)
    assert [False, True] == [is_written(await kube.get(one)), is_written(await kube.get(two))]
    snapshot = await replica.turn(
        Plan(statuses=(a_status(await kube.get(one)),), push=two_splits(namespace, 500, 500, 3))
    )
    assert {"one": 500, "two": 500} == shares(replica)
    assert [100, 500] == [split.share for split in snapshot.pushed.live.state.splits]  # type: ignore[union-attr]


async def test_share_falls_before_anything_is_written(replica: Replica, kube: Kube, namespace: str) -> None:
    """With nothing to be written at all, what falls has fallen."""
    stale = a_status(await kube.create(a_policy(namespace, "one")), version="1")
    await replica.turn(Plan(push=two_splits(namespace, 500, 500, 1)))
    low, high = two_splits(namespace, 0, 500, 2), two_splits(namespace, 0, 900, 3)
    await replica.turn(Plan(push_first=low, statuses=(stale,), push=high))

    assert {"one": 0, "two": 900} == shares(replica)


async def test_p14_status_that_cannot_be_written_holds_up_no_other(
    replica: Replica, kube: Kube, namespace: str
) -> None:
    """One refused among many: all others are written in the same turn."""
    models = [await kube.create(a_model(namespace, f"model-{number:02d}")) for number in range(20)]
    statuses = [a_status(model) for model in models]
    statuses[3] = replace(statuses[3], status={"observedGeneration": "not a number"})
    await replica.turn(Plan(statuses=tuple(statuses), push=HIGH))
    written = [is_written(await kube.get(model)) for model in models]

    assert [number != 3 for number in range(20)] == written
    assert HIGH == replica.gateways.offered


async def test_turn_ends_though_there_is_more_to_write(
    replica: Replica, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is for the next turns; a decrease does not wait for a thousand statuses."""
    monkeypatch.setattr("modelway_operator.apply.WRITE_SECONDS", 0.0)
    policy = await kube.create(a_policy(namespace, "one"))
    low, high = two_splits(namespace, 100, 100, 1), two_splits(namespace, 500, 500, 2)
    await replica.turn(Plan(push_first=low, statuses=(a_status(policy),), push=high))

    assert {"one": 100, "two": 500} == shares(replica)
    assert not is_written(await kube.get(policy))


async def test_status_of_what_was_deleted_meanwhile_holds_nothing_up(
    replica: Replica, kube: Kube, namespace: str
) -> None:
    """Nobody is left to tell."""
    model = await kube.create(a_model(namespace))
    await kube.delete(model)
    await replica.turn(Plan(statuses=(a_status(model),), push=HIGH))

    assert HIGH == replica.gateways.offered


async def test_remembered_secret_is_written_before_the_status_that_needs_it(
    replica: Replica, kube: Kube, namespace: str
) -> None:
    """It belongs to its policy, is seen at once by the next decision, and without it the status is not written."""
    policy = await kube.create(a_policy(namespace, "one"))
    high = two_splits(namespace, 500, 500, 2)
    await replica.turn(Plan(push=two_splits(namespace, 100, 100, 1)))
    secret = SecretWrite(
        namespace=namespace,
        name="remembered",
        owner=ref(policy),
        labels={"modelway.dev/secret": "remembered"},
        data={"a": b"{}"},
    )
    refused = replace(secret, name="Not-A-Name")
    await replica.turn(Plan(secrets=(refused,), statuses=(a_status(policy),), push=high))
    assert (False, 100) == (is_written(await kube.get(policy)), shares(replica)["one"])
    await replica.turn(Plan(secrets=(secret,), statuses=(a_status(policy),), push=high))
    assert (True, 500) == (is_written(await kube.get(policy)), shares(replica)["one"])
    stored = await kube.call("GET", f"/api/v1/namespaces/{namespace}/secrets/remembered")
    owner = stored["metadata"]["ownerReferences"][0]
    assert (policy["metadata"]["uid"], True) == (owner["uid"], owner["controller"])
    snapshot = await replica.turn()
    assert {"a": b"{}"} == snapshot.secrets[ObjectKey(namespace, "remembered")].data


async def test_own_status_is_in_the_next_snapshot(replica: Replica, kube: Kube, namespace: str) -> None:
    """The next turn need not wait for the watch to tell what this one wrote."""
    model = await kube.create(a_model(namespace))
    await gather_lists(replica.store, replica.cluster)
    await replica.turn(Plan(statuses=(a_status(model),)))
    snapshot = await replica.turn(Plan())

    assert is_written(dict(snapshot.models[0]))


async def test_events_are_told_once(replica: Replica, kube: Kube, namespace: str) -> None:
    """The same Event in the next turn is the same Event."""
    model = await kube.create(a_model(namespace))
    event = Event(about=ref(model), severity=Severity.NORMAL, reason="Promoted", message="law-v2 serves all")
    for _ in range(3):
        await replica.turn(Plan(events=(event,)))
    found = await kube.call("GET", f"/api/v1/namespaces/{namespace}/events")

    assert [("Promoted", "law-v2 serves all", "Normal")] == [
        (one["reason"], one["message"], one["type"]) for one in found["items"]
    ]
    assert model["metadata"]["uid"] == found["items"][0]["involvedObject"]["uid"]


async def test_nothing_is_decided_before_everything_was_listed(replica: Replica) -> None:
    """An empty store is not an empty cluster."""
    replica.store._listed.discard((WATCHED[0], replica.store.namespaces[0]))
    await replica.loop.turn()

    assert [] == replica.snapshots
    assert replica.gateways.offered is None


async def test_f16_shrunken_config_is_believed_only_after_a_fresh_list(
    replica: Replica, kube: Kube, namespace: str
) -> None:
    """Most models seem to be gone: everything is listed anew, and decided again, before that is pushed."""
    await replica.turn(Plan())
    await kube.create(a_model(namespace))
    await replica.turn(Plan(push=HIGH, shrunk=True))

    assert [0, 0, 1] == [len(snapshot.models) for snapshot in replica.snapshots]
    assert HIGH == replica.gateways.offered


async def test_f16_shrunken_config_is_not_pushed_when_the_list_fails(
    replica: Replica, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A LIST that finds no such kind confirms nothing."""
    await replica.turn(Plan())
    gone = replace(LLM_MODEL, plural="nosuchthings")
    monkeypatch.setattr("modelway_operator.gather.WATCHED", (gone, *WATCHED[1:]))
    await replica.turn(Plan(push=HIGH, shrunk=True))

    assert replica.gateways.offered is None
    assert 2 == len(replica.snapshots)


async def test_leader_without_an_api_server_only_takes_traffic_away(
    replica: Replica, kube: Kube, namespace: str
) -> None:
    """Cut off: a decrease goes out under its own epoch; statuses and rises do not."""
    model = await kube.create(a_model(namespace))
    await replica.turn(Plan(push=HIGH))
    replica.line.cut()
    replica.clock.now += RENEW_DEADLINE_SECONDS
    await replica.lease.step()
    lower = a_push(BASE, sequence=3, splits=(a_split(0),))
    await replica.turn(Plan(push_first=lower, statuses=(a_status(model),), push=a_push(BASE, sequence=4)))

    assert Role.CUT_OFF is replica.lease.role
    assert lower == replica.gateways.offered
    replica.line.mend()
    assert not is_written(await kube.get(model))


async def test_follower_decides_but_neither_writes_nor_pushes(
    apiserver: ApiServer, settings: Settings, replica: Replica, kube: Kube, namespace: str
) -> None:
    """The standby compiles what changed, once, and nothing of that leaves it."""
    model = await kube.create(a_model(namespace))
    async with a_replica(apiserver, settings, "two") as standby:
        plan = Plan(push_first=LOW, statuses=(a_status(model),), push=HIGH)
        for _ in range(3):
            await standby.turn(plan)

        assert Role.FOLLOWING is standby.lease.role
        assert [1] == [len(snapshot.models) for snapshot in standby.snapshots]
        assert standby.gateways.offered is None
        assert not is_written(await kube.get(model))


async def test_p2_new_leader_lists_everything_before_its_first_decision(
    apiserver: ApiServer, settings: Settings, replica: Replica, kube: Kube, namespace: str
) -> None:
    """Its watch may have stood still: what was changed meanwhile is in its first push all the same."""
    model = await kube.create(a_model(namespace))
    async with a_replica(apiserver, settings, "two") as standby:
        await standby.turn(Plan())
        await kube.patch(model, {"spec": {"description": "changed while nobody listened"}})
        await replica.lease.release()
        await standby.lease.step()
        snapshot = await standby.turn(Plan(push=HIGH))

        assert "changed while nobody listened" == snapshot.models[0]["spec"]["description"]
        assert HIGH == standby.gateways.offered


async def test_p2_new_leader_that_cannot_list_pushes_nothing(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways go on with what they have, until somebody knows better."""

    async def unreachable(*_: object) -> None:
        raise UnreachableError("no answer")

    monkeypatch.setattr(replica.cluster, "list_objects", unreachable)
    await replica.loop.turn()

    assert [] == replica.snapshots
    assert replica.gateways.offered is None


async def test_f16_new_leader_compares_with_the_bundle_of_the_one_before(
    replica: Replica, kube: Kube, namespace: str
) -> None:
    """A process that never pushed knows all the same how many models there were."""
    await replica.own_secrets.save_bundle(a_push(BASE))
    snapshot = await replica.turn(Plan())

    assert len(BASE.models) == snapshot.models_before > 0


async def test_leader_that_lost_the_lease_in_a_turn_writes_and_pushes_nothing(
    replica: Replica, kube: Kube, namespace: str
) -> None:
    """A decision may take longer than a lease lasts: who acts is asked again after it."""
    model = await kube.create(a_model(namespace))
    await replica.turn(Plan())

    def slowly(_: Snapshot) -> Plan:
        replica.clock.now += 60
        return Plan(push_first=LOW, statuses=(a_status(model),), push=HIGH)

    replica.loop._parts = replace(replica.loop._parts, decide=slowly)
    await replica.loop.turn()

    assert replica.gateways.offered is None
    assert not is_written(await kube.get(model))


async def test_epoch_is_above_the_bundles(replica: Replica, settings: Settings) -> None:
    """A restore may have lost the Lease: what was pushed last is in the bundle too."""
    await replica.own_secrets.save_bundle(a_push(BASE, epoch=17))
    snapshot = await replica.turn(Plan())

    assert 18 == snapshot.epoch == replica.lease.epoch
    assert snapshot.pushed is None


async def test_what_was_offered_last_is_in_the_next_snapshot(replica: Replica, kube: Kube, namespace: str) -> None:
    """The engine tells a rise from a fall by what was pushed, not by what it wished."""
    stale = a_status(await kube.create(a_policy(namespace, "one")), version="1")
    low = a_push(BASE, splits=(a_split(100, namespace=namespace, policy="one"),))
    high = a_push(BASE, sequence=2, splits=(a_split(500, namespace=namespace, policy="one"),))
    await replica.turn(Plan(push_first=low, statuses=(stale,), push=high))

    assert low == (await replica.turn(Plan())).pushed


async def test_bundle_is_saved_when_it_changed_and_not_more_often_than_every_ten_seconds(
    replica: Replica, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight step a second is not a Secret a second."""
    saved = []
    save = replica.own_secrets.save_bundle

    async def counted(push: Push) -> bool:
        saved.append(push.live.sequence)
        return await save(push)

    monkeypatch.setattr(replica.own_secrets, "save_bundle", counted)
    now = [0.0]
    monkeypatch.setattr(replica.loop, "_clock", lambda: now[0])
    for sequence in (1, 2, 3):
        await replica.turn(Plan(push=a_push(BASE, sequence=sequence, splits=(a_split(sequence),))))
    now[0] += 10
    for _ in range(3):
        await replica.turn(Plan(push=a_push(BASE, sequence=4, splits=(a_split(4),))))
        now[0] += 10

    assert [1, 4] == saved
    stored = await replica.own_secrets.read_bundle()
    assert stored is not None
    assert 4 == stored.live.sequence


async def test_config_maps_are_read_by_the_names_that_models_give(replica: Replica, kube: Kube, namespace: str) -> None:
    """One that exists and one that does not: both are known in the same turn."""
    metadata = {"namespace": namespace, "name": "corp-ca"}
    await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": "x"}})
    replica.wanted = Wanted(config_maps=(ObjectKey(namespace, "corp-ca"), ObjectKey(namespace, "missing")))
    snapshot = await replica.turn(Plan())

    assert {ObjectKey(namespace, "corp-ca")} == set(snapshot.config_maps)
    assert {"ca.crt": "x"} == snapshot.config_maps[ObjectKey(namespace, "corp-ca")].data


async def test_turn_that_fails_is_followed_by_the_next(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours costs one turn, is told with its place, and without the text that may quote an object."""
    asked: list[Snapshot] = []

    def decide(snapshot: Snapshot) -> Plan:
        asked.append(snapshot)
        if len(asked) == 1:
            raise ValueError("canary of an object")
        return Plan(push=HIGH)

    replica.loop._parts = replace(replica.loop._parts, decide=decide)
    task = asyncio.create_task(replica.loop._keep_turning())
    await eventually(lambda: replica.gateways.offered == HIGH)
    task.cancel()

    assert b'modelway_operator_turns_total{result="failed"} 1.0' in replica.metrics.render()
    assert "" == replica.loop.why_dead()
