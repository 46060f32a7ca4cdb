"""Keys are changed while traffic runs: a client's by a second Secret beside the first, a backend's by its new value."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from openai import AuthenticationError, OpenAI, OpenAIError

from tests.cluster.api import Api
from tests.cluster.containers import wait_quickly
from tests.cluster.installation import SYSTEM, TENANT, Installation, Traffic, behave, create_client, locked_model
from tests.cluster.kills import machine
from tests.cluster.nightly import keep_record
from tests.cluster.reach import wait_until
from tests.cluster.sampling import Sampler
from tests.cluster.subject import OBJECTS, Subject
from tests.support.canary import PROMPT

SECRETS = f"/api/v1/namespaces/{TENANT}/secrets"
MOST_SECONDS = 5.0
LEAST_REQUESTS = 100

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def subject(installation: Installation) -> Iterator[Subject]:
    """A policy of our own."""
    if installation.cluster.flavour != "local":
        pytest.skip("this cluster's pods cannot be reached by their addresses")
    subject = Subject(installation, Api(installation.cluster.kubeconfig), "rotating")
    subject.create()
    yield subject
    subject.delete()


@contextmanager
def traffic_of(installation: Installation, model: str, key: str) -> Iterator[Traffic]:
    """Traffic of one key; a good number of requests have been answered by the end of the block."""
    with installation.traffic(rate=25, model=model, api_key=key) as traffic:
        yield traffic
        wait_until("requests are answered", lambda: len(traffic.ended) >= LEAST_REQUESTS, seconds=60)


def works(client: OpenAI, model: str) -> bool:
    """Whether a request is answered."""
    try:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": PROMPT}])
    except OpenAIError:
        return False
    return True


def everywhere(addresses: list[str], key: str, model: str, *, accepted: bool) -> bool:
    """Whether every gateway takes the key, or refuses it as unknown."""
    for address in addresses:
        with OpenAI(base_url=f"http://{address}:8080/v1", api_key=key, max_retries=0) as client:
            try:
                client.chat.completions.create(model=model, messages=[{"role": "user", "content": PROMPT}])
            except AuthenticationError:
                if accepted:
                    return False
            else:
                if not accepted:
                    return False
    return True


def test_f59_client_key_is_replaced_under_load_without_a_failed_request(
    installation: Installation, subject: Subject
) -> None:
    """The new key works everywhere within 5 s, the old one until its Secret goes, and then nowhere after 5 s."""
    gateways = installation.gateway_addresses()
    old = create_client(installation.cluster, "rotating-old")
    wait_quickly("the old key", lambda: everywhere(gateways, old, subject.name, accepted=True), seconds=30)
    with traffic_of(installation, subject.name, old) as with_old:
        new = create_client(installation.cluster, "rotating-new")
        created_at = time.monotonic()
        wait_quickly("the new key", lambda: everywhere(gateways, new, subject.name, accepted=True), seconds=30)
        accepted_after = time.monotonic() - created_at
        with traffic_of(installation, subject.name, new) as with_new:
            pass
    with traffic_of(installation, subject.name, new) as after:
        subject.api.call("DELETE", f"{SECRETS}/rotating-old")
        deleted_at = time.monotonic()
        wait_quickly("the old one", lambda: everywhere(gateways, old, subject.name, accepted=False), seconds=30)
        refused_after = time.monotonic() - deleted_at
    subject.api.call("DELETE", f"{SECRETS}/rotating-new")
    keep_record(
        "rotation-client",
        {
            "machine": machine(),
            "accepted_seconds": round(accepted_after, 2),
            "refused_seconds": round(refused_after, 2),
            "requests": [len(traffic.ended) for traffic in (with_old, with_new, after)],
            "failed": [len(traffic.failed()) for traffic in (with_old, with_new, after)],
        },
    )

    assert [] == [*with_old.failed(), *with_new.failed(), *after.failed()]
    assert accepted_after <= MOST_SECONDS
    assert refused_after <= MOST_SECONDS


def test_f59_backend_key_is_replaced_under_load_without_a_failed_request(
    installation: Installation, subject: Subject
) -> None:
    """A provider that takes both keys for a while sees only the new one 5 s after the Secret has it."""
    cluster, old, new = installation.cluster, "sk-rotating-old-0b5e", "sk-rotating-new-77c1"
    secret, model = locked_model(old)
    model["metadata"]["name"] = "rotating-locked"
    cluster.apply(secret, model)
    cluster.kubectl("wait", "-n", TENANT, "--for=condition=Ready", "llmm/rotating-locked", "--timeout=60s")
    with ExitStack() as stack:
        sampler = stack.enter_context(Sampler(subject.api, SYSTEM).sampling())
        wait_until("all gateways are seen", lambda: len(sampler.latest()) == 3, seconds=20)
        before = {pod: sample.credentials for pod, sample in sampler.latest().items()}
        traffic = stack.enter_context(traffic_of(installation, "rotating-locked", installation.api_key))
        subject.api.merge(f"{SECRETS}/locked-key", {"stringData": {"token": new}})
        changed_at = time.monotonic()
        wait_quickly(
            "the new key is at every gateway",
            lambda: all(sample.credentials != before[pod] for pod, sample in sampler.latest().items()),
            seconds=30,
        )
        used_after = time.monotonic() - changed_at
        # From here on the provider takes the new key alone.
        behave(cluster, "llm-v1", {"api_key": new})
        since = len(traffic.ended)
        wait_until("the new key is used", lambda: len(traffic.ended) >= since + LEAST_REQUESTS, seconds=60)
    behave(cluster, "llm-v1", {"api_key": None})
    subject.api.call("DELETE", f"{OBJECTS}/llmmodels/rotating-locked")
    subject.api.call("DELETE", f"{SECRETS}/locked-key")
    keep_record(
        "rotation-backend",
        {
            "machine": machine(),
            "used_seconds": round(used_after, 2),
            "requests": len(traffic.ended),
            "failed": len(traffic.failed()),
        },
    )

    assert [] == traffic.failed()
    assert used_after <= MOST_SECONDS
