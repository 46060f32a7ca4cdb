"""Languages are told in thirty tongues, English without a second look, and what has no letters has none."""

from collections.abc import Sequence

import fasttext
import pytest

from modelway_contract.prompt_labels import LANGUAGES
from modelway_gateway.core.prompt.analyser import Analyser
from modelway_gateway.core.prompt.language import FUNCTION_WORDS, UNKNOWN, Language, identify, is_plain_english
from modelway_gateway.prompt_model import FILES

from tests.unit.modelway_gateway.core.prompt.languages import PROMPTS


def test_thirty_languages_are_told(analyser: Analyser) -> None:
    """Three sentences are enough for each of them."""
    wrong = {code: analyser.read(" ".join(texts)).language for code, texts in PROMPTS.items()}

    assert {} == {code: said for code, said in wrong.items() if said.code != code}


def test_one_short_sentence_is_mostly_enough(analyser: Analyser) -> None:
    """Thirty characters confuse neighbours now and then (Czech and Slovak, Danish and Norwegian), not more."""
    asked = [(code, text) for code, texts in PROMPTS.items() for text in texts]
    wrong = [code for code, text in asked if analyser.read(text).language.code != code]

    assert len(wrong) <= 4, wrong


class _Says:
    def __init__(self, label: str, p: float) -> None:
        self.asked: list[str] = []
        self._label, self._p = label, p

    def predict(self, text: str, k: int = 1) -> tuple[Sequence[str], Sequence[float]]:
        self.asked.append(text)
        return (f"__label__{self._label}",) * k, (self._p,) * k


@pytest.mark.parametrize(
    ("label", "p", "expected"),
    [
        ("de", 0.9, Language("de", 0.9)),
        ("de", 0.2, Language("unknown", 0.2)),
        ("arz", 0.9, Language("ar", 0.9)),
        ("ceb", 0.9, Language("unknown", 0.9)),
        ("war", 0.9, Language("unknown", 0.9)),
        ("fr", 1.00004, Language("fr", 1.0)),
    ],
)
def test_an_identifiers_answer_becomes_iso_639_1_or_unknown(label: str, p: float, expected: Language) -> None:
    """Unlikely ones and those without a two-letter code are unknown; a dialect counts as its language."""
    assert expected == identify("ein Text", _Says(label, p))


@pytest.mark.parametrize("text", ["", "1 + 2 = 3", "\n\x00", "😀"])
def test_without_letters_there_is_no_language(text: str) -> None:
    """Nobody is asked."""
    says = _Says("en", 0.99)

    assert (Language("unknown", 0.0), []) == (identify(text, says), says.asked)


def test_the_identifier_sees_one_short_line() -> None:
    """It takes one line only, and its cost grows with what it is shown."""
    says = _Says("en", 0.9)
    identify("one\ntwo\x00three \ud800" * 1000, says)

    assert [(300, False)] == [(len(line), "\n" in line) for line in says.asked]


@pytest.mark.parametrize(
    ("words", "share", "expected"),
    [
        (["what", "is", "the", "price", "of", "milk"], 1.0, True),
        (["what", "is", "the", "price", "of", "milk"], 0.7, False),
        (["wat", "is", "de", "prijs", "van", "melk"], 1.0, False),
        (["photosynthesis", "chlorophyll"], 1.0, False),
        ([], 0.0, False),
    ],
)
def test_plain_english_needs_its_function_words(words: list[str], share: float, expected: bool) -> None:
    """Known words alone are not enough: Dutch shares some of them."""
    held = sum(word in FUNCTION_WORDS for word in words)

    assert expected is is_plain_english(known_share=share, words=len(words), function_words=held)


def test_policies_may_name_the_languages_that_can_be_told_and_no_others() -> None:
    """The contract's table is what lid.176's own labels come to."""
    labels, _ = fasttext.load_model(str(FILES / "lid.176.ftz")).predict("hello", k=200, threshold=-1.0)
    told = {identify("hello", _Says(label.removeprefix("__label__"), 1.0)).code for label in labels}

    assert 176 == len(labels)
    assert sorted(told - {UNKNOWN}) == list(LANGUAGES)
