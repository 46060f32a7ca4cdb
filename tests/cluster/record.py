"""The operator's own record of a policy, as the API server's audit log has it: every status that it ever wrote.

The one rule: what may have been true in between is not guessed; a status holds from when the API server received it,
since the log's other time is taken after the answer has left.
"""

import datetime as dt
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.sampling import Sample


@dataclass(frozen=True, slots=True)
class Write:
    """One status of one rollout."""

    at: float
    """When the API server received it, in seconds since 1970."""
    rollout_id: str
    phase: str
    weight: float
    intervals: int
    verdicts: tuple[str, ...]
    returning: bool


@dataclass(frozen=True, slots=True)
class Rise:
    """A gateway began to give a candidate more than it did before."""

    sample: Sample
    rollout_id: str
    before: int
    after: int


def writes_of(audit_log: Path, *, namespace: str, policy: str, since: float) -> list[Write]:
    """Every status of the policy's first rollout, in the order in which the API server took them."""
    return list(_writes(audit_log, namespace, policy, since))


def _writes(audit_log: Path, namespace: str, policy: str, since: float) -> Iterator[Write]:
    with audit_log.open() as lines:
        for line in lines:
            if '"routingpolicies"' not in line or '"subresource":"status"' not in line:
                continue
            event = json.loads(line)
            place = event["objectRef"]
            at = received_at(event)
            if (place.get("namespace"), place.get("name")) != (namespace, policy) or at < since:
                continue
            if event["responseStatus"]["code"] != 200:
                continue
            rollouts = event["responseObject"].get("status", {}).get("rollouts") or []
            if rollouts:
                yield as_write(rollouts[0], at)


def received_at(event: dict[str, Any]) -> float:
    """When the API server received a request, in seconds since 1970."""
    return dt.datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def renewals_of(audit_log: Path, *, namespace: str, lease: str) -> list[tuple[float, str]]:
    """When a Lease was written, and by which pod."""
    found = []
    with audit_log.open() as lines:
        for line in lines:
            if '"leases"' not in line or f'"name":"{lease}"' not in line:
                continue
            event = json.loads(line)
            if event["objectRef"]["namespace"] == namespace and event["responseStatus"]["code"] == 200:
                (pod,) = event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [""])
                found.append((received_at(event), pod))
    return found


def as_write(rollout: dict[str, Any], at: float) -> Write:
    """The part of a rollout's status that a check needs."""
    return Write(
        at=at,
        rollout_id=rollout.get("rolloutId", ""),
        phase=rollout["phase"],
        weight=rollout["weight"],
        intervals=rollout.get("intervals", 0),
        verdicts=tuple(metric["verdict"] for metric in rollout.get("metrics", ())),
        returning=rollout.get("returning", False),
    )


def rises(samples: Sequence[Sample]) -> Iterator[tuple[Rise, float]]:
    """Every rise at every gateway, with the time at which that gateway was last seen lower."""
    last: dict[tuple[str, str], tuple[int, float]] = {}
    for sample in sorted(samples, key=lambda each: each.at):
        for rollout_id, share in sample.shares.items():
            before, seen_at = last.get((sample.pod, rollout_id), (0, 0.0))
            if share > before:
                yield Rise(sample=sample, rollout_id=rollout_id, before=before, after=share), seen_at
        for rollout_id in {*sample.shares, *(known for pod, known in last if pod == sample.pod)}:
            last[sample.pod, rollout_id] = (sample.shares.get(rollout_id, 0), sample.asked_at)


def unannounced(samples: Sequence[Sample], writes: Sequence[Write]) -> list[str]:
    """Rises of a gateway to more than the operator had announced, by then, for that rollout."""
    found = []
    for rise, seen_lower_at in rises(samples):
        ours = [write for write in writes if write.rollout_id == rise.rollout_id and write.at <= rise.sample.at]
        # What stood at any time since the gateway was last seen lower.
        earlier = [write for write in ours if write.at <= seen_lower_at][-1:]
        standing = [*earlier, *(write for write in ours if write.at > seen_lower_at)]
        if not any(round(write.weight * 100) >= rise.after for write in standing):
            found.append(f"{rise.sample.pod} rose from {rise.before} to {rise.after} at {rise.sample.at:.3f}")
    return found


def unearned(writes: Sequence[Write], *, min_intervals: int) -> list[str]:
    """Announced rises behind which there is no Pass: of the metrics, or of Preflight before the first step."""
    found = []
    for before, write in itertools.pairwise(writes):
        if before.rollout_id != write.rollout_id or write.weight <= before.weight:
            continue
        passed = (
            before.phase == "Preflight"
            if before.weight == 0
            else write.intervals >= min_intervals and bool(write.verdicts) and set(write.verdicts) == {"Pass"}
        )
        if not passed:
            found.append(f"{write.rollout_id}: {before.phase} {before.weight} -> {write.phase} {write.weight}")
    return found


def backward(samples: Sequence[Sample], restarts: Sequence[tuple[str, float]]) -> list[str]:
    """Gateways that went back to an older push without having been restarted: a fenced push that was accepted."""
    found = []
    last: dict[str, Sample] = {}
    for sample in sorted(samples, key=lambda each: each.at):
        before = last.get(sample.pod)
        last[sample.pod] = sample
        if before is None or (sample.epoch, sample.sequence) >= (before.epoch, before.sequence):
            continue
        if not any(pod == sample.pod and before.asked_at <= at <= sample.at for pod, at in restarts):
            found.append(f"{sample.pod}: {before.epoch}.{before.sequence} -> {sample.epoch}.{sample.sequence}")
    return found
