"""What `/metrics` says: plain counters, rendered in slices so that a scrape never holds up a request.

Rules to know: labels come from the config and closed sets only. A request counts once, at its end, as its first
attempt ended, in the series of the arm that was given to (ADR 8). Histograms are fed only by answers of first attempts
that began; for an answer that is not streamed, the time to the first token is the time to the head of the upstream's
answer, and no time per token is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import accumulate
from operator import attrgetter
from typing import Final

from modelway_contract import names
from modelway_contract.names import Label
from modelway_gateway.core.budget import RetryBudget
from modelway_gateway.core.series import Calls, Histogram, Series, SeriesBook, SignalSeries
from modelway_gateway.errors import REFUSAL_CODES, Code

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ATTEMPTS_TOTAL: Final = "modelway_attempts_total"
FALLBACKS_TOTAL: Final = "modelway_fallbacks_total"
RESCUED_TOTAL: Final = "modelway_rescued_total"
SIGNAL_RESULTS_TOTAL: Final = "modelway_signal_results_total"
SIGNAL_SECONDS: Final = "modelway_signal_seconds"
OVERHEAD_BUCKETS_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_SERIES_PER_SLICE: Final = 64
_LAG_WINDOW_SWEEPS: Final = 150
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class PushResult(StrEnum):
    """What became of a push."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    FENCED = "fenced"
    MISSING = "missing"
    REJECTED = "rejected"


class Metrics:
    """Everything counted in this process."""

    def __init__(self) -> None:
        self.book = SeriesBook()
        self.budget = RetryBudget()
        self.overhead = Histogram(OVERHEAD_BUCKETS_SECONDS)
        self.inflight = 0
        self.refusals: dict[Code, int] = dict.fromkeys(REFUSAL_CODES, 0)
        self.pushes: dict[PushResult, int] = dict.fromkeys(PushResult, 0)
        self.last_good_failures: Callable[[], int] = lambda: 0
        self._lags: deque[float] = deque(maxlen=_LAG_WINDOW_SWEEPS)
        self._swept_at = 0.0

    def sweep(self, now: float, *, period_seconds: float) -> None:
        """Note how late the event loop came to this; the gauge shows the worst of the last 15 s."""
        if self._swept_at:
            self._lags.append(max(0.0, now - self._swept_at - period_seconds))
        self._swept_at = now

    @property
    def loop_lag_seconds(self) -> float:
        return max(self._lags, default=0.0)

    def render(self, *, revision: str | None, config_age_seconds: float | None) -> Iterator[bytes]:
        """The text, in slices of a few milliseconds at most."""
        yield "".join(self._process_lines(revision, config_age_seconds)).encode()
        shown = self.book.requests.shown()
        labels = [_labels(each) for each in shown]
        yield _head(names.REQUESTS_TOTAL, "counter", "Requests by how their first attempt ended, by its arm.").encode()
        for start in range(0, len(shown), _SERIES_PER_SLICE):
            part = slice(start, start + _SERIES_PER_SLICE)
            yield "".join(
                f'{names.REQUESTS_TOTAL}{{{text},{Label.OUTCOME}="{outcome}"}} {count}\n'
                for each, text in zip(shown[part], labels[part], strict=True)
                for outcome, count in each.requests.items()
            ).encode()
        for name, text_of_help, count_of in (
            (FALLBACKS_TOTAL, "Requests that went on to a fallback model, by the arm left.", attrgetter("fallbacks")),
            (RESCUED_TOTAL, "Requests answered well after their first attempt had failed.", attrgetter("rescued")),
        ):
            yield _head(name, "counter", text_of_help).encode()
            for start in range(0, len(shown), _SERIES_PER_SLICE):
                part = slice(start, start + _SERIES_PER_SLICE)
                yield "".join(
                    f"{name}{{{text}}} {count_of(each)}\n" for each, text in zip(shown[part], labels[part], strict=True)
                ).encode()
        yield _head(ATTEMPTS_TOTAL, "counter", "Upstream calls by how each ended, by the backend asked.").encode()
        calls = self.book.calls.shown()
        for start in range(0, len(calls), _SERIES_PER_SLICE):
            yield "".join(
                f'{ATTEMPTS_TOTAL}{{{_call_labels(each)},{Label.OUTCOME}="{outcome}"}} {count}\n'
                for each in calls[start : start + _SERIES_PER_SLICE]
                for outcome, count in each.ended.items()
            ).encode()
        yield _head(
            SIGNAL_RESULTS_TOTAL, "counter", "Requests that a signal was asked about, by what it said."
        ).encode()
        signals = self.book.signals.shown()
        for start in range(0, len(signals), _SERIES_PER_SLICE):
            yield "".join(
                f'{SIGNAL_RESULTS_TOTAL}{{{_signal_labels(each)},result="{result}"}} {count}\n'
                for each in signals[start : start + _SERIES_PER_SLICE]
                for result, count in each.results.items()
            ).encode()
        if signals:
            yield _head(SIGNAL_SECONDS, "histogram", "Time that asking a signal took, by its kind.").encode()
            for kind in sorted({each.key.kind for each in signals}):
                yield "".join(_histogram(SIGNAL_SECONDS, f'kind="{kind}"', self.book.signal_seconds[kind])).encode()
        for name, pick, text in _FAMILIES:
            yield _head(name, "histogram", text).encode()
            for start in range(0, len(shown), _SERIES_PER_SLICE):
                part = slice(start, start + _SERIES_PER_SLICE)
                yield "".join(
                    line
                    for each, text in zip(shown[part], labels[part], strict=True)
                    for line in _histogram(name, text, pick(each))
                ).encode()

    def _process_lines(self, revision: str | None, config_age_seconds: float | None) -> Iterator[str]:
        yield _head("modelway_inflight", "gauge", "Requests under way.")
        yield f"modelway_inflight {self.inflight}\n"
        yield _head("modelway_refusals_total", "counter", "Requests that were sent nowhere, by error code.")
        for code, count in self.refusals.items():
            yield f'modelway_refusals_total{{code="{code}"}} {count}\n'
        yield _head(
            "modelway_retries_total", "counter", "Upstream calls that followed a failed one of the same request."
        )
        yield f"modelway_retries_total {self.budget.retries_total}\n"
        yield _head("modelway_retry_budget_exhausted_total", "counter", "Retries that the gateway's budget forbade.")
        yield f"modelway_retry_budget_exhausted_total {self.budget.exhausted_total}\n"
        yield _head("modelway_config_push_total", "counter", "Pushes of configs by what became of them.")
        for result, count in self.pushes.items():
            yield f'modelway_config_push_total{{result="{result}"}} {count}\n'
        yield _head("modelway_config_last_good_failures_total", "counter", "Failed writes to the state folder.")
        yield f"modelway_config_last_good_failures_total {self.last_good_failures()}\n"
        if revision is not None:
            yield _head("modelway_config_revision_info", "gauge", "The config that this process runs.")
            yield f'modelway_config_revision_info{{revision="{_escape(revision)}"}} 1\n'
        if config_age_seconds is not None:
            yield _head("modelway_config_age_seconds", "gauge", "Since a push last confirmed the config.")
            yield f"modelway_config_age_seconds {config_age_seconds:.3f}\n"
        yield _head("modelway_event_loop_lag_seconds", "gauge", "Worst delay of the event loop in the last 15 s.")
        yield f"modelway_event_loop_lag_seconds {self.loop_lag_seconds:.6f}\n"
        yield _head("modelway_overhead_seconds", "histogram", "Time spent in the gateway itself, by request.")
        yield from _histogram("modelway_overhead_seconds", "", self.overhead)


