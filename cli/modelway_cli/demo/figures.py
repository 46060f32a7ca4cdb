"""What the clients saw, by the version that served them: all of it for the books, and the last seconds for the picture.

Rule: only what came back to a client is counted here; what the gateway says of itself is the other side of the recount.
"""

from array import array
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from modelway_cli.traffic.report import Sample, percentile

NOBODY: Final = "nobody"
"""Stands for a model where an answer does not say who gave it."""
WINDOW_SECONDS: Final = 5
"""What "now" means: long enough for a share of 5 % to show, short enough to be seen moving."""
KEPT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """The figures of one version over the last `WINDOW_SECONDS`; None where there was nothing to take them from."""

    per_second: float
    failed_share: float | None
    """Of requests that clients saw fail."""
    retried_share: float | None
    """Of those whose first attempt failed, whether clients saw it or not."""
    ttft_p50: float | None
    ttft_p95: float | None


@dataclass(slots=True)
class _Second:
    number: int
    requests: int = 0
    failed: int = 0
    retried: int = 0
    ttfts: list[float] = field(default_factory=list)


class Figures:
    """Samples added up, by model. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.requests: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        """Calls to backends that those requests took, as the gateway's answers say."""
        self._seconds: dict[str, deque[_Second]] = {}

    def take(self, sample: Sample) -> None:
        """Count one more request, now."""
        model = sample.model or NOBODY
        self.requests[model] += 1
        self.failed[model] += not sample.ok
        self.attempts[model] += sample.attempts
        second = self._second(model)
        second.requests += 1
        second.failed += not sample.ok
        second.retried += sample.attempts > 1
        if sample.ttft_seconds is not None:
            second.ttfts.append(sample.ttft_seconds)

    def recent(self, model: str) -> Recent:
        """The figures of the whole seconds before this one."""
        now = int(self._clock())
        seconds = [one for one in self._seconds.get(model, ()) if now - WINDOW_SECONDS <= one.number < now]
        requests = sum(one.requests for one in seconds)
        ttfts = array("d", sorted(ttft for one in seconds for ttft in one.ttfts))
        return Recent(
            per_second=requests / WINDOW_SECONDS,
            failed_share=sum(one.failed for one in seconds) / requests if requests else None,
            retried_share=sum(one.retried for one in seconds) / requests if requests else None,
            ttft_p50=percentile(ttfts, 0.5),
            ttft_p95=percentile(ttfts, 0.95),
        )

    def course(self, model: str, *, seconds: int) -> tuple[int, ...]:
        """How many requests it had in each of the last seconds, the oldest first."""
        now = int(self._clock())
        counts = {one.number: one.requests for one in self._seconds.get(model, ())}
        return tuple(counts.get(number, 0) for number in range(now - seconds, now))

    def _second(self, model: str) -> _Second:
        kept = self._seconds.setdefault(model, deque(maxlen=KEPT_SECONDS))
        number = int(self._clock())
        if not kept or kept[-1].number != number:
            kept.append(_Second(number))
        return kept[-1]
