"""The demo as people see it: a panel that is redrawn on a terminal, lines where there is none.

Rule: what is said in the panel only is also in the summary, so that nobody who looks away, or reads a log, misses it.
"""

import textwrap
from collections.abc import Callable
from typing import Final, Self

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from modelway_cli.demo.figures import Figures, Seen
from modelway_cli.demo.files import Edit
from modelway_cli.demo.progress import Progress
from modelway_cli.demo.timeline import Course
from modelway_cli.traffic.display import milliseconds
from modelway_operator.api.rollout_status import RolloutPhase

WIDTH: Final = 96
BESIDE_BAR: Final = 40
"""Columns that are taken by what stands beside a bar."""
MESSAGE_LINES: Final = 3
STABLE, CANDIDATE, GOOD, WARNING, WRONG = "cyan", "magenta", "green", "yellow", "red"


class View:
    """Everything that the demo prints on its way."""

    def __init__(self, console: Console, *, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._began = clock()
        self._live: Live | None = None
        self._last_line = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_panel()

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._console.is_terminal

    def say(self, text: str, style: str = "") -> None:
        """A line with the time, above the panel."""
        seconds = int(self._clock() - self._began)
        line = Text.assemble((f"{seconds // 60}:{seconds % 60:02}  ", "dim"), (text, style))
        # A log keeps its lines whole; a terminal gets them broken between words.
        self._console.print(line, soft_wrap=not self.is_live)

    def show_edit(self, file: str, edit: Edit) -> None:
        """The line that was changed, as a diff."""
        self.say(file)
        self._console.print(Text(f"      - {edit.before}", WRONG), Text(f"\n      + {edit.after}", GOOD), sep="")

    def show(self, course: Course, progress: Progress, figures: Figures, *, title: str) -> None:
        """Where the rollout stands; off a terminal a line when that has changed."""
        if self.is_live:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False)
                self._live.start()
            width = min(WIDTH, self._console.width)
            self._live.update(panel(course, progress, figures, title=title, width=width), refresh=True)
            return
        line = f"{course.candidate} {_weight(course, progress):g} %: {progress.headline}"
        if line != self._last_line:
            self._last_line = line
            self.say(line)

    def end_panel(self) -> None:
        """Leave the panel as it is and go on under it."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def panel(course: Course, progress: Progress, figures: Figures, *, title: str, width: int) -> RenderableType:
    """The whole picture of one rollout; always of the same height, so that nothing jumps."""
    weight = _weight(course, progress)
    bar_width = width - BESIDE_BAR
    lines = textwrap.wrap(progress.message, width - 6, max_lines=MESSAGE_LINES, placeholder=" …")
    return Panel(
        Group(
            Text(progress.headline, _style(progress)),
            Text(),
            _shares(course, weight, bar_width),
            Text(),
            _arms(course, figures),
            Text(),
            _evidence(progress, bar_width),
            Text(),
            Text("\n".join(lines + [""] * (MESSAGE_LINES - len(lines))), "dim"),
        ),
        title=title,
        title_align="left",
        width=width,
        padding=(1, 2),
    )


def _weight(course: Course, progress: Progress) -> float:
    """The candidate's share; before its rollout begins and after it was rolled back, none."""
    if progress.candidate == course.candidate:
        return progress.weight
    return 100.0 if progress.stable == course.candidate else 0.0


def _style(progress: Progress) -> str:
    match progress.phase:
        case RolloutPhase.ROLLING_BACK | RolloutPhase.ROLLED_BACK:
            return f"bold {WRONG}"
        case RolloutPhase.HELD | RolloutPhase.PAUSED:
            return f"bold {WARNING}"
        case _:
            return "bold"


def _shares(course: Course, weight: float, bar_width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, role, share, style in (
        (course.stable, "stable", 100 - weight, STABLE),
        (course.candidate, "candidate", weight, CANDIDATE),
    ):
        bar = Bar(100, 0, share, width=bar_width, color=style)
        table.add_row(Text(name, style), Text(role, "dim"), bar, Text(f"{share:g} %".rjust(6)))
    return table


def _arms(course: Course, figures: Figures) -> Table:
    table = Table.grid(padding=(0, 3))
    headings = (text.rjust(12) for text in ("requests", "failed", "first token", "over 1 s"))
    table.add_row(Text("clients saw", "dim"), *(Text(text, "dim") for text in headings))
    for name, style in ((course.stable, STABLE), (course.candidate, CANDIDATE)):
        seen = figures.of(name)
        table.add_row(
            Text(name, style),
            Text(f"{seen.requests:,}".rjust(12)),
            _share(seen.failed_share, seen),
            Text(milliseconds(seen.ttft_p50).rjust(12)),
            _share(seen.slow_share, seen),
        )
    return table


def _share(value: float | None, seen: Seen) -> Text:
    if value is None or not seen.requests:
        return Text("-".rjust(12))
    return Text(f"{value:.1%}".rjust(12), WRONG if value > 0.01 else "")


def _evidence(progress: Progress, bar_width: int) -> Group:
    rows = Table.grid(padding=(0, 2))
    for one in progress.evidence:
        style = GOOD if one.share < 0.34 else WARNING if one.share < 1 else WRONG
        bar = Bar(1, 0, one.share, width=bar_width, color=style, bgcolor="grey23")
        rows.add_row(Text(one.metric.ljust(6)), bar, Text(f"{_figure(one.e_value)} of {one.threshold:g}"))
    return Group(Text("evidence against the candidate: a full bar rolls it back", "dim"), rows)


def _figure(e_value: float) -> str:
    if e_value >= 1e6:
        return "over a million"
    return f"{e_value:,.0f}" if e_value >= 10 else f"{e_value:.2g}"
