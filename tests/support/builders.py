"""Builders: a valid object with one override, as plain data that an API server would return.

Keyword arguments replace fields of the spec, in the manifest's own spelling (`a_model("m", trafficState="Draining")`);
what belongs to the metadata is named apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from modelway_contract.names import API_VERSION
from modelway_operator.core.snapshot import ConfigMap, ObjectKey, Secret

Raw = dict[str, Any]

NAMESPACE = "team"
CREATED = "2026-01-01T00:00:00Z"


def a_model(
    name: str = "llama",
    *,
    namespace: str = NAMESPACE,
    uid: str | None = None,
    generation: int = 1,
    created: str = CREATED,
    metadata: Mapping[str, Any] | None = None,
    status: Raw | None = None,
    **spec: Any,
) -> Raw:
    """An LLMModel with one backend behind a URL."""
    fields: Raw = {"backends": [a_backend(url=f"https://{name}.example.com/v1")]}
    return _an_object("LLMModel", name, namespace, uid, generation, created, metadata, status, {**fields, **spec})


def a_backend(name: str = "main", **fields: Any) -> Raw:
    """A backend behind a URL, or behind what is given."""
    place = {} if "serviceRef" in fields else {"url": "https://llm.example.com/v1"}
    return {"name": name, **place, **fields}


def a_policy(
    name: str = "chat",
    *,
    namespace: str = NAMESPACE,
    uid: str | None = None,
    generation: int = 1,
    created: str = CREATED,
    metadata: Mapping[str, Any] | None = None,
    status: Raw | None = None,
    **spec: Any,
) -> Raw:
    """A RoutingPolicy for the name `chat` with one catch-all rule that leads to the model `llama`."""
    fields: Raw = {"models": ["chat"], "rules": [a_rule()]}
    return _an_object("RoutingPolicy", name, namespace, uid, generation, created, metadata, status, {**fields, **spec})


def a_rule(name: str = "all", *models: str, **fields: Any) -> Raw:
    """A rule with one target for each model, called like the model; without models, one that leads to `llama`."""
    return {"name": name, "targets": [a_target(model, model=model) for model in models or ("llama",)], **fields}


def a_target(name: str = "main", *, model: str = "llama", namespace: str | None = None, **fields: Any) -> Raw:
    """A target that points at one model."""
    return {
        "name": name,
        "modelRef": {"name": model, **({"namespace": namespace} if namespace else {})},
        **fields,
    }


def a_rollout(name: str = "move", *, rule: str = "all", target: str = "main", **fields: Any) -> Raw:
    """A canary with two steps and an error guardrail; keywords replace fields of `strategy`."""
    return {
        "name": name,
        "rule": rule,
        "target": target,
        "strategy": {
            "steps": [{"weight": 10}, {"weight": 50}],
            "interval": "60s",
            "minIntervals": 1,
            "bake": {"intervals": 2},
            **fields,
        },
        "analysis": {
            "metrics": [
                {
                    "name": "errors",
                    "type": "Ratio",
                    "role": "Guardrail",
                    "ratio": {"bad": ["upstream_error", "timeout"]},
                    "relative": {"maxRatio": "3"},
                }
            ]
        },
    }


def a_header_condition(name: str = "x-use-case", exact: str = "contracts") -> Raw:
    """A `when` that one header fulfils."""
    return {"all": [{"header": {"name": name, "exact": exact}}]}


def a_secret(
    name: str,
    data: Mapping[str, bytes],
    *,
    namespace: str = NAMESPACE,
    use: str = "credentials",
    version: str = "1",
    created: str = CREATED,
    annotations: Mapping[str, str] | None = None,
) -> tuple[ObjectKey, Secret]:
    """A labelled Secret, with the key that a snapshot keeps it under."""
    secret = Secret(
        uid=f"uid-secret-{namespace}-{name}",
        resource_version=version,
        use=use,
        data=dict(data),
        annotations=annotations or {},
        creation_timestamp=created,
    )
    return ObjectKey(namespace, name), secret


def a_client(name: str, key: str, **fields: Any) -> tuple[ObjectKey, Secret]:
    """A client's Secret."""
    return a_secret(name, {"api-key": key.encode()}, use="client", **fields)


def a_config_map(name: str, data: Mapping[str, str], *, namespace: str = NAMESPACE) -> tuple[ObjectKey, ConfigMap]:
    """A ConfigMap, with the key that a snapshot keeps it under."""
    return ObjectKey(namespace, name), ConfigMap(uid=f"uid-cm-{namespace}-{name}", resource_version="1", data=data)


def some_models(names: Sequence[str], **spec: Any) -> tuple[Raw, ...]:
    """One model for each name."""
    return tuple(a_model(name, **spec) for name in names)


def _an_object(
    kind: str,
    name: str,
    namespace: str,
    uid: str | None,
    generation: int,
    created: str,
    metadata: Mapping[str, Any] | None,
    status: Raw | None,
    spec: Raw,
) -> Raw:
    raw: Raw = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid if uid is not None else f"uid-{kind.lower()}-{namespace}-{name}",
            "generation": generation,
            "resourceVersion": "1",
            "creationTimestamp": created,
            **(metadata or {}),
        },
        "spec": spec,
    }
    return raw if status is None else {**raw, "status": status}
