"""What the clients saw, by the version that served them.

Rule: only what came back to a client is counted here; what the gateway says of itself is the other side of the recount.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from modelway_cli.traffic.report import Sample, percentile

NOBODY: Final = "nobody"
"""Stands for a model where an answer does not say who gave it."""
SLOW_SECONDS: Final = 1.0
RECENT: Final = 2_000
"""Times to the first token that percentiles are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The figures of one version."""

    requests: int
    failed: int
    streams: int
    slow: int
    ttft_p50: float | None

    @property
    def failed_share(self) -> float | None:
        return self.failed / self.requests if self.requests else None

    @property
    def slow_share(self) -> float | None:
        return self.slow / self.streams if self.streams else None


class Figures:
    """Samples added up, by model."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()
        self._slow: Counter[str] = Counter()
        self._ttfts: dict[str, deque[float]] = {}

    def take(self, sample: Sample) -> None:
        """Count one more request."""
        model = sample.model or NOBODY
        self.requests[model] += 1
        self.failed[model] += not sample.ok
        if sample.ttft_seconds is not None:
            self._streams[model] += 1
            self._slow[model] += sample.ttft_seconds > SLOW_SECONDS
            self._ttfts.setdefault(model, deque(maxlen=RECENT)).append(sample.ttft_seconds)

    def of(self, model: str) -> Seen:
        """The figures of one version up to now."""
        return Seen(
            requests=self.requests[model],
            failed=self.failed[model],
            streams=self._streams[model],
            slow=self._slow[model],
            ttft_p50=percentile(sorted(self._ttfts.get(model, ())), 0.5),  # type: ignore[arg-type]
        )
