"""Tokens are estimated from what a text is made of, and the length of an answer from what it asks for."""

import numpy as np
import pytest

from modelway_contract.prompt_labels import ExpectedOutput, Task
from modelway_gateway.core.prompt.analyser import Analyser
from modelway_gateway.core.prompt.features import word_ids
from modelway_gateway.core.prompt.lexicon import SIGN, TOKENS, Lexicon
from modelway_gateway.core.prompt.tokens import (
    KINDS,
    TokenEstimate,
    count_kinds,
    expected_output,
    kinds_table,
)

EXACT = {
    "The lighthouse keeper climbed the stairs every evening, lit the lamp and wrote the time into his book.": 20,
    "How do I sort a list of dictionaries by two keys in Python, the second one descending?": 19,
    "Our revenue grew from $1,250,000 in 2021 to $3,480,500 in 2023, an increase of 178 percent.": 33,
}
"""Counted with o200k_base."""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (["hello", "hello"], [4, 0, 0, 0, 0, 0, 0, 0, 0]),
        (["qwxyz"], [0, 1, 5, 0, 0, 0, 0, 0, 0]),
        (["0000"], [0, 0, 0, 0, 0, 2, 0, 0, 0]),
        (["(", ")", "hello", ")"], [2, 0, 0, 0, 0, 0, 2, 1, 0]),
        (["straße", "\n"], [0, 0, 0, 6, 0, 0, 0, 0, 1]),
        (["秋天"], [0, 0, 0, 0, 2, 0, 0, 0, 0]),
    ],
)
def test_a_text_is_counted_by_kinds(words: list[str], expected: list[float]) -> None:
    """Words by their own count, the rest by letters, digit triples and signs, whether the table knows them or not."""
    vocabulary = {"hello": 0, "(": 1, ")": 2, "\n": 3}
    table, ids = kinds_table(vocabulary, [2, 0, 0, 0]), word_ids(words, vocabulary)
    weights = np.arange(1.0, KINDS + 1)
    estimate = TokenEstimate(table, weights)
    rows = Lexicon([*vocabulary], np.ones(len(vocabulary), dtype=np.float32), estimate).rows(" ".join(words))

    assert expected == count_kinds(words, ids, table).tolist()
    assert float(np.dot(expected, weights)) == pytest.approx(
        estimate.of_text(float(rows[:, TOKENS].sum()), rows[:, SIGN])
    )


@pytest.mark.parametrize(("text", "exact"), EXACT.items())
def test_the_estimate_is_near_the_exact_count(analyser: Analyser, text: str, exact: int) -> None:
    """Within 15 % for one short text; on average it is far nearer (docs/prompt-model.md)."""
    assert abs(analyser.read(text).tokens - exact) <= 0.15 * exact


def test_a_long_text_is_estimated_by_its_window(analyser: Analyser) -> None:
    """A hundred times the text is a hundred times the tokens, within a few in a hundred."""
    text = next(iter(EXACT)) + " "

    assert analyser.read(text * 1000).tokens == pytest.approx(20_000, rel=0.1)


@pytest.mark.parametrize(
    ("text", "task", "tokens", "expected"),
    [
        ("Is this spam?", Task.CLASSIFICATION, 4, ExpectedOutput.SHORT),
        ("Write a story.", Task.WRITING, 4, ExpectedOutput.LONG),
        ("Write a story in 50 words.", Task.WRITING, 7, ExpectedOutput.SHORT),
        ("Write 800 words on trees.", Task.WRITING, 7, ExpectedOutput.LONG),
        ("Explain in one sentence.", Task.QA, 5, ExpectedOutput.SHORT),
        ("Explain it in detail.", Task.QA, 5, ExpectedOutput.LONG),
        ("Translate this", Task.TRANSLATION, 900, ExpectedOutput.LONG),
        ("Translate this", Task.TRANSLATION, 20, ExpectedOutput.SHORT),
        ("hmm", None, 2, ExpectedOutput.MEDIUM),
    ],
)
def test_the_answers_length_follows_what_is_asked(
    text: str, task: Task | None, tokens: int, expected: ExpectedOutput
) -> None:
    """A wish in so many words outweighs what the task would suggest."""
    assert expected is expected_output(text, task, tokens)
