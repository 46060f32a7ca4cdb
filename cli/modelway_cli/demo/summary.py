"""What the demo has shown, at its end, and what to try next."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelway_cli.demo.recount import Line
from modelway_cli.demo.scenario import Verdict
from modelway_cli.demo.timeline import Course

GOOD, WRONG = "bold green", "bold red"


def print_summary(
    console: Console, courses: Sequence[Course], lines: Sequence[Line], faults: Sequence[str], *, seconds: float
) -> None:
    """Verdicts with their figures, the requests as both sides counted them, and whether it all adds up."""
    console.print()
    console.rule(f"What happened in {seconds:.0f} s", align="left")
    for number, course in enumerate(courses, start=1):
        _print_course(console, number, course)
    console.print()
    console.print(_requests(lines))
    console.print()
    if faults:
        for fault in faults:
            _line(console, f"Not as it should be: {fault}", WRONG)
    else:
        failed = sum(line.failed for line in lines)
        rescued = sum(line.attempts_failed for line in lines) - failed
        _line(
            console,
            f"As expected: {' and '.join(f'{c.candidate} {c.trial.expected.words}' for c in courses)}. Of"
            f" {sum(line.requests for line in lines):,} requests clients saw {failed} fail, none but of the bad"
            f" version's small share; {rescued} more failed first and were answered at another attempt."
            " For each of these figures the backends' own counts agree.",
            GOOD,
        )


def command_name() -> str:
    """How this command can be called from here: by its name only where that is on the path."""
    beside = Path(sys.executable).with_name("modelway")
    found = shutil.which("modelway")
    if not beside.exists() or (found is not None and Path(found).samefile(beside)):
        return "modelway"
    return os.path.relpath(beside)


def print_next_steps(console: Console) -> None:
    """What a curious person may want now."""
    modelway = command_name()
    console.print()
    for text in (
        "Try next:",
        f"  the behaviours of v2 and v3 swapped    {modelway} demo --swap",
        f"  leave it running to play with          {modelway} demo --keep",
        f"  your own manifests on this machine     {modelway} run DIR    (docs/standalone.md)",
        "  the same canary in a cluster           examples/canary/README.md",
    ):
        _line(console, text, "dim")


def print_playground(console: Console, *, folder: Path, client_url: str, backends: dict[str, str]) -> None:
    """What keeps running, and how to play with it."""
    console.print()
    for text in (
        f"Still running, with traffic, until you press Ctrl-C: {client_url}",
        f"  the policy       {folder / 'policy.yaml'}  (change modelRef's name, or anything else)",
        f"  how it is doing  {command_name()} get {folder} -w",
        *(
            f"  {model}          {url}  (curl -X PUT {url}/behaviour -d '{{\"error_rate\": 0.2}}')"
            for model, url in backends.items()
        ),
    ):
        _line(console, text)


def _print_course(console: Console, number: int, course: Course) -> None:
    verdict = "not decided on" if course.verdict is None else course.verdict.words
    _line(
        console,
        f"{number}. {course.stable} → {course.candidate} ({course.trial.description}): {verdict} after"
        f" {course.verdict_at:.0f} s, expected: {course.trial.expected.words}",
        GOOD if course.is_as_expected else WRONG,
    )
    _line(console, f"   its share   {course.weights_text}  (after {course.moments_text})")
    _line(console, f"   reason      {': '.join(part for part in (course.reason, course.message) if part)}")
    if course.decision is not None and course.verdict is Verdict.PROMOTED:  # a rollback's reason holds them already
        _line(console, f"   figures     {course.decision}")


def _requests(lines: Sequence[Line]) -> Table:
    table = Table()
    table.add_column("version")
    for heading in ("requests of clients", "failed", "attempts", "counted by the backend", "failed there"):
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(
            Text(line.model),
            f"{line.requests:,}",
            f"{line.failed:,}",
            f"{line.attempts:,}",
            f"{line.backend_requests:,}",
            f"{line.backend_failed:,}",
            style="" if line.agrees else "red",
        )
    return table


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=not console.is_terminal)
