"""Manifests as a cluster would hold them, read into a world; and a push as a document to compare."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from modelway_contract.config import Push
from modelway_operator.core.snapshot import Address, ConfigMap, ObjectKey, Secret, Service, ServicePort

from tests.support.certificates import CA_PEM
from tests.support.turns import World

CASES = Path(__file__).parent / "cases"


def cases() -> list[str]:
    """The names of all cases."""
    return sorted(path.stem for path in CASES.glob("*.yaml"))


def golden(case: str) -> Path:
    """Where the expected document of a case is."""
    return CASES / f"{case}.json"


def world_of(case: str) -> World:
    """The world of a case's manifests."""
    world = World()
    for raw in _documents(case):
        meta = raw["metadata"]
        key = ObjectKey(meta["namespace"], meta["name"])
        meta |= {"uid": f"uid-{raw['kind']}-{key.namespace}-{key.name}", "generation": 1, "resourceVersion": "1"}
        match raw["kind"]:
            case "LLMModel":
                world.models.append(raw)
            case "RoutingPolicy":
                world.policies.append(raw)
            case "Service":
                world.services[key] = Service(ports=tuple(port["port"] for port in raw["spec"]["ports"]))
            case "EndpointSlice":
                _add_endpoints(world, key.namespace, raw)
            case "ConfigMap":
                data = {name: CA_PEM if text == "CA" else text for name, text in raw["data"].items()}
                world.config_maps[key] = ConfigMap(uid=meta["uid"], resource_version="1", data=data)
            case "Secret":
                world.secrets[key] = Secret(
                    uid=meta["uid"],
                    resource_version="1",
                    use=meta["labels"]["modelway.dev/secret"],
                    data={name: text.encode() for name, text in raw["stringData"].items()},
                    annotations=meta.get("annotations", {}),
                )
    return world


def document(push: Push) -> str:
    """A push as text: readable, the same for the same push, and without a key."""
    assert push.base is not None
    assert push.credentials is not None
    parts = {
        "base": msgspec.to_builtins(push.base, order="sorted"),
        "live": msgspec.to_builtins(push.live.state, order="sorted"),
        "sources": list(push.credentials.sources),
        "clients": msgspec.to_builtins(push.credentials.clients, order="sorted"),
    }
    return msgspec.json.format(msgspec.json.encode(parts), indent=2).decode() + "\n"


def _documents(case: str) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all((CASES / f"{case}.yaml").read_text())


def _add_endpoints(world: World, namespace: str, raw: dict[str, Any]) -> None:
    service = raw["metadata"]["labels"]["kubernetes.io/service-name"]
    (port,) = raw["ports"]
    for number in world.services[ObjectKey(namespace, service)].ports:
        world.endpoints[ServicePort(namespace, service, number)] = tuple(
            Address(address, port["port"]) for endpoint in raw["endpoints"] for address in endpoint["addresses"]
        )
