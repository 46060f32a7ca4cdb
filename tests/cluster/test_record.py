"""The independent checker finds what it is there to find; no cluster is needed for that."""

import json
from pathlib import Path

from tests.cluster.record import Write, backward, renewals_of, rises, unannounced, unearned, writes_of
from tests.cluster.sampling import Sample

RISES = [
    Write(10.0, "r1", "Preflight", 0, 0, (), returning=False),
    Write(11.0, "r1", "Applying", 10, 0, (), returning=False),
    Write(15.0, "r1", "Soaking", 10, 1, ("Pass", "Inconclusive"), returning=False),
    Write(19.0, "r1", "Applying", 50, 2, ("Pass", "Pass"), returning=False),
]


def sample(at: float, share: int, *, pod: str = "a", epoch: int = 1, sequence: int = 1) -> Sample:
    """What one gateway said."""
    return Sample(pod, at - 0.01, at, epoch, sequence, "base", "credentials", {"r1": share})


def test_rises_that_were_announced_and_earned_are_fine() -> None:
    """A gateway that follows the record, and one that comes back at 0 and rises to what stands."""
    samples = [
        sample(10.5, 0), sample(11.1, 1000), sample(18.9, 1000), sample(19.1, 5000),
        sample(20.0, 0, pod="b"), sample(20.1, 5000, pod="b"),
    ]  # fmt: skip

    assert [] == unannounced(samples, RISES)
    assert [] == unearned(RISES, min_intervals=2)
    assert [1000, 5000, 5000] == [rise.after for rise, _ in rises(samples)]


def test_rise_before_its_announcement_is_found() -> None:
    """A push that is earlier than the status, and one that nobody ever announced."""
    assert 1 == len(unannounced([sample(10.5, 0), sample(10.9, 1000)], RISES))
    assert 1 == len(unannounced([sample(11.1, 1000), sample(19.5, 9000)], RISES))


def test_rise_to_a_weight_that_was_taken_back_is_found() -> None:
    """A gateway that comes back with an old weight after the rollback."""
    writes = [*RISES, Write(25.0, "r1", "RollingBack", 0, 2, (), returning=False)]

    assert 1 == len(unannounced([sample(19.1, 5000), sample(25.1, 0), sample(30.0, 5000)], writes))


def test_announcement_without_a_pass_is_found() -> None:
    """One metric that is undecided, too few intervals, a first step without Preflight."""
    undecided = [*RISES[:3], Write(19.0, "r1", "Applying", 50, 2, ("Pass", "Inconclusive"), returning=False)]
    nothing_measured = [*RISES[:3], Write(19.0, "r1", "Applying", 50, 2, (), returning=False)]
    too_early = [Write(10.0, "r1", "Stable", 0, 0, (), returning=False), *RISES[1:]]

    assert 1 == len(unearned(undecided, min_intervals=2))
    assert 1 == len(unearned(nothing_measured, min_intervals=2))
    assert 1 == len(unearned(RISES, min_intervals=3))
    assert 1 == len(unearned(too_early, min_intervals=2))


def test_gateway_that_obeys_an_older_push_is_found_unless_it_was_restarted() -> None:
    """Back in sequence, back in epoch; a process that was killed in between may begin anew."""
    samples = [sample(1.0, 0, epoch=2, sequence=5), sample(1.1, 0, epoch=2, sequence=4)]

    assert 1 == len(backward(samples, []))
    assert 1 == len(backward(samples, [("b", 1.05)]))
    assert [] == backward(samples, [("a", 1.05)])
    assert 1 == len(backward([sample(1.0, 0, epoch=2), sample(1.1, 0, epoch=1, sequence=9)], []))


def test_audit_log_is_read_by_object_and_time(tmp_path: Path) -> None:
    """Statuses of that policy that the API server took, and who wrote the Lease."""
    log = tmp_path / "audit.log"
    status = {"rollouts": [{"rolloutId": "r1", "phase": "Soaking", "weight": 10, "metrics": [{"verdict": "Pass"}]}]}
    event = {
        "requestReceivedTimestamp": "1970-01-01T00:00:20.500000Z",
        "objectRef": {"resource": "routingpolicies", "namespace": "shop", "name": "chat", "subresource": "status"},
        "responseStatus": {"code": 200},
        "responseObject": {"status": status},
    }
    refused = {**event, "responseStatus": {"code": 409}}
    lease = {
        "requestReceivedTimestamp": "1970-01-01T00:00:30Z",
        "objectRef": {"resource": "leases", "namespace": "modelway", "name": "modelway-operator"},
        "responseStatus": {"code": 200},
        "user": {"extra": {"authentication.kubernetes.io/pod-name": ["operator-1"]}},
    }
    log.write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in (event, refused, lease)))

    assert [Write(20.5, "r1", "Soaking", 10, 0, ("Pass",), returning=False)] == writes_of(
        log, namespace="shop", policy="chat", since=0
    )
    assert [] == writes_of(log, namespace="shop", policy="other", since=0)
    assert [] == writes_of(log, namespace="shop", policy="chat", since=21)
    assert [(30.0, "operator-1")] == renewals_of(log, namespace="modelway", lease="modelway-operator")
