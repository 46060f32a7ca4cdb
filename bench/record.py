"""What a run has found: one value a round for each figure of each contestant, and what is made of them.

The rule: raw values are kept, medians and ratios are made when they are shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.contestants import MODELWAY, NGINX

DIRECT: Final = "direct"
_Combination = Callable[[float, float], float]


class Record(msgspec.Struct, kw_only=True):
    """One run."""

    machine: str
    python: str
    """What ran the gateway; how it was built matters."""
    made_at: str
    modelway: str
    """Version and commit."""
    nginx: str
    rounds: int
    figures: dict[str, dict[str, list[float]]]
    """By contestant and name; the unit is the end of the name."""
    foreign_shares: list[float]
    """Of each window: the part of the gateway's core that went to anybody else."""
    fixed_work_us: list[float]
    """Before each window: how long the same piece of work took there. It differs by how fast the host is just then."""
    retaken: int
    """Windows that were done again because of others' work on the machine."""

    def median(self, contestant: str, name: str) -> float | None:
        values = self.figures.get(contestant, {}).get(name)
        return statistics.median(values) if values else None

    def added(self, contestant: str, name: str) -> float | None:
        """By how much more than without a gateway, in the same round; the median of the rounds."""
        return self._by_round(contestant, name, DIRECT, lambda value, base: value - base)

    def ratio(self, name: str) -> float | None:
        """Modelway's figure by nginx's of the same round; the median of the rounds."""
        return self._by_round(MODELWAY, name, NGINX, lambda value, base: value / base)

    def _by_round(self, one: str, name: str, other: str, combine: _Combination) -> float | None:
        values = self.figures.get(one, {}).get(name, [])
        bases = self.figures.get(other, {}).get(name, [])
        pairs = list(zip(values, bases, strict=False))
        return statistics.median(combine(value, base) for value, base in pairs) if pairs else None


def write(record: Record, path: Path) -> None:
    """As JSON for people too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def read(path: Path) -> Record:
    """What `write` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Record)
