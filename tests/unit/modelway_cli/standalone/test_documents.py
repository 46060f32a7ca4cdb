"""Manifests as text: what is taken from them, and how each mistake is said."""

import base64
from typing import Any

import pytest
import yaml

from modelway_cli.standalone.documents import Parsed, parse_file
from modelway_operator.kinds import CONFIG_MAP, LLM_MODEL, ROUTING_POLICY, SECRET

from tests.cluster.manifests import Case, cases

MODEL = """
apiVersion: modelway.dev/v1alpha1
kind: LLMModel
metadata: {name: m}
spec: {backends: [{name: b, url: "http://127.0.0.1:9/v1"}]}
"""


def parse(text: str) -> Parsed:
    return parse_file(text, file="f.yaml")


def said(text: str) -> list[str]:
    return [str(problem) for problem in parse(text).problems]


def an_object(**fields: Any) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, **fields})


def test_a_file_may_hold_several_documents() -> None:
    """In their order, empty ones left out; without a namespace an object is in `default`."""
    parsed = parse(f"---\n{MODEL}---\n---\n{MODEL.replace('name: m', 'name: n, namespace: team-a')}")

    assert () == parsed.problems
    assert [(LLM_MODEL, "default", "m"), (LLM_MODEL, "team-a", "n")] == [one.key for one in parsed.documents]


def test_the_items_of_a_list_are_documents() -> None:
    """What `kubectl get -o yaml` printed can be served as it is."""
    listed = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(MODEL)]})

    assert ["LLMModel default/m"] == [str(one) for one in parse(listed).documents]


def test_what_the_api_server_writes_is_not_taken_from_a_manifest() -> None:
    """Status, uid, versions and the annotation of kubectl are not the author's to say."""
    raw = yaml.safe_load(MODEL)
    raw["status"] = {"revision": "x"}
    raw["metadata"] |= {
        "uid": "u",
        "resourceVersion": "7",
        "generation": 9,
        "labels": {"tier": "gold"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "n"},
    }
    (document,) = parse(yaml.safe_dump(raw)).documents

    wanted = {"name": "m", "namespace": "default", "labels": {"tier": "gold"}, "annotations": {"note": "n"}}
    assert wanted == document.raw["metadata"]
    assert "status" not in document.raw


def test_kinds_of_others_are_counted_and_left_alone() -> None:
    """A folder may hold the Deployments and Services that go with the models."""
    parsed = parse("apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: Service\n---\n" + MODEL)

    assert ({"Service": 2}, ()) == (dict(parsed.ignored), parsed.problems)
    assert 1 == len(parsed.documents)


def test_a_secret_is_kept_as_the_api_server_keeps_it() -> None:
    """`stringData` wins over `data`, and both end as base64."""
    (secret,) = parse(an_object(data={"a": "QQ==", "b": "QQ=="}, stringData={"b": "ü"})).documents

    assert (SECRET, {"a": "QQ==", "b": base64.b64encode("ü".encode()).decode()}) == (secret.kind, secret.raw["data"])


def test_a_config_map_is_kept_as_it_is() -> None:
    """Its data is text."""
    (config_map,) = parse(an_object(kind="ConfigMap", data={"ca.crt": "PEM"})).documents

    assert (CONFIG_MAP, {"ca.crt": "PEM"}) == (config_map.kind, config_map.raw["data"])


def test_a_date_is_text() -> None:
    """As in the API server, where an unquoted api-version is a string."""
    (model,) = parse(MODEL.replace('"}]}', '", query: {api-version: 2024-10-21}}]}')).documents

    assert {"api-version": "2024-10-21"} == model.raw["spec"]["backends"][0]["query"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [b\nc: d", "f.yaml: line 2: not YAML: "),
        ("a: 1\nb:\n\t- 2\n", "f.yaml: line 3: not YAML: "),
        ("a: 1\na: 2\n", "f.yaml: line 2: not YAML: a key stands here twice"),
        ("1: x\n", "f.yaml: line 1: not YAML: a key is not text: put it in quotes"),
        ("a: \x00", "f.yaml: not YAML"),
        ("[" * 3000 + "]" * 3000, "f.yaml: line 1: not YAML"),
        ("- a\n", "f.yaml: a document is not an object"),
        ("kind: LLMModel\n", "f.yaml: a document has no apiVersion or kind"),
        ("apiVersion: modelway.dev/v2\nkind: LLMModel\n", "f.yaml: there is no LLMModel in modelway.dev/v2"),
        (MODEL.replace("kind: LLMModel", "kind: LLMmodel"), "f.yaml: there is no LLMmodel in modelway.dev/v1alpha1"),
        (MODEL.replace("metadata: {name: m}", "metadata: m"), "f.yaml: LLMModel: metadata is missing"),
        (MODEL.replace("name: m", "name: ../m"), "f.yaml: LLMModel: metadata.name must be"),
        (MODEL.replace("name: m", "name: m, namespace: a.b"), "f.yaml: LLMModel m: metadata.namespace must be"),
        (MODEL.replace("name: m", "name: m, labels: {a: 1}"), "f.yaml: LLMModel default/m: metadata.labels must map"),
        (an_object(data={"k": "%%"}), "f.yaml: Secret default/s: data.k is not base64"),
        (an_object(stringData={"k": 1}), "f.yaml: Secret default/s: stringData must map text to text"),
        (MODEL.replace("{backends:", "{description: .nan, backends:"), "f.yaml: LLMModel default/m: holds a value"),
    ],
)
def test_a_mistake_is_a_sentence_with_the_files_name(text: str, says: str) -> None:
    """And nothing else: no exception, and no object made of half of what was said."""
    parsed = parse(text)

    assert () == parsed.documents
    (problem,) = said(text)
    assert problem.startswith(says)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in cases()])
def test_a_spec_that_the_types_refuse_is_said_in_their_words(case: Case) -> None:
    """The object is still there, so that its status can say so too and what served before goes on."""
    parsed = parse(yaml.safe_dump(case.manifest(case.bad)))

    (document,) = parsed.documents
    assert document.kind in (LLM_MODEL, ROUTING_POLICY)
    assert [f"f.yaml: {document}: {case.types}"] == [str(problem) for problem in parsed.problems]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {api-key: [hunter2]}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {api-key: hunter2\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {api-key: hunter2}\n",
        'api-key: "hunter2\n',
        "hunter2: 1\nhunter2: 2\n",
    ],
)
def test_no_mistake_repeats_what_may_be_a_secret(text: str) -> None:
    """A message goes to a terminal and into logs."""
    (problem,) = said(text)

    assert "hunter2" not in problem
