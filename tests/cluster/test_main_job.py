"""The main job on a real node: kubectl apply → operator → every gateway → traffic → Prometheus → weights.

These tests run in the order in which they stand: each goes on where the one before it left off.
"""

import json
import math
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import AuthenticationError, OpenAI, OpenAIError

from tests.cluster.api import Api
from tests.cluster.installation import (
    MONITORING,
    SYSTEM,
    TENANT,
    Installation,
    behave,
    fetch,
    locked_model,
    restricted_namespace,
    watch_rollout,
)
from tests.cluster.nightly import NIGHTLY
from tests.cluster.reach import ROOT, wait_until
from tests.cluster.readable import everything_readable
from tests.cluster.sampling import Sampler
from tests.integration.operator.rbac import WATCHED_RULES, own_rules
from tests.support.canary import PROMPT, Canary

pytestmark = pytest.mark.timeout(900 if NIGHTLY else 600)

OPERATOR = f"system:serviceaccount:{SYSTEM}:modelway-operator"
REST_SECONDS = 600 if NIGHTLY else 60
SETTLED_SECONDS = 12
WRITES = ("create", "update", "patch", "delete", "deletecollection")


@pytest.fixture(scope="module")
def sdk(installation: Installation) -> Iterator[OpenAI]:
    """The official SDK, as a user sets it up."""
    with OpenAI(base_url=installation.gateway_url, api_key=installation.api_key, max_retries=0) as client:
        yield client


def test_pods_run_the_images_of_this_commit(installation: Installation) -> None:
    """The digests are those of the images built a moment ago, and nothing is mounted from the host."""
    pods = installation.cluster.get("pods", "-n", SYSTEM)["items"]
    running = {
        (container["name"], container["imageID"].rpartition("@")[2].rpartition("://")[2])
        for pod in pods
        for container in pod["status"]["containerStatuses"]
    }
    built = {
        (part, f"sha256:{installation.image_ids[part].removeprefix('sha256:')}") for part in ("operator", "gateway")
    }
    volumes = [volume for pod in pods for volume in pod["spec"]["volumes"]]

    assert built == running
    assert [] == [volume for volume in volumes if "hostPath" in volume]
    assert ["False"] * 3 == [
        str(pod["spec"].get("automountServiceAccountToken"))
        for pod in pods
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
    ]


def test_p22_the_chart_passes_pod_security_restricted_without_a_warning(installation: Installation) -> None:
    """Every object of the chart is admitted by a server-side dry run that warns of nothing."""
    cluster = installation.cluster
    cluster.apply(restricted_namespace("restricted"))
    manifests = cluster.helm(
        "template", "other", str(ROOT / "charts" / "modelway"), "-n", "restricted", "--set", "crds.install=false"
    )

    answer = cluster.kubectl(
        "apply", "--dry-run=server", "--warnings-as-errors", "-n", "restricted", "-f", "-", input=manifests, check=False
    )
    hostile = cluster.kubectl(
        "run", "hostile", "--image=x", "--privileged", "--dry-run=server", "-n", "restricted", check=False
    )

    assert "arning" not in answer, answer
    assert "error" not in answer.lower(), answer
    assert "deployment.apps/other-gateway created (server dry run)" in answer
    assert "violates PodSecurity" in hostile


def test_chart_grants_just_the_verbs_that_the_operator_is_tested_with(installation: Installation) -> None:
    """Each rule of the chart, and no other, is one that the operator's own tests run with."""

    def rules(*settings: str) -> list[list[str]]:
        chart = ("template", "modelway", str(ROOT / "charts" / "modelway"), "-n", SYSTEM, *settings)
        roles = [
            document
            for document in yaml.safe_load_all(installation.cluster.helm(*chart))
            if document and document["kind"] in {"Role", "ClusterRole"}
        ]
        return [sorted(map(repr, map(_plain, role["rules"]))) for role in roles]

    watched = sorted(map(repr, map(_plain, WATCHED_RULES)))
    own = sorted(map(repr, map(_plain, own_rules("modelway"))))

    assert sorted([own, watched]) == sorted(rules())
    assert sorted([own, watched, watched]) == sorted(rules("--set", "watchNamespaces={team-a}"))


