"""Keeps what a signal said of a request, and counts and times it.

The rule: each verdict of each request goes through here once, whether it was found at once or had to be waited for.
"""

from __future__ import annotations

from modelway_gateway.core.features import Question
from modelway_gateway.core.series import Histogram, SignalSeries
from modelway_gateway.core.verdicts import Verdict


class Tally:
    """Of one signal."""

    __slots__ = ("_seconds", "name", "series")

    def __init__(self, name: str, series: SignalSeries, seconds: Histogram) -> None:
        """`seconds` is shared by all signals of its kind."""
        self.name = name
        self.series = series
        self._seconds = seconds

    def keep(self, question: Question, verdict: Verdict, seconds: float) -> None:
        """This was said of the question, and took so long to find out."""
        question.verdicts[self.name] = verdict
        self._seconds.observe(seconds)
        self.series.results[verdict.result] += 1
