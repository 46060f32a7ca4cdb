"""Acceptance scenarios and faults of the design, as far as the engine alone can play them."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RollbackReason, RolloutPhase
from modelway_operator.core.rollout.model import Counts, EventReason, Measurement, MeasurementRequest
from modelway_operator.core.rollout.promql import Answer, query_of, read

from tests.playbooks.stage import (
    GATED_ERRORS,
    GATED_TTFT,
    GUARDED_ERRORS,
    V1,
    V2,
    V3,
    Interference,
    Stage,
    a_stage,
    an_entry,
    announced,
    answers,
    at,
    entry,
    held,
    in_phase,
    metrics_down,
    metrics_up,
    points_at,
    prometheus_killed,
    rolled_back,
    samples,
    says,
    scrapes_every,
    share,
    stable_is,
    wait,
)
from tests.unit.modelway_operator.core.rollout.recordings import answer

SLOW_BUT_SURE = an_entry(minIntervals=30, holdDeadline="1h")


def counted(stage: Stage) -> tuple[int, float]:
    """The candidate's requests that the first metric has counted in this step, and over which time."""
    state = stage.state
    assert state is not None
    assert state.counted_until is not None
    assert state.measured_from is not None
    return state.metrics[0].step_candidate_total, state.counted_until - state.measured_from


def test_a1_prometheus_killed_at_25_percent_holds_resumes_and_loses_nothing() -> None:
    """While it was gone nothing was scraped; counters forget nothing, so one interval covers the gap."""
    stage = a_stage(SLOW_BUT_SURE) >> points_at(V2) << at(25) >> wait(60) >> prometheus_killed
    stage << held(HeldReason.METRICS_UNAVAILABLE).within(40) << says("connection refused")
    stage << share(25).lasting(400) >> metrics_up << in_phase(RolloutPhase.SOAKING, weight=25).within(60)
    stage << announced(EventReason.RESUMED) >> wait(60)

    requests, seconds = counted(stage)
    assert seconds > 400
    assert requests == pytest.approx(20 * 0.25 * seconds, rel=0.02)
    stage << stable_is(V2)


def test_a1_intervals_that_were_scraped_but_not_asked_for_are_replayed_one_by_one() -> None:
    """Where only the operator could not reach Prometheus, every interval is judged by itself."""
    stage = a_stage(SLOW_BUT_SURE) >> points_at(V2) << at(25) >> metrics_down()
    stage << held(HeldReason.METRICS_UNAVAILABLE) << share(25).lasting(300) >> metrics_up >> wait(4)

    requests, seconds = counted(stage)
    state = stage.state
    assert state is not None
    assert state.intervals == seconds / 20 >= 15
    assert requests == pytest.approx(20 * 0.25 * seconds, rel=0.02)


def test_a1_a_candidate_that_failed_meanwhile_is_found_out_on_return() -> None:
    """The replayed intervals are judged like any other."""
    stage = a_stage() >> points_at(V2) << at(25) >> metrics_down() << held(HeldReason.METRICS_UNAVAILABLE)
    stage >> samples(errors=0.3) >> wait(200) >> samples(errors=0) >> metrics_up
    stage << rolled_back(RollbackReason.GUARDRAIL_FAILED).within(10)


def test_a2_prometheus_down_past_the_deadline_is_a_rollback_that_says_why() -> None:
    """Held, frozen, and at holdDeadline back; nobody has to be awake, and no metric is needed for it."""
    stage = a_stage(an_entry(holdDeadline="10m")) >> points_at(V2) << at(50) >> prometheus_killed
    stage << held(HeldReason.METRICS_UNAVAILABLE).within(40) << share(50).lasting(580)
    stage << rolled_back(RollbackReason.HOLD_TIMEOUT).within(30) << says("connection refused") << share(0).lasting(60)
    stage << announced(EventReason.ROLLED_BACK) >> metrics_up << in_phase(RolloutPhase.ROLLED_BACK).lasting(120)


