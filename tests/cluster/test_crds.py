"""The CRDs on a real API server: it has the last word on every schema, CEL rule and message.

All bad manifests go to it in one call, as a dry run; what it says of each one is compared word by word.
"""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelway_operator.api import crd

from tests.cluster.manifests import ABSENT, Case, base, cases, put
from tests.cluster.reach import Cluster

CRDS = Path(__file__).resolve().parents[2] / "crds"
CASES = list(cases())
DRY_RUN = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
INVALID = 'Error from server (Invalid): error when creating "STDIN": '
STRICT = 'Error from server (BadRequest): error when creating "STDIN": '

# The server adds this where a schema error kept it from evaluating CEL.
NOT_ALL_CHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid;"
    " correct the existing errors to complete validation"
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the server said: problems by kind and name, and refusals that name no object."""

    problems: dict[tuple[str, str], str]
    refusals: list[str]
    created: list[str]


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that has our CRDs, and afterwards has them only if it had them before."""
    names = [f"{resource.plural}.modelway.dev" for resource in crd.RESOURCES]
    before = cluster.kubectl("get", "crd", "-o", "name")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *[f"crd/{name}" for name in names])
    yield cluster
    for name in names:
        if name not in before:
            cluster.kubectl("delete", "crd", name)


@pytest.fixture(scope="module")
def namespace(api: Cluster) -> Iterator[str]:
    """A namespace for objects that are really made."""
    name = f"crds-{uuid.uuid4().hex[:8]}"
    api.kubectl("create", "namespace", name)
    yield name
    api.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def answers(api: Cluster) -> Answers:
    """The server's answers to all bad manifests."""
    return read(api.kubectl(*DRY_RUN, input=documents(case.manifest(case.bad) for case in CASES), check=False))


def documents(manifests: Iterator[dict[str, Any]]) -> str:
    return "\n---\n".join(json.dumps(manifest) for manifest in manifests)


def read(printed: str) -> Answers:
    """Kubectl's output: a line for each object, several problems of one between brackets."""
    problems, refusals, created = {}, [], []
    for line in printed.splitlines():
        head = re.fullmatch(rf'{re.escape(INVALID)}(\w+)[.]modelway[.]dev "(.+?)" is invalid: (.*)', line)
        if head:
            said = head[3].removeprefix("[").removesuffix("]") if head[3].startswith("[") else head[3]
            problems[(head[1], head[2])] = said.removesuffix(f", {NOT_ALL_CHECKED}")
        elif line.startswith(STRICT):
            refusals.append(line.removeprefix(STRICT))
        else:
            created.append(line)
    return Answers(problems, refusals, created)


def test_good_manifests_are_all_taken(api: Cluster) -> None:
    """Each bad manifest's twin, which differs in one field, is taken: the refusals are about that field."""
    printed = api.kubectl(*DRY_RUN, input=documents(case.manifest(case.good) for case in CASES))

    assert len(printed.splitlines()) == len(CASES)


def test_every_case_has_a_test() -> None:
    """A row whose number no test asks for would be tried by nobody."""
    asked = set(re.findall(r'@cases_of\("(\w*)"\)', Path(__file__).read_text()))

    assert {catalogue_id_of(case) for case in CASES} - asked == set()


def test_no_bad_manifest_is_taken(answers: Answers) -> None:
    """Nothing of the table gets through."""
    assert answers.created == []


def cases_of(catalogue_id: str) -> pytest.MarkDecorator:
    """Parametrize with the rows of one entry of the catalogue; the empty one has no number."""
    chosen = [case for case in CASES if catalogue_id_of(case) == catalogue_id]
    assert chosen, f"no case has the id {catalogue_id}"
    return pytest.mark.parametrize("case", chosen, ids=[case.id for case in chosen])


def catalogue_id_of(case: Case) -> str:
    found = re.match(r"b[0-9]{2}(?=_)", case.id)
    return found[0] if found else ""


