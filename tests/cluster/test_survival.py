"""SIGKILL of the leading operator, of a gateway and of Prometheus, in every phase of rollouts: they end as undisturbed.

With MODELWAY_NIGHTLY=1 (`make nightly`) every phase is hit with every target, and the record is kept.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cluster.api import Api
from tests.cluster.installation import SYSTEM, TENANT, Installation, behave
from tests.cluster.kills import OF_THE_CONNECTION, PHASES, Calls, Harness, Planned, Target, as_json, plan_of
from tests.cluster.nightly import NIGHTLY, keep_record
from tests.cluster.record import backward, unannounced, unearned, writes_of
from tests.cluster.sampling import Sampler
from tests.cluster.subject import Subject, Watcher

SEED = int(os.environ.get("MODELWAY_SEED") or 20261124)
KILLS = int(os.environ.get("MODELWAY_KILLS") or (32 if NIGHTLY else 0))
REQUESTS_PER_SECOND = 50.0
MOST_TAKEOVER_SECONDS = 20.0
SHORT = (
    Planned("Preflight", Target.LEADER),
    Planned("Soaking", Target.GATEWAY),
    Planned("Held", Target.PROMETHEUS),
    Planned("Baking", Target.LEADER),
    Planned("RollingBack", Target.GATEWAY),
)
"""What every run of the tests does."""

pytestmark = [pytest.mark.timeout(3600 if KILLS else 600)]


@pytest.fixture
def subject(installation: Installation) -> Iterator[Subject]:
    """A policy of our own, and a bad version that nobody could call good."""
    if installation.cluster.audit_log is None:
        pytest.skip("processes of this cluster's pods and its audit log are out of reach")
    behave(installation.cluster, "llm-v3", {"error_rate": 0.5, "slow_share": 0})
    subject = Subject(installation, Api(installation.cluster.kubeconfig), "survivor")
    subject.create()
    yield subject
    subject.delete()
    behave(installation.cluster, "llm-v3", {"error_rate": 0.12, "slow_share": 0.4})


def test_p8_f01_kills_in_every_phase_change_neither_the_end_nor_the_order_of_things(
    installation: Installation, subject: Subject
) -> None:
    """Each rise of a weight at any gateway has its Pass in the record; clients lose no more than a replica had."""
    rng = random.Random(SEED)
    planned = plan_of(KILLS, rng) if KILLS else list(SHORT)
    began = time.time()
    audit_log = installation.cluster.audit_log
    assert audit_log is not None
    calls = Calls()

    def keep(harness: Harness) -> dict[str, Any]:
        harness.account(audit_log)
        record = as_json(harness, calls, seed=SEED)
        keep_record("kills", record)
        return record

    with ExitStack() as stack:
        sampler = stack.enter_context(Sampler(subject.api, SYSTEM).sampling())
        watcher = stack.enter_context(Watcher(subject).watching())
        traffic = stack.enter_context(installation.traffic(rate=REQUESTS_PER_SECOND, model=subject.name))
        stack.enter_context(calls.calling(installation, subject.name))
        harness = Harness(installation, subject, sampler, watcher, traffic, rng, keep)
        harness.roll_out([], good=True)
        harness.roll_out([], good=False)
        undisturbed = {outcome.good: outcome.end_state for outcome in harness.outcomes}
        harness.run(planned)
    record = keep(harness)

    writes = writes_of(audit_log, namespace=TENANT, policy=subject.name, since=began)
    restarts = [(kill.pod, kill.at) for kill in harness.kills if kill.planned.target is Target.GATEWAY]
    assert [] == unannounced(sampler.samples, writes)
    assert [] == unearned(writes, min_intervals=subject.min_intervals)
    assert [] == backward(sampler.samples, restarts)
    assert [undisturbed[outcome.good] for outcome in harness.outcomes] == [
        outcome.end_state for outcome in harness.outcomes
    ]
    assert {kill.planned.phase for kill in harness.kills} == {each.phase for each in planned}
    assert set(PHASES) <= {kill.found_in for kill in harness.kills} or not KILLS
    assert all(seconds <= MOST_TAKEOVER_SECONDS for seconds in record["takeover_seconds"]), record["takeover_seconds"]
    assert [] == [failure for model, failure in calls.failed if not is_of_bad(model, harness)]
    of_the_connection = [one for one in traffic.failed() if one.error in OF_THE_CONNECTION]
    assert len(of_the_connection) == sum(kill.refused + kill.lost for kill in harness.kills)
    for kill in harness.kills:
        assert kill.lost <= kill.open_requests, kill
    others = [one for one in traffic.failed() if one.error not in OF_THE_CONNECTION]
    assert [] == [one for one in others if one.model is None or not is_of_bad(one.model, harness)]


def is_of_bad(model: str, harness: Harness) -> bool:
    """Whether that model is one of the bad candidates, whose own errors are not the gateway's."""
    return model in {outcome.candidate for outcome in harness.outcomes if not outcome.good}
