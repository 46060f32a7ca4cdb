"""kopf as a watch engine, against a real API server."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from modelway_operator.clients.cluster import Cluster
from modelway_operator.gather import gather_lists
from modelway_operator.kinds import LLM_MODEL, SECRET, SERVICE
from modelway_operator.settings import Settings
from modelway_operator.store import Store
from modelway_operator.watch import Watch

from tests.integration.operator.rbac import WATCHED_RULES
from tests.integration.operator.test_cluster import a_model
from tests.support.apiserver import OPERATOR_TOKEN, OPERATOR_USER, ApiServer, Kube
from tests.support.waiting import eventually


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[tuple[Store, Watch]]:
    store = Store(namespaces=settings.watch_namespaces)
    watch = Watch(settings, store)
    watch.start()
    try:
        yield store, watch
    finally:
        await watch.stop()


def names(store: Store, namespace: str, kind: Any = LLM_MODEL) -> list[str]:
    return [raw["metadata"]["name"] for raw in store.objects(kind) if raw["metadata"]["namespace"] == namespace]


async def test_objects_come_change_and_go(settings: Settings, kube: Kube, namespace: str) -> None:
    """What is there before, what comes, what changes and what goes: all of it reaches the store."""
    await kube.create(a_model(namespace, "early"))
    async with watching(settings) as (store, _):
        await eventually(lambda: names(store, namespace) == ["early"])
        late = await kube.create(a_model(namespace, "late"))
        await eventually(lambda: names(store, namespace) == ["early", "late"])
        await kube.patch(late, {"spec": {"description": "changed"}})
        await eventually(lambda: store.objects(LLM_MODEL)[1]["spec"].get("description") == "changed")
        await kube.delete(late)
        await eventually(lambda: names(store, namespace) == ["early"])


async def test_only_labelled_secrets_are_seen(settings: Settings, kube: Kube, namespace: str) -> None:
    """The watch itself asks for the label, so others' Secrets never enter the process."""
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"token": "x"}}
    async with watching(settings) as (store, _):
        await kube.create({**secret, "metadata": {"namespace": namespace, "name": "theirs"}})
        labels = {"modelway.dev/secret": "client"}
        await kube.create({**secret, "metadata": {"namespace": namespace, "name": "ours", "labels": labels}})
        await eventually(lambda: names(store, namespace, SECRET))

        assert ["ours"] == names(store, namespace, SECRET)


async def test_p5_the_watch_writes_nothing(settings: Settings, kube: Kube, namespace: str) -> None:
    """No annotation, no finalizer, no Event: an object that is watched stays byte for byte what it was."""
    created = await kube.create(a_model(namespace))
    async with watching(settings) as (store, watch):
        await eventually(lambda: names(store, namespace))
        changed = await kube.patch(created, {"spec": {"description": "changed"}})
        await eventually(lambda: "description" in store.objects(LLM_MODEL)[0]["spec"])
        watch.restart()
        await eventually(lambda: watch.restarts == 1)
        other = await kube.create(a_model(namespace, "other"))
        await eventually(lambda: len(names(store, namespace)) == 2)

        assert changed == await kube.get(created)
        assert other == await kube.get(other)
    events = await kube.call("GET", f"/api/v1/namespaces/{namespace}/events")
    assert [] == events["items"]


async def test_f06_a_watch_that_ended_is_started_again(settings: Settings, kube: Kube, namespace: str) -> None:
    """Kopf ends at a broken stream; two seconds later it watches again."""
    told = []
    store = Store(namespaces=settings.watch_namespaces)
    watch = Watch(settings, store, on_restart=lambda: told.append("restart"))
    watch.start()
    try:
        await kube.create(a_model(namespace, "first"))
        await eventually(lambda: names(store, namespace) == ["first"])
        watch.restart()
        await eventually(lambda: told, within_seconds=5.0)
        await kube.create(a_model(namespace, "second"))
        await eventually(lambda: names(store, namespace) == ["first", "second"])
    finally:
        await watch.stop()


async def test_deletion_in_a_gap_of_the_watch_is_found_by_the_list(
    settings: Settings, cluster: Cluster, kube: Kube, namespace: str
) -> None:
    """Kopf says nothing of what was deleted while it was away; the LIST does."""
    model = await kube.create(a_model(namespace))
    async with watching(settings) as (store, _):
        await eventually(lambda: names(store, namespace))
    await kube.delete(model)
    first = await gather_lists(store, cluster)

    assert [] == names(store, namespace)
    assert (True, frozenset()) == (first.whole, first.absent)


@pytest.mark.parametrize("clusterwide", [False, True])
async def test_watch_works_with_the_verbs_of_the_chart(
    apiserver: ApiServer, settings: Settings, kube: Kube, namespace: str, clusterwide: bool
) -> None:
    """Namespaced Roles or one ClusterRole; nothing else is needed, not even to see namespaces."""
    subjects = [{"kind": "User", "name": OPERATOR_USER, "apiGroup": "rbac.authorization.k8s.io"}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "name": namespace}
    base = "/apis/rbac.authorization.k8s.io/v1"
    if not clusterwide:
        base += f"/namespaces/{namespace}"
    kind = "ClusterRole" if clusterwide else "Role"
    plural = kind.lower()
    await kube.call("POST", f"{base}/{plural}s", {"metadata": {"name": namespace}, "rules": WATCHED_RULES})
    binding = {"metadata": {"name": namespace}, "subjects": subjects, "roleRef": {**role, "kind": kind}}
    await kube.call("POST", f"{base}/{plural}bindings", binding)
    kubeconfig = apiserver.kubeconfig(OPERATOR_TOKEN)
    namespaces = () if clusterwide else (namespace,)
    restricted = dataclasses.replace(settings, kubeconfig=kubeconfig, watch_namespaces=namespaces)
    try:
        async with watching(restricted) as (store, _):
            await kube.create(a_model(namespace))
            service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}
            await kube.create({**service, "metadata": {"namespace": namespace, "name": "llm"}})
            await eventually(lambda: names(store, namespace) and names(store, namespace, SERVICE))
    finally:
        await kube.call("DELETE", f"{base}/{plural}bindings/{namespace}")
