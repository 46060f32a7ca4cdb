"""The API server's side of `clients/cluster.py`."""

from typing import Any

import pytest

from modelway_operator.clients.cluster import Cluster
from modelway_operator.errors import ClusterError, ConflictError, NotFoundError
from modelway_operator.kinds import CONFIG_MAP, LLM_MODEL, SECRET, Kind

from tests.support.apiserver import Kube


def a_model(namespace: str, name: str = "llama", **spec: Any) -> dict[str, Any]:
    backend = {"name": "main", "url": "https://llm.example.com/v1"}
    return {
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": "LLMModel",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"backends": [backend], **spec},
    }


def a_condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": "Because",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


async def write(cluster: Cluster, model: dict[str, Any], *conditions: dict[str, Any]) -> dict[str, Any]:
    metadata = model["metadata"]
    return await cluster.apply_status(
        LLM_MODEL,
        namespace=metadata["namespace"],
        name=metadata["name"],
        resource_version=metadata["resourceVersion"],
        status={"observedGeneration": 1, "conditions": list(conditions)},
    )


def conditions_of(model: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in model["status"]["conditions"]}


async def test_list_shows_everything_in_pieces(
    cluster: Cluster, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A LIST follows its continue tokens to the end."""
    monkeypatch.setattr("modelway_operator.clients.cluster.LIST_CHUNK", 2)
    for number in range(5):
        await kube.create(a_model(namespace, f"model-{number}"))

    found = await cluster.list_objects(LLM_MODEL, namespace)

    assert [f"model-{number}" for number in range(5)] == [one["metadata"]["name"] for one in found]
    assert {"LLMModel"} == {one["kind"] for one in found}


async def test_f16_list_of_a_missing_kind_is_an_error_not_an_empty_list(cluster: Cluster, namespace: str) -> None:
    """404 of a LIST says that the kind is gone, and nothing of its objects."""
    gone = Kind(group="modelway.dev", version="v1alpha1", plural="nosuchthings", name="NoSuchThing")

    with pytest.raises(NotFoundError):
        await cluster.list_objects(gone, namespace)


async def test_secrets_without_our_label_are_not_listed(cluster: Cluster, kube: Kube, namespace: str) -> None:
    """A policy's author must not be able to name any Secret of the namespace."""
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"token": "x"}}
    labelled = {"namespace": namespace, "name": "ours", "labels": {"modelway.dev/secret": "credentials"}}
    await kube.create({**secret, "metadata": labelled})
    await kube.create({**secret, "metadata": {"namespace": namespace, "name": "theirs"}})

    found = await cluster.list_objects(SECRET, namespace)

    assert ["ours"] == [one["metadata"]["name"] for one in found]


async def test_missing_object_is_none(cluster: Cluster, namespace: str) -> None:
    """To read what is not there is no error."""
    assert await cluster.get_object(CONFIG_MAP, namespace, "nothing") is None


async def test_f14_conditions_of_others_are_never_touched(cluster: Cluster, kube: Kube, namespace: str) -> None:
    """Others' conditions stay when ours come, change and go."""
    model = await kube.create(a_model(namespace))
    theirs = {**model["status"], "conditions": [*model["status"]["conditions"], a_condition("example.com/Audited")]}
    model = await kube.patch(model, {"status": theirs}, status=True)
    model = await write(cluster, model, a_condition("Accepted"), a_condition("Stalled"))
    model = await write(cluster, model, a_condition("Accepted", "False"))

    found = conditions_of(model)

    assert ("True", "False") == (found["example.com/Audited"], found["Accepted"])
    assert "Stalled" not in found


async def test_f14_status_judged_from_an_older_version_is_void(cluster: Cluster, kube: Kube, namespace: str) -> None:
    """What was judged may not be what is there now."""
    model = await kube.create(a_model(namespace))
    await kube.patch(model, {"spec": {"description": "changed meanwhile"}})

    with pytest.raises(ConflictError):
        await write(cluster, model, a_condition("Accepted"))


async def test_status_of_a_recreated_object_is_void(cluster: Cluster, kube: Kube, namespace: str) -> None:
    """An object of the same name is another object."""
    model = await kube.create(a_model(namespace))
    await kube.delete(model)
    await kube.create(a_model(namespace))

    with pytest.raises(ConflictError):
        await write(cluster, model, a_condition("Accepted"))
    with pytest.raises(NotFoundError):
        await write(cluster, {**model, "metadata": {**model["metadata"], "name": "gone"}}, a_condition("Accepted"))


async def test_same_status_again_changes_nothing(cluster: Cluster, kube: Kube, namespace: str) -> None:
    """A status that is written twice is one version of the object."""
    model = await write(cluster, await kube.create(a_model(namespace)), a_condition("Accepted"))
    again = await write(cluster, model, a_condition("Accepted"))

    assert model["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


async def test_b39_status_edited_by_a_user_is_ours_again_with_the_next_write(
    cluster: Cluster, kube: Kube, namespace: str
) -> None:
    """Who edits our status does not keep us from writing it."""
    model = await write(cluster, await kube.create(a_model(namespace)), a_condition("Accepted"))
    edited = [{**one, "status": "False"} for one in model["status"]["conditions"]]
    model = await kube.patch(model, {"status": {"conditions": edited}}, status=True)

    assert "False" == conditions_of(model)["Accepted"]
    assert "True" == conditions_of(await write(cluster, model, a_condition("Accepted")))["Accepted"]


async def test_own_secret_is_created_and_replaced(cluster: Cluster, namespace: str) -> None:
    """Applying twice creates once; a key that is left out is gone."""
    metadata = {"namespace": namespace, "name": "own"}
    await cluster.apply_object(SECRET, {"metadata": metadata, "data": {"a": "MQ==", "b": "MQ=="}})
    await cluster.apply_object(SECRET, {"metadata": metadata, "data": {"a": "Mg=="}})

    found = await cluster.get_object(SECRET, namespace, "own")

    assert found is not None
    assert {"a": "Mg=="} == found["data"]


async def test_p25_refused_secret_is_not_quoted(cluster: Cluster, namespace: str) -> None:
    """An error of the API server may repeat what it refuses; ours does not."""
    body = {"metadata": {"namespace": namespace, "name": "own"}, "data": {"a": {"nested": "canary"}}}

    with pytest.raises(ClusterError) as caught:
        await cluster.apply_object(SECRET, body)

    assert "canary" not in str(caught.value)
