"""A rollout entry with every default resolved, and what of it only the operator can check.

The rule to know: what can be said of an entry alone is said by the types; here is what depends on the install, and
what would let a rollout promote without anything being judged.
"""

import json

from modelway_operator.api.strategy import Metric, MetricRole, Rollout
from modelway_operator.core.rollout.model import (
    AbsoluteBound,
    Bound,
    MetricSettings,
    Quantity,
    RatioQuantity,
    RelativeBound,
    RolloutSettings,
    SloQuantity,
)
from modelway_operator.errors import InvalidObjectError

SCRAPES_PER_INTERVAL = 4
"""An interval must hold so many scrapes, or its counts are mostly those of its neighbours."""


def settings_of(entry: Rollout, scrape_interval_seconds: float) -> RolloutSettings:
    """The entry as the engine reads it; an entry with problems is refused."""
    problems = problems_of(entry, scrape_interval_seconds)
    if problems:
        raise InvalidObjectError(problems)
    strategy, analysis = entry.strategy, entry.analysis
    return RolloutSettings(
        name=entry.name,
        source=json.dumps(entry.as_manifest(), separators=(",", ":"), sort_keys=True),
        step_weights=tuple(step.weight for step in strategy.steps or ()),
        interval_seconds=strategy.interval.seconds,
        min_intervals=strategy.min_intervals,
        min_samples=strategy.min_samples,
        step_deadline_seconds=strategy.step_deadline.seconds,
        on_inconclusive=strategy.on_inconclusive,
        hold_deadline_seconds=strategy.hold_deadline.seconds,
        on_hold_timeout=strategy.on_hold_timeout,
        converge_timeout_seconds=strategy.converge_timeout.seconds,
        bake_intervals=strategy.bake.intervals,
        rollback_window=strategy.rollback_window,
        metrics=tuple(_metric_settings(metric) for metric in analysis.metrics),
        alpha=analysis.alpha.value,
        max_replay=analysis.max_replay,
    )


def problems_of(entry: Rollout, scrape_interval_seconds: float) -> tuple[str, ...]:
    """What is wrong with the entry on this install; each text names the field and the remedy."""
    problems = []
    shortest = SCRAPES_PER_INTERVAL * scrape_interval_seconds
    if entry.strategy.interval.seconds < shortest:
        problems.append(
            f"rollout {entry.name}: strategy.interval {entry.strategy.interval} is shorter than "
            f"{SCRAPES_PER_INTERVAL} scrapes of the gateways ({scrape_interval_seconds:g}s each); "
            f"make it at least {shortest:g}s"
        )
    if all(metric.role is MetricRole.INFO for metric in entry.analysis.metrics):
        problems.append(
            f"rollout {entry.name}: no metric has the role Gate or Guardrail, "
            "so nothing would be judged; give one of them such a role"
        )
    return tuple(problems)


def saved_settings(source: str, scrape_interval_seconds: float) -> RolloutSettings | None:
    """The settings an active rollout carries with it, None where they cannot be read (any more)."""
    if not source:
        return None
    try:
        return settings_of(Rollout.model_validate_json(source), scrape_interval_seconds)
    except (ValueError, InvalidObjectError):
        return None


def _metric_settings(metric: Metric) -> MetricSettings:
    return MetricSettings(
        name=metric.name, type=metric.type, role=metric.role, quantity=_quantity(metric), bound=_bound(metric)
    )


def _quantity(metric: Metric) -> Quantity:
    if metric.ratio is not None:
        return RatioQuantity(bad=metric.ratio.bad)
    if metric.slo is not None:
        return SloQuantity(signal=metric.slo.signal, over_seconds=metric.slo.over.seconds)
    raise InvalidObjectError((f"metric {metric.name} says neither ratio nor slo: set the one its type names",))


def _bound(metric: Metric) -> Bound:
    if metric.relative is not None:
        return RelativeBound(max_ratio=metric.relative.max_ratio.value, margin=metric.relative.margin.value)
    if metric.absolute is not None:
        return AbsoluteBound(max_rate=metric.absolute.max.value)
    raise InvalidObjectError((f"metric {metric.name} says neither relative nor absolute: set exactly one",))