def _plain(rule: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return sorted((name, sorted(values)) for name, values in rule.items())


def test_helm_template_is_deterministic(installation: Installation) -> None:
    """Rendering twice gives the same bytes, so GitOps tools see no drift."""
    once, again = (
        installation.cluster.helm("template", "modelway", str(ROOT / "charts" / "modelway"), "-n", SYSTEM)
        for _ in range(2)
    )

    assert once == again


def test_notes_end_in_a_curl_that_works(installation: Installation, tmp_path: Path) -> None:
    """The commands that `helm install` prints, run as they stand, answer with the client's models."""
    notes = installation.cluster.helm("get", "notes", "modelway", "-n", SYSTEM)
    commands = notes.partition("Make a client's key")[2].partition("\n")[2]
    script = 'set -e; trap "kill %1" EXIT\n' + commands.replace("sleep 2; curl", "curl --retry 20 --retry-all-errors")
    programs = f"{installation.cluster.programs}:" if installation.cluster.programs else ""

    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={
            "HOME": str(tmp_path),
            "KUBECONFIG": str(installation.cluster.kubeconfig),
            "PATH": f"{programs}/usr/sbin:/usr/bin:/sbin:/bin",
        },
    )

    assert '"object":"list"' in done.stdout.replace(" ", ""), done.stdout + done.stderr


def test_apply_then_wait_for_programmed_returns(installation: Installation) -> None:
    """`kubectl apply -f examples/canary` and `kubectl wait` are all that a user needs before the first request."""
    cluster = installation.cluster
    cluster.kubectl("apply", "-n", TENANT, "-f", str(ROOT / "examples" / "canary"))
    installation.point_to("chat-v1")
    for kind in ("llmmodel/chat-v1", "llmmodel/chat-v2", "llmmodel/chat-v3", "routingpolicy/chat"):
        cluster.kubectl("wait", "-n", TENANT, "--for=condition=Programmed", kind, "--timeout=60s")
        cluster.kubectl("wait", "-n", TENANT, "--for=condition=Ready", kind, "--timeout=60s")


def test_get_shows_what_runs_where(installation: Installation) -> None:
    """READY, WEIGHTS and GATEWAYS 3/3 stand in the columns of `kubectl get llmm,rpol`."""
    lines = installation.cluster.kubectl("get", "rpol", "-n", TENANT).splitlines()
    row = dict(zip(lines[0].split(), lines[1].replace("default: ", "default:").split(), strict=False))
    models = installation.cluster.kubectl("get", "llmm", "-n", TENANT).splitlines()

    assert ["NAME", "READY", "REASON", "WEIGHTS", "ROLLOUT", "GATEWAYS", "AGE"] == lines[0].split()
    assert "True" == row["READY"]
    assert "default:chat-v1=100" in lines[1].replace("default: ", "default:")
    assert "3/3" in lines[1].split()
    assert ["NAME", "MODEL", "READY", "REASON", "BACKENDS", "AGE"] == models[0].split()
    assert ["chat-v1", "chat-v1", "True", "Serving", "1/1"] == models[1].split()[:5]


def test_explain_says_what_a_field_is_for(installation: Installation) -> None:
    """`kubectl explain` has a text for a field deep in the policy."""
    text = installation.cluster.kubectl("explain", "rpol.spec.rollouts.strategy.interval")

    assert "DESCRIPTION" in text
    assert "interval" in text.lower()
    assert len(text.partition("DESCRIPTION:")[2].strip()) > 20


def test_openai_sdk_gets_plain_and_streamed_answers(installation: Installation, sdk: OpenAI) -> None:
    """The official SDK works unchanged through the Service, and learns who served it."""
    ask: Any = {"model": "chat", "messages": [{"role": "user", "content": PROMPT}]}

    raw = sdk.chat.completions.with_raw_response.create(**ask)
    plain = raw.parse()
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in sdk.chat.completions.create(**ask, stream=True)
        if chunk.choices
    ]

    assert plain.choices[0].message.content
    assert "".join(pieces)
    assert len([piece for piece in pieces if piece]) > 1
    assert ("chat-v1", "default") == (raw.headers["x-modelway-model"], raw.headers["x-modelway-rule"])
    assert ["chat"] == [model.id for model in sdk.models.list()]


