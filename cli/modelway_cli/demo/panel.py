"""One rollout as a picture: where it stands, who gets what, what clients see, and the evidence against its bound.

Rule: always of the same height and within the width, so that nothing jumps while it is redrawn.
"""

import textwrap
from typing import Final

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from modelway_cli.demo.figures import WINDOW_SECONDS, Figures
from modelway_cli.demo.progress import Evidence, Progress
from modelway_cli.demo.timeline import Course
from modelway_operator.api.rollout_status import RolloutPhase

WIDTH: Final = 100
NARROW: Final = 90
"""Below this the course of the traffic is left out."""
FRAME: Final = 6
"""Columns of the border with its padding."""
MESSAGE_LINES: Final = 3
SPARK_SECONDS: Final = 20
SPARKS: Final = " ▁▂▃▄▅▆▇█"
STABLE, CANDIDATE, GOOD, WARNING, WRONG = "cyan", "magenta", "green", "yellow", "red"
_BACK: Final = {RolloutPhase.ROLLING_BACK, RolloutPhase.ROLLED_BACK}
_WAITING: Final = {RolloutPhase.HELD, RolloutPhase.PAUSED}


def panel(course: Course, progress: Progress, figures: Figures, *, title: str, width: int) -> RenderableType:
    """The whole picture of one rollout."""
    inner = width - FRAME
    lines = textwrap.wrap(progress.message, inner, max_lines=MESSAGE_LINES, placeholder=" …")
    return Panel(
        Group(
            Text(progress.headline, f"bold {_colour(progress)}"),
            _stations(progress),
            Text(),
            *_shares(course, candidate_share(course, progress), inner),
            Text(),
            _traffic(course, figures, is_narrow=width < NARROW),
            Text(),
            _evidence(progress, inner),
            Text(),
            Text("\n".join(lines + [""] * (MESSAGE_LINES - len(lines))), "dim"),
        ),
        title=f"[bold]{title}[/]",
        title_align="left",
        border_style=_colour(progress),
        width=width,
        padding=(1, 2),
    )


def candidate_share(course: Course, progress: Progress) -> float:
    """The candidate's percent; before its rollout begins and after it was rolled back, none."""
    if progress.candidate == course.candidate:
        return progress.weight
    return 100.0 if progress.stable == course.candidate else 0.0


def _colour(progress: Progress) -> str:
    if progress.phase in _BACK:
        return WRONG
    if progress.phase in _WAITING:
        return WARNING
    return GOOD if progress.phase is RolloutPhase.STABLE else STABLE


def _stations(progress: Progress) -> Text:
    """The way that a candidate goes, with the station it is at."""
    names = ["preflight", *(f"{share:g} %" for share in progress.shares), "100 %", "stable"]
    at = _station(progress)
    line = Text()
    for index, name in enumerate(names):
        if index:
            line.append(" ── ", GOOD if index <= at else "dim")
        if index < at or at == len(names) - 1:
            line.append(f"● {name}", GOOD)
        elif index == at:
            line.append(f"◉ {name}", f"bold {_colour(progress)}")
        else:
            line.append(f"○ {name}", "dim")
    return line


def _station(progress: Progress) -> int:
    match progress.phase:
        case RolloutPhase.STABLE:
            return len(progress.shares) + 2
        case RolloutPhase.PROMOTING | RolloutPhase.BAKING:
            return len(progress.shares) + 1
        case RolloutPhase.PREFLIGHT | RolloutPhase.ROLLED_BACK:
            return 0
    return progress.step


def _shares(course: Course, share: float, width: int) -> tuple[RenderableType, RenderableType]:
    """One bar for both arms, and whose is which."""
    candidate = round(width * share / 100)
    if 0 < share < 100:
        candidate = min(max(candidate, 1), width - 1)
    bar = Text.assemble(("█" * (width - candidate), STABLE), ("█" * candidate, CANDIDATE))
    legend = Table.grid(expand=True)
    legend.add_column(justify="left")
    legend.add_column(justify="right")
    legend.add_row(
        Text(f"{course.stable} {100 - share:g} %", f"bold {STABLE}"),
        Text(f"{course.candidate} {share:g} %", f"bold {CANDIDATE}"),
    )
    return bar, legend


def _traffic(course: Course, figures: Figures, *, is_narrow: bool) -> Table:
    """What clients see of both arms now."""
    table = Table.grid(padding=(0, 2), expand=True)
    headings = ["requests", "a second", "failed", "retried", "first token p50", "p95"]
    table.add_column(width=10)
    if not is_narrow:
        table.add_column(width=SPARK_SECONDS)
    for _ in headings:
        table.add_column(justify="right")
    spark = [] if is_narrow else [Text(f"last {SPARK_SECONDS} s", "dim")]
    table.add_row(Text(f"now ({WINDOW_SECONDS} s)", "dim"), *spark, *(Text(text, "dim") for text in headings))
    courses = {name: figures.course(name, seconds=SPARK_SECONDS) for name in (course.stable, course.candidate)}
    most = max((max(counts) for counts in courses.values()), default=0)
    for name, style in ((course.stable, STABLE), (course.candidate, CANDIDATE)):
        recent = figures.recent(name)
        spark = [] if is_narrow else [Text(_spark(courses[name], most), style)]
        table.add_row(
            Text(name, style),
            *spark,
            f"{figures.requests[name]:,}",
            f"{recent.per_second:.0f}",
            _share(recent.failed_share),
            _share(recent.retried_share),
            _time(recent.ttft_p50),
            _time(recent.ttft_p95),
        )
    return table


def _spark(counts: tuple[int, ...], most: int) -> str:
    """A column a second; whoever had any requests at all is seen to have had some."""
    top = len(SPARKS) - 1
    return "".join(SPARKS[max(min(count, 1), round(top * count / most)) if most else 0] for count in counts)


def _share(share: float | None) -> Text:
    if share is None:
        return Text("-", "dim")
    return Text(f"{share:.1%}", f"bold {WRONG}" if share > 0.01 else GOOD)


def _time(seconds: float | None) -> Text:
    if seconds is None:
        return Text("-", "dim")
    return Text(f"{seconds * 1000:,.0f} ms", f"bold {WRONG}" if seconds > 1 else "")


def _evidence(progress: Progress, width: int) -> Group:
    rows = Table.grid(padding=(0, 2))
    for one in progress.evidence:
        text = f"{_figure(one.e_value)} of {one.threshold:g}"
        bar = Bar(1, 0, one.share, width=width - 40, color=_alarm(one), bgcolor="grey23")
        rows.add_row(Text(one.metric.ljust(8)), bar, Text(text))
    return Group(Text("evidence against the candidate: a full bar sends it back", "dim"), rows)


def _alarm(evidence: Evidence) -> str:
    return GOOD if evidence.share < 0.34 else WARNING if evidence.share < 1 else WRONG


def _figure(e_value: float) -> str:
    if e_value >= 1e6:
        return "over a million"
    return f"{e_value:,.0f}" if e_value >= 10 else f"{e_value:.2g}"
