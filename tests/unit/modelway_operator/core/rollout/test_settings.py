"""An entry with its defaults resolved, what only the operator can refuse, and how it survives being saved."""

import pytest

from modelway_operator.api.strategy import Rollout
from modelway_operator.core.rollout.model import AbsoluteBound, RatioQuantity, RelativeBound, SloQuantity
from modelway_operator.core.rollout.settings import problems_of, saved_settings, settings_of
from modelway_operator.errors import InvalidObjectError


def an_entry(*, metrics: tuple[dict[str, object], ...] | None = None, **strategy: object) -> Rollout:
    errors = {
        "name": "errors",
        "type": "Ratio",
        "role": "Guardrail",
        "ratio": {"bad": ["timeout"]},
        "absolute": {"max": "0.05"},
    }
    return Rollout.model_validate(
        {
            "name": "legal",
            "rule": "legal-eu",
            "target": "main",
            "strategy": {"steps": [{"weight": 5}], **strategy},
            "analysis": {"metrics": list(metrics or (errors,))},
        }
    )


def a_ttft(over: str, **more: object) -> dict[str, object]:
    slo = {"name": "ttft", "type": "SLO", "slo": {"signal": "TTFT", "over": over}, "relative": {"maxRatio": "1.25"}}
    return slo | more


def test_defaults_are_resolved() -> None:
    """Everything in seconds, numbers as numbers."""
    settings = settings_of(an_entry(metrics=(a_ttft("1s", relative={"maxRatio": "1.25", "margin": "0.02"}),)), 5)

    assert (30.0, 1800.0, 1800.0, 60.0) == (
        settings.interval_seconds,
        settings.step_deadline_seconds,
        settings.hold_deadline_seconds,
        settings.converge_timeout_seconds,
    )
    assert (4, 100, 20, 3, 0.01, 20) == (
        settings.min_intervals,
        settings.min_samples,
        settings.bake_intervals,
        settings.rollback_window,
        settings.alpha,
        settings.max_replay,
    )
    assert settings.metrics[0].quantity == SloQuantity(signal=settings.metrics[0].quantity.signal, over_seconds=1.0)  # type: ignore[union-attr]
    assert settings.metrics[0].bound == RelativeBound(max_ratio=1.25, margin=0.02)


def test_ratios_and_absolute_bounds_are_resolved() -> None:
    """The other form of each."""
    metric = settings_of(an_entry(), 5).metrics[0]

    assert isinstance(metric.quantity, RatioQuantity)
    assert metric.bound == AbsoluteBound(max_rate=0.05)


def test_an_interval_needs_four_scrapes() -> None:
    """Which depends on the install; the text says what would do."""
    assert () == problems_of(an_entry(interval="60s"), 15)
    (problem,) = problems_of(an_entry(interval="59s"), 15)

    assert "strategy.interval 59s is shorter than 4 scrapes" in problem
    assert "make it at least 60s" in problem


def test_at_least_one_metric_must_judge() -> None:
    """Info alone would promote on time."""
    (problem,) = problems_of(an_entry(metrics=(a_ttft("1s", role="Info"),)), 5)

    assert "no metric has the role Gate or Guardrail" in problem


def test_an_entry_with_problems_has_no_settings() -> None:
    """So that nothing runs on it by mistake."""
    with pytest.raises(InvalidObjectError, match="shorter than 4 scrapes"):
        settings_of(an_entry(interval="2s"), 15)


def test_an_entry_survives_being_saved_in_the_status() -> None:
    """A rollout whose entry is removed ends on the very same settings."""
    settings = settings_of(an_entry(steps=[{"weight": 1}, {"weight": 50}], bake={"intervals": 7}), 5)

    assert settings == saved_settings(settings.source, 5)


@pytest.mark.parametrize("source", ["", "{", "{}", '{"name":"legal"}'])
def test_a_saved_entry_that_cannot_be_read_is_none(source: str) -> None:
    """The engine then takes no risk; see SETTINGS_LOST."""
    assert saved_settings(source, 5) is None
