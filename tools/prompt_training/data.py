"""The labelled prompts of a folder, as `../shared/prompts` holds them.

The rule: a text's source travels with it. Leaving sources out, and keeping those that choose apart from those that
report, is only possible where each prompt knows where it came from.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

WEAK_OF_NINE = (
    "qwen2.5-7b-instruct",
    "llama-3.1-8b-instruct",
    "codegemma-7b",
    "gemma-2-9b-it",
    "mistral-7b-instruct-v0.3",
)
"""The cheap ones of the nine models: how many of them fail is how hard a prompt is."""
PAIR_OF_NINE = ("mistral-7b-instruct-v0.3", "llama-3.1-nemotron-51b-instruct")
MMLU_PARTS = 4
P3_PARTS = 2

CHOOSING = {
    "task": ("gpteacher", "llmrouter", "own", "p3_0", "clinc150"),
    "domain": ("mmlu0", "mmlu1", "own", "gpteacher"),
}
"""Sources that choices were made on. The others are reported, and were never chosen by."""


@dataclass(frozen=True)
class Labelled:
    """A prompt with its label and the source that is left out with it."""

    text: str
    label: str
    source: str


@dataclass(frozen=True)
class Outcome:
    """A prompt with what became of it: how often cheap models failed, and a weak and a strong model's scores."""

    text: str
    source: str
    failed: float
    weak: float
    strong: float


def labelled(folder: Path, kind: str) -> list[Labelled]:
    """The prompts of `<kind>_train.jsonl` and `<kind>_dev.jsonl`."""
    return [
        Labelled(row["text"], row["label"].replace(" ", "_"), _source(row.get("src", kind)))
        for part in ("train", "dev")
        for row in _rows(folder / f"{kind}_{part}.jsonl")
    ]


def custom(folder: Path, name: str) -> list[Labelled]:
    """Utterances of user-defined categories."""
    paths = [folder / f"custom_{name}_{part}.jsonl" for part in ("train", "dev")]
    return [Labelled(row["text"], row["label"], name) for path in paths if path.exists() for row in _rows(path)]


def outcomes(folder: Path) -> list[Outcome]:
    """Prompts on which models were tried."""
    names = json.loads((folder / "difficulty9_models.json").read_text())
    cheap = [names.index(name) for name in WEAK_OF_NINE]
    weak, strong = (names.index(name) for name in PAIR_OF_NINE)
    found = []
    for part in ("train", "dev"):
        found += [
            Outcome(
                row["text"], "gsm8k" if row["src"] == "gsm8k" else "mmlu", 1.0 - row["weak"], row["weak"], row["strong"]
            )
            for row in _rows(folder / f"difficulty_{part}.jsonl")
        ]
        found += [
            Outcome(
                row["text"],
                f"nine:{row['src']}",
                1.0 - sum(row["scores"][at] for at in cheap) / len(cheap),
                row["scores"][weak],
                row["scores"][strong],
            )
            for row in _rows(folder / f"difficulty9_{part}.jsonl")
        ]
    return found


def every_text(folder: Path) -> list[str]:
    """Each text of the folder once, in a fixed order."""
    return list(dict.fromkeys(row["text"] for path in sorted(folder.glob("*.jsonl")) for row in _rows(path)))


def fold_of(text: str, folds: int) -> int:
    """A fold that a text always falls into, whichever file it stands in."""
    return zlib.crc32(text[:80].encode("utf-8", "surrogatepass")) % folds


def source_weights(labels: npt.NDArray[np.intp], sources: npt.NDArray[np.str_], own: float) -> npt.NDArray[np.float64]:
    """Weigh prompts so that neither a large source nor a frequent label drowns the others; seeds count `own` times."""
    pairs = [*zip(sources.tolist(), labels.tolist(), strict=True)]
    counts: dict[tuple[str, int], int] = {}
    for pair in pairs:
        counts[pair] = counts.get(pair, 0) + 1
    weights = np.array([counts[pair] ** -0.5 for pair in pairs])
    totals = np.bincount(labels, weights)
    return weights * totals[labels] ** -0.5 * np.where(sources == "seeds", own, 1.0)


def _source(name: str) -> str:
    """What is left out together: a corpus; MMLU by groups of subjects, P3 by groups of data sets."""
    corpus = name.split(":", maxsplit=1)[0]
    if corpus == "mmlu":
        return f"mmlu{zlib.crc32(name.encode()) % MMLU_PARTS}"
    if corpus == "p3":
        return f"p3_{zlib.crc32(name.split('_', maxsplit=1)[0].encode()) % P3_PARTS}"
    return corpus


def _rows(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
