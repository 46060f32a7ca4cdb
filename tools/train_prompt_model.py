#!/usr/bin/env python3
"""Makes the prompt model: reads labelled prompts, writes the model file, its digest, and the figures of the model card.

Deterministic; minutes on one core once the teacher's vectors are cached (a quarter of an hour the first time). Needs
the packages of tools/prompt_training/requirements.txt. Figures come from sources left out, with a table that saw none
of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Read when numpy is loaded. With another number of threads sums are rounded otherwise, and the bytes are others.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / part) for part in ("contract", "gateway", "cli", "tools")]

from prompt_training import card, data, heads, seeds, table  # noqa: E402
from prompt_training.teacher import Teacher  # noqa: E402

from modelway_cli.prompts import figures  # noqa: E402 - the path above leads there
from modelway_gateway.core.prompt import analyser, features, tokens  # noqa: E402
from modelway_gateway.core.prompt.examples import fit as fit_examples  # noqa: E402
from modelway_gateway.core.prompt.model import COLUMNS, DIFFICULTY_COLUMN, DOMAINS, FORMAT, TASKS  # noqa: E402

PACKAGE = ROOT / "gateway/modelway_gateway/prompt_files"
MODEL = PACKAGE / "prompt-model-v1.npz"
BACKGROUND = PACKAGE / "background.txt"
DIGESTS = PACKAGE / "SHA256SUMS"
LEAST_TEXTS = 4
"""A word of the vocabulary stands in this many texts, or is one of the teacher's whole words."""
MOST_WORDS = 30_000
SEEDS_PER_TASK, SEEDS_PER_DOMAIN = 450, 320
OWN_PASSAGES, OTHER_PASSAGES, PASSAGE_CHARS = 10, 400, range(200, 900)
OWN_WEIGHT = {"task": 1.0, "domain": 3.0}
DENSE_SHARE = {"task": 0.6, "domain": 0.9}
"""How much the second head counts."""
SPARSE_RIDGE, DENSE_RIDGE, DIFFICULTY_RIDGE = 3e-6, 1e-4, 1e-2
SPARSE_ITERATIONS, DENSE_ITERATIONS = 15, 40
FOLDS = 5
LONGEST_COUNTED = 2000
CONFIDENCE_UNMEASURED = (-1.0, 0.8, 0.6, 0.0, 0.0)
"""What a model for trials takes its confidence from, in place of prompts of sources left out."""
_STARTED = time.monotonic()


def main() -> int:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--prompts", type=Path, default=ROOT.parent / "shared/prompts", help="folder of labelled prompts"
    )
    parser.add_argument(
        "--cache", type=Path, default=ROOT / "build/teacher.npz", help="where the teacher's vectors are kept"
    )
    parser.add_argument(
        "--skip-figures", action="store_true", help="write a model for trials: its confidence is a guess"
    )
    options = parser.parse_args()
    options.cache.parent.mkdir(parents=True, exist_ok=True)

    say("reading prompts")
    corpora = {kind: with_seeds(options.prompts, kind) for kind in ("task", "domain")}
    outcomes = data.outcomes(options.prompts)
    vocabulary = choose_vocabulary(
        data.every_text(options.prompts) + [each.text for each in corpora["domain"] + corpora["task"]]
    )
    say(f"{len(vocabulary)} words; asking the teacher")
    teacher = Teacher(options.cache)
    word_vectors = teacher.vectors(list(vocabulary))
    learned = texts_for_table(options.prompts)

    full = make_table(learned, teacher, word_vectors, vocabulary)
    measured: dict[str, object] = {}
    token_counts, token_weights, measured["tokens"] = fit_tokens(data.every_text(options.prompts), vocabulary)
    say("fitting the heads")
    arrays = final_heads(corpora, outcomes, vocabulary, full)
    arrays |= {
        "format": np.array(FORMAT),
        "vocabulary": np.frombuffer(" ".join(vocabulary).encode(), dtype=np.uint8),
        "table": full.rows,
        "table_scale": full.scales,
        "token_counts": token_counts,
        "token_weights": token_weights,
        "confidence": np.tile(CONFIDENCE_UNMEASURED, (2, 1)),
    }
    if options.skip_figures:
        write_model(arrays)
        return 0

    hidden = {each.text for kind in ("task", "domain") for each in corpora[kind] if each.source != "seeds"}
    hidden |= {each.text for each in data.custom(options.prompts, "clinc150")}
    blind = make_table([text for text in learned if text not in hidden], teacher, word_vectors, vocabulary)
    confidence = []
    for kind in ("task", "domain"):
        measured[kind], fitted = leave_sources_out(kind, corpora[kind], vocabulary, blind)
        confidence.append(fitted)
    measured["difficulty"] = difficulty_figures(outcomes, vocabulary, blind)
    measured["examples"] = examples_figures(data.custom(options.prompts, "clinc150"), vocabulary, blind)
    write_model(arrays | {"confidence": np.array(confidence)})
    card.write(ROOT / "docs/prompt-model.md", ROOT / "docs/records/prompt-figures.json", measured)
    say("done")
    return 0