def check(case: Case, answers: Answers) -> None:
    """The refusal is one problem that names the field and the remedy."""
    if "strict decoding error" in case.server:
        assert case.server in answers.refusals
    else:
        name = case.manifest(case.bad)["metadata"]["name"]
        assert answers.problems.get((case.kind, name)) == case.server


@cases_of("")
def test_bad_manifest_is_refused_in_these_words(answers: Answers, case: Case) -> None:
    """Whatever the catalogue does not number is refused like what it does."""
    check(case, answers)


@cases_of("b01")
def test_b01_weights_are_shares_of_a_sum(answers: Answers, case: Case) -> None:
    """Weights that are all 0, or too large to add up, share out nothing."""
    check(case, answers)


@cases_of("b02")
def test_b02_weight_is_a_whole_number_from_0(answers: Answers, case: Case) -> None:
    """A negative, fractional, huge or quoted weight is not rounded, clamped or parsed."""
    check(case, answers)


@cases_of("b04")
def test_b04_entries_have_names_of_their_own(answers: Answers, case: Case) -> None:
    """Two backends or targets of one name would hide each other."""
    check(case, answers)


@cases_of("b10")
def test_b10_model_without_backends(answers: Answers, case: Case) -> None:
    """A model that nothing serves is refused, not shown as unhealthy."""
    check(case, answers)


@cases_of("b11")
def test_b11_model_with_33_backends(answers: Answers, case: Case) -> None:
    """There are at most 32 backends."""
    check(case, answers)


@cases_of("b12")
def test_b12_object_name_over_63_characters(answers: Answers, case: Case) -> None:
    """Names become labels, and these have at most 63 characters."""
    check(case, answers)


@cases_of("b14")
def test_b14_model_name_that_could_leave_a_label(answers: Answers, case: Case) -> None:
    """Quotes, braces, line ends and backslashes never reach a metric or a query."""
    check(case, answers)


@cases_of("b17")
def test_b17_url_of_another_scheme(answers: Answers, case: Case) -> None:
    """Backends are reached by http and https only."""
    check(case, answers)


@cases_of("b18")
def test_b18_url_with_a_user(answers: Answers, case: Case) -> None:
    """A password in a URL would be shown to everyone who may read the model."""
    check(case, answers)


@cases_of("b22")
def test_b22_url_that_does_not_say_where_it_leads(answers: Answers, case: Case) -> None:
    """Line ends, spaces, fragments, dots, encoded or not, and backslashes are refused."""
    check(case, answers)


@cases_of("b26")
def test_b26_regex_that_backtracking_would_be_slow_at(answers: Answers, case: Case) -> None:
    """RE2 has no trouble with it, so it is taken; its twin, which is no pattern, is not."""
    check(case, answers)


@cases_of("b27")
def test_b27_regex_that_re2_does_not_know(answers: Answers, case: Case) -> None:
    """Lookaround and backreferences would cost time without bound; the API server's own RE2 says where they stand."""
    check(case, answers)


@cases_of("b28")
def test_b28_regex_that_is_too_large(answers: Answers, case: Case) -> None:
    """Repeats of repeats, and patterns of more than 512 characters."""
    check(case, answers)


@cases_of("b29")
def test_b29_header_of_the_connection_or_a_login(answers: Answers, case: Case) -> None:
    """Nobody can set, match or hash Authorization, Host or Content-Length."""
    check(case, answers)


@cases_of("b30")
def test_b30_value_with_a_line_end_or_nul(answers: Answers, case: Case) -> None:
    """A header's value cannot start a header of its own."""
    check(case, answers)


@cases_of("b31")
def test_b31_duration_that_is_none(answers: Answers, case: Case) -> None:
    """Signs, bare numbers, exponents, NaN and 0 are no durations."""
    check(case, answers)


