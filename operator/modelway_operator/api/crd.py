"""The CustomResourceDefinitions, made from the types.

The rule to know: a CRD holds no fact of its own but how `kubectl get` shows an object. Fields, bounds, rules and
descriptions all come from the types, and a keyword that the API server would ignore or refuse is an error here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelway_contract import names as contract
from modelway_operator.api.base import ApiObject
from modelway_operator.api.conditions import PENDING_CONDITIONS
from modelway_operator.api.llmmodel import LLMModel
from modelway_operator.api.routingpolicy import RoutingPolicy

# In the order in which they are written.
_KEPT = (
    "description", "type", "format", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
    "required", "properties", "items", "additionalProperties",
)  # fmt: skip
_DROPPED = frozenset({"title", "default", "$defs"})  # defaults are the operator's, see resources.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`; a wide one shows with `-o wide` only."""

    name: str
    path: str
    wide: bool = False
    type: str = "string"

    def as_manifest(self) -> dict[str, Any]:
        """The column as the CRD spells it."""
        priority = {"priority": 1} if self.wide else {}
        return {"name": self.name, "type": self.type, "jsonPath": self.path, **priority}


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_READY = Column(name="Ready", path=_condition("Ready", "status"))
_REASON = Column(name="Reason", path=_condition("Ready", "reason"))
_AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind with its names and columns."""

    type: type[ApiObject]
    plural: str
    short_name: str
    columns: tuple[Column, ...]

    @property
    def kind(self) -> str:
        """The kind, as manifests spell it."""
        return self.type.__name__


RESOURCES = (
    Resource(
        type=LLMModel,
        plural="llmmodels",
        short_name="llmm",
        columns=(
            Column(name="Model", path=".status.summary.model"),
            _READY,
            _REASON,
            Column(name="Backends", path=".status.summary.backends"),
            _AGE,
            Column(name="Regions", path=".status.summary.regions", wide=True),
            Column(name="Used-By", path=".status.referencedBy.count", type="integer", wide=True),
        ),
    ),
    Resource(
        type=RoutingPolicy,
        plural="routingpolicies",
        short_name="rpol",
        columns=(
            _READY,
            _REASON,
            Column(name="Weights", path=".status.weights"),
            Column(name="Rollout", path=".status.summary.rollout"),
            Column(name="Gateways", path=".status.summary.gateways"),
            _AGE,
            Column(name="Revision", path=".status.revision", wide=True),
        ),
    ),
)


def definition(resource: Resource) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{contract.GROUP}"},
        "spec": {
            "group": contract.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short_name],
                "categories": ["llm"],
            },
            "versions": [
                {
                    "name": contract.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.as_manifest() for column in resource.columns],
                    "schema": {"openAPIV3Schema": structural_schema(resource.type)},
                }
            ],
        },
    }


def structural_schema(kind: type[ApiObject]) -> dict[str, Any]:
    """The schema of a whole object, as the API server wants it: nothing shared, nothing that is not checked."""
    raw = kind.model_json_schema(by_alias=True)
    schema = _structural(raw, raw["$defs"])
    properties = schema["properties"]
    for key in ("apiVersion", "kind"):
        properties[key] = {"type": "string"}
    properties["metadata"] = {"type": "object"}  # the API server has its own schema for it
    properties["status"]["default"] = {"conditions": [_pending(condition) for condition in PENDING_CONDITIONS]}
    return schema


def _pending(condition: ApiObject) -> dict[str, Any]:
    manifest = condition.as_manifest()
    del manifest["observedGeneration"]  # nothing was observed yet
    return manifest


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    flat = _without_references(schema, definitions)
    if "const" in flat:
        flat["enum"] = [flat.pop("const")]
    if flat.get("additionalProperties") in (False, True):
        del flat["additionalProperties"]  # closed is what a structural schema is; unknown fields are pruned or refused
    unknown = flat.keys() - set(_KEPT) - _DROPPED
    if unknown:
        raise ValueError(f"keywords that a structural schema cannot hold: {sorted(unknown)}")
    result = {key: flat[key] for key in _KEPT if key in flat}
    if result["type"] == "integer":
        result["format"] = "int64"
    if result["type"] == "array":
        result.setdefault("x-kubernetes-list-type", "atomic")
        result["items"] = _structural(result["items"], definitions)
    if "additionalProperties" in result:
        result["additionalProperties"] = _structural(result["additionalProperties"], definitions)
    if "properties" in result:
        result["properties"] = {name: _structural(inner, definitions) for name, inner in result["properties"].items()}
    return result


def _without_references(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a reference or an optional field points at in its place; what stands beside it wins."""
    flat = dict(schema)
    if "anyOf" in flat:
        (inner,) = (choice for choice in flat.pop("anyOf") if choice != {"type": "null"})
        flat = {**_without_references(inner, definitions), **flat}
    if "$ref" in flat:
        inner = definitions[flat.pop("$ref").removeprefix("#/$defs/")]
        flat = {**_without_references(inner, definitions), **flat}
    return flat