def test_wrong_key_is_refused_without_an_echo(installation: Installation) -> None:
    """A key that no Secret holds is a 401, and the answer does not repeat it."""
    with (
        OpenAI(base_url=installation.gateway_url, api_key="mw-not-a-key-of-anybody", max_retries=0) as stranger,
        pytest.raises(AuthenticationError) as refused,
    ):
        stranger.models.list()

    assert "mw-not" not in refused.value.response.text


def plateaus(samples: list[tuple[dict[str, Any], dict[str, int]]]) -> dict[float, dict[str, int]]:
    """What each backend received while the weight stood, from a little after it was acknowledged, by weight."""
    received: dict[float, list[dict[str, int]]] = {}
    for rollout, counts in samples:
        if rollout.get("phase") in {"Soaking", "Evaluating"}:
            received.setdefault(rollout["weight"], []).append(counts)
    return {
        weight: {version: counts[-1][version] - counts[0][version] for version in counts[0]}
        for weight, counts in received.items()
        if len(counts) > 1
    }


def test_healthy_candidate_moves_step_by_step_and_is_promoted(installation: Installation) -> None:
    """Weights 5, 25, 50, 100 stand in the status, and the backends received just these shares, by their own count."""
    with installation.traffic() as traffic:
        wait_until("traffic arrives", lambda: installation.received()["v1"] > 40, seconds=20)
        installation.point_to("chat-v2")
        samples = watch_rollout(
            installation,
            lambda rollout: rollout.get("phase") == "Stable" and rollout["stable"]["model"].endswith("/chat-v2"),
            seconds=240,
        )

    # The weight of 0, before the first step, may be over between two looks.
    weights = dict.fromkeys(rollout["weight"] for rollout, _ in samples if rollout.get("candidate"))
    assert [5, 25, 50, 100] == [weight for weight in weights if weight]
    shares = plateaus(samples)
    assert {5, 25, 50} == set(shares)
    for weight, counts in shares.items():
        total = counts["v1"] + counts["v2"]
        spread = 5 * math.sqrt(weight / 100 * (1 - weight / 100) / total)
        assert abs(counts["v2"] / total - weight / 100) < spread, (weight, counts)
    before = installation.received()
    with installation.traffic():
        wait_until("all goes to v2", lambda: installation.received()["v2"] > before["v2"] + 100, seconds=20)
    assert before["v1"] == installation.received()["v1"]
    assert traffic.report is not None
    assert 0 == traffic.report.failed
    assert "True" == installation.condition("Ready")["status"]
    assert {} == installation.condition("RollingOut")


def test_promotion_is_told_in_events(installation: Installation) -> None:
    """One Event for each thing that happened, in words of the design."""
    events = installation.cluster.get("events", "-n", TENANT)["items"]
    reasons = {event["reason"] for event in events if event["involvedObject"]["name"] == "chat"}

    assert {"InitialDeploy", "RolloutStarted", "StepApplied", "Promoted", "BakeFinished"} <= reasons


def test_bad_candidate_goes_back_and_says_why(installation: Installation) -> None:
    """Errors and slow first tokens: the weight never passes the first step, v2 serves on, and a person is told."""
    with installation.traffic() as traffic:
        before = installation.received()
        installation.point_to("chat-v3")
        samples = watch_rollout(installation, lambda rollout: rollout.get("phase") == "RolledBack", seconds=120)

    rollout = installation.rollout()
    stalled, ready = installation.condition("Stalled"), installation.condition("Ready")
    assert {5} == {sample["weight"] for sample, _ in samples if sample["phase"] != "Stable"} - {0}
    assert ("True", "RolledBack") == (stalled["status"], stalled["reason"])
    assert "True" == ready["status"]
    assert rollout["decision"]["metric"] in stalled["message"]
    assert "chat-v2=100" in installation.policy()["status"]["weights"]
    assert traffic.report is not None
    given_to_v3 = installation.received()["v3"] - before["v3"]
    assert 0 < given_to_v3
    # Most of what failed there was answered at another attempt: clients saw little of it, the rollout all.
    assert traffic.report.failed <= min(given_to_v3, 0.01 * traffic.report.requests)


