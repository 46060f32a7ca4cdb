"""Durations and decimal text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_operator.api.quantities import DecimalText, Duration, decimal_between, duration_between


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1h1ms", 3600.001),
        ("600s", 600.0),
        ("0s", 0.0),
    ],
)
def test_duration_reads_as_seconds(text: str, seconds: float) -> None:
    """Units add up, and the text stays what it was."""
    duration = Duration(text)

    assert str(duration) == text
    assert duration.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "1h1", "-1s", "1e9h", "NaN", "1 s", "1s\n", "1s1h", "999999h", "1d", "٣s"])
def test_b31_what_is_no_duration(text: str) -> None:
    """Signs, exponents, bare numbers, wrong order, trailing lines and foreign digits are refused."""
    with pytest.raises(ValueError, match="must be a duration"):
        Duration(text)


@given(hours=st.integers(0, 99999), minutes=st.integers(0, 99999), millis=st.integers(0, 99999))
def test_duration_is_the_sum_of_its_parts(hours: int, minutes: int, millis: int) -> None:
    """Whatever the parts, the length is their sum."""
    duration = Duration(f"{hours}h{minutes}m{millis}ms")

    assert duration.seconds == pytest.approx(hours * 3600 + minutes * 60 + millis / 1000)


@pytest.mark.parametrize("text", ["NaN", "Inf", "-1", "+1", "1e1", "0x1", ".5", "1.", "", "1\n", "1_0", "٣"])
def test_b34_what_is_no_decimal(text: str) -> None:
    """Only digits with at most one point: what Python's float would also take is refused."""
    with pytest.raises(ValueError, match="must be a decimal number"):
        DecimalText(text)


@given(st.decimals(0, 999_999_999, places=6))
def test_decimal_text_has_its_value(number: object) -> None:
    """Text and value agree."""
    assert float(str(number)) == DecimalText(f"{number:f}").value


@pytest.mark.parametrize(
    ("text", "within"), [("1s", True), ("999ms", False), ("1m", True), ("61s", False), ("x", False)]
)
def test_duration_bounds_are_inclusive(text: str, within: bool) -> None:
    """Both bounds belong to the range."""
    assert within is duration_between("1s", "1m").holds(text)


@pytest.mark.parametrize(
    ("text", "within"), [("0", False), ("0.001", True), ("1", True), ("1.001", False), ("x", False)]
)
def test_decimal_bounds(text: str, within: bool) -> None:
    """The lower bound can be left out, the upper one belongs to the range."""
    assert within is decimal_between("0", "1", above_low=True).holds(text)
