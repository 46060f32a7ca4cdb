"""Counts, and how Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from modelway_cli.simulator.behaviour import ErrorMode
from modelway_cli.simulator.stats import Outcome, Stats, StatsView


def samples(text: str) -> dict[tuple[str, str], float]:
    (family,) = text_string_to_metric_families(text)
    return {(sample.labels["model"], sample.labels["outcome"]): sample.value for sample in family.samples}


def test_every_error_mode_is_an_outcome() -> None:
    """A failure that was asked for can be counted under its own name."""
    assert {mode.value for mode in ErrorMode} <= {outcome.value for outcome in Outcome}


def test_all_series_exist_at_zero_before_traffic() -> None:
    """`increase()` loses the first failures of a series that appears with them."""
    found = samples(Stats().render(["a"]))

    assert {(model, outcome.value): 0 for model in ("a", "unknown") for outcome in Outcome} == found


def test_a_model_that_is_no_longer_served_keeps_its_series() -> None:
    """A counter never disappears while the process lives, and odd names are escaped."""
    stats = Stats()
    stats.count_end('o"\\dd', Outcome.OK)

    assert samples(stats.render(["a"]))['o"\\dd', "ok"] == 1


def test_a_reset_keeps_open_streams() -> None:
    """They are a state and not a count."""
    stats = Stats()
    stats.received, stats.cancelled, stats.open_streams = 3, 1, 2
    stats.count_model("a")
    stats.count_end("a", Outcome.OK)

    stats.reset()

    assert StatsView(received=0, by_model={}, by_outcome={}, open_streams=2, cancelled=0) == stats.view()
