"""A report and its progress as people read them.

Rule: names and codes come from the target, so they are printed as text and never as markup.
"""

from collections.abc import Callable
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from modelway_cli.traffic.report import Percentiles, Sample, TrafficReport

LINE_EVERY_SECONDS: Final = 5.0
BREAKDOWNS: Final = (
    ("status", "by_status"),
    ("error", "by_error"),
    ("model", "by_model"),
    ("target", "by_target"),
    ("version", "by_version"),
    ("fingerprint", "by_fingerprint"),
)


def milliseconds(seconds: float | None) -> str:
    """A duration for people, or a dash where there is none."""
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent, or a dash where there is no whole."""
    return f"{part / whole:.1%}" if whole else "-"


def summary_table(report: TrafficReport) -> Table:
    """The report as one table of three columns: what, how many, which part."""
    table = Table()
    for heading, justify in (("", "left"), ("count", "right"), ("share", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]

    def add(name: str, count: int) -> None:
        table.add_row(Text(name), str(count), share(count, report.requests))

    add("requests", report.requests)
    add("ok", report.ok)
    add("failed", report.failed)
    add("streams", report.streams)
    if report.unfinished:
        table.add_row("unfinished", str(report.unfinished), "")
    for label, field in BREAKDOWNS:
        counts: dict[str, int] = getattr(report, field)
        if counts:
            table.add_section()
        for key, count in counts.items():
            add(f"{label} {key}", count)
    table.add_section()
    _add_figures(table, "latency", report.latency_seconds)
    _add_figures(table, "first token", report.ttft_seconds)
    table.add_section()
    achieved = report.requests / report.elapsed_seconds if report.elapsed_seconds else 0.0
    table.add_row("elapsed", f"{report.elapsed_seconds:.1f} s", f"{achieved:.1f}/s")
    return table


def _add_figures(table: Table, label: str, figures: Percentiles) -> None:
    if figures.p50 is None:
        return
    for name in figures.__struct_fields__:
        table.add_row(f"{label} {name}", milliseconds(getattr(figures, name)), "")


class Progress:
    """Says how far a run is: one line that is rewritten on a terminal, a line now and then elsewhere.

    It draws when samples come and so needs no clock of its own running.
    """

    def __init__(self, console: Console, *, expected: int | None, clock: Callable[[], float]) -> None:
        self._console = console
        self._expected = expected
        self._clock = clock
        self._requests = self._failed = 0
        self._said_at = clock()
        self._live = Live(self._line(), console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def take(self, sample: Sample) -> None:
        """Counts one more request."""
        self._requests += 1
        self._failed += not sample.ok
        if self._console.is_terminal:
            self._live.update(self._line())
        elif self._clock() - self._said_at >= LINE_EVERY_SECONDS:
            self._said_at = self._clock()
            self._console.print(self._line())

    def _line(self) -> Text:
        of_all = "" if self._expected is None else f" of {self._expected}"
        return Text(f"{self._requests}{of_all} requests, {self._failed} failed")
