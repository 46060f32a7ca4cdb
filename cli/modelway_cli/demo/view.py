"""The demo as people see it: a panel that is redrawn on a terminal, lines where there is none.

Rule: what is said in the panel only is also in the summary, so that nobody who looks away, or reads a log, misses it.
"""

from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from modelway_cli.demo.figures import Figures
from modelway_cli.demo.files import Edit
from modelway_cli.demo.panel import GOOD, WIDTH, WRONG, candidate_share, panel
from modelway_cli.demo.progress import Progress
from modelway_cli.demo.timeline import Course


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
        line = f"{course.candidate} {candidate_share(course, progress):g} %: {progress.headline}"
        if line != self._last_line:
            self._last_line = line
            self.say(line)

    def end_panel(self) -> None:
        """Leave the panel as it is and go on under it."""
        if self._live is not None:
            self._live.stop()
            self._live = None
