"""Two installs in one cluster: each serves its own objects, in its own namespaces, and knows nothing of the other's."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import NotFoundError, OpenAI, OpenAIError

from tests.cluster.api import MODELWAY, Api
from tests.cluster.installation import (
    CHART,
    CHART_VALUES,
    TENANT,
    Installation,
    as_flags,
    create_client,
    restricted_namespace,
)
from tests.cluster.reach import wait_until
from tests.support.canary import PROMPT

OTHER = "second"
COMMONS = "commons"
NAMESPACES = (OTHER, COMMONS)
VALUES = {
    **CHART_VALUES,
    "crds.install": "false",
    "gatewayName": OTHER,
    "operator.replicas": "1",
    "gateway.replicas": "1",
    "metrics.source": "gateways",
    "watchNamespaces": f"{{{TENANT}}}",
    "sharedNamespaces": f"{{{COMMONS}}}",
}

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def api(installation: Installation) -> Iterator[Api]:
    """A second release beside the first, which may look into a few namespaces only."""
    if installation.cluster.flavour != "local":
        pytest.skip("images cannot be brought into this cluster by these tests")
    cluster = installation.cluster
    for namespace in NAMESPACES:
        cluster.apply(restricted_namespace(namespace))
    cluster.helm("install", OTHER, str(CHART), "-n", OTHER, *as_flags(VALUES))
    for deployment in (f"{OTHER}-operator", f"{OTHER}-gateway"):
        cluster.kubectl("rollout", "status", "-n", OTHER, f"deployment/{deployment}", "--timeout=180s")
    yield Api(cluster.kubeconfig)
    cluster.helm("uninstall", OTHER, "-n", OTHER, "--wait", "--timeout", "120s")
    for namespace, name in ((TENANT, "theirs"), (TENANT, "nobodys")):
        cluster.kubectl("delete", "llmm", name, "-n", namespace, "--ignore-not-found", "--timeout=30s")
    cluster.kubectl("delete", "secret", "two-installs", "-n", TENANT, "--ignore-not-found")
    cluster.kubectl("delete", "namespace", *NAMESPACES, "--timeout=120s")


def apply_model(api: Api, namespace: str, name: str, *, gateway: str) -> None:
    """A model of that install, served by the simulated backend of the first tenant."""
    spec: dict[str, Any] = {
        "gateway": gateway,
        "backends": [
            {"name": "main", "url": f"http://llm-v1.{TENANT}.svc.cluster.local:8000/v1", "upstreamModel": "chat-v1"}
        ],
    }
    manifest = {
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": "LLMModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    api.apply(manifest, path=f"{MODELWAY}/{namespace}/llmmodels/{name}")


def conditions(api: Api, namespace: str, name: str) -> dict[str, str]:
    """Of a model."""
    status = api.get(f"{MODELWAY}/{namespace}/llmmodels/{name}").get("status", {})
    return {each["type"]: each["reason"] for each in status.get("conditions", ())}


def names_of(base_url: str, key: str) -> set[str]:
    """The models that a client may use."""
    with OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        return {model.id for model in client.models.list()}


def test_two_installs_share_a_cluster_by_the_name_of_their_gateway(installation: Installation, api: Api) -> None:
    """An object is served, and spoken of in status, by the install that it names and by no other; CRDs are shared."""
    apply_model(api, TENANT, "theirs", gateway=OTHER)
    apply_model(api, COMMONS, "for-everyone", gateway=OTHER)
    apply_model(api, TENANT, "nobodys", gateway="third")
    key = create_client(installation.cluster, "two-installs")
    second = installation.service_url(OTHER, f"{OTHER}-gateway") + "/v1"
    wait_until("theirs is served", lambda: conditions(api, TENANT, "theirs").get("Ready") == "Serving", seconds=60)
    wait_until(
        "the shared one too", lambda: conditions(api, COMMONS, "for-everyone").get("Ready") == "Serving", seconds=60
    )
    wait_until("the key is known", lambda: _answers(second, key), seconds=20)

    at_second, at_first = names_of(second, key), names_of(installation.gateway_url, key)
    with OpenAI(base_url=second, api_key=key, max_retries=0) as client:
        served = client.chat.completions.create(model="theirs", messages=[{"role": "user", "content": PROMPT}])
    with (
        OpenAI(base_url=installation.gateway_url, api_key=key, max_retries=0) as client,
        pytest.raises(NotFoundError),
    ):
        client.chat.completions.create(model="theirs", messages=[{"role": "user", "content": PROMPT}])
    roles = installation.cluster.kubectl("get", "clusterroles", "-o", "name").split()

    assert {"theirs", "for-everyone"} == at_second
    assert {"theirs", "for-everyone", "nobodys"}.isdisjoint(at_first)
    assert served.choices[0].message.content
    assert "Ready" not in conditions(api, TENANT, "nobodys") or conditions(api, TENANT, "nobodys")["Ready"] != "Serving"
    assert [] == [role for role in roles if f"/{OTHER}-" in role], "a release with watchNamespaces has no ClusterRole"
    assert {f"system:serviceaccount:{OTHER}:{OTHER}-operator"} == writers(installation, "theirs")
    assert set() == writers(installation, "nobodys")


def _answers(url: str, key: str) -> bool:
    try:
        return bool(names_of(url, key))
    except OpenAIError:
        return False


def writers(installation: Installation, name: str) -> set[str]:
    """Who has written a model's status, as the audit log has it."""
    assert installation.cluster.audit_log is not None
    events = map(json.loads, installation.cluster.audit_log.read_text().splitlines())
    return {
        event["user"]["username"]
        for event in events
        if event.get("objectRef", {}).get("name") == name and event["objectRef"].get("subresource") == "status"
    }
