"""What a simulated LLM has seen, so that a test can recount what reached it.

Rule: a request is counted in `received` when its head has arrived, in one model when its body has been understood or
refused, and in one outcome when its answer has ended, whoever ended it. So `received` is the sum of the outcomes and of
those still open.
"""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from modelway_cli.simulator.behaviour import ErrorMode

UNKNOWN_MODEL: Final = "unknown"
"""Stands for every name that is not served: labels come from closed sets only."""


class Outcome(StrEnum):
    """How a request to `/v1/chat/completions` ended; the error modes are those of `ErrorMode`."""

    OK = "ok"
    BAD_REQUEST = "bad-request"
    UNAUTHORIZED = "unauthorized"
    UNKNOWN_MODEL = "unknown-model"
    CANCELLED = "cancelled"
    """The client left before the end of an answer that would have been good."""

    STATUS = ErrorMode.STATUS
    RESET = ErrorMode.RESET
    HANG = ErrorMode.HANG
    STALL_MID_STREAM = ErrorMode.STALL_MID_STREAM
    ERROR_IN_STREAM = ErrorMode.ERROR_IN_STREAM
    EMPTY_200 = ErrorMode.EMPTY_200
    MALFORMED = ErrorMode.MALFORMED


class StatsView(msgspec.Struct, frozen=True):
    """The counts at one moment, as `/stats` shows them."""

    received: int
    by_model: dict[str, int]
    by_outcome: dict[str, int]
    open_streams: int
    cancelled: int


class Stats:
    """Counts of chat requests."""

    def __init__(self) -> None:
        self.received = 0
        self.by_model: Counter[str] = Counter()
        self.by_outcome: Counter[Outcome] = Counter()
        self.open_streams = 0
        self.cancelled = 0
        """Answers that the client did not wait for, those that would never have ended included."""
        self._ended: Counter[tuple[str, Outcome]] = Counter()

    def count_model(self, model: str) -> None:
        self.by_model[model] += 1

    def count_end(self, model: str, outcome: Outcome) -> None:
        self.by_outcome[outcome] += 1
        self._ended[model, outcome] += 1

    def reset(self) -> None:
        """Forgets everything but the streams that are open."""
        self.received = self.cancelled = 0
        for counter in (self.by_model, self.by_outcome, self._ended):
            counter.clear()

    def view(self) -> StatsView:
        return StatsView(
            received=self.received,
            by_model=dict(self.by_model),
            by_outcome={str(outcome): count for outcome, count in self.by_outcome.items()},
            open_streams=self.open_streams,
            cancelled=self.cancelled,
        )

    def render(self, models: Iterable[str]) -> str:
        """The Prometheus text; every pair of a served model and an outcome is there from the start, at 0."""
        names = dict.fromkeys((*models, UNKNOWN_MODEL, *(model for model, _ in self._ended)))
        lines = [
            "# HELP simulated_requests_total Chat requests by how they ended.",
            "# TYPE simulated_requests_total counter",
        ]
        lines += (
            f'simulated_requests_total{{model="{_escaped(model)}",outcome="{outcome}"}} {self._ended[model, outcome]}'
            for model in names
            for outcome in Outcome
        )
        return "\n".join([*lines, ""])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
