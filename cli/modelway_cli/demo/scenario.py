"""What is tried, and what is to come of it.

Rule: the expected verdict follows from how a backend behaves, never from its name; so swapping two behaviours must swap
two verdicts.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modelway_cli.simulator.behaviour import Behaviour, changed

FIRST: Final = "chat-v1"
CANDIDATES: Final = ("chat-v2", "chat-v3")
PUBLIC_NAME: Final = "chat"
CLIENTS: Final = 20
"""Clients that each send their next request when they have their answer: about 200 requests a second together."""
STREAM_SHARE: Final = 0.5

GOOD: Final = Behaviour(tokens=8, ttft_ms=60, ttft_sigma=0.3, token_ms=5)
BAD: Final = changed(GOOD, {"error_rate": 0.12, "slow_share": 0.4, "slow_ttft_ms": 1_800})


class Verdict(StrEnum):
    """How a rollout ends, as the policy's history words it."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"

    @property
    def words(self) -> str:
        """As a sentence says it."""
        return "promoted" if self is Verdict.PROMOTED else "rolled back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One rollout: a candidate, how it behaves, and what has to become of it."""

    candidate: str
    behaviour: Behaviour

    @property
    def expected(self) -> Verdict:
        return Verdict.ROLLED_BACK if self.is_bad else Verdict.PROMOTED

    @property
    def is_bad(self) -> bool:
        return bool(self.behaviour.error_rate or self.behaviour.slow_share)

    @property
    def description(self) -> str:
        """How it behaves, in words."""
        if not self.is_bad:
            return "as good as the version before it"
        behaviour = self.behaviour
        return (
            f"{100 * behaviour.error_rate:g} % of its requests fail, {100 * behaviour.slow_share:g} % wait"
            f" {behaviour.slow_ttft_ms / 1000:g} s for their first token"
        )


def trials(*, swap: bool) -> tuple[Trial, ...]:
    """The rollouts in their order: first a good candidate, then a bad one; with `swap` the other way round."""
    behaviours = (BAD, GOOD) if swap else (GOOD, BAD)
    return tuple(
        Trial(candidate=candidate, behaviour=behaviour)
        for candidate, behaviour in zip(CANDIDATES, behaviours, strict=True)
    )
