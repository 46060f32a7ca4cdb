"""BlueGreen: stable is measured, all of the traffic moves in one revision, and one revision takes it back."""

import pytest

from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RollbackReason, RolloutPhase
from modelway_operator.core.rollout.model import EventReason, Preflight
from modelway_operator.core.rollout.promql import query_of, read

from tests.playbooks.stage import (
    ABSOLUTE_ERRORS,
    GATED_TTFT,
    GUARDED_ERRORS,
    V1,
    V2,
    V3,
    a_stage,
    an_entry,
    announced,
    answers,
    at,
    entry,
    gateway,
    held,
    in_phase,
    metrics_down,
    metrics_up,
    pause,
    points_at,
    preflight,
    prometheus_killed,
    resume,
    rolled_back,
    samples,
    says,
    share,
    stable_is,
    target_weight,
    wait,
)
from tests.playbooks.test_transitions import phases_of, shares_of
from tests.unit.modelway_operator.core.rollout.recordings import answer

BLUE_GREEN = an_entry(steps=())
AT_LENGTH = an_entry(steps=(), bake=60)


def test_bg_a_good_candidate_is_promoted_in_one_revision() -> None:
    """0, then 100 %, and nothing between; blue stays in the config at weight 0 until the bake is over."""
    stage = a_stage(BLUE_GREEN)
    stage.plans.clear()
    stage >> samples(stable_errors=0.01, errors=0.01) >> points_at(V2) << in_phase(RolloutPhase.BAKING)
    assert stage.plan is not None
    assert (V1, V2, 10_000) == (stage.plan.stable, stage.plan.candidate, stage.plan.share_bp)
    stage << announced(EventReason.PROMOTED) << stable_is(V2) << announced(EventReason.BAKE_FINISHED)

    assert [0, 10_000, 0] == shares_of(stage)
    preflight_on, *_ = phases_of(stage)
    assert [RolloutPhase.PREFLIGHT, RolloutPhase.PROMOTING, RolloutPhase.BAKING, RolloutPhase.STABLE] == phases_of(
        stage
    )
    assert preflight_on is RolloutPhase.PREFLIGHT


def test_bg_stable_is_measured_before_the_cut_over() -> None:
    """At least minIntervals intervals and minSamples requests; what it did is frozen, and the status says how far."""
    stage = a_stage(an_entry(steps=(), minIntervals=3, minSamples=100)) >> samples(stable_errors=0.02, per_second=10)
    stage >> points_at(V2) << says("is measured before the cut-over") << in_phase(RolloutPhase.PROMOTING)

    state = stage.state
    assert state is not None
    frozen = state.baselines[0]
    assert frozen.total >= 10 * 60
    assert frozen.bad / frozen.total == pytest.approx(0.02, abs=0.004)
    assert stage.now - (state.started_at or 0) >= 60
    assert all(plan.share_bp == 0 for plan in stage.plans[:-1])


@pytest.mark.parametrize("metric", [GUARDED_ERRORS, GATED_TTFT, ABSOLUTE_ERRORS])
def test_bg_a_bad_candidate_goes_back_in_one_revision_with_reason_and_figures(metric: dict[str, object]) -> None:
    """Also where its errors are green and it is only slow; compared with what stable did before."""
    stage = a_stage(an_entry(steps=(), metrics=(metric,), bake=60)) >> samples(stable_errors=0.01, stable_slow=0.02)
    stage.plans.clear()
    stage >> samples(errors=0.3, slow=0.4) >> points_at(V2) << share(100) << share(0).within(60)
    assert stage.plan is not None
    assert V1 == stage.plan.stable
    stage << in_phase(RolloutPhase.ROLLED_BACK).within(4) << announced(EventReason.ROLLED_BACK)

    state = stage.state
    assert state is not None
    assert [0, 10_000, 0] == shares_of(stage)
    assert state.reason in {RollbackReason.GUARDRAIL_FAILED, RollbackReason.GATE_FAILED}
    assert state.decision is not None
    assert state.decision.value > 0.2
    assert f"{metric['name']}: candidate" in state.message
    assert [V2.digest] == [failed.version for failed in state.quarantine]


