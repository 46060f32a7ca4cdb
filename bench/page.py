"""Puts a record's table and picture into `docs/performance.md`, between two marks; the words around are people's.

`python -m bench --publish bench/records/NAME.json`; a test holds the page to the record that it names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench import picture, record, table

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "performance.md"
PICTURE: Final = ROOT / "docs" / "performance.svg"
_BEGIN: Final = "<!-- Figures, written by `python -m bench --publish"
_END: Final = "<!-- End of figures -->"


def publish(path: Path) -> None:
    """Write both."""
    PAGE.write_text(with_figures(PAGE.read_text("utf-8"), path), "utf-8")
    PICTURE.write_text(picture.draw(record.read(path)), "utf-8")


def with_figures(text: str, path: Path) -> str:
    """The page with the figures of this record."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    mark = f"{_BEGIN} {path.resolve().relative_to(ROOT)}`; do not edit. -->"
    return f"{before}{mark}\n{table.as_markdown(record.read(path))}\n{_END}{after}"


def published_record(text: str) -> Path:
    """The record whose figures the page shows."""
    return ROOT / text.partition(_BEGIN)[2].partition("`")[0].strip()
