"""Takes the pictures of the demo for the docs: a real run, kept at two moments that tell the story.

Not part of `make generate`: two runs never look the same, so a check for drift would always fail.
"""

import asyncio
import io
import re
import sys
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType

from modelway_cli.demo.figures import Figures
from modelway_cli.demo.panel import WIDTH, candidate_share, panel
from modelway_cli.demo.progress import Progress
from modelway_cli.demo.run import Options, run_demo
from modelway_cli.demo.timeline import Course
from modelway_cli.demo.view import View

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "images"
FRAME: Final = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's, without its fonts from elsewhere: a picture in a repository loads nothing."""


class Camera(View):
    """Keeps the last panel of each kind of moment, and draws nothing on the way."""

    def show(self, course: Course, progress: Progress, figures: Figures, *, title: str) -> None:
        """Look, and keep the picture if this is a moment of interest."""
        share = candidate_share(course, progress)
        if not course.trial.is_bad and share == 50:
            save(panel(course, progress, figures, title=title, width=WIDTH), "demo-forward")
        if course.trial.is_bad and share > 0 and max(one.share for one in progress.evidence) < 1:
            save(panel(course, progress, figures, title=title, width=WIDTH), "demo-back")


def save(picture: RenderableType, name: str) -> None:
    """Write one SVG."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(picture)
    console.save_svg(str(FOLDER / f"{name}.svg"), title="make demo", code_format=FRAME)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    sys.exit(asyncio.run(run_demo(Options(), Console(), show_on=Camera)))
