"""The record of one decision: what was chosen, why the others were not, and under which series it counts.

The rule: it holds names from the config and closed sets only, never anything that a client sent.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from modelway_contract.names import Arm

if TYPE_CHECKING:
    from modelway_gateway.core.routes import Offer, Option, Policy, Rule, Target
    from modelway_gateway.core.series import Series


class Reason(StrEnum):
    """Why a model was excluded."""

    DISABLED = "disabled"
    DRAINING = "draining"
    JURISDICTION = "jurisdiction"
    CAPABILITY = "capability"
    RETENTION = "retention"
    NO_BACKEND = "no_backend"
    TOOLS = "tools"
    IMAGES = "images"
    JSON_SCHEMA = "json_schema"
    MAX_OUTPUT_TOKENS = "max_output_tokens"
    CONTEXT_WINDOW = "context_window"


class Exclusion(NamedTuple):
    """One model that a hard filter took out."""

    target: str
    model: str
    reason: Reason


class Refusal(StrEnum):
    """Why nothing was chosen."""

    MODEL_NOT_FOUND = "model_not_found"
    NO_MATCHING_RULE = "no_matching_rule"
    NO_ELIGIBLE_MODEL = "no_eligible_model"
    NO_ENDPOINTS = "no_endpoints"


class Decision:
    """The route of one request, or why it has none. `offer` is None exactly when `refusal` is not.

    `address` is one endpoint of a backend that is discovered; without it the backend's host is resolved.
    `series` is None while nobody is to be held responsible: before a target was chosen. `skipped` is the model first
    chosen where it has nobody to ask, and `option` a fallback; `arm` and `series` are those of the first one always.
    """

    __slots__ = (
        "address",
        "arm",
        "exclusions",
        "offer",
        "option",
        "policy",
        "refusal",
        "rule",
        "series",
        "skipped",
        "target",
    )

    def __init__(
        self,
        policy: Policy | None = None,
        rule: Rule | None = None,
        target: Target | None = None,
        option: Option | None = None,
        offer: Offer | None = None,
        address: tuple[str, int] | None = None,
        arm: Arm = Arm.NONE,
        series: Series | None = None,
        exclusions: tuple[Exclusion, ...] = (),
        refusal: Refusal | None = None,
    ) -> None:
        self.policy = policy
        self.rule = rule
        self.target = target
        self.option = option
        self.offer = offer
        self.address = address
        self.arm = arm
        self.series = series
        self.exclusions = exclusions
        self.refusal = refusal
        self.skipped: Option | None = None


def summarise(exclusions: tuple[Exclusion, ...]) -> str:
    """Reasons and how many models each took out, e.g. `context_window (2), draining (1)`."""
    counts = Counter(each.reason for each in exclusions)
    return ", ".join(f"{reason.value} ({count})" for reason, count in sorted(counts.items()))
