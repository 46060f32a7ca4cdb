"""Counters and histograms of one series, looked up once when a config is built and never again on a request's path.

The rule: a series lives as long as some config names it, and `KEEP_SECONDS` longer; a new config never resets one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from modelway_contract import signals
from modelway_contract.names import (
    DURATION_BUCKETS_SECONDS,
    TPOT_BUCKETS_SECONDS,
    TTFT_BUCKETS_SECONDS,
    Arm,
    Outcome,
)
from modelway_gateway.core.hardest import RecentScores
from modelway_gateway.core.verdicts import Result

KEEP_SECONDS: Final = 900.0
"""How long a series outlives the last config that named it: a few scrapes and an alert's range."""


SIGNAL_BUCKETS_SECONDS: Final = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip


class SeriesKey(NamedTuple):
    """The labels, in the order of `names.Label`; all of them come from the config or a closed set."""

    namespace: str
    policy: str
    rule: str
    target: str
    model: str
    version: str
    arm: Arm


class Histogram:
    """Counts per bucket (not cumulative; the last one is +Inf) and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Series:
    """What is counted for one (policy, rule, target, model, version, arm)."""

    __slots__ = ("duration", "fallbacks", "key", "requests", "rescued", "tpot", "ttft")

    def __init__(self, key: SeriesKey) -> None:
        self.key = key
        self.requests: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.fallbacks = 0
        """Requests given to it that went on to a fallback model."""
        self.rescued = 0
        """Requests whose first attempt failed, and that another attempt answered well."""
        self.ttft = Histogram(TTFT_BUCKETS_SECONDS)
        self.tpot = Histogram(TPOT_BUCKETS_SECONDS)
        self.duration = Histogram(DURATION_BUCKETS_SECONDS)

    def count(self, outcome: Outcome) -> None:
        """Count a request, once, at its end."""
        self.requests[outcome] += 1


class CallsKey(NamedTuple):
    """The labels of what is counted for one backend."""

    namespace: str
    model: str
    version: str
    backend: str


class Calls:
    """Upstream calls to one backend by how each ended; what retries and fallbacks hide is seen here."""

    __slots__ = ("ended", "key")

    def __init__(self, key: CallsKey) -> None:
        self.key = key
        self.ended: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    def count(self, outcome: Outcome) -> None:
        """Count a call, once, at its end."""
        self.ended[outcome] += 1


class SignalKey(NamedTuple):
    """The labels of what is counted for one signal of a policy."""

    namespace: str
    policy: str
    signal: str
    kind: str


class SignalSeries:
    """What became of asking one signal; and, for those that compare a request with others, the recent ones."""

    __slots__ = ("key", "recent", "results")

    def __init__(self, key: SignalKey) -> None:
        self.key = key
        self.results: dict[Result, int] = dict.fromkeys(Result, 0)
        self.recent: RecentScores | None = None


_Key = TypeVar("_Key", SeriesKey, CallsKey, SignalKey)
_Counted = TypeVar("_Counted", Series, Calls, SignalSeries)


class Shelf(Generic[_Key, _Counted]):
    """All objects of one kind by their labels. `get` while building, `activate` when what was built goes live."""

    def __init__(self, make: Callable[[_Key], _Counted], key_of: Callable[[_Counted], _Key]) -> None:
        self._make: Callable[[_Key], _Counted] = make
        self._key_of: Callable[[_Counted], _Key] = key_of
        self._known: dict[_Key, _Counted] = {}
        self._shown: dict[_Key, float | None] = {}  # value: since when no config names it

    def get(self, key: _Key) -> _Counted:
        """The object of these labels, the same one each time. Not shown before it is activated."""
        counted = self._known.get(key)
        if counted is None:
            counted = self._known[key] = self._make(key)
        return counted

    def activate(self, counted: Iterable[_Counted], *, now: float) -> None:
        """Show these; forget what was got for a config that never went live; begin to retire all others."""
        live = {self._key_of(each) for each in counted}
        for key in live:
            self._shown[key] = None
        for key, gone_since in self._shown.items():
            if gone_since is None and key not in live:
                self._shown[key] = now
        self._known = {key: each for key, each in self._known.items() if key in self._shown}
        self.retire(now=now)

    def retire(self, *, now: float) -> None:
        """Drop what no config has named for `KEEP_SECONDS`."""
        gone = [key for key, since in self._shown.items() if since is not None and now - since > KEEP_SECONDS]
        for key in gone:
            del self._shown[key]
            self._known.pop(key, None)

    def shown(self) -> list[_Counted]:
        """What `/metrics` shows."""
        return [self._known[key] for key in self._shown]


class SeriesBook:
    """Everything that is counted by labels from the config."""

    def __init__(self) -> None:
        self.requests: Shelf[SeriesKey, Series] = Shelf(Series, lambda each: each.key)
        self.calls: Shelf[CallsKey, Calls] = Shelf(Calls, lambda each: each.key)
        self.signals: Shelf[SignalKey, SignalSeries] = Shelf(SignalSeries, lambda each: each.key)
        self.signal_seconds = {kind: Histogram(SIGNAL_BUCKETS_SECONDS) for kind in signals.KINDS}
        """How long asking a signal took, by its kind; what it shares with others counts for the first."""

    def retire(self, *, now: float) -> None:
        """Drop what no config has named for `KEEP_SECONDS`."""
        self.requests.retire(now=now)
        self.calls.retire(now=now)
        self.signals.retire(now=now)
