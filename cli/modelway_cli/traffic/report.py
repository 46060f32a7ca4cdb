"""What came of the traffic: one `Sample` a request, and the report that they add up to.

Rule: latencies are those of good answers (a refusal is fast and would flatter the figures), from when a
request was due.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
NO_STATUS: Final = "none"
"""Stands for a status where no answer began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What came of one request."""

    number: int
    stream: bool
    session: str | None = None
    status: int | None = None
    """None where no answer began."""
    error: str | None = None
    """Why it failed: the target's error code or a `Fault`; None for a good answer."""
    model: str | None = None
    """Who served it: the header `x-modelway-model`, else the answer's own `model`."""
    target: str | None = None
    version: str | None = None
    fingerprint: str | None = None
    """The answer's `system_fingerprint`."""
    attempts: int = 1
    """Upstream calls that the target says it took; 0 where it asked nobody."""
    latency_seconds: float = 0.0
    ttft_seconds: float | None = None
    """Of streams: until the first content, not the first byte."""

    @property
    def ok(self) -> bool:
        return self.error is None


class Percentiles(msgspec.Struct, frozen=True):
    """Nearest-rank percentiles; None where there is no sample."""

    p50: float | None
    p90: float | None
    p99: float | None


class TrafficReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a plan. `requests` = `ok` + `failed`; those still open at a stop are `unfinished`."""

    url: str
    model: str
    elapsed_seconds: float
    requests: int
    ok: int
    failed: int
    unfinished: int
    streams: int
    by_status: dict[str, int]
    by_error: dict[str, int]
    by_model: dict[str, int]
    by_target: dict[str, int]
    by_version: dict[str, int]
    by_fingerprint: dict[str, int]
    latency_seconds: Percentiles
    ttft_seconds: Percentiles


def percentile(ordered: "array[float]", share: float) -> float | None:
    """The smallest value that at least `share` of the ascending `ordered` do not exceed."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(round(share * len(ordered), 9)) - 1)]


def percentiles(values: Iterable[float]) -> Percentiles:
    """The percentiles of `values`, in any order."""
    ordered = array("d", sorted(values))
    return Percentiles(**{name: percentile(ordered, share) for name, share in QUANTILES})


class Tally:
    """Samples, added up as they come: only the figures that percentiles need are kept."""

    def __init__(self) -> None:
        self.requests = 0
        self.ok = 0
        self._streams = 0
        self._statuses: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._targets: Counter[str] = Counter()
        self._versions: Counter[str] = Counter()
        self._fingerprints: Counter[str] = Counter()
        self._latencies = array("d")
        self._ttfts = array("d")

    @property
    def failed(self) -> int:
        return self.requests - self.ok

    def add(self, sample: Sample) -> None:
        self.requests += 1
        self.ok += sample.ok
        self._streams += sample.stream
        self._statuses[NO_STATUS if sample.status is None else str(sample.status)] += 1
        for counter, key in (
            (self._errors, sample.error),
            (self._models, sample.model),
            (self._targets, sample.target),
            (self._versions, sample.version),
            (self._fingerprints, sample.fingerprint),
        ):
            if key is not None:
                counter[key] += 1
        if sample.ok:
            self._latencies.append(sample.latency_seconds)
            if sample.ttft_seconds is not None:
                self._ttfts.append(sample.ttft_seconds)

    def report(self, *, url: str, model: str, elapsed_seconds: float, unfinished: int = 0) -> TrafficReport:
        return TrafficReport(
            url=url,
            model=model,
            elapsed_seconds=elapsed_seconds,
            requests=self.requests,
            ok=self.ok,
            failed=self.failed,
            unfinished=unfinished,
            streams=self._streams,
            by_status=_ranked(self._statuses),
            by_error=_ranked(self._errors),
            by_model=_ranked(self._models),
            by_target=_ranked(self._targets),
            by_version=_ranked(self._versions),
            by_fingerprint=_ranked(self._fingerprints),
            latency_seconds=percentiles(self._latencies),
            ttft_seconds=percentiles(self._ttfts),
        )


def _ranked(counter: Counter[str]) -> dict[str, int]:
    """The counts, the highest first, equal ones by name."""
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))