@cases_of("b32")
def test_b32_steps_that_do_not_rise(answers: Answers, case: Case) -> None:
    """A canary's steps rise strictly within 1 to 99."""
    check(case, answers)


@cases_of("b33")
def test_b33_interval_under_a_second(answers: Answers, case: Case) -> None:
    """Metrics are never judged more often than once a second."""
    check(case, answers)


@cases_of("b34")
def test_b34_threshold_that_is_no_number_in_range(answers: Answers, case: Case) -> None:
    """NaN, infinities, negative numbers and floats are refused, each field having its own range."""
    check(case, answers)


@cases_of("b37")
def test_b37_secret_in_another_namespace(answers: Answers, case: Case) -> None:
    """There is no field with which to name another namespace's Secret."""
    check(case, answers)


@cases_of("b38")
def test_b38_api_key_in_the_spec(answers: Answers, case: Case) -> None:
    """What looks like a key is refused wherever free text may stand."""
    check(case, answers)


@cases_of("b40")
def test_b40_spec_of_1400_kib(answers: Answers, case: Case) -> None:
    """Every text is bounded, so that no object can fill etcd."""
    check(case, answers)


@cases_of("b41")
def test_b41_unknown_field(answers: Answers, case: Case) -> None:
    """A misspelt field, or one of a later release, is named instead of ignored."""
    check(case, answers)


def test_b38_refusal_does_not_repeat_the_key(answers: Answers) -> None:
    """What looks like a key is not in the answer, which ends up in terminals and in the logs of delivery tools."""
    keys = [case for case in CASES if case.id.startswith(("b38_key", "b18"))]
    said = [answers.problems[(case.kind, case.name)] for case in keys]

    assert len(said) == len(keys) > 4
    assert not any(text in problem for problem in said for text in ("0123456789", "user:pass"))


def test_b42_null_is_the_same_as_absent(api: Cluster) -> None:
    """A chart that writes `null` for what was not set makes the same object as one that leaves it out."""
    optional = {
        "LLMModel": [
            "gateway",
            "modelName",
            "access",
            "description",
            "parameters",
            "capabilities",
            "privacy.retention",
        ],
        "RoutingPolicy": ["gateway", "priority", "rules[0].require", "rules[1].when", "rollouts[0].strategy.interval"],
    }
    for kind, fields in optional.items():
        with_nulls, without = base(kind), base(kind)
        for field in fields:
            put(with_nulls, f"spec.{field}", None)
            put(without, f"spec.{field}", ABSENT)
        if kind == "LLMModel":
            put(with_nulls, "spec.backends[0].headers.x-team", None)
            put(without, "spec.backends[0].headers", {})

        made = [
            json.loads(api.kubectl(*DRY_RUN, "-o", "json", input=json.dumps(raw)))["spec"]
            for raw in (with_nulls, without)
        ]

        assert made[0] == made[1] == without["spec"]


@pytest.mark.parametrize("kind", ["LLMModel", "RoutingPolicy"])
def test_b39_new_object_is_pending_whatever_its_author_wrote(api: Cluster, kind: str) -> None:
    """The status belongs to the operator, and starts as Unknown/Pending so that no tool reads it as current."""
    manifest = base(kind)
    manifest["status"] = {"observedGeneration": 9, "conditions": []}

    made = json.loads(api.kubectl(*DRY_RUN, "-o", "json", input=json.dumps(manifest)))

    assert "observedGeneration" not in made["status"]
    assert [(c["type"], c["status"], c["reason"]) for c in made["status"]["conditions"]] == [
        (kind_of, "Unknown", "Pending") for kind_of in ("Accepted", "ResolvedRefs", "Programmed", "Ready")
    ]


