"""Durations and decimal numbers as users write them, with the bounds that fields put on them.

The rule to know: both stay text, so that what is shown is what was written, and both carry their parsed value.
"""

import re
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from modelway_operator.api.rules import Rule, cel_text

_DURATION = r"([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?([0-9]{1,5}ms)?"
_DECIMAL = r"[0-9]{1,9}([.][0-9]{1,9})?"
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Duration(str):
    """A span of time (`500ms`, `30s`, `1h30m`) with its length in seconds."""

    __slots__ = ("seconds",)
    seconds: float

    def __new__(cls, text: str) -> Self:
        if not text or re.fullmatch(_DURATION, text) is None:
            raise ValueError("must be a duration such as 500ms, 30s, 2m or 1h30m")
        self = super().__new__(cls, text)
        self.seconds = sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"([0-9]+)(ms|h|m|s)", text))
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(max_length=32))


class DecimalText(str):
    """A number as text (`"0.05"`), as Kubernetes wants it where floats would be rounded, with its value."""

    __slots__ = ("value",)
    value: float

    def __new__(cls, text: str) -> Self:
        if re.fullmatch(_DECIMAL, text) is None:
            raise ValueError('must be a decimal number as text, such as "0.05"')
        self = super().__new__(cls, text)
        self.value = float(text)
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(max_length=20))


def duration_between(shortest: str, longest: str, *, such_as: str = "30s, 2m or 1h30m") -> Rule:
    """The field is a duration, and within these bounds."""
    low, high = Duration(shortest).seconds, Duration(longest).seconds

    def holds(text: str) -> bool:
        try:
            return low <= Duration(text).seconds <= high
        except ValueError:
            return False

    return Rule(
        cel=f"self != '' && self.matches({cel_text(f'^{_DURATION}$')})"
        f" && duration(self) >= duration('{shortest}') && duration(self) <= duration('{longest}')",
        message=f"must be a duration from {shortest} to {longest}, such as {such_as}",
        holds=holds,
        raw=True,
    )


def decimal_between(low: str, high: str, *, above_low: bool = False) -> Rule:
    """The field is a decimal number, and within these bounds, the lower one left out with `above_low`."""
    lowest, highest = float(low), float(high)

    def holds(text: str) -> bool:
        try:
            value = DecimalText(text).value
        except ValueError:
            return False
        return value <= highest and (value > lowest if above_low else value >= lowest)

    bounds = f'above "{low}" and at most "{high}"' if above_low else f'from "{low}" to "{high}"'
    return Rule(
        cel=f"self.matches({cel_text(f'^{_DECIMAL}$')})"
        f" && double(self) {'>' if above_low else '>='} {lowest!r} && double(self) <= {highest!r}",
        message=f"must be a decimal number as text, {bounds}",
        holds=holds,
        raw=True,
    )


def when_parsed(cel: str) -> str:
    """The beginning of a rule that compares a duration: text that is none is left to the field's own rule."""
    return f"!({cel}).matches('^([0-9]{{1,5}}(h|m|s|ms))+$') || "