def body(*pairs: tuple[str, str], kind: str = "vector", **more: object) -> bytes:
    """A successful answer of Prometheus with these figures."""
    result = [{"metric": {"figure": name}, "value": [1, value]} for name, value in pairs]
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


GOOD = (
    ("candidate_bad", "0"),
    ("candidate_good", "100"),
    ("stable_bad", "0"),
    ("stable_good", "300"),
    ("age", "3"),
)


def with_figure(name: str, value: str) -> bytes:
    """The good answer, but for one figure."""
    return body(*((figure, value if figure == name else text) for figure, text in GOOD))


FAULTS = {
    "empty": (Answer(status=200, body=body()), HeldReason.METRICS_UNAVAILABLE, "no series modelway_requests_total"),
    "nan": (Answer(status=200, body=with_figure("candidate_bad", "NaN")), HeldReason.CONFIG_ERROR, "not a number"),
    "nan without requests": (
        Answer(status=200, body=body(("candidate_bad", "NaN"), ("candidate_good", "0"), *GOOD[2:])),
        HeldReason.METRICS_UNAVAILABLE,
        "not a number for candidate, which had no requests",
    ),
    "infinite": (Answer(status=200, body=with_figure("stable_good", "+Inf")), HeldReason.METRICS_UNAVAILABLE, "stable"),
    "two series": (
        Answer(status=200, body=body(*GOOD, ("candidate_bad", "1"))),
        HeldReason.CONFIG_ERROR,
        "more than one series for candidate_bad",
    ),
    "foreign series": (
        Answer(status=200, body=body(*GOOD, ("", "1"))),
        HeldReason.CONFIG_ERROR,
        "more than one series: '' was not asked for",
    ),
    "string": (
        Answer(status=200, body=body(kind="string")),
        HeldReason.CONFIG_ERROR,
        "answered with a string instead of numbers",
    ),
    "text": (Answer(status=200, body=with_figure("age", "soon")), HeldReason.CONFIG_ERROR, "not a number"),
    "stale": (
        Answer(status=200, body=with_figure("age", "11")),
        HeldReason.STALE_METRICS,
        "the youngest sample is 11 s old, with a scrape every 5 s",
    ),
    "partial": (
        Answer(status=200, body=body(*GOOD, warnings=["store-2 is unreachable"])),
        HeldReason.METRICS_UNAVAILABLE,
        "only a part of the data: store-2 is unreachable",
    ),
    "bad PromQL": (
        Answer(status=400, body=b'{"status":"error","error":"parse error at char 7"}'),
        HeldReason.CONFIG_ERROR,
        "refused the query with HTTP 400: parse error at char 7",
    ),
    "server error": (
        Answer(status=503, body=b"upstream is down"),
        HeldReason.METRICS_UNAVAILABLE,
        "answered with HTTP 503",
    ),
    "not JSON": (Answer(status=200, body=b"<html>"), HeldReason.METRICS_UNAVAILABLE, "is not JSON"),
    "timeout": (
        Answer(status=None, message="no answer within 5 s"),
        HeldReason.METRICS_UNAVAILABLE,
        "gave no answer: no answer within 5 s",
    ),
}


def always(answer: Answer) -> Interference:
    """Whatever is asked, this comes back."""

    def interfere(request: MeasurementRequest, measured: Measurement) -> Measurement:
        del measured
        return read(request, answer)

    return interfere


def one_metric() -> tuple[dict[str, object], ...]:
    """Only a gate, so that nothing else can decide."""
    return (GATED_ERRORS,)


def test_a3_the_good_answer_passes() -> None:
    """Otherwise the faults below would prove nothing."""
    stage = a_stage(an_entry(metrics=one_metric())) >> points_at(V2) << at(5)
    stage >> answers(always(Answer(status=200, body=body(*GOOD)))) << share(25).within(120)


