"""Replicas come and go: a rolling restart under load, one gateway more within a step, a leader that ends or hangs."""

import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cluster.api import Api, is_ready, pods_of
from tests.cluster.containers import Running, running, wait_quickly
from tests.cluster.crossing import lost_otherwise
from tests.cluster.installation import SYSTEM, TENANT, Installation, behave
from tests.cluster.kills import GATEWAYS, LEASE, OPERATORS, machine
from tests.cluster.nightly import NIGHTLY, keep_record
from tests.cluster.reach import wait_until
from tests.cluster.record import backward, unannounced, unearned, writes_of
from tests.cluster.sampling import Sampler
from tests.cluster.subject import GOOD, OBJECTS, Subject, Watcher

RESTARTS = 4 if NIGHTLY else 1
"""Of all three gateways, one after the other."""
REQUESTS_PER_SECOND = 200.0
LONG_STREAM = {"tokens": 8, "token_ms": 4300.0, "ttft_ms": 100.0}
"""Thirty seconds of answer."""
LEAST_STREAM_SECONDS = 30.0
HANDOVER_SECONDS = 3.0
TAKEOVER_SECONDS = 20.0
HANGS_SECONDS = 25.0

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def subject(installation: Installation) -> Iterator[Subject]:
    """A policy of our own."""
    if installation.cluster.audit_log is None:
        pytest.skip("processes of this cluster's pods and its audit log are out of reach")
    subject = Subject(installation, Api(installation.cluster.kubeconfig), "replicated")
    subject.create()
    yield subject
    subject.delete()


def leader(api: Api) -> Running:
    """The process of the operator that holds the Lease."""
    holder = api.get(LEASE)["spec"]["holderIdentity"].partition("_")[0]
    return running(next(pod for pod in pods_of(api, SYSTEM, OPERATORS) if pod["metadata"]["name"] == holder))


def wait_for_both_operators(api: Api) -> None:
    """Return once there is a standby again."""

    def both() -> bool:
        return 2 == sum(map(is_ready, pods_of(api, SYSTEM, OPERATORS)))

    wait_until("two operators", both, seconds=90)


def takeover(sampler: Sampler, epoch: int) -> float:
    """Wait for the first push of another leader; when a gateway ran it."""
    wait_quickly(
        "another leader's push", lambda: any(each.epoch > epoch for each in sampler.latest().values()), seconds=60
    )
    return min(sample.at for sample in sampler.samples if sample.epoch > epoch)


def long_streams(installation: Installation) -> dict[str, Any]:
    """A model whose answers take half a minute."""
    behave(installation.cluster, "llm-v2", LONG_STREAM)
    backend = {"name": "main", "serviceRef": {"name": "llm-v2", "port": 8000}, "upstreamModel": "chat-v2"}
    return {
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": "LLMModel",
        "metadata": {"name": "slow", "namespace": TENANT},
        "spec": {"backends": [backend]},
    }


def test_rolling_restart_under_load_cuts_no_answer_that_has_begun(installation: Installation, subject: Subject) -> None:
    """200 requests a second and streams of half a minute while all gateways are replaced: every answer is whole.

    A client without retries may still send on a resting connection in the moment in which that is closed.
    """
    cluster, api = installation.cluster, subject.api
    api.apply(long_streams(installation), path=f"{OBJECTS}/llmmodels/slow")
    cluster.kubectl("wait", "-n", TENANT, "--for=condition=Ready", "llmm/slow", "--timeout=60s")
    ends: dict[str, float] = {}
    grace = float(pods_of(api, SYSTEM, GATEWAYS)[0]["spec"]["terminationGracePeriodSeconds"])
    with ExitStack() as stack:
        short = stack.enter_context(installation.traffic(rate=REQUESTS_PER_SECOND, model=subject.name))
        streams = stack.enter_context(installation.traffic(rate=1, model="slow", stream_share=1.0))
        wait_until("streams are under way", lambda: len(short.ended) > 10 * REQUESTS_PER_SECOND, seconds=60)
        for _ in range(RESTARTS):
            cluster.kubectl("rollout", "restart", "-n", SYSTEM, "deployment/modelway-gateway")
            wait_for_replacement(api, ends)
        streams.finish()
        short.finish()
    behave(cluster, "llm-v2", {"tokens": 8, "token_ms": 5.0, "ttft_ms": 60.0})
    api.call("DELETE", f"{OBJECTS}/llmmodels/slow")
    lengths = [one.ended_at - one.begun_at for one in streams.ended if one.error is None]
    failed = [*short.failed(), *streams.failed()]
    record = {
        "machine": machine(),
        "replaced": len(ends),
        "longest_exit_seconds": round(max(ends.values()), 1),
        "grace_seconds": grace,
        "requests": len(short.ended),
        "streams": len(streams.ended),
        "shortest_stream_seconds": round(min(lengths), 1),
        "failed": [f"{one.status} {one.error}" for one in failed],
    }
    keep_record("rolling-restart", record)

    assert [] == lost_otherwise(short, streams)
    assert 3 * RESTARTS == len(ends)
    assert max(ends.values()) <= grace + 1.0
    assert min(lengths) >= LEAST_STREAM_SECONDS


