"""How many retries a gateway may make in all, so that an outage upstream does not grow by our own doing.

The rule (Finagle's): within any ten seconds, retries are at most a fifth of the requests, and a floor that lets a
gateway with little traffic retry at all. A request costs one addition; the window moves with the sweep.
"""

from __future__ import annotations

from collections import deque
from typing import Final

SHARE: Final = 0.2
FLOOR_PER_SECOND: Final = 10
WINDOW_SECONDS: Final = 10

_SAMPLE_SECONDS: Final = 1.0


class RetryBudget:
    """Counts requests and retries; knows how many of each there were when the window began."""

    __slots__ = ("_samples", "exhausted_total", "requests_total", "retries_total")

    def __init__(self) -> None:
        self.requests_total = 0
        """Added to by whoever takes a request."""
        self.retries_total = 0
        self.exhausted_total = 0
        """Retries that there was reason for and no budget."""
        self._samples: deque[tuple[float, int, int]] = deque([(float("-inf"), 0, 0)])

    def sweep(self, now: float) -> None:
        """Move the window; called several times a second."""
        samples = self._samples
        if now - samples[-1][0] >= _SAMPLE_SECONDS:
            samples.append((now, self.requests_total, self.retries_total))
        while len(samples) > 1 and samples[1][0] <= now - WINDOW_SECONDS:
            samples.popleft()

    def take(self) -> bool:
        """Whether one more retry may be made; it counts then."""
        _, requests, retries = self._samples[0]
        allowed = SHARE * (self.requests_total - requests) + FLOOR_PER_SECOND * WINDOW_SECONDS
        if self.retries_total - retries >= allowed:
            self.exhausted_total += 1
            return False
        self.retries_total += 1
        return True