def say(line: str) -> None:
    """Report progress."""
    print(f"[{time.monotonic() - _STARTED:5.0f} s] {line}", file=sys.stderr, flush=True)


def with_seeds(folder: Path, kind: str) -> list[data.Labelled]:
    """The labelled prompts of one kind, and ours."""
    given = data.labelled(folder, kind)
    if kind == "task":
        sentences = [each.text for each in data.custom(folder, "banking77")][::7]
        # Passages of many kinds, from prompts labelled with a domain only: what a passage says must not tell the task.
        others = [each.text for each in data.labelled(folder, "domain") if each.source.startswith(("mmlu", "legal"))]
        fitting = [text for text in others if len(text) in PASSAGE_CHARS]
        passages = [*seeds.passages() * OWN_PASSAGES, *fitting[:: max(len(fitting) // OTHER_PASSAGES, 1)]]
        drawn = seeds.draw_tasks(per_task=SEEDS_PER_TASK, passages=passages, sentences=sentences, seed=5)
        return given + [data.Labelled(each.text, each.task, "seeds") for each in drawn]
    drawn = seeds.draw_domains(per_domain=SEEDS_PER_DOMAIN, seed=5)
    return given + [data.Labelled(each.text, each.domain, "seeds") for each in drawn]


def choose_vocabulary(texts: list[str]) -> dict[str, int]:
    """Words that stand in several texts, then whole words of the teacher's own vocabulary."""
    from collections import Counter

    from prompt_training.teacher import whole_words

    in_texts: Counter[str] = Counter()
    for text in texts:
        in_texts.update(set(heads.cut(text)))
    often = sorted(
        (
            word
            for word, count in in_texts.items()
            if count >= LEAST_TEXTS and len(word) <= features.MAX_WORD_CHARS and " " not in word
        ),
        key=lambda word: (-in_texts[word], word),
    )
    words = list(dict.fromkeys([*often, *whole_words()]))[:MOST_WORDS]
    return {word: at for at, word in enumerate(words)}


def texts_for_table(folder: Path) -> list[str]:
    """What the teacher reads: our questions and terms, user-defined categories, and prompts labelled with a domain."""
    own = seeds.questions() + [term for group in seeds.terms().values() for term in group]
    given = [each.text for each in data.labelled(folder, "domain")]
    categories = [each.text for name in ("clinc150", "banking77") for each in data.custom(folder, name)]
    return list(dict.fromkeys(own + given + categories))


def make_table(
    texts: list[str], teacher: Teacher, word_vectors: table.Floats, vocabulary: dict[str, int]
) -> table.Table:
    """Train a table on some of the texts."""
    say(f"training the table on {len(texts)} texts")
    return table.train(texts, teacher.vectors(texts), word_vectors, vocabulary)


@dataclass(frozen=True)
class Corpus:
    """Prompts of one kind as both heads see them."""

    labels: npt.NDArray[np.intp]
    sources: npt.NDArray[np.str_]
    hashed: object
    dense: heads.Floats
    words: npt.NDArray[np.float64]
    known: npt.NDArray[np.float64]


def featured(kind: str, corpus: list[data.Labelled], vocabulary: dict[str, int], held: table.Table) -> Corpus:
    """Compute the features of a corpus."""
    names = [str(each) for each in (TASKS if kind == "task" else DOMAINS)]
    texts = [each.text for each in corpus]
    made = heads.dense(texts, vocabulary, held.rows, held.scales)
    return Corpus(
        labels=np.array([names.index(each.label) for each in corpus]),
        sources=np.array([each.source for each in corpus]),
        hashed=heads.hashed(texts, vocabulary),
        dense=made,
        words=np.array([len(heads.cut(text)) for text in texts], dtype=float),
        known=made[:, -1].astype(float),
    )


def dense_columns(kind: str) -> slice:
    """Which of the second head's inputs a kind uses: what a prompt is about does not stand at its ends."""
    return slice(0, 3 * table.WIDTH) if kind == "task" else slice(0, table.WIDTH)


def fit_pair(kind: str, corpus: Corpus, chosen: npt.NDArray[np.bool_]) -> tuple[tuple[heads.Floats, heads.Floats], ...]:
    """Fit both heads on the chosen prompts."""
    labels = corpus.labels[chosen]
    wide = len(TASKS) if kind == "task" else len(DOMAINS)
    targets = np.eye(wide, dtype=np.float32)[labels]
    weights = data.source_weights(labels, corpus.sources[chosen], OWN_WEIGHT[kind])
    return (
        heads.fit(corpus.hashed[chosen], targets, weights, ridge=SPARSE_RIDGE, iterations=SPARSE_ITERATIONS),
        heads.fit(
            corpus.dense[chosen, dense_columns(kind)], targets, weights, ridge=DENSE_RIDGE, iterations=DENSE_ITERATIONS
        ),
    )


def leave_sources_out(
    kind: str, prompts: list[data.Labelled], vocabulary: dict[str, int], held: table.Table
) -> tuple[dict[str, object], npt.NDArray[np.float64]]:
    """Train without each source in turn and ask about it; then fit the confidence on what came out."""
    corpus = featured(kind, prompts, vocabulary, held)
    sources = [
        source
        for source in sorted(set(corpus.sources.tolist()))
        if source != "seeds" and (corpus.sources == source).sum() >= 30
    ]
    right, terms, source_of, sparse_right, dense_right, label_of = [], [], [], [], [], []
    for source in sources:
        out = corpus.sources == source
        (one, one_bias), (other, other_bias) = fit_pair(kind, corpus, ~out)
        said_one = heads.log_softmax(np.asarray(corpus.hashed[out] @ one) + one_bias)
        said_other = heads.log_softmax(corpus.dense[out][:, dense_columns(kind)] @ other + other_bias)
        share = DENSE_SHARE[kind]
        mixed = heads.log_softmax((1 - share) * said_one + share * said_other)
        truth = corpus.labels[out]
        right.append(mixed.argmax(axis=1) == truth)
        sparse_right.append(said_one.argmax(axis=1) == truth)
        dense_right.append(said_other.argmax(axis=1) == truth)
        agree = said_one.argmax(axis=1) == said_other.argmax(axis=1)
        terms.append(
            np.array(
                [
                    analyser.confidence_terms(
                        winner=float(top), agree=bool(same), known_share=float(known), words=int(length)
                    )
                    for top, same, known, length in zip(
                        mixed.max(axis=1), agree, corpus.known[out], corpus.words[out], strict=True
                    )
                ]
            )
        )
        source_of.append(np.array([source] * int(out.sum())))
        label_of.append(truth)
        say(
            f"{kind} without {source}: {right[-1].mean():.3f} of {out.sum()} "
            f"(heads {sparse_right[-1].mean():.3f}, {dense_right[-1].mean():.3f})"
        )
    all_right, all_terms, all_sources = np.concatenate(right), np.concatenate(terms), np.concatenate(source_of)
    chosen_by = np.isin(all_sources, data.CHOOSING[kind])
    counts = {source: int((all_sources == source).sum()) for source in sources}
    weights = np.array([counts[source] ** -0.5 for source in all_sources.tolist()])
    judged = heads.fit_odds(all_terms[chosen_by], all_right[chosen_by], weights[chosen_by])
    p = 1 / (1 + np.exp(-(all_terms @ judged)))
    result: dict[str, object] = {
        "by_source": {
            source: card.rounded(figures.accuracy(all_right[all_sources == source].tolist())) for source in sources
        }
    }
    for name, part in (
        ("chosen_by", chosen_by),
        ("reported", ~chosen_by),
        ("all", np.ones(len(all_right), dtype=bool)),
    ):
        means = [
            float(all_right[part & (all_sources == source)].mean())
            for source in sources
            if (part & (all_sources == source)).any()
        ]
        result[name] = {
            "accuracy": card.rounded(figures.accuracy(all_right[part].tolist())),
            "mean_over_sources": round(float(np.mean(means)), 3),
            "most_confident_half": card.rounded(
                figures.most_confident_half(all_right[part].tolist(), p[part].tolist())
            ),
            "calibration_error": round(figures.calibration_error(all_right[part].tolist(), p[part].tolist()), 3),
            "answered_at_0.5": round(float((p[part] >= 0.5).mean()), 3),
            "accuracy_where_answered": round(float(all_right[part][p[part] >= 0.5].mean()), 3),
            "words_alone": round(float(np.concatenate(sparse_right)[part].mean()), 3),
            "table_alone": round(float(np.concatenate(dense_right)[part].mean()), 3),
        }
    labels = [str(each) for each in (TASKS if kind == "task" else DOMAINS)]
    truth_all = np.concatenate(label_of)
    result["by_label"] = {
        label: round(float(all_right[truth_all == at].mean()), 3)
        for at, label in enumerate(labels)
        if (truth_all == at).any()
    }
    say(f"{kind}: {json.dumps(result['reported'])}")
    return result, heads.fit_odds(all_terms, all_right, weights)


def difficulty_inputs(dense: heads.Floats, middle: heads.Floats, spread: heads.Floats) -> heads.Floats:
    """The whole text's vector and its two lengths."""
    shape = (dense[:, 3 * table.WIDTH : -1] - middle) * spread
    return np.concatenate([dense[:, : table.WIDTH], shape], axis=1)


def fit_difficulty(
    inputs: heads.Floats, outcomes: list[data.Outcome], chosen: npt.NDArray[np.bool_]
) -> tuple[heads.Floats, float]:
    """Regress failure on the inputs, with an offset for each benchmark: what counts is what is hard within one."""
    sources = sorted({each.source for each in outcomes})
    offsets = np.array([[3.0 * (each.source == source) for source in sources] for each in outcomes], dtype=np.float32)
    failed = np.array([each.failed for each in outcomes], dtype=np.float32)
    both = np.concatenate([inputs, offsets], axis=1)[chosen]
    plane, bias = heads.fit(
        both,
        np.stack([failed, 1 - failed], axis=1)[chosen],
        np.ones(int(chosen.sum())),
        ridge=DIFFICULTY_RIDGE,
        iterations=DENSE_ITERATIONS,
    )
    odds = both @ plane + bias
    level = float(
        (odds[:, 0] - odds[:, 1]).mean()
        - ((both[:, : inputs.shape[1]] @ plane[: inputs.shape[1]]) @ np.array([1, -1])).mean()
    )
    return (plane[: inputs.shape[1], 0] - plane[: inputs.shape[1], 1]).astype(np.float32), level


def standard(dense: heads.Floats) -> tuple[heads.Floats, heads.Floats]:
    """Middle and inverse spread of the shape."""
    shape = dense[:, 3 * table.WIDTH : -1]
    return shape.mean(axis=0), (1 / (shape.std(axis=0) + 0.1)).astype(np.float32)


def difficulty_figures(
    outcomes: list[data.Outcome], vocabulary: dict[str, int], held: table.Table
) -> dict[str, object]:
    """Cross-validated by text within the benchmarks, and the nine models' benchmarks also each left out wholly."""
    texts = [each.text for each in outcomes]
    dense = heads.dense(texts, vocabulary, held.rows, held.scales)
    inputs = difficulty_inputs(dense, *standard(dense))
    fold = np.array([data.fold_of(text, FOLDS) for text in texts])
    source = np.array([each.source for each in outcomes])
    score, apart = np.zeros(len(texts)), np.zeros(len(texts))
    for at in range(FOLDS):
        plane, _ = fit_difficulty(inputs, outcomes, fold != at)
        score[fold == at] = inputs[fold == at] @ plane
    nine = np.char.startswith(source, "nine:")
    for name in sorted(set(source[nine].tolist())):
        plane, _ = fit_difficulty(inputs, outcomes, source != name)
        apart[source == name] = inputs[source == name] @ plane
    weak, strong = np.array([each.weak for each in outcomes]), np.array([each.strong for each in outcomes])
    length = np.array([float(len(text)) for text in texts])
    result: dict[str, object] = {}
    for name, part, said in (
        ("mmlu", source == "mmlu", score),
        ("gsm8k", source == "gsm8k", score),
        ("mmlu and gsm8k mixed", ~nine, score),
        ("thirteen benchmarks mixed, each left out", nine, apart),
    ):
        result[name] = {
            "apgr": card.rounded(figures.apgr(said[part], weak[part], strong[part])),
            "by_length_alone": card.rounded(figures.apgr(length[part], weak[part], strong[part])),
        }
        say(f"difficulty on {name}: {json.dumps(result[name])}")
    return result


def examples_figures(
    utterances: list[data.Labelled], vocabulary: dict[str, int], held: table.Table
) -> dict[str, object]:
    """Six categories of eight phrases, drawn many times: accuracy on the others, and how well strangers stand apart."""
    dense = heads.dense([each.text for each in utterances], vocabulary, held.rows, held.scales)[:, : table.WIDTH]
    by_label: dict[str, list[int]] = {}
    for at, each in enumerate(utterances):
        by_label.setdefault(each.label, []).append(at)
    strangers = by_label.pop("oos", [])
    background = heads.dense(BACKGROUND.read_text(encoding="utf-8").splitlines(), vocabulary, held.rows, held.scales)
    lots = np.random.default_rng(7)
    names = sorted(by_label)
    accuracy, apart, own = [], [], []
    for _ in range(40):
        drawn = [names[at] for at in lots.permutation(len(names))[:6]]
        phrases = {name: lots.permutation(by_label[name]) for name in drawn}
        fitted = fit_examples(
            {name: [dense[at] for at in chosen[:8]] for name, chosen in phrases.items()},
            background[:, : table.WIDTH],
        )
        inside = [(name, fitted.best(dense[at])) for name, chosen in phrases.items() for at in chosen[8:38]]
        outside = [fitted.best(dense[at])[1] for at in lots.permutation(strangers)[:200]]
        accuracy.append(float(np.mean([name == best for name, (best, _) in inside])))
        apart.append(figures.auroc([score for _, (_, score) in inside], outside))
        own.append(fitted.accuracy)
    result = {
        "accuracy": [round(float(v), 3) for v in (np.mean(accuracy), *np.percentile(accuracy, [2.5, 97.5]))],
        "auroc": [round(float(v), 3) for v in (np.mean(apart), *np.percentile(apart, [2.5, 97.5]))],
        "own_leave_one_out": round(float(np.mean(own)), 3),
        "draws": 40,
    }
    say(f"own categories: {json.dumps(result)}")
    return result


def fit_tokens(
    texts: list[str], vocabulary: dict[str, int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], dict[str, object]]:
    """Count the vocabulary's words exactly, and fit the rest; half of the texts fit, the other half is measured."""
    import bpe_openai

    encoding = bpe_openai.get_encoding("o200k_base")
    own = np.array(
        [len(encoding.encode_ordinary(" " + word)) if word.isalpha() else 0 for word in vocabulary], dtype=np.uint8
    )
    kept = [text for text in texts if 0 < len(text) <= LONGEST_COUNTED]
    rows = tokens.kinds_table(vocabulary, own.tolist())
    kinds = np.array(
        [tokens.count_kinds(cut, features.word_ids(cut, vocabulary), rows) for cut in map(heads.cut, kept)]
    )
    exact = np.array([len(encoding.encode_ordinary(text)) for text in kept], dtype=float)
    fold = np.array([data.fold_of(text, 2) for text in kept])

    def solve(part: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        # Relative errors count, so each text is scaled by its length; kinds that the texts lack are held near a guess.
        guess = np.array([1.0, 0.6, 0.24, 0.32, 0.6, 1.0, 1.0, 0.5, 0.7])
        scaled = kinds[part] / exact[part, None]
        hold = 0.5 * np.eye(tokens.KINDS)
        found: npt.NDArray[np.float64] = np.linalg.solve(
            scaled.T @ scaled + hold, scaled.T @ np.ones(int(part.sum())) + hold @ guess
        )
        return found

    long = exact >= 20
    measured = {
        "all": card.rounded(figures.relative_error((kinds @ solve(fold == 0))[fold == 1], exact[fold == 1])),
        "of 20 tokens or more": card.rounded(
            figures.relative_error((kinds @ solve(fold == 0))[(fold == 1) & long], exact[(fold == 1) & long])
        ),
        "characters / 4, of 20 tokens or more": card.rounded(
            figures.relative_error(
                np.array([len(text) / 4 for text in kept])[(fold == 1) & long], exact[(fold == 1) & long]
            )
        ),
    }
    say(f"tokens: {json.dumps(measured)}")
    return own, solve(fold >= 0), measured


def final_heads(
    corpora: dict[str, list[data.Labelled]], outcomes: list[data.Outcome], vocabulary: dict[str, int], held: table.Table
) -> dict[str, npt.NDArray[np.generic]]:
    """Fit every head on everything and lay them side by side."""
    sparse = np.zeros((features.BUCKETS, COLUMNS), dtype=np.float32)
    dense = np.zeros((3 * table.WIDTH + features.SHAPE, COLUMNS), dtype=np.float32)
    sparse_bias, dense_bias = np.zeros(COLUMNS, dtype=np.float32), np.zeros(COLUMNS, dtype=np.float32)
    mix = np.ones(COLUMNS, dtype=np.float32)
    for kind, columns in (("task", slice(0, len(TASKS))), ("domain", slice(len(TASKS), len(TASKS) + len(DOMAINS)))):
        corpus = featured(kind, corpora[kind], vocabulary, held)
        (one, one_bias), (other, other_bias) = fit_pair(kind, corpus, np.ones(len(corpus.labels), dtype=bool))
        sparse[:, columns], sparse_bias[columns] = one, one_bias
        dense[dense_columns(kind), columns], dense_bias[columns] = other, other_bias
        mix[columns] = DENSE_SHARE[kind]
        say(f"fitted {kind}")
    raw = heads.dense([each.text for each in outcomes], vocabulary, held.rows, held.scales)
    middle, spread = standard(raw)
    plane, level = fit_difficulty(difficulty_inputs(raw, middle, spread), outcomes, np.ones(len(outcomes), dtype=bool))
    dense[: table.WIDTH, DIFFICULTY_COLUMN] = plane[: table.WIDTH]
    dense[3 * table.WIDTH :, DIFFICULTY_COLUMN] = plane[table.WIDTH :]
    dense_bias[DIFFICULTY_COLUMN] = level
    scale = np.maximum(np.abs(sparse).max(axis=0) / 127, 1e-9).astype(np.float32)
    return {
        "sparse": np.clip(np.rint(sparse / scale), -127, 127).astype(np.int8),
        "sparse_scale": scale,
        "sparse_bias": sparse_bias,
        "dense": dense.astype(np.float16),
        "dense_bias": dense_bias,
        "shape_middle": middle,
        "shape_spread": spread,
        "mix": mix,
    }


def write_model(arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    """Write the model and its digest. numpy stamps no time into the file, so the same arrays are the same bytes."""
    np.savez(MODEL, **arrays)
    names = sorted(path for path in PACKAGE.iterdir() if path.suffix in (".npz", ".ftz", ".txt"))
    DIGESTS.write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in names))
    say(f"wrote {MODEL.name}, {MODEL.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    raise SystemExit(main())