def test_spec_back_at_stable_clears_stalled(installation: Installation) -> None:
    """A commit that says what is served ends the story: nothing is stalled, and nothing moves."""
    installation.point_to("chat-v2")

    wait_until("Stalled is gone", lambda: not installation.condition("Stalled"), seconds=30)
    assert "Stable" == installation.rollout()["phase"]


def test_a1_prometheus_stopped_midway_holds_and_then_goes_on(installation: Installation) -> None:
    """Held with the weight frozen while Prometheus is gone; the rollout goes on when it is back, and promotes."""
    cluster = installation.cluster
    cluster.apply(
        {
            "apiVersion": "modelway.dev/v1alpha1",
            "kind": "LLMModel",
            "metadata": {"name": "chat-v4", "namespace": TENANT},
            "spec": {
                "access": "PolicyOnly",
                "parameters": {"temperature": "0.2"},
                "backends": [
                    {"name": "main", "serviceRef": {"name": "llm-v1", "port": 8000}, "upstreamModel": "chat-v1"}
                ],
            },
        }
    )
    with installation.traffic() as traffic:
        installation.point_to("chat-v4")
        watch_rollout(
            installation, lambda rollout: (rollout.get("weight"), rollout.get("phase")) == (25, "Soaking"), seconds=120
        )
        cluster.kubectl("scale", "-n", MONITORING, "deployment/prometheus", "--replicas=0")
        held = watch_rollout(installation, lambda rollout: rollout.get("phase") == "Held", seconds=90)
        reason, message = installation.rollout()["reason"], installation.condition("Held")["message"]
        cluster.kubectl("scale", "-n", MONITORING, "deployment/prometheus", "--replicas=1")
        samples = watch_rollout(installation, lambda rollout: rollout.get("phase") == "Stable", seconds=240)

    assert {25} == {rollout["weight"] for rollout, _ in held}
    assert "MetricsUnavailable" == reason
    assert "rometheus" in message
    weights = [rollout["weight"] for rollout, _ in samples if rollout["phase"] != "Stable"]
    assert [25, 50, 100] == list(dict.fromkeys(weights))
    assert traffic.report is not None
    assert 0 == traffic.report.failed
    assert installation.rollout()["stable"]["model"].endswith("/chat-v4")


def test_version_that_was_stable_before_returns_without_steps(installation: Installation) -> None:
    """Going back after a promotion is a revert in Git: a known good version takes all of the traffic at once."""
    with installation.traffic():
        installation.point_to("chat-v2")
        samples = watch_rollout(
            installation,
            lambda rollout: rollout.get("phase") == "Stable" and rollout["stable"]["model"].endswith("/chat-v2"),
            seconds=120,
        )

    assert set() == {rollout["weight"] for rollout, _ in samples} - {0, 100}


def test_rotated_backend_key_is_used_without_a_failed_request(installation: Installation) -> None:
    """A backend that demands a key gets it from the labelled Secret; a new value is live within seconds."""
    cluster = installation.cluster
    old, new = "sk-canary-old-4b1d", "sk-canary-new-9f2c"
    url = installation.service_url(TENANT, "llm-v1")
    behave(cluster, "llm-v1", {"api_key": old})
    cluster.apply(*locked_model(old))
    cluster.kubectl("wait", "-n", TENANT, "--for=condition=Ready", "llmm/locked", "--timeout=60s")
    with OpenAI(base_url=installation.gateway_url, api_key=installation.api_key, max_retries=0) as client:

        def answers() -> bool:
            asked = client.chat.completions.with_raw_response.create(
                model="locked", messages=[{"role": "user", "content": PROMPT}]
            )
            return asked.status_code == 200

        assert answers()
        cluster.apply(*locked_model(new))
        behave(cluster, "llm-v1", {"api_key": new})
        wait_until("the new key is used", lambda: not raises(answers), seconds=10)
    behave(cluster, "llm-v1", {"api_key": None})
    assert fetch(f"{url}/health")


def raises(call: Any) -> bool:
    """Whether a call of the SDK fails."""
    try:
        return not call()
    except OpenAIError:
        return True


