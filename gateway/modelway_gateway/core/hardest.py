"""The most recent scores of one signal, so that "the hardest third" means a third of what really comes.

The rule: a score is judged by those before it, and equal ones are not above each other, so that no more than the share
that was asked for is ever called the hardest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Final

WINDOW: Final = 1000
LEAST: Final = 100
"""With fewer scores than these a quantile says little, and none is given."""


class RecentScores:
    """The last `WINDOW` scores, in the order in which they came and by size."""

    __slots__ = ("_by_size", "_recent")

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._by_size: list[float] = []

    def is_hardest(self, score: float, *, share: float) -> bool | None:
        """Whether it is above all but `share` (0..1) of those before it, None while these are too few; then keep it."""
        count = len(self._by_size)
        hardest = None
        if count >= LEAST:
            below = count - int(count * share)
            hardest = score > self._by_size[below - 1] if below else True
        if count == WINDOW:
            del self._by_size[bisect_left(self._by_size, self._recent.popleft())]
        self._recent.append(score)
        insort(self._by_size, score)
        return hardest