@pytest.mark.parametrize("fault", FAULTS)
def test_a3_each_fault_of_the_metrics_has_its_own_message(fault: str) -> None:
    """And all of them hold."""
    answer, reason, message = FAULTS[fault]
    stage = a_stage(an_entry(metrics=one_metric())) >> points_at(V2) << at(25) >> answers(always(answer))
    stage << held(reason).within(60) << says(message)


@pytest.mark.parametrize("fault", FAULTS)
def test_f33_whatever_is_wrong_with_the_metrics_nothing_advances(fault: str) -> None:
    """Hold until the deadline, then back; never up."""
    answer, _, _ = FAULTS[fault]
    stage = a_stage(an_entry(metrics=one_metric(), holdDeadline="2m")) >> points_at(V2) << at(25)
    stage >> answers(always(answer)) << share(25).lasting(140) << rolled_back(RollbackReason.HOLD_TIMEOUT).within(60)


def test_f35_a_counter_reset_neither_rolls_back_nor_passes_by_itself() -> None:
    """A replica that restarts begins at 0; its counts are its growth since then."""
    stage = a_stage(an_entry(minIntervals=20)) >> samples(stable_errors=0.02, errors=0.02) >> points_at(V2) << at(25)
    for _ in range(5):
        stage >> wait(30)
        stage.gateways[0].counters = dict.fromkeys(stage.gateways[0].counters, 0.0)
    requests, seconds = counted(stage)

    assert requests == pytest.approx(20 * 0.25 * seconds, rel=0.15)
    stage << stable_is(V2)


def test_f34_intervals_without_a_fresh_sample_at_their_end_are_not_judged() -> None:
    """Where scrapes come more rarely than intervals end, those without one wait, and the next one covers them."""
    stage = a_stage(an_entry(minIntervals=3)) >> points_at(V2) << at(25) >> scrapes_every(70)
    stage << held(HeldReason.STALE_METRICS).within(80) << says("with a scrape every 5 s")
    ends = set()
    for _ in range(400):
        stage.tick()
        if stage.state is not None and stage.state.decision is not None:
            ends.add(stage.state.decision.window_to)
    scraped = [scrape.time_seconds for scrape in stage.gateways[0].scrapes]

    assert len(ends) > 4
    assert all(any(0 <= end - time <= 10 for time in scraped) for end in ends)


