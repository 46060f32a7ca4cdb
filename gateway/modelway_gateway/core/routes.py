"""The compiled config as plain slotted objects: what the request path walks over.

The rule: nothing here changes once built, so objects are shared between a config and its successors. What moves by
itself (shares, addresses) is in `runtime.Runtime`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from modelway_contract import config
from modelway_gateway.core.conditions import Predicate
from modelway_gateway.core.records import Reason
from modelway_gateway.core.series import Calls, Series, SignalSeries

NO_LIMIT: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backend:
    """One place that serves a model, with everything of a request's head that does not depend on the request."""

    id: str
    name: str
    discovered: bool
    weight: int
    jurisdiction: str | None
    origin: object
    """What the upstream floor calls; this floor only carries it."""
    chat_head: bytes
    """Request line and fixed headers of a chat completion, credential included; lines, each with its end."""
    probe_head: bytes
    """The same of `GET /models`, complete with its blank line."""
    upstream_model: msgspec.Raw
    secret: str | None
    """To be taken out of whatever an upstream says."""
    calls: Calls
    """Counts what became of each call to it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """One version of one model."""

    key: str
    namespace: str
    name: str
    version: str
    public_name: str
    public_name_json: msgspec.Raw
    parameters: tuple[tuple[str, msgspec.Raw], ...]
    backends: tuple[Backend, ...]
    capabilities: config.Capabilities
    retention: config.Retention
    traffic_state: config.TrafficState


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A backend that may serve in one place, with the answer's headers that say so."""

    backend: Backend
    header_lines: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may need at most. What a model does not state is no limit."""

    tools: bool
    images: bool
    json_schema: bool
    output_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Option:
    """A model that may serve at one place of a policy (or called by its own name), filtered as that place demands."""

    model: Model
    offers: tuple[Offer, ...]
    cumulative: tuple[int, ...]
    """Sums of the offers' weights; the last one is the total."""
    header_lines: bytes
    """For answers that no backend gave."""
    excluded: Reason | None
    """Why it can never serve here, whatever the request."""
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CountedOption(Option):
    """One that requests are given to first, so that how they end is counted in its name. A fallback's is not."""

    series: Series
    """Counts what it serves in its arm."""
    series_apart: Series
    """Counts what it serves outside of the comparison of arms; the same as `series` where no rollout runs."""


class SplitKey(NamedTuple):
    """What a share belongs to; of another rollout on the same target, another key."""

    namespace: str
    policy: str
    rule: str
    target: str
    rollout_id: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A weighted share of a rule."""

    name: str
    weight: int
    stable: CountedOption
    candidate: CountedOption | None
    split: SplitKey | None
    """Key of the candidate's share in `Runtime.shares`."""
    salt: bytes
    """What the arm is hashed with: the rollout's id."""
    header_line: bytes
    """For answers of fallback models, which know of no target."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fallback:
    """Where requests of a rule go on, and how often they are sent in all."""

    options: tuple[Option, ...]
    on_errors: frozenset[config.RetryOn]
    max_attempts: int


def _no_fallback() -> Fallback:
    wire = config.Fallback()
    return Fallback(options=(), on_errors=frozenset(), max_attempts=wire.max_attempts)


NO_FALLBACK: Final = _no_fallback()
"""Of rules without one, and of models called by their own name: other places of the same model are still tried."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """Targets behind a condition."""

    name: str
    when: Predicate | None
    targets: tuple[Target, ...]
    cumulative: tuple[int, ...]
    limits: Limits
    """The strictest of all its models'; a request within them is within each."""
    has_exclusions: bool
    """Whether some of its models can never serve here."""
    sticky: tuple[str | None, ...]
    """Names of headers, None for the client; the first that the request has is the key."""
    salt: bytes
    fallback: Fallback
    header_lines: bytes
    """For answers to requests that none of its targets may serve."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """Rules in order."""

    namespace: str
    name: str
    rules: tuple[Rule, ...]
    header_lines: bytes
    """For answers to requests that no rule took."""
    series: tuple[Series, ...]
    signal_series: tuple[SignalSeries, ...]
    examples: tuple[config.ExamplesFit, ...]
    """How well its own categories are told apart."""
    bad_signals: tuple[tuple[int, str], ...]
    """Signals that could not be compiled: their place, and why."""
