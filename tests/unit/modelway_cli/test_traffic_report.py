"""The arithmetic of a summary."""

from array import array
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from modelway_cli.traffic.display import Progress, milliseconds, share, summary_table
from modelway_cli.traffic.report import Percentiles, Sample, Tally, TrafficReport, percentile, percentiles


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Percentiles(None, None, None)),
        ([3.0], Percentiles(3.0, 3.0, 3.0)),
        ([2.0, 1.0], Percentiles(1.0, 2.0, 2.0)),
        (list(range(1, 11)), Percentiles(5.0, 9.0, 10.0)),
        (list(range(1, 101)), Percentiles(50.0, 90.0, 99.0)),
        (list(range(1, 102)), Percentiles(51.0, 91.0, 100.0)),
        (list(range(1000, 0, -1)), Percentiles(500.0, 900.0, 990.0)),
    ],
)
def test_percentiles_are_nearest_ranks(values: list[float], expected: Percentiles) -> None:
    """Always a value that was measured, never one between two."""
    assert expected == percentiles(values)


@given(values=st.lists(st.floats(0, 1e6), min_size=1), part=st.floats(0.01, 1))
def test_a_percentile_has_its_share_below_it(values: list[float], part: float) -> None:
    """At least the share does not exceed it, and any smaller value would have less."""
    ordered = array("d", sorted(values))
    found = percentile(ordered, part)

    assert found is not None
    assert sum(value <= found for value in ordered) >= part * len(ordered) - 1e-6
    assert sum(value < found for value in ordered) < part * len(ordered) + 1e-6


SAMPLES = (
    Sample(number=0, stream=False, status=200, model="a", target="t1", latency_seconds=0.1),
    Sample(
        number=1,
        stream=True,
        status=200,
        model="b",
        version="2",
        fingerprint="f",
        latency_seconds=0.3,
        ttft_seconds=0.2,
    ),
    Sample(number=2, stream=False, status=200, model="b", target="t1", latency_seconds=0.2),
    Sample(number=3, stream=False, status=503, error="overloaded", target="t2", latency_seconds=9.0),
    Sample(number=4, stream=True, status=200, error="stream_error", latency_seconds=9.0, ttft_seconds=9.0),
    Sample(number=5, stream=False, error="timeout", latency_seconds=60.0),
)


def a_report(*samples: Sample, unfinished: int = 0) -> TrafficReport:
    tally = Tally()
    for sample in samples:
        tally.add(sample)
    return tally.report(url="http://h/v1/chat/completions", model="m", elapsed_seconds=2.0, unfinished=unfinished)


def test_a_report_adds_its_samples_up() -> None:
    """Every request is in one status and is ok or failed; latencies are those of the ok ones."""
    expected = TrafficReport(
        url="http://h/v1/chat/completions",
        model="m",
        elapsed_seconds=2.0,
        requests=6,
        ok=3,
        failed=3,
        unfinished=1,
        streams=2,
        by_status={"200": 4, "503": 1, "none": 1},
        by_error={"overloaded": 1, "stream_error": 1, "timeout": 1},
        by_model={"b": 2, "a": 1},
        by_target={"t1": 2, "t2": 1},
        by_version={"2": 1},
        by_fingerprint={"f": 1},
        latency_seconds=Percentiles(0.2, 0.3, 0.3),
        ttft_seconds=Percentiles(0.2, 0.2, 0.2),
    )

    assert expected == a_report(*SAMPLES, unfinished=1)


def test_breakdowns_show_the_highest_count_first() -> None:
    """Equal counts go by name, so that two reports can be compared."""
    report = a_report(*SAMPLES)

    assert list(report.by_status) == ["200", "503", "none"]
    assert list(report.by_model) == ["b", "a"]


def printed(report: TrafficReport) -> str:
    console = Console(file=StringIO(), width=100)
    console.print(summary_table(report))
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_the_table_shows_counts_and_shares() -> None:
    """What people read is what the report holds."""
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in printed(a_report(*SAMPLES, unfinished=2)).splitlines()
        if line.startswith("│")
    ]

    for row in (
        ["requests", "6", "100.0%"],
        ["ok", "3", "50.0%"],
        ["unfinished", "2", ""],
        ["status 503", "1", "16.7%"],
        ["error timeout", "1", "16.7%"],
        ["model b", "2", "33.3%"],
        ["latency p50", "200.0 ms", ""],
        ["first token p99", "200.0 ms", ""],
        ["elapsed", "2.0 s", "3.0/s"],
    ):
        assert row in rows


def test_names_from_the_target_are_no_markup() -> None:
    """A target cannot style, or break, somebody's terminal."""
    assert "model [bold]x[/nope]" in printed(
        a_report(Sample(number=0, stream=False, status=200, model="[bold]x[/nope]"))
    )


def test_an_empty_report_prints() -> None:
    """An interrupted run may have nothing to tell."""
    assert "requests" in printed(a_report())


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0.0, "0.0 ms"), (1.23456, "1234.6 ms")])
def test_durations_for_people(seconds: float | None, text: str) -> None:
    """Milliseconds, with one decimal."""
    assert text == milliseconds(seconds)


@pytest.mark.parametrize(("part", "whole", "text"), [(0, 0, "-"), (1, 3, "33.3%"), (3, 3, "100.0%")])
def test_shares_for_people(part: int, whole: int, text: str) -> None:
    """A share of nothing is no number."""
    assert text == share(part, whole)


def test_progress_off_a_terminal_is_a_line_now_and_then() -> None:
    """A log gets a line every five seconds at most, and no control characters."""
    now = 0.0
    console = Console(file=StringIO(), width=100, force_terminal=False)
    with Progress(console, expected=20, clock=lambda: now) as progress:
        for number in range(12):
            now = float(number)
            progress.take(Sample(number=number, stream=False, error="x" if number == 3 else None))

    file = console.file
    assert isinstance(file, StringIO)
    assert file.getvalue() == "6 of 20 requests, 1 failed\n11 of 20 requests, 1 failed\n"


def test_progress_on_a_terminal_rewrites_one_line() -> None:
    """It is gone at the end: the summary says it better."""
    console = Console(file=StringIO(), width=100, force_terminal=True)
    with Progress(console, expected=None, clock=lambda: 0.0) as progress:
        progress.take(Sample(number=0, stream=False))

    file = console.file
    assert isinstance(file, StringIO)
    assert "requests, 0 failed" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K")