def test_bg_prometheus_down_while_baking_holds_and_goes_on() -> None:
    """All of the traffic stays where it is; nothing is decided without figures."""
    stage = a_stage(BLUE_GREEN) >> points_at(V2) << in_phase(RolloutPhase.BAKING) >> prometheus_killed
    stage << held(HeldReason.METRICS_UNAVAILABLE) << share(100).lasting(300) >> metrics_up
    stage << in_phase(RolloutPhase.BAKING).within(60) << stable_is(V2)


def test_bg_a_candidate_that_dies_while_baking_goes_back_at_once() -> None:
    """The guardrail does not wait for the interval's end."""
    stage = a_stage(AT_LENGTH) >> points_at(V2) << in_phase(RolloutPhase.BAKING) >> wait(100) >> samples(errors=1.0)
    stage << share(0).within(15) << rolled_back(RollbackReason.GUARDRAIL_FAILED).within(4)


def test_bg_prometheus_down_before_the_cut_over_holds_at_0() -> None:
    """Nothing to compare with is no reason to go on without comparing."""
    stage = a_stage(an_entry(steps=(), minIntervals=4)) >> points_at(V2) << in_phase(RolloutPhase.PREFLIGHT)
    stage >> wait(30) >> metrics_down() << held(HeldReason.METRICS_UNAVAILABLE) << share(0).lasting(120)
    stage >> metrics_up << announced(EventReason.RESUMED).within(4) << stable_is(V2)


def test_bg_stable_without_traffic_holds_and_says_the_remedy() -> None:
    """What never had a request shows nothing; a metric with a figure of one's own needs no comparison."""
    stage = a_stage(BLUE_GREEN) >> samples(per_second=0) >> points_at(V2) << held(HeldReason.NO_TRAFFIC)
    stage << says("nothing to compare the candidate with") << says("`absolute`") << share(0).lasting(300)
    stage >> samples(per_second=20) << share(100).within(120)

    silent = a_stage(BLUE_GREEN) >> samples(per_second=0) >> points_at(V2)
    silent << rolled_back(RollbackReason.HOLD_TIMEOUT)
    assert {0} == set(shares_of(silent))


def test_bg_with_absolute_metrics_only_nothing_is_waited_for() -> None:
    """There is nothing to compare with stable, so the cut-over follows Preflight."""
    stage = a_stage(an_entry(steps=(), metrics=(ABSOLUTE_ERRORS,))) >> samples(per_second=0) >> points_at(V2)
    stage << in_phase(RolloutPhase.PROMOTING).within(4)


@pytest.mark.parametrize(
    ("chosen", "phase", "weight"),
    [
        ("Rollback", RolloutPhase.ROLLED_BACK, 0),
        ("Hold", RolloutPhase.HELD, 0),
        ("Advance", RolloutPhase.PROMOTING, 100),
    ],
)
def test_bg_too_little_traffic_ends_at_the_deadline_as_the_user_said(
    chosen: str, phase: RolloutPhase, weight: int
) -> None:
    """As at every step."""
    few = an_entry(steps=(), minSamples=100_000, stepDeadline="3m", onInconclusive=chosen)
    stage = a_stage(few) >> points_at(V2) << share(0).lasting(170)
    stage << in_phase(phase, weight=weight).within(30)


def test_bg_a_target_without_weight_is_held_before_the_cut_over() -> None:
    """No request can come to either version."""
    stage = a_stage(BLUE_GREEN) >> target_weight(zero=True) >> points_at(V2) << held(HeldReason.TARGET_WEIGHT_ZERO)
    stage >> target_weight(zero=False) << stable_is(V2)


def test_bg_a_candidate_that_is_not_ready_never_gets_traffic() -> None:
    """Preflight is the same as a canary's; and one that is lost meanwhile is waited for."""
    stage = a_stage(an_entry(steps=(), stepDeadline="5m")) >> preflight(None) >> points_at(V2)
    stage << rolled_back(RollbackReason.PREFLIGHT)
    assert {0} == set(shares_of(stage))

    waiting = a_stage(BLUE_GREEN) >> points_at(V2) >> wait(30) >> preflight(Preflight(references_resolve=False))
    waiting << share(0).lasting(200) >> preflight(Preflight(references_resolve=True, probe_ok=True)) << share(100)


