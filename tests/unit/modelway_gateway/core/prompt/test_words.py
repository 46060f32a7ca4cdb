"""A text is read through a window of bounded length, and cut the same in training and in serving."""

import pytest

from modelway_gateway.core.prompt.words import HEAD_CHARS, TAIL_CHARS, window, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Write a Poem", ["write", "a", "poem"]),
        ("don't", ["don", "'", "t"]),
        ("pi is 3.14", ["pi", "is", "0", ".", "00"]),
        ("a\n\nb", ["a", "\n", "\n", "b"]),
        ("snake_case", ["snake", "case"]),
        ("naïve Straße", ["naïve", "straße"]),
        ("😀!", ["😀", "!"]),
        ("秋天", ["秋天"]),
    ],
)
def test_words_are_lower_case_letters_digit_runs_and_signs(text: str, expected: list[str]) -> None:
    """Digits all read 0, so that numbers differ by their length only."""
    assert expected == words(text)


def test_window_keeps_head_and_tail_of_a_long_text() -> None:
    """Whatever its length, at most 2,001 characters are read."""
    text = "h" * HEAD_CHARS + "m" * 1_000_000 + "t" * TAIL_CHARS

    assert "h" * HEAD_CHARS + "\n" + "t" * TAIL_CHARS == window(text)


@pytest.mark.parametrize("length", [0, 1, HEAD_CHARS + TAIL_CHARS])
def test_window_is_the_text_itself_where_it_fits(length: int) -> None:
    """Nothing is cut out of a text of 2,000 characters."""
    assert "x" * length == window("x" * length)
