"""A policy's rollout entries: which target moves, in which steps, and what must not get worse.

The rule to know: these are a user's wishes only. What a rollout is doing lives in `status.rollouts`.
"""

from enum import StrEnum
from itertools import pairwise
from math import isclose
from typing import Annotated, ClassVar

from pydantic import Field, StrictBool, StrictInt

from modelway_contract import names as contract
from modelway_operator.api.base import ApiObject
from modelway_operator.api.names import EntryName
from modelway_operator.api.quantities import DecimalText, Duration, decimal_between, duration_between, when_parsed
from modelway_operator.api.rules import ListMap, ListSet, Rule, exactly_one_of, only_with


class StrategyType(StrEnum):
    """How the traffic moves."""

    CANARY = "Canary"
    BLUE_GREEN = "BlueGreen"


class OnInconclusive(StrEnum):
    """What happens when a step's deadline comes before a verdict."""

    ROLLBACK = "Rollback"
    ADVANCE = "Advance"
    HOLD = "Hold"


class OnHoldTimeout(StrEnum):
    """What happens when a hold lasts longer than `holdDeadline`."""

    ROLLBACK = "Rollback"
    KEEP = "Keep"


class MetricType(StrEnum):
    """How a metric is computed."""

    RATIO = "Ratio"
    SLO = "SLO"


class MetricRole(StrEnum):
    """What a failing metric does."""

    GUARDRAIL = "Guardrail"
    GATE = "Gate"
    INFO = "Info"


class BadOutcome(StrEnum):
    """Outcomes of a request that may count as bad; a client's own cancel never does."""

    CLIENT_ERROR = "client_error"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    TIMEOUT = "timeout"
    CONNECT_ERROR = "connect_error"
    STREAM_ERROR = "stream_error"


class SloSignal(StrEnum):
    """What an SLO metric measures on each request."""

    TTFT = "TTFT"
    TPOT = "TPOT"


class Step(ApiObject):
    """One stop on the way of the traffic to the candidate."""

    weight: Annotated[StrictInt, Field(ge=1, le=99)]
    """Percent of the target's share that the candidate gets at this step, 1 to 99; after the last step it gets all."""


class Bake(ApiObject):
    """How long the candidate is watched with all of the traffic before the old version is let go."""

    intervals: Annotated[StrictInt, Field(ge=0, le=10_000)] = 20
    """Clean intervals that are needed. Default: 20."""


Interval = Annotated[Duration, duration_between("1s", "1h")]
Deadline = Annotated[Duration, duration_between("1s", "720h")]

STEPS_RISE = Rule(
    cel="self.map(s, s.weight).isSorted()",
    message="the steps must rise strictly: write their weights in ascending order, each one once",
    holds=lambda steps: all(low.weight < high.weight for low, high in pairwise(steps)),
)


def _deadline_leaves_time(strategy: "Strategy") -> bool:
    needed = strategy.min_intervals * int(strategy.interval.seconds)
    return int(strategy.step_deadline.seconds) >= needed


_IS_BLUE_GREEN = "(has(self.type) && self.type == 'BlueGreen')"


class Strategy(ApiObject):
    """How the candidate gets its traffic."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"{_IS_BLUE_GREEN} || has(self.steps)",
            message="steps must be set with type: Canary: write at least one step, "
            "or use type: BlueGreen, which moves all of the traffic at once",
            holds=lambda strategy: strategy.type is StrategyType.BLUE_GREEN or strategy.steps is not None,
        ),
        Rule(
            cel=f"!{_IS_BLUE_GREEN} || !has(self.steps)",
            message="steps must not be set with type: BlueGreen, which moves all of the traffic at once: "
            "remove steps, or use type: Canary",
            holds=lambda strategy: strategy.type is not StrategyType.BLUE_GREEN or strategy.steps is None,
        ),
        Rule(
            cel=f"!{_IS_BLUE_GREEN} || !has(self.bake) || !has(self.bake.intervals) || self.bake.intervals > 0",
            message="bake.intervals must be at least 1 with type: BlueGreen, or nothing would ever be judged: "
            "raise it, or use type: Canary",
            holds=lambda strategy: strategy.type is not StrategyType.BLUE_GREEN or strategy.bake.intervals > 0,
        ),
        Rule(
            cel=when_parsed("has(self.stepDeadline) ? self.stepDeadline : '30m'")
            + when_parsed("has(self.interval) ? self.interval : '30s'")
            + "duration(has(self.stepDeadline) ? self.stepDeadline : '30m').getSeconds()"
            " >= (has(self.minIntervals) ? self.minIntervals : 4)"
            " * duration(has(self.interval) ? self.interval : '30s').getSeconds()",
            message="stepDeadline must be at least minIntervals times interval, or no step can ever pass",
            holds=_deadline_leaves_time,
        ),
    )

    type: StrategyType = StrategyType.CANARY
    """Canary moves the traffic step by step, BlueGreen all of it at once, and back as fast. Default: Canary."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=30), ListMap("weight"), STEPS_RISE] | None = None
    """The steps of a Canary, strictly rising; after the last one the candidate is promoted. BlueGreen has none."""
    interval: Interval = Duration("30s")
    """How often the metrics are judged; at least 1s, and at least 4 scrapes of the gateways. Default: 30s."""
    min_intervals: Annotated[StrictInt, Field(ge=1, le=10_000)] = 4
    """Intervals without a rejection that a step needs, and BlueGreen before the cut-over. Default: 4."""
    min_samples: Annotated[StrictInt, Field(ge=1, le=1_000_000_000)] = 100
    """Requests of the candidate that a step needs, and of stable before a BlueGreen cut-over. Default: 100."""
    step_deadline: Deadline = Duration("30m")
    """How long one step may last before `onInconclusive` decides. Default: 30m."""
    on_inconclusive: OnInconclusive = OnInconclusive.ROLLBACK
    """What to do at `stepDeadline`: Rollback, Advance or Hold. Default: Rollback."""
    hold_deadline: Deadline = Duration("30m")
    """How long a rollout may be held, for instance without metrics. Default: 30m."""
    on_hold_timeout: OnHoldTimeout = OnHoldTimeout.ROLLBACK
    """What to do at `holdDeadline`: Rollback, or Keep the weight as it is. Default: Rollback."""
    converge_timeout: Deadline = Duration("60s")
    """How long the gateways may take to acknowledge a weight. Default: 60s."""
    bake: Bake = Bake()
    """The watch after the last step. Default: 20 intervals."""
    rollback_window: Annotated[StrictInt, Field(ge=0, le=10)] = 3
    """How many former versions may be returned to at once, without steps. Default: 3."""