def test_f38_a_metric_that_flaps_around_its_bound_changes_the_direction_once_at_most() -> None:
    """The evidence sums up; one good or bad interval more moves nothing to and fro."""
    stage = a_stage(an_entry(metrics=(GATED_ERRORS,), minIntervals=4)) >> samples(stable_errors=0.02) >> points_at(V2)
    weights = [0.0]
    for turn in range(900):
        stage >> samples(errors=0.02 if turn // 10 % 2 else 0.09)
        stage.tick()
        if stage.state is not None and stage.state.weight != weights[-1]:
            weights.append(stage.state.weight)
    falls = [index for index, (before, after) in enumerate(pairwise(weights)) if after < before]

    assert len(falls) == 1
    assert weights[:2] == [0.0, 5.0]


def test_f36_no_traffic_at_all_is_held_and_ends_at_the_hold_deadline() -> None:
    """Nobody can say anything about the candidate, so it goes back; that is what Stalled then tells."""
    stage = a_stage() >> samples(per_second=0) >> points_at(V2) << held(HeldReason.NO_TRAFFIC)
    stage << says("the candidate had no requests in 2 intervals") << share(5).lasting(500)
    stage << rolled_back(RollbackReason.HOLD_TIMEOUT).within(120) << says("NoTraffic")


def test_f36_traffic_that_comes_back_ends_the_hold() -> None:
    """At the same step, and then on."""
    stage = a_stage() >> samples(per_second=0) >> points_at(V2) << held(HeldReason.NO_TRAFFIC)
    stage >> samples(per_second=20) << in_phase(RolloutPhase.SOAKING, weight=5).within(60) << share(25)


def without_candidate(request: MeasurementRequest, measured: Measurement) -> Measurement:
    """A gateway that acknowledges the split and does not make it."""
    del request
    return measured if measured.problem is not None else replace(measured, candidate=Counts(total=0, bad=0))


def test_f36_a_candidate_without_requests_while_stable_has_many_is_the_gateways_fault() -> None:
    """Only if at least 10 were to be expected of it."""
    stage = a_stage() >> points_at(V2) << at(5) >> answers(without_candidate)
    stage << held(HeldReason.GATEWAY_NOT_CONVERGED) << says("were to be expected of the candidate at 5 %")

    few = a_stage() >> samples(per_second=1) >> points_at(V2) << at(5) >> answers(without_candidate)
    few << held(HeldReason.NO_TRAFFIC)


def test_a11_back_to_v1_at_50_percent_is_one_turn() -> None:
    """Without asking any metric; and nobody is warned of what they asked for."""
    stage = a_stage() >> points_at(V2) << at(50) >> points_at(V1) << share(0).within(2) << stable_is(V1).within(4)

    assert stage.plan is not None
    assert stage.state is not None
    assert stage.state.history[0].reason == RollbackReason.SPEC_REVERTED
    rollback = [event for event in stage.events if event.reason is EventReason.ROLLBACK_STARTED]
    assert ["Normal"] == [event.type for event in rollback]
    assert "the spec points at law-v1" in rollback[0].message


def test_a22_entry_and_reference_changed_in_one_commit_is_gated() -> None:
    """The serving version is remembered without an entry too, so v2 is no first version."""
    stage = Stage(an_entry(), serving=V1) >> entry(None) >> wait(4)
    assert stage.state is None
    stage >> entry(an_entry()) >> points_at(V2) >> wait(2)

    assert stage.plan is not None
    assert (V1, V2, 0) == (stage.plan.stable, stage.plan.candidate, stage.plan.share_bp)
    stage << at(5) << stable_is(V2)


def test_a22_without_an_entry_the_target_moves_at_once_and_is_remembered() -> None:
    """Nothing is gated where nobody asked for it."""
    stage = Stage(an_entry(), serving=V1) >> entry(None) >> points_at(V2) << stable_is(V2).within(2)

    assert stage.plan is not None
    assert (None, (V2,)) == (stage.plan.state, stage.plan.remembered)
    stage >> points_at(None) << stable_is(V2).lasting(10)


def test_a10_v3_during_v2_at_50_percent() -> None:
    """v3 begins at 0 against the same stable; v2 never gets traffic again on the way."""
    stage = a_stage() >> points_at(V2) << at(50) >> points_at(V3)
    stage.plans.clear()
    stage << stable_is(V3)

    assert stage.plans[0].share_bp == 0
    assert {V3} == {plan.candidate for plan in stage.plans if plan.share_bp}
    assert {V1, V3} == {plan.stable for plan in stage.plans}


def test_a6_a_shared_outage_blames_nobody() -> None:
    """Both arms fail alike, so nothing speaks against the candidate."""
    stage = a_stage(an_entry(steps=(25,), metrics=(GUARDED_ERRORS, GATED_ERRORS, GATED_TTFT), minIntervals=20))
    stage >> points_at(V2) << at(25) >> samples(errors=0.9, stable_errors=0.88) << share(25).lasting(200)
    stage >> samples(errors=0, stable_errors=0) << stable_is(V2)


def test_f37_a_shared_outage_is_held_and_neither_blamed_nor_promoted() -> None:
    """However long it lasts; what it brought is counted for nobody."""
    chosen = an_entry(steps=(25,), minIntervals=6, holdDeadline="1h")
    stage = a_stage(chosen) >> points_at(V2) << at(25) >> wait(30)
    stage >> samples(errors=0.95, stable_errors=0.95) << held(HeldReason.BOTH_UNHEALTHY).within(60)
    stage << says("a common cause is no fault") << share(25).lasting(600)
    assert stage.state is not None
    bad = stage.state.metrics[0].candidate_bad
    stage >> samples(errors=0, stable_errors=0) << stable_is(V2)

    assert bad < 120
    assert stage.state is not None
    assert () == stage.state.quarantine


def test_f37_a_shared_outage_before_a_cut_over_moves_nothing() -> None:
    """What stable does while it fails is no figure to compare with."""
    stage = a_stage(an_entry(steps=(), minIntervals=4)) >> points_at(V2) >> wait(40) >> samples(stable_errors=0.9)
    stage << held(HeldReason.BASELINE_UNHEALTHY) << share(0).lasting(200) >> samples(stable_errors=0.01, errors=0.01)
    stage << in_phase(RolloutPhase.BAKING)
    assert stage.state is not None
    frozen = stage.state.baselines[0]
    assert frozen.bad / frozen.total < 0.2
    stage << stable_is(V2)


def test_f37_a_gate_that_rejects_does_so_while_held_too() -> None:
    """A hold is for want of an answer; what stable fails at does not hide that the candidate fails far more."""
    stage = a_stage(an_entry(metrics=(GATED_ERRORS,), minIntervals=3)) >> points_at(V2) << at(25)
    stage >> samples(errors=0.6, stable_errors=0.55, per_second=2) << held(HeldReason.BOTH_UNHEALTHY)
    stage >> samples(errors=1.0, stable_errors=0.52, per_second=200)
    stage << rolled_back(RollbackReason.GATE_FAILED).within(100)


def test_a7_a_sick_stable_holds_a_candidate_that_is_well() -> None:
    """Being better than what fails proves nothing; when stable is well again the step goes on."""
    stage = a_stage() >> points_at(V2) << at(25) >> samples(stable_errors=0.8)
    stage << held(HeldReason.BASELINE_UNHEALTHY).within(60) << says("there is nothing to compare with")
    stage << share(25).lasting(300) >> samples(stable_errors=0) << stable_is(V2)


def test_a7_a_stable_that_dies_does_not_hide_a_candidate_that_fails_more() -> None:
    """A comparison that rejects still rejects."""
    stage = a_stage() >> points_at(V2) << at(25) >> samples(errors=1.0, stable_errors=0.3)
    stage << share(0).within(60) << in_phase(RolloutPhase.ROLLED_BACK)


def test_a_slow_candidate_is_rolled_back_while_its_errors_are_green() -> None:
    """The share of requests over the objective is a metric like any other, margin included."""
    stage = a_stage(an_entry(metrics=(GUARDED_ERRORS, GATED_TTFT))) >> samples(slow=0.03, stable_slow=0.03)
    stage >> points_at(V2) << at(25) >> samples(slow=0.3) << rolled_back(RollbackReason.GATE_FAILED) << says("ttft")


@pytest.mark.parametrize("errors", [0.01, 0.2])
def test_both_sources_of_metrics_lead_to_the_same_decisions(errors: float) -> None:
    """The same recorded samples, once through PromQL and once without Prometheus: turn by turn the same plans."""
    chosen = an_entry(steps=(25,), metrics=(GUARDED_ERRORS, GATED_TTFT), bake=2)
    direct, asked = a_stage(chosen), a_stage(chosen)

    def ask(request: MeasurementRequest, measured: Measurement) -> Measurement:
        del measured
        return read(request, answer(query_of(request), {gateway.name: gateway.scrapes for gateway in asked.gateways}))

    asked >> answers(ask)
    for stage in (direct, asked):
        stage >> samples(errors=errors, stable_errors=0.01) >> points_at(V2) >> wait(200)

    assert direct.plans == asked.plans
    assert direct.state is not None
    assert direct.state.phase is (RolloutPhase.STABLE if errors == 0.01 else RolloutPhase.ROLLED_BACK)
