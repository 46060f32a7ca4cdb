"""What becomes of one request: drawn from the seed and the request's number, and from nothing else.

Rule: every request draws the same numbers in the same order, whether they are needed or not. So a higher error rate
adds failures and moves none, and a run can be repeated whatever the connections did.
"""

import math
import random
from dataclasses import dataclass
from typing import Final

from modelway_cli.simulator.behaviour import Behaviour, ErrorMode

WORDS: Final = (
    *("every", "answer", "tells", "who", "gave", "it", "and", "the", "way", "a", "request", "goes", "is", "chosen"),
    *("by", "rule", "weight", "or", "name", "while", "one", "candidate", "learns", "to", "walk", "step", "after"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How one request is answered: with which words, how fast, and how it fails, if it does."""

    fault: ErrorMode | None
    ttft_seconds: float
    token_seconds: float
    tokens: tuple[str, ...]
    cut_by_limit: bool
    """Whether the request's own limit ended the answer (`finish_reason` is then `length`)."""


def fate_of(behaviour: Behaviour, *, number: int, token_limit: int | None) -> Fate:
    """The fate of the `number`th valid request under `behaviour`, for a request that wants at most `token_limit`."""
    draws = random.Random(f"{behaviour.seed}/{number}")  # noqa: S311 - repeatable on purpose, nothing secret
    fails = draws.random() < behaviour.error_rate
    is_slow = draws.random() < behaviour.slow_share
    spread = math.exp(draws.gauss(0.0, 1.0) * behaviour.ttft_sigma)
    first_word = draws.randrange(len(WORDS))

    median_ms = behaviour.slow_ttft_ms if is_slow else behaviour.ttft_ms
    count = behaviour.tokens if token_limit is None else min(behaviour.tokens, token_limit)
    words = (WORDS[(first_word + place) % len(WORDS)] for place in range(count))
    return Fate(
        fault=behaviour.error_mode if fails else None,
        ttft_seconds=median_ms * spread / 1000,
        token_seconds=behaviour.token_ms / 1000,
        tokens=tuple(word if place == 0 else f" {word}" for place, word in enumerate(words)),
        cut_by_limit=count < behaviour.tokens,
    )