class Ratio(ApiObject):
    """The share of requests that ended badly."""

    bad: Annotated[tuple[BadOutcome, ...], Field(min_length=1, max_length=6), ListSet()]
    """Outcomes that count as bad."""


def _bucket_bound(signal: SloSignal, bounds_seconds: tuple[float, ...]) -> Rule:
    """The objective is a bucket's bound: a histogram knows nothing between them."""
    texts = [f"{round(bound * 1000)}ms" if bound % 1 else f"{round(bound)}s" for bound in bounds_seconds]
    values = ", ".join(f"duration('{text}')" for text in texts)
    return Rule(
        cel=f"self.signal != '{signal}' || {when_parsed('self.over')}duration(self.over) in [{values}]",
        message=f"over must be a bound of the {signal} histogram: one of {', '.join(texts)}",
        holds=lambda slo: slo.signal != signal or any(isclose(slo.over.seconds, bound) for bound in bounds_seconds),
    )


class Slo(ApiObject):
    """The share of requests that were slower than an objective."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        _bucket_bound(SloSignal.TTFT, contract.TTFT_BUCKETS_SECONDS),
        _bucket_bound(SloSignal.TPOT, contract.TPOT_BUCKETS_SECONDS),
    )

    signal: SloSignal
    """TTFT is the time to the first token, TPOT the time per output token after it."""
    over: Annotated[Duration, duration_between("1ms", "1h")]
    """The objective; it must be one of the bounds of the signal's histogram."""


class Relative(ApiObject):
    """The candidate is compared with stable over the same interval."""

    max_ratio: Annotated[DecimalText, decimal_between("1", "100", above_low=True)]
    """How many times stable's rate the candidate may reach, as text above "1"."""
    margin: Annotated[DecimalText, decimal_between("0", "1")] = DecimalText("0")
    """A rejection counts only where the rates differ by more than this, as text from "0" to "1". Default: "0"."""


class Absolute(ApiObject):
    """The candidate is compared with a fixed bound."""

    max: Annotated[DecimalText, decimal_between("0", "1", above_low=True)]
    """The highest rate that is still good, as text above "0" and at most "1"."""


class Metric(ApiObject):
    """One thing that must not get worse."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        *only_with("ratio", when="type", equals="Ratio"),
        *only_with("slo", when="type", equals="SLO"),
        exactly_one_of("relative", "absolute"),
    )

    name: EntryName
    """The metric's own name, as it stands in the status."""
    type: MetricType
    """Ratio counts outcomes, SLO counts slow requests."""
    role: MetricRole = MetricRole.GATE
    """Guardrail acts at once in every phase, Gate at the end of an interval, Info is only shown. Default: Gate."""
    ratio: Ratio | None = None
    """What type Ratio counts."""
    slo: Slo | None = None
    """What type SLO counts."""
    relative: Relative | None = None
    """Compare with stable; exactly one of relative and absolute."""
    absolute: Absolute | None = None
    """Compare with a fixed bound; exactly one of relative and absolute."""


class Analysis(ApiObject):
    """How it is decided whether the candidate is worse."""

    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=16), ListMap("name")]
    """What is measured; at least one, since a rollout without a metric would promote on time alone."""
    alpha: Annotated[DecimalText, decimal_between("0", "0.5", above_low=True)] = DecimalText("0.01")
    """The accepted chance of rolling back an equal candidate, split among the metrics. Default: "0.01"."""
    max_replay: Annotated[StrictInt, Field(ge=1, le=1000)] = 20
    """How many missed intervals are caught up on at most when data return. Default: 20."""


class Rollout(ApiObject):
    """Moves one target's traffic to what the target points to now, step by step, and back if that is worse."""

    name: EntryName
    """The rollout's own name."""
    rule: EntryName
    """The rule whose target moves."""
    target: EntryName
    """The target that moves; changing what it points to starts a rollout."""
    strategy: Strategy
    """How the traffic moves."""
    analysis: Analysis
    """What must not get worse."""
    paused: StrictBool = False
    """Freezes the weight; guardrails still act. Default: false."""


ONE_FOR_EACH_TARGET = Rule(
    cel="self.all(o, self.exists_one(p, p.rule == o.rule && p.target == o.target))",
    message="two rollouts must not move the same target: remove one of them",
    holds=lambda rollouts: len({(o.rule, o.target) for o in rollouts}) == len(rollouts),
)

Rollouts = Annotated[tuple[Rollout, ...], Field(max_length=16), ListMap("name"), ONE_FOR_EACH_TARGET]
