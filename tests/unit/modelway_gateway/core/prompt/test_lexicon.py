"""Words are looked up by a shorter way than they are cut in training, and come out the same."""

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelway_gateway import prompt_model
from modelway_gateway.core.prompt import features
from modelway_gateway.core.prompt.analyser import Analyser
from modelway_gateway.core.prompt.features import Floats
from modelway_gateway.core.prompt.language import FUNCTION_WORDS
from modelway_gateway.core.prompt.lexicon import FUNCTION, ID, KNOWN, SCALE, SIGN, TOKENS, Lexicon
from modelway_gateway.core.prompt.model import COLUMNS, DIFFICULTY_COLUMN, DOMAINS, TASKS
from modelway_gateway.core.prompt.tokens import KINDS, TokenEstimate, count_kinds, kinds_table
from modelway_gateway.core.prompt.words import window, words

from tests.unit.modelway_gateway.core.prompt.languages import PROMPTS

VOCABULARY = ["the", ",", ".", "00", "\n", "straße", "is", "n", "(", "-", "ς", "i", "don", "'", "t", "@"]
TABLE = kinds_table(VOCABULARY, [1, 0, 0, 0, 0, 2, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0])
WEIGHTS = np.linspace(0.5, 1.5, KINDS)
SCALES = np.linspace(0.1, 0.9, len(VOCABULARY)).astype(np.float32)
LEXICON = Lexicon(VOCABULARY, SCALES, TokenEstimate(TABLE, WEIGHTS))

PIECES = st.sampled_from(
    [
        *VOCABULARY,
        "THE",
        " ",
        "  ",
        "\t",
        "\r",
        "\x1c",
        "\xa0",
        "\u2028",
        "N",
        "12",
        "3.14",
        "word",
        "İ",
        "ΟΔΟΣ",
        "@@",
        "٣",
        "_",
    ]
)
TEXTS = st.text() | st.lists(PIECES).map("".join)


@given(TEXTS)
@settings(max_examples=400, deadline=None)
def test_the_rows_of_a_text_are_those_of_its_words(text: str) -> None:
    """Whatever stands in it: number, scale, and what each word is known for."""
    cut = words(text)
    ids = features.word_ids(cut, {word: at for at, word in enumerate(VOCABULARY)})
    rows = LEXICON.rows(text)
    known = ids < len(VOCABULARY)
    scale = np.where(known, SCALES[np.minimum(ids, len(VOCABULARY) - 1)], 0)

    assert ids.tolist() == rows[:, ID].tolist()
    assert scale.tolist() == rows[:, SCALE].tolist()
    assert known.tolist() == rows[:, KNOWN].tolist()
    assert [word in FUNCTION_WORDS and word in VOCABULARY for word in cut] == rows[:, FUNCTION].tolist()
    assert [word in {",", ".", "(", "-", "'", "@"} for word in cut] == rows[:, SIGN].tolist()
    worth = [float(count_kinds([word], ids[at : at + 1], TABLE) @ WEIGHTS) for at, word in enumerate(cut)]
    assert worth == pytest.approx(rows[:, TOKENS].tolist(), rel=1e-6)


def test_every_function_word_is_a_word_of_the_model(analyser: Analyser) -> None:
    """English is told by rows of the vocabulary alone."""
    text = " ".join(sorted(FUNCTION_WORDS))

    assert len(FUNCTION_WORDS) == analyser._model.lexicon.rows(text)[:, FUNCTION].sum()


def test_a_line_breaks_stand_in_cannot_be_written() -> None:
    """It is in upper case, and a text is in lower case when it is put in."""
    assert [VOCABULARY.index("n"), VOCABULARY.index("\n")] == LEXICON.rows("N\n")[:, ID].tolist()


ENGLISH = [
    "Summarize the following letter in one sentence: Dear Mr Holloway, thank you for your offer of 12 June (below).",
    "Write a Python function that returns the n-th triangular number.\n\n```\ndef f(n):\n    pass\n```",
    "Which marketing strategy fits a new brand, and how do we price the product? Don't be long-winded...",
    "Let G be a finite group of order 84; show that it has a normal Sylow subgroup. " * 40,
    "hi",
    "what is this",
]


@pytest.mark.parametrize("text", [*ENGLISH, *(" ".join(texts) for texts in PROMPTS.values())])
def test_what_is_served_is_what_was_trained(analyser: Analyser, text: str) -> None:
    """The arrays of the file, multiplied in the plainest way, name the same labels with the same difficulty."""
    mixed = plainly(text)
    reading = analyser.read(text)

    assert reading.difficulty == pytest.approx(1 / (1 + math.exp(-mixed[DIFFICULTY_COLUMN])), abs=1e-5)
    if reading.task is not None and reading.domain is not None:
        assert TASKS[int(mixed[: len(TASKS)].argmax())] == reading.task.label
        assert DOMAINS[int(mixed[len(TASKS) : DIFFICULTY_COLUMN].argmax())] == reading.domain.label


with np.load(io.BytesIO((prompt_model.FILES / prompt_model.MODEL).read_bytes())) as _held:
    FILE = {name: _held[name] for name in _held.files}
LISTED = {word: at for at, word in enumerate(FILE["vocabulary"].tobytes().decode().split(" "))}


def plainly(text: str) -> Floats:
    """The columns of both heads as training computes them."""
    cut = words(window(text))
    ids = features.word_ids(cut, LISTED)
    sparse = np.zeros(features.BUCKETS)
    places, weights = features.buckets(ids)
    np.add.at(sparse, places, weights)
    one = sparse @ (FILE["sparse"] * FILE["sparse_scale"]) + FILE["sparse_bias"]

    table = np.concatenate([FILE["table"] * FILE["table_scale"][:, None].astype(float), np.zeros((1, 256))])
    vectors = table[np.minimum(ids, len(LISTED))]
    fields = [part.sum(axis=0) for part in (vectors, vectors[: features.FIELD_WORDS], vectors[-features.FIELD_WORDS :])]
    shape = np.array(features.shape(characters=len(window(text)), words=len(cut)))
    dense = np.concatenate(
        [field / max(float(np.linalg.norm(field)), 1e-6) for field in fields]
        + [(shape - FILE["shape_middle"]) * FILE["shape_spread"]]
    )
    other = dense @ FILE["dense"].astype(float) + FILE["dense_bias"]
    mixed: Floats = one + FILE["mix"] * (other - one)
    assert len(mixed) == COLUMNS
    return mixed
