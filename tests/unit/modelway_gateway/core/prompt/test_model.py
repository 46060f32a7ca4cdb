"""A model file is the one its digest names, of the format this version reads, or it is refused."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from modelway_gateway import prompt_model
from modelway_gateway.core.prompt.model import decode
from modelway_gateway.errors import PromptModelError

DATA = (prompt_model.FILES / prompt_model.MODEL).read_bytes()


def sealed(**changes: object) -> tuple[bytes, str]:
    with np.load(io.BytesIO(DATA)) as held:
        arrays = {name: held[name] for name in held.files} | changes
    out = io.BytesIO()
    kept = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    np.savez(out, allow_pickle=False, **kept)
    return out.getvalue(), hashlib.sha256(out.getvalue()).hexdigest()


def test_a_flipped_bit_is_refused() -> None:
    """Nobody serves with a model that was not measured."""
    damaged = bytearray(DATA)
    damaged[len(damaged) // 2] ^= 1

    with pytest.raises(PromptModelError, match="digest"):
        decode(bytes(damaged), sha256=hashlib.sha256(DATA).hexdigest())


def test_the_file_fits_its_bound() -> None:
    """It is committed and shipped: 12 MB at most."""
    assert len(DATA) <= 12_000_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array(2)}, "format 2"),
        ({"mix": np.zeros(3, dtype=np.float32)}, "mix has shape"),
        ({"table": None}, "cannot be read"),
        ({"token_counts": np.zeros(3, dtype=np.uint8)}, "token_counts has shape"),
    ],
)
def test_another_format_is_refused_by_what_differs(changes: dict[str, object], message: str) -> None:
    """The digest alone would not help whoever made the file."""
    data, digest = sealed(**changes)

    with pytest.raises(PromptModelError, match=message):
        decode(data, sha256=digest)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"x" * 1000])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    """An error of ours, whatever numpy says."""
    with pytest.raises(PromptModelError):
        decode(data, sha256=hashlib.sha256(data).hexdigest())


def test_the_arrays_are_read_only() -> None:
    """All requests share them."""
    model = decode(DATA, sha256=hashlib.sha256(DATA).hexdigest())

    with pytest.raises(ValueError, match="read-only"):
        model.table[0, 0] = 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the remedy."""
    with pytest.raises(PromptModelError, match=r"SHA256SUMS cannot be read.*install"):
        prompt_model.load_analyser(tmp_path)


@pytest.mark.parametrize("exchanged", [prompt_model.LANGUAGES, prompt_model.BACKGROUND])
def test_another_file_than_the_recorded_one_is_refused(tmp_path: Path, exchanged: str) -> None:
    """lid.176 and the background of own categories are checked like the model is."""
    for name in (prompt_model.MODEL, prompt_model.LANGUAGES, prompt_model.BACKGROUND, "SHA256SUMS"):
        (tmp_path / name).write_bytes((prompt_model.FILES / name).read_bytes())
    (tmp_path / exchanged).write_bytes(b"other")

    with pytest.raises(PromptModelError, match=rf"{exchanged} does not have the digest"):
        prompt_model.load_analyser(tmp_path)
