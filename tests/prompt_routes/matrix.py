"""A confusion matrix: which route prompts of each route took, and the figures and the table that are made of it.

The rule to know: a route that no prompt took and a prompt that took none are both seen: the first as a column of zeros,
the second under what stands for its route (an error's code).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.prompt_routes.corpus import ROUTES, Prompt


@dataclass(frozen=True, slots=True)
class Matrix:
    """Prompts by the route that they belong to and the one that they took."""

    counts: Counter[tuple[str, str]]
    astray: tuple[tuple[str, str], ...]
    """Identifiers of prompts that took another route than theirs, and that route."""

    @property
    def share(self) -> float:
        """The share of all prompts that took their route."""
        return sum(self.counts[route, route] for route in ROUTES) / self.counts.total()

    @property
    def recalls(self) -> dict[str, float]:
        """The share of each route's prompts that took it."""
        return {route: self.counts[route, route] / self._belonging_to(route) for route in ROUTES}

    def table(self) -> str:
        """As Markdown: a row for each route that prompts belong to, a column for each that they took."""
        columns = (*ROUTES, *sorted({took for _, took in self.counts} - set(ROUTES)))
        rows = [
            ["", *columns, "of", "recall"],
            ["---"] * (len(columns) + 3),
            *(
                [
                    f"**{route}**",
                    *(str(self.counts[route, took]) for took in columns),
                    str(self._belonging_to(route)),
                    f"{self.recalls[route]:.2f}",
                ]
                for route in ROUTES
            ),
        ]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def as_record(self) -> dict[str, Any]:
        """What a record of it says."""
        columns = (*ROUTES, *sorted({took for _, took in self.counts} - set(ROUTES)))
        return {
            "matrix": {route: {took: self.counts[route, took] for took in columns} for route in ROUTES},
            "recall": {route: round(recall, 3) for route, recall in self.recalls.items()},
            "share_on_the_diagonal": round(self.share, 3),
            "prompts": self.counts.total(),
            "astray": dict(self.astray),
        }

    def _belonging_to(self, route: str) -> int:
        return sum(count for (belongs, _), count in self.counts.items() if belongs == route)


def matrix_in(record: Mapping[str, Any]) -> Matrix:
    """The one that a record holds."""
    rows: Mapping[str, Mapping[str, int]] = record["matrix"]
    counts = Counter({(route, took): count for route, row in rows.items() for took, count in row.items() if count})
    return Matrix(counts, tuple(record["astray"].items()))


def matrix_of(taken: Iterable[tuple[Prompt, str]]) -> Matrix:
    """Of prompts, each with the route that it took."""
    pairs = list(taken)
    return Matrix(
        Counter((prompt.route, took) for prompt, took in pairs),
        tuple((prompt.id, took) for prompt, took in pairs if took != prompt.route),
    )
