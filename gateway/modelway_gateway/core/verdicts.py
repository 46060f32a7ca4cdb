"""What a signal says about one request, and how an answer's header tells it.

The rule: a verdict holds labels from closed sets or from the config, and numbers; never anything of a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from modelway_gateway.core.heads import header_line

SIGNALS_HEADER: Final = "x-modelway-signals"
_TOKEN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]*", re.ASCII)


class Result(StrEnum):
    """What became of asking a signal. Only a match makes a condition true."""

    MATCH = "match"
    NO_MATCH = "no_match"
    ABSTAINED = "abstained"
    """It says nothing: the label is too unsure, or there was nothing to read."""
    FAILED = "failed"


class Verdict(NamedTuple):
    """`confidence` is what stood against the signal's bound (a probability, a score); None where there is none.

    A failure has its kind for a label.
    """

    result: Result
    label: str = ""
    confidence: float | None = None

    def __str__(self) -> str:
        """As the debug log shows it, e.g. `match law 0.83`."""
        number = "" if self.confidence is None else f"{self.confidence:.2f}"
        return " ".join(part for part in (self.result.value, self.label, number) if part)


MATCH: Final = Verdict(Result.MATCH)
NO_MATCH: Final = Verdict(Result.NO_MATCH)
ABSTAINED: Final = Verdict(Result.ABSTAINED)


def signals_line(verdicts: Mapping[str, Verdict]) -> bytes:
    """The header of all signals that were asked: a dictionary of booleans with parameters, as RFC 9651 has it."""
    return header_line(SIGNALS_HEADER, ", ".join(f"{name}={_value(each)}" for name, each in verdicts.items()))


def _value(verdict: Verdict) -> str:
    value = "?1" if verdict.result is Result.MATCH else "?0"
    if verdict.label:
        value += f";label={verdict.label if _TOKEN.fullmatch(verdict.label) else _quoted(verdict.label)}"
    if verdict.confidence is not None:
        value += f";score={verdict.confidence:.2f}"
    if verdict.result in (Result.ABSTAINED, Result.FAILED):
        value += f";{verdict.result}"
    return value


def _quoted(label: str) -> str:
    """A string of RFC 9651, which knows printable ASCII only."""
    text = "".join(sign if " " <= sign <= "~" else "?" for sign in label)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
