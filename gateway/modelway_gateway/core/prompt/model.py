"""The trained model as arrays: what a file holds, checked once when it is decoded, read-only ever after.

The rule: a file is what its digest says, or it is refused. The shapes below are the format; a change of them, of the
labels' order or of `words` and `features` is a new format number and a new file.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from modelway_contract.prompt_labels import Domain, Task
from modelway_gateway.core.prompt.features import BUCKETS, SHAPE, Floats
from modelway_gateway.core.prompt.lexicon import Lexicon
from modelway_gateway.core.prompt.tokens import KINDS, TokenEstimate, kinds_table
from modelway_gateway.errors import PromptModelError

_Number = TypeVar("_Number", bound=np.generic)
FORMAT: Final = 1
TASKS: Final = tuple(Task)
DOMAINS: Final = tuple(Domain)
COLUMNS: Final = len(TASKS) + len(DOMAINS) + 1
"""Columns of both heads: the tasks, the domains, and how likely a cheap model fails."""
DIFFICULTY_COLUMN: Final = COLUMNS - 1
_SPARSE_WIDTH: Final = 32
CONFIDENCE_TERMS: Final = 5
"""A constant, the log-odds of the winner, whether both heads agree, the share of known words, and the length."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptModel:
    """Everything the analyser knows. The arrays are read-only."""

    lexicon: Lexicon
    table: npt.NDArray[np.int8]
    """A row of a sentence space for each word of the vocabulary, and a last row of zeros for all others."""
    token_estimate: TokenEstimate
    sparse: npt.NDArray[np.int8]
    """The first head: a row for each bucket of hashed words and neighbours, with columns of zeros up to 32, a width
    that numpy takes rows of twice as fast."""
    sparse_scale: Floats
    sparse_bias: Floats
    dense: Floats
    """The second head, over the pooled rows and the shape of the text; column after column, as it is multiplied."""
    dense_bias: Floats
    shape_scale: tuple[tuple[float, ...], tuple[float, ...]]
    """What is subtracted from each number of a text's shape, and what it is multiplied by then."""
    mix: Floats
    """How much the second head counts, by column."""
    confidence: tuple[tuple[float, ...], ...]
    """For tasks and for domains: the terms by which a winner's probability is made honest."""


def decode(data: bytes, *, sha256: str) -> PromptModel:
    """Decode a model file whose digest is known; anything else raises PromptModelError."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise PromptModelError(
            "the prompt model's file does not have the digest that was recorded for it; install it anew"
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
            return _checked(held)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise PromptModelError(f"the prompt model's file cannot be read: {error}") from error


def _checked(held: dict[str, npt.NDArray[np.generic]]) -> PromptModel:
    if int(held["format"].item()) != FORMAT:
        raise PromptModelError(
            f"the prompt model's file has format {held['format'].item()}; this version reads {FORMAT}"
        )
    listed = held["vocabulary"].tobytes().decode("utf-8").split(" ")
    words = len(listed)
    width = held["table"].shape[1]
    shapes = {
        "table": (words, width),
        "table_scale": (words,),
        "token_counts": (words,),
        "token_weights": (KINDS,),
        "sparse": (BUCKETS, COLUMNS),
        "sparse_scale": (COLUMNS,),
        "sparse_bias": (COLUMNS,),
        "dense": (3 * width + SHAPE, COLUMNS),
        "dense_bias": (COLUMNS,),
        "shape_middle": (SHAPE,),
        "shape_spread": (SHAPE,),
        "mix": (COLUMNS,),
        "confidence": (2, CONFIDENCE_TERMS),
    }
    for name, expected in shapes.items():
        if held[name].shape != expected:
            raise PromptModelError(f"the prompt model's {name} has shape {held[name].shape}, not {expected}")
    estimate = TokenEstimate(
        kinds_table(listed, held["token_counts"].astype(int).tolist()), held["token_weights"].astype(np.float64)
    )
    sparse = np.zeros((BUCKETS, _SPARSE_WIDTH), dtype=np.int8)
    sparse[:, :COLUMNS] = held["sparse"]
    return PromptModel(
        lexicon=Lexicon(listed, held["table_scale"].astype(np.float32), estimate),
        token_estimate=estimate,
        table=_with_zero(held["table"].astype(np.int8, copy=False)),
        sparse=_frozen(sparse),
        sparse_scale=_frozen(held["sparse_scale"].astype(np.float32, copy=False)),
        sparse_bias=_frozen(held["sparse_bias"].astype(np.float32, copy=False)),
        dense=_frozen(np.asfortranarray(held["dense"].astype(np.float32))),
        dense_bias=_frozen(held["dense_bias"].astype(np.float32, copy=False)),
        shape_scale=(
            tuple(held["shape_middle"].astype(float).tolist()),
            tuple(held["shape_spread"].astype(float).tolist()),
        ),
        mix=_frozen(held["mix"].astype(np.float32, copy=False)),
        confidence=tuple(tuple(row) for row in held["confidence"].astype(float).tolist()),
    )


def _frozen(array: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    array.flags.writeable = False
    return array


def _with_zero(array: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """The array and one row of zeros more."""
    longer = np.zeros((len(array) + 1, *array.shape[1:]), dtype=array.dtype)
    longer[:-1] = array
    return _frozen(longer)