def test_bg_a_gateway_that_does_not_take_the_cut_over_holds_it() -> None:
    """Held(GatewayNotConverged), and on when it listens."""
    stage = a_stage(BLUE_GREEN) >> points_at(V2) >> wait(10) >> gateway(0, listens=True)
    stage << in_phase(RolloutPhase.PREFLIGHT) >> wait(30)
    stage >> gateway(0, listens=False) << held(HeldReason.GATEWAY_NOT_CONVERGED) << share(100).lasting(20)
    stage >> gateway(0, listens=True) << in_phase(RolloutPhase.BAKING).within(4)


def test_bg_back_to_blue_while_baking_and_v3_instead() -> None:
    """The user's word needs no figures."""
    stage = a_stage(AT_LENGTH) >> points_at(V2) << in_phase(RolloutPhase.BAKING) >> points_at(V1) << share(0).within(2)
    stage << stable_is(V1).within(4)

    other = a_stage(AT_LENGTH) >> points_at(V2) << in_phase(RolloutPhase.BAKING) >> points_at(V3) << share(0).within(2)
    other << stable_is(V3)


def test_bg_revert_after_promotion_needs_no_measuring() -> None:
    """A version that was stable before goes straight on; what serves now was measured in its own bake."""
    stage = a_stage(BLUE_GREEN) >> points_at(V2) << stable_is(V2) >> points_at(V1)
    stage << in_phase(RolloutPhase.PROMOTING).within(6) << in_phase(RolloutPhase.BAKING)
    assert stage.state is not None
    assert all(baseline.total > 0 for baseline in stage.state.baselines)
    stage >> samples(errors=0.4) << rolled_back(RollbackReason.GUARDRAIL_FAILED)


def test_bg_revert_after_promotion_measures_what_no_bake_has_shown() -> None:
    """A guardrail that is new has no figure from the bake, and must not compare with nothing."""
    stage = a_stage(an_entry(steps=(), metrics=(GATED_TTFT,))) >> points_at(V2) << stable_is(V2)
    stage >> entry(an_entry(steps=(), metrics=(GUARDED_ERRORS,))) >> points_at(V1)
    stage << says("is measured before the cut-over") << in_phase(RolloutPhase.BAKING) >> samples(errors=0.4)
    stage << rolled_back(RollbackReason.GUARDRAIL_FAILED)


def test_bg_revert_that_nothing_judges_bakes_without_traffic() -> None:
    """A known version is only guarded: without a guardrail nobody waits for requests that would show nothing."""
    stage = a_stage(an_entry(steps=(), metrics=(GATED_TTFT,))) >> points_at(V2) << stable_is(V2)
    stage >> samples(per_second=0) >> points_at(V1) << stable_is(V1).within(600)


def test_bg_can_be_paused_before_and_after_the_cut_over() -> None:
    """And goes on where it was."""
    stage = a_stage(BLUE_GREEN) >> points_at(V2) >> wait(20) >> pause << in_phase(RolloutPhase.PAUSED)
    stage << share(0).lasting(200) >> resume << in_phase(RolloutPhase.BAKING) >> pause << share(100).lasting(200)
    stage >> resume << stable_is(V2)


def test_bg_an_entry_that_changes_its_type_mid_way_goes_on() -> None:
    """From a step of a canary all the rest at once after that step's Pass; from Preflight the first step."""
    stage = a_stage() >> points_at(V2) << at(5)
    stage.plans.clear()
    stage >> entry(BLUE_GREEN) << stable_is(V2)
    assert [500, 10_000, 0] == shares_of(stage)

    other = a_stage(BLUE_GREEN) >> points_at(V2) >> wait(30) >> entry(an_entry())
    other.plans.clear()
    other << stable_is(V2)
    assert [500, 2500, 5000, 10_000, 0] == [share for share in shares_of(other) if share] + [0]


@pytest.mark.parametrize("errors", [0.0, 0.3])
def test_bg_both_sources_of_metrics_lead_to_the_same_decisions(errors: float) -> None:
    """Measured through PromQL and without Prometheus, before the cut-over and after it."""
    direct, asked = a_stage(BLUE_GREEN), a_stage(BLUE_GREEN)
    asked >> answers(
        lambda request, _: read(
            request, answer(query_of(request), {gateway.name: gateway.scrapes for gateway in asked.gateways})
        )
    )
    for stage in (direct, asked):
        stage >> samples(errors=errors) >> points_at(V2) >> wait(250)

    assert direct.plans == asked.plans
    assert direct.state is not None
    assert direct.state.phase is (RolloutPhase.ROLLED_BACK if errors else RolloutPhase.STABLE)
