"""Loads what the prompt analysis needs from the package's own files: the trained model, lid.176, everyday prompts.

The rule: nothing is downloaded, and no file is used that is not the one its recorded digest names. A gateway that
cannot load them says so at start; it never serves with a model that is not the one that was measured.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Read by numpy's algebra library when it is loaded. All that is computed here is small: more threads would only wait
# for each other, busily, on cores that answer requests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import fasttext

from modelway_gateway.core.prompt.analyser import Analyser
from modelway_gateway.core.prompt.model import decode
from modelway_gateway.errors import PromptModelError

FILES: Final = Path(__file__).resolve().parent / "prompt_files"
MODEL: Final = "prompt-model-v1.npz"
LANGUAGES: Final = "lid.176.ftz"
BACKGROUND: Final = "background.txt"
"""Everyday prompts of our own, one a line: what a policy's own categories are parted from."""


class _Lid176:
    """lid.176 behind the one call that the analyser makes."""

    def __init__(self, path: Path) -> None:
        self._predict = fasttext.load_model(str(path)).predict

    def predict(self, text: str, k: int = 1) -> tuple[Sequence[str], Sequence[float]]:
        labels, probabilities = self._predict(text, k=k)
        return labels, probabilities


def load_analyser(folder: Path = FILES) -> Analyser:
    """Load and check the files; raises PromptModelError with the file's name and the remedy."""
    digests = _digests(folder)
    model = decode(_read(folder / MODEL), sha256=digests[MODEL])
    kept = {name: _read(folder / name) for name in (LANGUAGES, BACKGROUND)}
    for name, data in kept.items():
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise PromptModelError(f"{name} does not have the digest that was recorded for it; install it anew")
    background = kept[BACKGROUND].decode("utf-8").splitlines()
    return Analyser(model, _Lid176(folder / LANGUAGES), background=background)


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for line in _read(folder / "SHA256SUMS").decode("ascii", "replace").splitlines():
        digest, _, name = line.partition("  ")
        found[name] = digest
    missing = {MODEL, LANGUAGES, BACKGROUND} - found.keys()
    if missing:
        raise PromptModelError(
            f"SHA256SUMS records no digest for {', '.join(sorted(missing))}; install the package anew"
        )
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PromptModelError(f"{path.name} cannot be read: {error.strerror}; install the package anew") from error
