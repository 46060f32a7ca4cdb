"""A record as a table for people: what was measured, and the ratio to nginx beside its goal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.contestants import MODELWAY, NGINX
from bench.record import Record


@dataclass(frozen=True)
class Row:
    """One line; `goal` is the most that the ratio to nginx may be."""

    title: str
    figure: str
    unit: str
    added: bool = False
    """Shown as what a gateway adds to the upstream asked directly."""
    goal: float | None = None
    has_ratio: bool = True


ROWS: Final = (
    Row("CPU for a request of 1 KB", "request_cpu_us", "µs", goal=3.4),
    Row("CPU for a chunk of a stream", "chunk_cpu_us", "µs", goal=2.0),
    Row("CPU for a prompt of 100 KB", "prompt_cpu_us", "µs"),
    Row("requests of 1 KB per second, one core", "requests_per_second", "", has_ratio=False),
    Row("prompts of 100 KB per second, one core", "prompts_per_second", "", has_ratio=False),
    Row("added latency at 200 requests/s, p50", "latency_p50_us", "µs", added=True, has_ratio=False),
    Row("added latency at 200 requests/s, p99", "latency_p99_us", "µs", added=True, has_ratio=False),
    Row("added time to the first chunk, p50", "first_chunk_p50_us", "µs", added=True, has_ratio=False),
    Row("added time to the first chunk, p99", "first_chunk_p99_us", "µs", added=True, has_ratio=False),
    Row("added transit of a chunk, p50", "transit_p50_us", "µs", added=True, has_ratio=False),
    Row("added transit of a chunk, p99", "transit_p99_us", "µs", added=True, has_ratio=False),
    Row("memory after start", "memory_mb", "MB", has_ratio=False),
    Row("memory for a held stream", "held_stream_kb", "KB", has_ratio=False),
)
_HEAD: Final[tuple[str, ...]] = ("", "nginx", "Modelway", "ratio", "goal")


def cells(record: Record) -> list[tuple[str, ...]]:
    """Head and rows as text; a figure that was not measured is left out."""
    rows = [_HEAD]
    for row in ROWS:
        pick = record.added if row.added else record.median
        values = [pick(name, row.figure) for name in (NGINX, MODELWAY)]
        if all(value is not None for value in values):
            shown = [_with_unit(value, row.unit) for value in values if value is not None]
            ratio = record.ratio(row.figure) if row.has_ratio else None
            rows.append(
                (
                    row.title,
                    *shown,
                    f"{ratio:.2f} ×" if ratio is not None else "",
                    f"≤ {row.goal:g} ×" if row.goal is not None and ratio is not None else "",
                )
            )
    return rows


def as_text(record: Record) -> str:
    """For a terminal."""
    rows = cells(record)
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(
            text.ljust(width) if not column else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join((*lines, "", *_notes(record)))


def as_markdown(record: Record) -> str:
    """For a page."""
    head, *rows = cells(record)
    lines = [_markdown(head), "| --- | --: | --: | --: | --: |", *map(_markdown, rows)]
    return "\n".join((*lines, "", *_notes(record)))


def _markdown(row: tuple[str, ...]) -> str:
    return f"|{'|'.join(f' {text} ' if text else ' ' for text in row)}|"


def _notes(record: Record) -> Iterator[str]:
    yield f"{record.machine}; {record.nginx}; {record.modelway} on {record.python}; {record.made_at}."
    others = [share * 100 for share in record.foreign_shares]
    work = record.fixed_work_us
    yield (
        f"{record.rounds} rounds in turns. Others' part of the gateway's core: {statistics.median(others):.0f} % "
        f"(at most {max(others):.0f} %), {record.retaken} windows done again. "
        f"Speed of the core: within {(max(work) / min(work) - 1) * 100:.0f} %."
    )


def _with_unit(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 1000 or not unit else 1
    return f"{value:,.{digits}f} {unit}".rstrip()
