"""What `modelway eval-prompts` measures: the figures of the model card, on any folder of labelled prompts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelway_cli.errors import CliError, UsageError
from modelway_cli.prompts import figures
from modelway_cli.prompts.analyze import load
from modelway_gateway.core.prompt.analyser import Analyser, Reading

Row = dict[str, Any]
CATEGORIES, PHRASES, DRAWS = 6, 8, 20
OUT_OF_SCOPE: Final = "oos"
_MOST_OUTSIDE: Final = 200


def evaluate(folder: Path) -> Iterator[str]:
    """One line for each figure of each file whose name says what it is labelled with."""
    analyser = load()
    found = False
    for path in sorted(folder.glob("*.jsonl")):
        measure = _MEASURES.get(path.name.split("_")[0])
        if measure is None:
            continue
        found = True
        rows = _rows(path)
        try:
            for name, value in measure(analyser, rows):
                yield f"{path.name}: {name} {value}"
        except KeyError as error:
            raise UsageError(f"{path.name}: a record lacks the field {error}") from error
    if not found:
        raise CliError(f"{folder} holds no file named {', '.join(f'{prefix}_*.jsonl' for prefix in _MEASURES)}")


def _labels(name: str) -> Callable[[Analyser, list[Row]], Iterator[tuple[str, object]]]:
    def measure(analyser: Analyser, rows: list[Row]) -> Iterator[tuple[str, object]]:
        right, p, by_source = [], [], defaultdict(list)
        for row in rows:
            answer = getattr(analyser.read(row["text"]), name)
            hit = answer is not None and answer.label.value == row["label"].replace(" ", "_")
            right.append(hit)
            p.append(0.0 if answer is None else answer.p)
            by_source[row.get("src", "").split(":")[0]].append(hit)
        answered = [hit for hit, each in zip(right, p, strict=True) if each >= 0.5]
        yield "accuracy", figures.accuracy(right)
        yield "accuracy of the most confident half", figures.most_confident_half(right, p)
        yield "answered at 0.5", f"{len(answered) / len(right):.3f}"
        if answered:
            yield "accuracy where answered", figures.accuracy(answered)
        yield "calibration error", f"{figures.calibration_error(right, p):.3f}"
        if len(by_source) > 1:
            for source, hits in sorted(by_source.items()):
                yield f"accuracy on {source or 'no source'}", figures.accuracy(hits)

    return measure


def _difficulty(analyser: Analyser, rows: list[Row]) -> Iterator[tuple[str, object]]:
    rows = [row for row in rows if "weak" in row]
    if not rows:
        return
    weak, strong = [row["weak"] for row in rows], [row["strong"] for row in rows]
    yield "difficulty, APGR", figures.apgr([analyser.read(row["text"]).difficulty for row in rows], weak, strong)
    yield "prompt length alone, APGR", figures.apgr([float(len(row["text"])) for row in rows], weak, strong)


def _language(analyser: Analyser, rows: list[Row]) -> Iterator[tuple[str, object]]:
    yield "accuracy", figures.accuracy([analyser.read(row["text"]).language.code == row["label"] for row in rows])


def _tokens(analyser: Analyser, rows: list[Row]) -> Iterator[tuple[str, object]]:
    yield (
        "relative error",
        figures.relative_error([analyser.read(row["text"]).tokens for row in rows], [row["tokens"] for row in rows]),
    )


def _custom(analyser: Analyser, rows: list[Row]) -> Iterator[tuple[str, object]]:
    readings: dict[str, list[tuple[str, Reading]]] = defaultdict(list)
    for row in rows:
        readings[row["label"]].append((row["text"], analyser.read(row["text"])))
    outside = readings.pop(OUT_OF_SCOPE, [])
    names = sorted(name for name, own in readings.items() if len(own) > PHRASES)
    if len(names) < CATEGORIES:
        return
    lots = np.random.default_rng(1)
    accuracy, apart = [], []
    for _ in range(DRAWS):
        drawn = {
            names[at]: [readings[names[at]][i] for i in lots.permutation(len(readings[names[at]]))]
            for at in lots.permutation(len(names))[:CATEGORIES]
        }
        fitted = analyser.fit({name: [text for text, _ in own[:PHRASES]] for name, own in drawn.items()})
        inside = [
            (name, *fitted.best(reading.vector))
            for name, own in drawn.items()
            for _, reading in own[PHRASES : PHRASES + 30]
        ]
        accuracy.append(float(np.mean([name == best for name, best, _ in inside])))
        if outside:
            strangers = [fitted.best(outside[at][1].vector)[1] for at in lots.permutation(len(outside))[:_MOST_OUTSIDE]]
            apart.append(figures.auroc([score for *_, score in inside], strangers))
    what = f"{CATEGORIES} categories of {PHRASES} phrases, {DRAWS} draws"
    yield (
        f"{what}: accuracy",
        f"{np.mean(accuracy):.3f} [{np.percentile(accuracy, 2.5):.3f}, {np.percentile(accuracy, 97.5):.3f}]",
    )
    if apart:
        yield (
            f"{what}: AUROC against {OUT_OF_SCOPE}",
            f"{np.mean(apart):.3f} [{np.percentile(apart, 2.5):.3f}, {np.percentile(apart, 97.5):.3f}]",
        )


def _rows(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path.name}: line {number}: {error}") from None
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise UsageError(f'{path.name}: line {number} is no object with a "text"')
        rows.append(row)
    return rows


_MEASURES: Final[dict[str, Callable[[Analyser, list[Row]], Iterator[tuple[str, object]]]]] = {
    "task": _labels("task"),
    "domain": _labels("domain"),
    "difficulty": _difficulty,
    "language": _language,
    "custom": _custom,
    "tokens": _tokens,
}
