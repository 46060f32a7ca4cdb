"""Draws a recorded confusion matrix: the darker a field, the more of its row's prompts took its column's route.

The rule: the picture is made of the record alone, so a test can hold the two equal. Plain SVG, no library.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
RECORD: Final = ROOT / "docs/records/prompt-routes.json"
PICTURE: Final = ROOT / "docs/images/prompt-routes.svg"
_CELL, _LEFT, _TOP = 84, 130, 96
_RIGHT, _WRONG = (47, 111, 79), (181, 72, 47)
"""Colours of prompts on their route, and of those astray."""


def draw(record: dict[str, Any]) -> str:
    """The picture as text."""
    matrix: dict[str, dict[str, int]] = record["matrix"]
    columns = list(next(iter(matrix.values())))
    columns.sort(key=lambda name: list(matrix).index(name) if name in matrix else len(matrix))
    width, height = _LEFT + _CELL * len(columns) + 20, _TOP + _CELL * len(matrix) + 44
    share = f"{record['share_on_the_diagonal']:.0%} of {record['prompts']} prompts took the route that they mean"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(16, 26, share, size=16, anchor="start"),
        _text(16, 48, "rows: what a prompt is; columns: where its gateway sent it", size=12, anchor="start"),
        *(_text(_LEFT + _CELL * (at + 0.5), _TOP - 12, name) for at, name in enumerate(columns)),
    ]
    for row, (name, counts) in enumerate(matrix.items()):
        y, total = _TOP + _CELL * row, sum(counts.values())
        lines.append(_text(_LEFT - 12, y + _CELL / 2 + 5, f"{name} ({total})", anchor="end"))
        for column, took in enumerate(columns):
            part = counts[took] / total
            red, green, blue = (round(255 + (each - 255) * part) for each in (_RIGHT if took == name else _WRONG))
            x = _LEFT + _CELL * column
            lines.append(
                f'<rect x="{x}" y="{y}" width="{_CELL - 3}" height="{_CELL - 3}" rx="4" stroke="#d9dce0"'
                f' fill="rgb({red},{green},{blue})"/>'
            )
            if counts[took]:
                colour = "#ffffff" if part > 0.5 else "#222222"
                lines.append(_text(x + _CELL / 2, y + _CELL / 2 + 6, str(counts[took]), size=17, colour=colour))
    where = "the node" if record["where"] == "node" else "loopback"
    lines.append(_text(16, height - 16, f"sent through gateways on {where}", size=11, anchor="start", colour="#555555"))
    return "\n".join((*lines, "</svg>", ""))


def _text(x: float, y: float, text: str, *, size: int = 14, anchor: str = "middle", colour: str = "#222222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(json.loads(RECORD.read_text())))
