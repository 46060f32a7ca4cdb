"""Raw objects in the words of `core`."""

import base64
from typing import Any

import pytest

from modelway_contract.config import Ack, Rejection
from modelway_operator.clients.gateways import Endpoint, Report
from modelway_operator.core.snapshot import Address, ObjectKey, ServicePort
from modelway_operator.gather import LIVE_SECONDS, Gatherer
from modelway_operator.kinds import ENDPOINT_SLICE, LLM_MODEL, SECRET, SERVICE, Kind
from modelway_operator.settings import load_settings
from modelway_operator.store import Store

SETTINGS = load_settings(["--namespace", "modelway", "--metrics-source", "none"], {})


@pytest.fixture
def store() -> Store:
    """Empty."""
    return Store()


@pytest.fixture
def gatherer(store: Store) -> Gatherer:
    """Of that store."""
    return Gatherer(store, SETTINGS)


def put(store: Store, kind: Kind, name: str, *, namespace: str = "team", version: int = 1, **content: Any) -> None:
    metadata = {"namespace": namespace, "name": name, "uid": f"{kind.name}-{name}", "resourceVersion": str(version)}
    store.put(kind, {"metadata": metadata | content.pop("metadata", {}), **content})


def put_slice(
    store: Store,
    service: str,
    *endpoints: dict[str, Any],
    port: int = 8000,
    port_name: str = "",
    family: str = "IPv4",
    name: str = "",
    namespace: str = "team",
) -> None:
    labels = {"kubernetes.io/service-name": service}
    ports = [{"name": port_name, "port": port}]
    put(
        store, ENDPOINT_SLICE, name or f"{service}-{family}", namespace=namespace, metadata={"labels": labels},
        addressType=family, ports=ports, endpoints=list(endpoints),
    )  # fmt: skip


def an_endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def test_port_of_a_service_leads_to_the_ports_of_its_pods(store: Store, gatherer: Gatherer) -> None:
    """By the port's name: numbers differ between the Service and its pods."""
    ports = [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]
    put(store, SERVICE, "llm", spec={"ports": ports})
    put_slice(store, "llm", an_endpoint("10.0.0.2", ready=True), an_endpoint("10.0.0.1"), port_name="http")
    snapshot = gatherer.snapshot(now=0.0)

    assert (Address("10.0.0.1", 8000), Address("10.0.0.2", 8000)) == snapshot.endpoints[ServicePort("team", "llm", 80)]
    assert () == snapshot.endpoints[ServicePort("team", "llm", 81)]
    assert (80, 81) == snapshot.services[ObjectKey("team", "llm")].ports


def test_only_ready_endpoints_of_a_backend_count(store: Store, gatherer: Gatherer) -> None:
    """What the Service would not send to, we do not send to."""
    put(store, SERVICE, "llm", spec={"ports": [{"port": 80}]})
    put_slice(store, "llm", an_endpoint("10.0.0.1", ready=False, serving=True), an_endpoint("10.0.0.2", ready=True))

    assert (Address("10.0.0.2", 8000),) == gatherer.snapshot(now=0.0).endpoints[ServicePort("team", "llm", 80)]


def test_pod_with_two_addresses_is_one_place(store: Store, gatherer: Gatherer) -> None:
    """Of the two families the Service's first one is taken."""
    put(store, SERVICE, "llm", spec={"ports": [{"port": 80}], "ipFamilies": ["IPv6", "IPv4"]})
    put_slice(store, "llm", an_endpoint("10.0.0.1"))
    put_slice(store, "llm", an_endpoint("fd00::1"), family="IPv6")

    assert (Address("fd00::1", 8000),) == gatherer.snapshot(now=0.0).endpoints[ServicePort("team", "llm", 80)]


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({"ready": True, "serving": False, "terminating": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "serving": True, "terminating": True}, False),
        ({"ready": True}, True),
        ({"ready": False}, False),
        ({}, True),
    ],
)
def test_gateway_is_ready_when_its_pod_is(
    store: Store, gatherer: Gatherer, conditions: dict[str, bool], ready: bool
) -> None:
    """All pods behind the admin Service are spoken to; the Service calls each ready, so that is not asked."""
    endpoint = an_endpoint("10.0.0.1", **conditions) | {"targetRef": {"kind": "Pod", "name": "gateway-abc"}}
    put_slice(store, SETTINGS.admin_service, endpoint, port=8443, port_name="admin", namespace="modelway")

    assert {Endpoint(pod="gateway-abc", address="10.0.0.1", port=8443): ready} == gatherer.gateways()


def test_service_of_the_same_name_elsewhere_is_not_ours(store: Store, gatherer: Gatherer) -> None:
    """A tenant's Service does not get the config, and with it everybody's keys."""
    put_slice(store, SETTINGS.admin_service, an_endpoint("10.6.6.6"), port_name="admin", namespace="tenant")

    assert {} == gatherer.gateways()


def test_secret_is_decoded_and_not_shown(store: Store, gatherer: Gatherer) -> None:
    """Bytes for `core`, nothing for a log."""
    labels = {"modelway.dev/secret": "credentials"}
    data = {"token": base64.b64encode(b"canary").decode()}
    put(store, SECRET, "key", metadata={"labels": labels}, data=data)
    secret = gatherer.snapshot(now=0.0).secrets[ObjectKey("team", "key")]

    assert (b"canary", "credentials") == (secret.data["token"], secret.use)
    assert "canary" not in repr(secret)


def test_what_did_not_change_is_not_read_again(store: Store, gatherer: Gatherer) -> None:
    """The same objects are the same tuple, and a change is a new one."""
    put(store, LLM_MODEL, "llama", spec={})
    first = gatherer.snapshot(now=0.0)
    second = gatherer.snapshot(now=2.0)
    put(store, LLM_MODEL, "llama", version=2, spec={"description": "new"})
    third = gatherer.snapshot(now=4.0)

    assert first.models is second.models
    assert "new" == third.models[0]["spec"]["description"]


@pytest.mark.parametrize(("silent_for", "live"), [(0.0, True), (LIVE_SECONDS - 1, True), (LIVE_SECONDS, False)])
def test_replica_that_is_silent_too_long_is_not_waited_for(gatherer: Gatherer, silent_for: float, live: bool) -> None:
    """Dead replicas leave the quorum."""
    endpoint = Endpoint(pod="gateway-0", address="10.0.0.1", port=8443)
    ack = Ack(base="b", credentials="c", live="l", epoch=1, sequence=1)
    (replica,) = gatherer.replicas([Report(endpoint=endpoint, ack=ack, answered_at=100.0)], clock=100.0 + silent_for)

    assert (live, ack, None) == (replica.live, replica.ack, replica.rejected)


def test_p9_refusal_is_one_sentence(gatherer: Gatherer) -> None:
    """Its first reason with its place, and how many there are besides."""
    endpoint = Endpoint(pod="gateway-0", address="10.0.0.1", port=8443)
    refusals = tuple(Rejection(path=f"$.base.models[{n}]", code="x", message="cannot do it") for n in range(3))
    (replica,) = gatherer.replicas([Report(endpoint=endpoint, rejections=refusals)], clock=0.0)

    assert "$.base.models[0]: cannot do it (and 2 more)" == replica.rejected
    assert not replica.live