_FAMILIES: Final[tuple[tuple[str, Callable[[Series], Histogram], str], ...]] = (
    (names.TTFT_SECONDS, lambda each: each.ttft, "From the request to the first content of its answer."),
    (names.TPOT_SECONDS, lambda each: each.tpot, "Between two tokens of a streamed answer, on average."),
    (names.DURATION_SECONDS, lambda each: each.duration, "From the request to the end of its answer."),
)


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _escape(value: str) -> str:
    return value.translate(_ESCAPES)


_CALL_LABELS: Final = (Label.NAMESPACE, Label.MODEL, Label.VERSION, "backend")
_SIGNAL_LABELS: Final = (Label.NAMESPACE, Label.POLICY, "signal", "kind")
_LABELS: Final = tuple(label for label in Label if label is not Label.OUTCOME)


def _labels(series: Series) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(_LABELS, series.key, strict=True))


def _call_labels(calls: Calls) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(_CALL_LABELS, calls.key, strict=True))


def _signal_labels(signal: SignalSeries) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(_SIGNAL_LABELS, signal.key, strict=True))


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    comma = "," if labels else ""
    total = 0
    for bound, total in zip(histogram.bounds, accumulate(histogram.counts), strict=False):
        yield f'{name}_bucket{{{labels}{comma}le="{bound!r}"}} {total}\n'
    total += histogram.counts[-1]
    braces = f"{{{labels}}}" if labels else ""
    yield f'{name}_bucket{{{labels}{comma}le="+Inf"}} {total}\n'
    yield f"{name}_sum{braces} {histogram.total!r}\n{name}_count{braces} {total}\n"