def test_p25_no_key_is_readable_anywhere_but_in_its_secret(installation: Installation) -> None:
    """Logs, metrics, status, Events, dumps and the audit log hold no key; the scanner finds a planted one."""
    canaries = (installation.api_key, "sk-canary-old-4b1d", "sk-canary-new-9f2c")
    planted = Canary("mw-planted-canary-77aa")
    installation.cluster.kubectl("annotate", "llmm", "chat-v1", "-n", TENANT, f"planted={planted.word}")

    readable = everything_readable(installation)
    installation.cluster.kubectl("annotate", "llmm", "chat-v1", "-n", TENANT, "planted-")

    assert "objects" in [place for place, text in readable.items() if planted.forms_in(text)]
    assert [] == [
        (place, key[:12]) for place, text in readable.items() for key in canaries if Canary(key).forms_in(text)
    ]
    assert any("metrics of modelway-gateway" in place for place in readable)


def test_audit_log_proves_what_the_operator_wrote(installation: Installation) -> None:
    """Of users' objects nothing but status; beside it Events, its Lease, and Secrets of its own."""
    if installation.cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read by tests")
    events = [json.loads(line) for line in installation.cluster.audit_log.read_text().splitlines()]
    writes = [
        event
        for event in events
        if event["user"]["username"] == OPERATOR
        and event["verb"] in WRITES
        and event.get("responseStatus", {}).get("code", 0) < 400
    ]
    kinds = {(event["objectRef"]["resource"], event["objectRef"].get("subresource", "")) for event in writes}
    allowed = {
        ("llmmodels", "status"),
        ("routingpolicies", "status"),
        ("events", ""),
        ("leases", ""),
        ("secrets", ""),
    }
    secrets = {event["objectRef"]["name"] for event in writes if event["objectRef"]["resource"] == "secrets"}
    bodies = [event["requestObject"] for event in writes if event["objectRef"].get("subresource") == "status"]

    assert {("llmmodels", "status"), ("routingpolicies", "status")} <= kinds <= allowed
    assert all("modelway" in name for name in secrets), secrets
    assert len(bodies) > 10
    for body in bodies:
        assert {"apiVersion", "kind", "metadata", "status"} >= set(body)
        assert {"name", "namespace", "uid", "resourceVersion"} >= set(body.get("metadata", {}))
    policies = installation.cluster.get("rpol,llmm", "-n", TENANT)["items"]
    assert [] == [
        item["metadata"]["name"]
        for item in policies
        if item["metadata"].get("finalizers")
        or [name for name in item["metadata"].get("annotations", {}) if not name.startswith("kubectl.kubernetes.io/")]
    ]


def test_p5_nothing_moves_at_rest(installation: Installation) -> None:
    """With nothing to do the operator writes its Lease and nothing else, and no gateway gets another config."""
    if installation.cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read by tests")
    log = installation.cluster.audit_log

    def writes() -> int:
        return sum(
            1
            for event in map(json.loads, log.read_text().splitlines())
            if event["user"]["username"] == OPERATOR
            and event["verb"] in WRITES
            and event["objectRef"]["resource"] != "leases"
        )

    def renewals() -> int:
        return log.read_text().count('"leases"')

    wait_until("the operator comes to rest", lambda: installation.rollout()["phase"] == "Stable", seconds=30)
    quiet_from = settled(writes)
    renewed_from, began = renewals(), time.monotonic()
    with Sampler(Api(installation.cluster.kubeconfig), SYSTEM).sampling() as sampler:
        wait_until("the rest", lambda: time.monotonic() - began >= REST_SECONDS, seconds=REST_SECONDS + 60)

    assert quiet_from == writes()
    assert renewals() >= renewed_from + REST_SECONDS / 4
    assert 3 == len({(sample.pod, sample.epoch, sample.sequence) for sample in sampler.samples})


def settled(count: Any) -> int:
    """A count that did not change while the bundle's ten seconds passed, however long each look takes."""
    last = [(-1, time.monotonic())]

    def unchanged() -> bool:
        now = count()
        if now != last[0][0]:
            last[0] = (now, time.monotonic())
        return time.monotonic() - last[0][1] >= SETTLED_SECONDS

    wait_until("writes end", unchanged, seconds=120)
    return last[0][0]
