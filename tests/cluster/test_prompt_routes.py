"""A policy that reads what prompts mean, applied to the node, and asked through the Service as users ask."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cluster.api import Api
from tests.cluster.installation import SYSTEM, TENANT, Installation
from tests.cluster.kills import machine
from tests.cluster.nightly import keep_record
from tests.cluster.subject import OBJECTS
from tests.prompt_routes.corpus import (
    LEAST_RECALLS,
    LEAST_SHARE,
    ROUTES,
    model_manifests,
    nasty_texts,
    policy_manifest,
    prompts,
)
from tests.prompt_routes.matrix import matrix_of

PHRASES = 12
TIMEOUT_SECONDS = 30.0

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def api(installation: Installation) -> Iterator[Api]:
    """The policy and a model for each of its routes, all of them served by a simulated backend."""
    api, cluster = Api(installation.cluster.kubeconfig), installation.cluster
    for model in model_manifests(serviceRef={"name": "llm-v1", "port": 8000}, upstreamModel="chat-v1"):
        api.apply(model, path=f"{OBJECTS}/llmmodels/{model['metadata']['name']}")
    cluster.kubectl("apply", "-n", TENANT, "-f", "-", input=json.dumps(policy_manifest()))
    names = (f"llmm/{route}" for route in ROUTES)
    cluster.kubectl("wait", "-n", TENANT, "--for=condition=Ready", "rpol/assistant", *names, "--timeout=60s")
    yield api
    cluster.kubectl("delete", "-n", TENANT, "rpol", "assistant", "--timeout=30s")
    cluster.kubectl("delete", "-n", TENANT, "llmm", *ROUTES, "--timeout=30s")


def ask(installation: Installation, text: str) -> tuple[int, dict[str, str], Any]:
    """A request by the Service: its status, headers in lower case, and body; JSON escapes carry what UTF-8 cannot."""
    address = urlsplit(installation.gateway_url)
    question = json.dumps({"model": "assistant", "messages": [{"role": "user", "content": text}]})
    headers = {"Authorization": f"Bearer {installation.api_key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", f"{address.path}/chat/completions", question.encode("ascii"), headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
    finally:
        connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def route_of(installation: Installation, text: str) -> str:
    """The route that a text takes, or the code of the error that it meets."""
    status, headers, body = ask(installation, text)
    return headers["x-modelway-model"] if status == 200 else str(body["error"]["code"])


def test_prompts_take_the_route_that_they_mean(installation: Installation, api: Api) -> None:
    """Legal ones to one model, creative ones to another, and so on: the bounds are those of the test on loopback."""
    matrix = matrix_of([(prompt, route_of(installation, prompt.text)) for prompt in prompts()])
    keep_record("prompt-routes", {"machine": machine(), "where": "node", **matrix.as_record()})
    print(matrix.table())  # noqa: T201 - for whoever asks pytest to show it

    assert matrix.share >= LEAST_SHARE, matrix.table()
    assert [] == [route for route in ROUTES if matrix.recalls[route] < LEAST_RECALLS[route]], matrix.table()


def test_policy_says_how_well_its_own_category_can_be_told(api: Api) -> None:
    """The figure that the gateways found by leaving out each phrase in turn came back with their acknowledgements."""
    signals = api.get(f"{OBJECTS}/routingpolicies/assistant")["status"]["signals"]

    assert [("returns", PHRASES)] == [(signal["name"], signal["phrases"]) for signal in signals]
    assert 0.8 <= float(signals[0]["accuracy"]) <= 1.0
    assert 0.0 < float(signals[0]["threshold"]) < 1.0


def test_nasty_texts_are_served_or_refused_and_no_gateway_ends_by_them(installation: Installation, api: Api) -> None:
    """No error of ours, no header that a text brings along, and not a restart."""
    before = restarts(installation)
    surprises = {}
    for nasty in nasty_texts():
        status, headers, body = ask(installation, nasty.text)
        if status >= 500 or nasty.header in headers or (nasty.names and headers.get("x-modelway-rule") == nasty.names):
            surprises[nasty.name] = (status, headers, body)

    assert {} == surprises
    assert before == restarts(installation)


def restarts(installation: Installation) -> dict[str, int]:
    """How often each gateway's container was started again, by its pod."""
    pods = installation.cluster.get("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=gateway")["items"]
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}
