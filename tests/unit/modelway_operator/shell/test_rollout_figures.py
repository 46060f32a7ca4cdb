"""Rollouts as Prometheus reads them: parsed from the page, as a scrape would."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from modelway_operator.api.rollout_status import MetricEvidence, PastRollout, RolloutPhase, RolloutStatus, VersionRef
from modelway_operator.rollout_figures import RolloutFigures
from modelway_operator.telemetry import Metrics

ROOT = Path(__file__).resolve().parents[4]
PAGE = ROOT / "docs" / "reference" / "metrics.md"
NOW = 1_000_000.0
KEY = {"modelway_namespace": "team", "policy": "chat", "rollout": "main"}

Labels = dict[str, str]


def a_state(**fields: object) -> RolloutStatus:
    state = RolloutStatus(name="main", rule="all", target="main", phase=RolloutPhase.SOAKING, step=2, weight=25.0)
    return state.model_copy(update=fields)


def figures(state: RolloutStatus, policy: str = "chat") -> RolloutFigures:
    return RolloutFigures(namespace="team", policy=policy, state=state)


def past(number: int, *, result: str = "RolledBack", reason: str = "GateFailed", ended: float = NOW) -> PastRollout:
    return PastRollout(
        rollout_id=f"id-{number}",
        result=result,
        reason=reason,
        candidate=VersionRef(model="team/v2", version="2"),
        started=ended - 400,
        ended=ended,
    )


def scraped(metrics: Metrics) -> dict[str, list[tuple[Labels, float]]]:
    """The samples of the page, by name."""
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def test_a_rollout_shows_where_it_stands_and_what_it_knows() -> None:
    """Phase, weight and step; and of each metric the rate, what it rests on, and the evidence."""
    metrics = Metrics()
    evidence = MetricEvidence(name="errors", candidate_total=200, candidate_bad=6, worse=(0.5, 0.5))
    metrics.rollouts.show([figures(a_state(metrics=(evidence, MetricEvidence(name="ttft"))))])
    page = scraped(metrics)

    assert [(KEY | {"phase": "Soaking"}, 1.0)] == page["modelway_rollout_phase"]
    assert [(KEY, 25.0)] == page["modelway_rollout_weight"]
    assert [(KEY, 2.0)] == page["modelway_rollout_step"]
    assert [(KEY, 0.0)] == page["modelway_rollout_held_seconds"]
    assert [(KEY | {"metric": "errors"}, 0.03)] == page["modelway_rollout_metric_value"]
    assert [({**KEY, "metric": "errors"}, 200.0), ({**KEY, "metric": "ttft"}, 0.0)] == page[
        "modelway_rollout_metric_samples"
    ]
    assert 0.5 == page["modelway_rollout_log_evalue"][0][1]


def test_a_hold_shows_how_long_it_lasts() -> None:
    """By the clock at the scrape, not at the last turn."""
    metrics = Metrics(wall_clock=lambda: NOW + 90)
    metrics.rollouts.show([figures(a_state(phase=RolloutPhase.HELD, held_since=NOW))])

    assert [(KEY, 90.0)] == scraped(metrics)["modelway_rollout_held_seconds"]


def test_a_rollout_that_is_gone_is_no_series_any_more() -> None:
    """Neither what it showed nor how it ended; those of others stay."""
    metrics = Metrics()
    other = figures(a_state(), policy="other")
    metrics.rollouts.show([figures(a_state()), other])
    metrics.rollouts.show([figures(a_state(history=(past(1),))), other])
    assert 1 == len(scraped(metrics)["modelway_rollout_total"])
    metrics.rollouts.show([other])
    page = scraped(metrics)

    assert "modelway_rollout_total" not in page
    assert {"other"} == {labels["policy"] for labels, _ in page["modelway_rollout_phase"]}


def test_each_end_is_counted_once_with_its_duration_and_the_latency_of_the_way_back() -> None:
    """Also where the same status is shown at every turn; what had ended before is not counted."""
    metrics = Metrics()
    back = a_state(phase=RolloutPhase.ROLLING_BACK, phase_since=NOW - 3, history=(past(1),))
    ended = a_state(phase=RolloutPhase.ROLLED_BACK, history=(past(2), past(1)))
    for state in (back, back, ended, ended):
        metrics.rollouts.show([figures(state)])
    page = scraped(metrics)

    assert [({**KEY, "result": "RolledBack", "reason": "GateFailed"}, 1.0)] == page["modelway_rollout_total"]
    assert [({"result": "RolledBack"}, 400.0)] == page["modelway_rollout_duration_seconds_sum"]
    assert [({}, 3.0)] == page["modelway_rollback_latency_seconds_sum"]
    assert [({}, 1.0)] == page["modelway_rollback_latency_seconds_count"]


def test_a_promotion_has_no_latency_of_a_way_back() -> None:
    """There was none."""
    metrics = Metrics()
    metrics.rollouts.show([figures(a_state(phase=RolloutPhase.BAKING))])
    metrics.rollouts.show(
        [figures(a_state(phase=RolloutPhase.STABLE, history=(past(1, result="Promoted", reason=""),)))]
    )
    page = scraped(metrics)

    assert [({**KEY, "result": "Promoted", "reason": ""}, 1.0)] == page["modelway_rollout_total"]
    assert [({}, 0.0)] == page["modelway_rollback_latency_seconds_count"]


def test_every_metric_has_a_help_text_and_stands_in_the_docs() -> None:
    """A name that is not in docs/reference/metrics.md is one that nobody finds."""
    metrics, page = Metrics(), PAGE.read_text()
    metrics.rollouts.show([figures(a_state())])
    for family in text_string_to_metric_families(metrics.render().decode()):
        assert family.documentation.endswith("."), family.name
        # When a series began is told beside each counter and histogram, and is none of its own.
        name = family.name.removesuffix("_created")
        assert f"`{name}`" in page or f"`{name}_total`" in page, name
