"""What every generated CRD must have, whatever fields there are."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelway_operator.api import crd

from tests.cluster.manifests import cases

ROOT = Path(__file__).resolve().parents[4]
SCHEMAS = {resource.kind: crd.structural_schema(resource.type) for resource in crd.RESOURCES}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


NODES = [
    (f"{kind}{path}", node)
    for kind, schema in SCHEMAS.items()
    for path, node in nodes(schema)
    if path.startswith((".spec", ".status"))
]


def is_bounded(node: dict[str, Any]) -> bool:
    match node["type"]:
        case "string":
            return "maxLength" in node or "enum" in node
        case "array":
            return "maxItems" in node
        case "object":
            return "maxProperties" in node if "additionalProperties" in node else "properties" in node
        case _:
            return True


def test_everything_is_bounded() -> None:
    """No string, list or map may grow without end: etcd and CEL both count."""
    assert [path for path, node in NODES if not is_bounded(node)] == []


def test_every_field_explains_itself() -> None:
    """`kubectl explain` has a sentence for each field."""
    fields = [(path, node.get("description", "")) for path, node in NODES if not path.endswith(("[]", "{}"))]

    assert [path for path, description in fields if not description.endswith(".")] == []


def test_every_rule_has_a_bad_manifest() -> None:
    """No CEL rule is in a CRD that the table of bad manifests does not try on a real API server."""
    rules = {(path, rule["message"]) for path, node in NODES for rule in node.get("x-kubernetes-validations", ())}
    tried = " ".join(case.server for case in cases())

    assert sorted((path, message) for path, message in rules if message not in tried) == []


def test_only_the_status_has_a_default() -> None:
    """A default in a spec would be drift to every GitOps tool; a status that nobody judged must not look current."""
    assert [path for path, node in NODES if "default" in node] == ["LLMModel.status", "RoutingPolicy.status"]


def test_every_list_says_how_it_merges() -> None:
    """Server-side apply needs to know it, and so does whoever patches."""
    lists = [(path, node.get("x-kubernetes-list-type")) for path, node in NODES if node["type"] == "array"]

    assert [path for path, how in lists if how not in ("map", "set", "atomic")] == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_new_object_is_unknown_and_pending(kind: str) -> None:
    """Before the operator has seen an object, kstatus must not read it as current."""
    conditions = SCHEMAS[kind]["properties"]["status"]["default"]["conditions"]

    assert [(c["type"], c["status"], c["reason"]) for c in conditions] == [
        ("Accepted", "Unknown", "Pending"),
        ("ResolvedRefs", "Unknown", "Pending"),
        ("Programmed", "Unknown", "Pending"),
        ("Ready", "Unknown", "Pending"),
    ]


def test_plain_kubectl_apply_can_carry_them() -> None:
    """Client-side apply copies the object into an annotation, and all annotations together hold 256 KiB."""
    sizes = [len(json.dumps(crd.definition(resource))) for resource in crd.RESOURCES]

    assert max(sizes) < 200 * 1024


def test_keyword_that_a_crd_cannot_hold_is_an_error() -> None:
    """Something that the API server would drop silently never gets into a CRD."""
    with pytest.raises(ValueError, match="uniqueItems"):
        crd._structural({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, {})


def test_generated_files_are_up_to_date() -> None:
    """CRDs, the chart's copy and the reference are what the types say."""
    run = subprocess.run(
        [sys.executable, ROOT / "tools/generate_crds.py", "--check"], capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_chart_holds_the_same_crds() -> None:
    """Only the guard and the annotation that keeps them differ."""
    text = (ROOT / "charts/modelway/templates/crds.yaml").read_text()
    guard, *documents = text.removesuffix("{{- end }}\n").split("---\n")
    in_chart = [yaml.safe_load(document) for document in documents]
    annotations = [document["metadata"].pop("annotations") for document in in_chart]

    assert guard.endswith("{{- if .Values.crds.install }}\n")
    assert "{{" not in "".join(documents)
    assert annotations == [{"helm.sh/resource-policy": "keep"}] * 2
    assert [crd.definition(resource) for resource in crd.RESOURCES] == in_chart
