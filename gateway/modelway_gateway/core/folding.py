"""Text without differences of case, width and composition, so that a keyword is found however it is written.

The rule: it takes linear time, whatever a client sends. The marks on one letter have an order, and to sort very many of
them takes `unicodedata` a time that grows with their square (80,000 of them: seven seconds of everybody's), so never
more than 30 are left together, as in Unicode's stream-safe format (UAX #15).
"""

from __future__ import annotations

from typing import Final
from unicodedata import normalize

import re2

_MANY_MARKS: Final = re2.compile("[\\pM\uff9e\uff9f]{30}")
"""The last two are letters, and become marks."""

_BETWEEN: Final = "\u034f"
"""COMBINING GRAPHEME JOINER: marks are not moved past it."""


def folded(text: str) -> str:
    """Keywords and prompts alike."""
    if text.isascii():
        return text.lower()
    text = _MANY_MARKS.sub(lambda found: found.group() + _BETWEEN, text)
    return normalize("NFKC", text).casefold()