def wait_for_replacement(api: Api, ends: dict[str, float]) -> None:
    """Wait until every gateway is of the present revision and the former are gone; note how long each took to end."""
    leaving: dict[str, float] = {}

    def replaced() -> bool:
        now = time.monotonic()
        pods = {pod["metadata"]["name"]: pod for pod in pods_of(api, SYSTEM, GATEWAYS)}
        for name, pod in pods.items():
            if "deletionTimestamp" in pod["metadata"]:
                leaving.setdefault(name, now)
        for name in leaving.keys() - pods.keys():
            ends.setdefault(name, now - leaving[name])
        deployment = api.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/modelway-gateway")
        status = deployment["status"]
        return bool(
            status.get("observedGeneration") == deployment["metadata"]["generation"]
            and status.get("updatedReplicas") == 3 == len(pods) == status.get("readyReplicas")
            and not leaving.keys() & pods.keys()
            and len(leaving) == 3
        )

    wait_until("every gateway is replaced", replaced, seconds=300)


def test_a14_gateway_that_comes_in_the_middle_of_a_step_gives_the_candidate_nothing_at_first(
    installation: Installation, subject: Subject
) -> None:
    """A fourth replica begins at 0, then takes the announced weight; the rollout ends as ever, and it goes unseen."""
    cluster, audit_log = installation.cluster, installation.cluster.audit_log
    assert audit_log is not None
    began = time.time()
    with ExitStack() as stack:
        sampler = stack.enter_context(Sampler(subject.api, SYSTEM).sampling())
        watcher = stack.enter_context(Watcher(subject).watching())
        traffic = stack.enter_context(installation.traffic(rate=40, model=subject.name))
        candidate = subject.new_model(GOOD)
        subject.point_to(candidate)
        watcher.wait_for(lambda rollout: rollout.get("phase") == "Soaking", seconds=60)
        known = set(sampler.latest())
        cluster.kubectl("scale", "-n", SYSTEM, "deployment/modelway-gateway", "--replicas=4")
        wait_until("a fourth gateway", lambda: len(sampler.latest()) == 4, seconds=60)
        (newcomer,) = set(sampler.latest()) - known
        watcher.wait_for(
            lambda rollout: rollout.get("phase") == "Stable" and rollout["stable"]["model"].endswith(candidate),
            seconds=120,
        )
        cluster.kubectl("scale", "-n", SYSTEM, "deployment/modelway-gateway", "--replicas=3")
        wait_until("three gateways", lambda: len(pods_of(subject.api, SYSTEM, GATEWAYS)) == 3, seconds=90)
    writes = writes_of(audit_log, namespace=TENANT, policy=subject.name, since=began)
    of_newcomer = [sample for sample in sampler.samples if sample.pod == newcomer]

    assert [] == lost_otherwise(traffic)
    assert [] == unannounced(sampler.samples, writes)
    assert [] == unearned(writes, min_intervals=subject.min_intervals)
    assert any(10_000 in sample.shares.values() for sample in of_newcomer)


def test_p8_standby_takes_over_within_three_seconds_of_sigterm(installation: Installation, subject: Subject) -> None:
    """The leader gives the Lease back on its way out; its successor pushes under a higher epoch."""
    taken = []
    with Sampler(subject.api, SYSTEM).sampling() as sampler:
        for _ in range(3):
            wait_for_both_operators(subject.api)
            wait_until("all gateways are seen", lambda: len(sampler.latest()) == 3, seconds=20)
            epoch = max(sample.epoch for sample in sampler.latest().values())
            at = time.time()
            leader(subject.api).signal(signal.SIGTERM)
            taken.append(round(takeover(sampler, epoch) - at, 2))
        wait_for_both_operators(subject.api)
    keep_record("handover", {"machine": machine(), "takeover_seconds": taken})

    assert [] == backward(sampler.samples, [])
    assert statistics.median(taken) <= HANDOVER_SECONDS, taken


def test_f02_a9_leader_that_hung_and_wakes_is_not_obeyed(installation: Installation, subject: Subject) -> None:
    """SIGSTOP for longer than the Lease lasts, an edit under the new leader, SIGCONT: no gateway ever goes back."""
    with Sampler(subject.api, SYSTEM).sampling() as sampler:
        wait_for_both_operators(subject.api)
        wait_until("all gateways are seen", lambda: len(sampler.latest()) == 3, seconds=20)
        epoch = max(sample.epoch for sample in sampler.latest().values())
        former, at = leader(subject.api), time.time()
        former.signal(signal.SIGSTOP)
        try:
            taken_after = takeover(sampler, epoch) - at
            bases = {sample.base for sample in sampler.latest().values()}
            subject.point_to(subject.new_model(GOOD))
            wait_until("it hangs for long", lambda: time.time() - at >= HANGS_SECONDS, seconds=60)
        finally:
            former.signal(signal.SIGCONT)
        woken_at = time.time()
        wait_until("it looks at the Lease", lambda: time.time() - woken_at >= 5, seconds=30)
        wait_for_both_operators(subject.api)

    assert taken_after <= TAKEOVER_SECONDS
    assert [] == backward(sampler.samples, [])
    assert bases.isdisjoint(sample.base for sample in sampler.latest().values())
    assert leader(subject.api).pod != former.pod