def test_columns_show_the_status(api: Cluster, namespace: str) -> None:
    """`kubectl get llm -o wide` shows what the operator wrote, under the short names and the category."""
    status = {
        "llmmodel": {
            "conditions": [condition("Ready", "True", "Serving")],
            "summary": {"model": "llama-70b", "backends": "2/2", "regions": "eu-west-1,us-east-1"},
            "referencedBy": {"count": 3},
        },
        "routingpolicy": {
            "conditions": [condition("Ready", "True", "Serving")],
            "weights": "legal-eu: law-v1=85.5 law-v2=4.5 llama-70b=10",
            "summary": {"gateways": "3/3", "rollout": "Progressing 5 % (2/4)"},
            "revision": "sha256:abc",
        },
    }
    api.kubectl(
        "create", "-n", namespace, "-f", "-", input=documents(base(kind) for kind in ("LLMModel", "RoutingPolicy"))
    )
    for kind, name in (("llmmodel", "llama-70b"), ("routingpolicy", "chat")):
        patch = json.dumps({"status": status[kind]})
        api.kubectl("patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)

    def table(*what: str) -> list[list[str]]:
        return [re.split(r"\s{2,}", line.strip()) for line in api.kubectl("get", *what, "-n", namespace).splitlines()]

    def without_age(rows: list[list[str]]) -> list[list[str]]:
        age = rows[0].index("AGE")
        return [row[:age] + row[age + 1 :] for row in rows]

    assert without_age(table("llmm", "-o", "wide")) == [
        ["NAME", "MODEL", "READY", "REASON", "BACKENDS", "REGIONS", "USED-BY"],
        ["llama-70b", "llama-70b", "True", "Serving", "2/2", "eu-west-1,us-east-1", "3"],
    ]
    assert without_age(table("rpol", "-o", "wide")) == [
        ["NAME", "READY", "REASON", "WEIGHTS", "ROLLOUT", "GATEWAYS", "REVISION"],
        ["chat", "True", "Serving", status["routingpolicy"]["weights"], "Progressing 5 % (2/4)", "3/3", "sha256:abc"],
    ]
    assert {row[0] for row in table("llm", "-o", "name")} == {
        "llmmodel.modelway.dev/llama-70b",
        "routingpolicy.modelway.dev/chat",
    }


def condition(kind: str, status: str, reason: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def test_two_managers_share_a_list_by_name(api: Cluster, namespace: str) -> None:
    """With server-side apply somebody may own one target's weight while Git owns the rest, and nothing drifts."""
    policy = base("RoutingPolicy")
    policy["metadata"]["name"] = "shared-list"
    git = ("apply", "--server-side", "--field-manager=git", "-n", namespace, "-f", "-")
    api.kubectl(*git, input=json.dumps(policy))
    ops = {
        **policy,
        "spec": {
            "models": policy["spec"]["models"],
            "rules": [
                {
                    "name": "default",
                    "targets": [{"name": "extra", "modelRef": {"name": "spare"}, "weight": 0}],
                }
            ],
        },
    }
    api.kubectl("apply", "--server-side", "--field-manager=ops", "-n", namespace, "-f", "-", input=json.dumps(ops))
    before = api.get("rpol", "shared-list", "-n", namespace)

    api.kubectl(*git, input=json.dumps(policy))

    after = api.get("rpol", "shared-list", "-n", namespace)
    assert [target["name"] for target in after["spec"]["rules"][1]["targets"]] == ["main", "extra"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("llmm.spec.backends.url", "The base URL, up to and including /v1"),
        ("llmm.spec.parameters", "Fields of the request body as JSON text"),
        ("rpol.spec.rules.when", "Which requests it is for. Default: all of them"),
        ("rpol.spec.rollouts.strategy.onInconclusive", "What to do at `stepDeadline`"),
        ("rpol.status.rules.state", "Active, Invalid (left out) or Unreachable"),
    ],
)
def test_kubectl_explains_fields(api: Cluster, field: str, words: str) -> None:
    """Whoever has only kubectl finds meaning and default of a field there."""
    printed = " ".join(api.kubectl("explain", field).split())

    assert words in printed
