"""Draws a record: how many times nginx's CPU the gateway takes, with the goals. Plain SVG, no library."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from bench.contestants import MODELWAY, NGINX
from bench.record import Record
from bench.table import ROWS

_WIDTH: Final = 760
_LEFT: Final = 220
_RIGHT: Final = 30
_ROW: Final = 74
_TOP: Final = 46
_BAR: Final = 20
_COLOURS: Final = {NGINX: "#8a8f98", MODELWAY: "#2f6f4f"}
_GOAL: Final = "#b5482f"


def draw(record: Record) -> str:
    """The picture as text."""
    rows = [(row, ratio) for row in ROWS if row.has_ratio and (ratio := record.ratio(row.figure)) is not None]
    widest = max((max(ratio, row.goal or 0.0) for row, ratio in rows), default=1.0) * 1.12
    height = _TOP + _ROW * len(rows) + 40
    scale = (_WIDTH - _LEFT - _RIGHT) / widest
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, "CPU of the gateway beside nginx, measured in turns in one run", size=15, weight="bold"),
    ]
    for index, (row, ratio) in enumerate(rows):
        top = _TOP + index * _ROW
        lines.append(_text(16, top + 32, row.title))
        lines += _bars(record, row.figure, ratio, top=top, scale=scale)
        if row.goal is not None:
            x = _LEFT + row.goal * scale
            lines.append(
                f'<path d="M{x:.1f} {top + 4} V{top + 56}" stroke="{_GOAL}" stroke-width="2" stroke-dasharray="4 3"/>'
            )
            lines.append(_text(x + 5, top + 66, f"goal {row.goal:g} ×", size=11, colour=_GOAL))
    lines.append(_text(16, height - 14, f"{record.machine}; {record.nginx}; {record.made_at}", size=11, colour="#555"))
    return "\n".join((*lines, "</svg>", ""))


def _bars(record: Record, figure: str, ratio: float, *, top: int, scale: float) -> Iterator[str]:
    for place, (name, length) in enumerate(((NGINX, 1.0), (MODELWAY, ratio))):
        y = top + 6 + place * (_BAR + 6)
        value = record.median(name, figure)
        shown = f"{value:.0f} µs" if name == NGINX else f"{value:.0f} µs, {ratio:.1f} ×"
        yield f'<rect x="{_LEFT}" y="{y}" width="{length * scale:.1f}" height="{_BAR}" fill="{_COLOURS[name]}"/>'
        yield _text(_LEFT + 6, y + 15, f"{name}  {shown}", size=12, colour="#ffffff")


def _text(x: float, y: float, text: str, *, size: int = 13, colour: str = "#222", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" font-weight="{weight}">{escape(text)}</text>'
    )
