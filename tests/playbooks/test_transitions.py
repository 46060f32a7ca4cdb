"""One playbook for each row of the table of transitions in the design, T01 to T33 in its order.

Rows that are still to come (T07 Shadow, T20 commands, T23 freeze windows, T30 retry) have no test and no transition.
"""

import pytest

from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RollbackReason, RolloutPhase, Verdict
from modelway_operator.core.rollout.model import EventReason, Preflight

from tests.playbooks.stage import (
    ABSOLUTE_ERRORS,
    GATED_ERRORS,
    GUARDED_ERRORS,
    V1,
    V2,
    V3,
    Stage,
    a_stage,
    an_entry,
    announced,
    at,
    clock_skew,
    entry,
    failed_elsewhere,
    gateway,
    held,
    in_phase,
    metrics_down,
    metrics_up,
    pause,
    points_at,
    preflight,
    resume,
    rolled_back,
    samples,
    says,
    scrapes_stop,
    share,
    stable_is,
    target_weight,
    wait,
)

READY = Preflight(references_resolve=True, probe_ok=True)


def phases_of(stage: Stage) -> list[RolloutPhase]:
    """The phases seen from turn to turn, each once in a row."""
    seen: list[RolloutPhase] = []
    for plan in stage.plans:
        if plan.state is not None and (not seen or seen[-1] is not plan.state.phase):
            seen.append(plan.state.phase)
    return seen


def shares_of(stage: Stage) -> list[int]:
    """The candidate's shares from turn to turn, each once in a row."""
    seen: list[int] = []
    for plan in stage.plans:
        if not seen or seen[-1] != plan.share_bp:
            seen.append(plan.share_bp)
    return seen


# ---------------------------------------------------------------------------------------------------------- Stable


def test_t01_the_first_version_ever_serves_at_once() -> None:
    """There is nothing to compare it with: no Preflight, no steps, no bake, and the Event says so."""
    stage = Stage(an_entry(), serving=None)
    stage >> preflight(None) >> points_at(V1) << stable_is(V1).within(1) << announced(EventReason.INITIAL_DEPLOY)

    assert stage.plan is not None
    assert stage.plan.state is not None
    assert [RolloutPhase.STABLE] == phases_of(stage)
    assert ["InitialDeploy"] == [past.result for past in stage.plan.state.history]


def test_t02_a_new_candidate_goes_through_preflight_first() -> None:
    """A rollout id, attempt 1, the rollback target recorded, and the weight is 0."""
    stage = a_stage() >> preflight(None) >> points_at(V2) >> wait(1)
    stage << in_phase(RolloutPhase.PREFLIGHT, weight=0).lasting(60) << announced(EventReason.ROLLOUT_STARTED)

    state = stage.state
    assert state is not None
    assert (1, V1.as_ref(), V2.as_ref()) == (state.attempt, state.stable, state.candidate)
    assert len(state.rollout_id) == 16


def test_t03_a_candidate_that_equals_stable_changes_nothing() -> None:
    """Another name for what serves already (same digest) starts no rollout; and no state is written anew."""
    stage = a_stage()
    before = stage.state
    stage << stable_is(V1).lasting(30)

    assert before == stage.state
    renamed = type(V1)("shop/law-stable", V1.digest)
    stage >> points_at(renamed) << stable_is(renamed).within(1)
    assert [] == [event for event in stage.events if event.reason is EventReason.ROLLOUT_STARTED]


def test_t04_a_version_that_was_stable_before_goes_straight_to_all_traffic() -> None:
    """Preflight, then Promoting: it has proved itself, so it takes no steps."""
    stage = a_stage() >> points_at(V2) << stable_is(V2) >> points_at(V1)
    stage.plans.clear()
    stage << stable_is(V1)

    assert [0, 10_000, 0] == shares_of(stage)
    assert [RolloutPhase.PREFLIGHT, RolloutPhase.PROMOTING, RolloutPhase.BAKING, RolloutPhase.STABLE] == phases_of(
        stage
    )


def test_t04_a_version_beyond_the_rollback_window_takes_all_steps() -> None:
    """With a window of 1 only the last stable version is known."""
    only_one = an_entry(rollbackWindow=1)
    stage = a_stage(only_one) >> points_at(V2) << stable_is(V2) >> points_at(V3) << stable_is(V3)
    stage.plans.clear()
    stage >> points_at(V1) << stable_is(V1)

    assert [0, 500, 2500, 5000, 10_000, 0] == shares_of(stage)


def test_t04_guardrails_are_armed_while_a_known_version_bakes() -> None:
    """What was good once may be broken now; it is compared with the figures of the one that served."""
    stage = a_stage() >> samples(stable_errors=0.01, errors=0.01) >> points_at(V2) << stable_is(V2) >> points_at(V1)
    stage << in_phase(RolloutPhase.BAKING) >> samples(errors=0.3) << rolled_back(RollbackReason.GUARDRAIL_FAILED)

    assert stage.plan is not None
    assert stage.plan.stable == V2


# ------------------------------------------------------------------------------------------------------- Preflight


def test_t05_preflight_passes_once_everything_is_there() -> None:
    """References resolve, every ready gateway has the candidate at 0, one of them got an answer: the first step."""
    waiting = Preflight(references_resolve=True, probe_ok=None)
    unresolved = Preflight(references_resolve=False, references_message="Secret law-key not found", probe_ok=True)
    stage = a_stage() >> gateway(1, listens=False) >> preflight(READY) >> points_at(V2)
    stage << says("1 of 2 gateways have acknowledged 0 %, waiting for gateway-1") << share(0).lasting(10)
    stage >> gateway(1, listens=True) >> preflight(unresolved) << says("Secret law-key not found")
    stage << share(0).lasting(10) >> preflight(waiting) << says("have not been asked yet") << share(0).lasting(10)
    stage >> preflight(READY) << in_phase(RolloutPhase.APPLYING, weight=5).within(1)


def test_t06_a_candidate_that_is_not_ready_in_time_is_rolled_back_without_traffic() -> None:
    """The weight never left 0, and the message says what was missing."""
    broken = Preflight(references_resolve=True, probe_ok=False, probe_message="GET /v1/models answered 401")
    stage = a_stage(an_entry(stepDeadline="5m")) >> preflight(broken) >> points_at(V2)
    stage << in_phase(RolloutPhase.PREFLIGHT).lasting(290) << rolled_back(RollbackReason.PREFLIGHT).within(30)
    stage << says("GET /v1/models answered 401")

    assert [0] == shares_of(stage)
    assert stage.state is not None
    assert [V2.digest] == [failed.version for failed in stage.state.quarantine]


# ---------------------------------------------------------------------------------------------- Applying, Soaking


def test_t08_measuring_begins_two_scrapes_after_the_acknowledgement() -> None:
    """Results of the warm-up are discarded, and no interval reaches back before the acknowledgement."""
    stage = a_stage(an_entry(metrics=(GATED_ERRORS,))) >> points_at(V2) << in_phase(RolloutPhase.WARMING)
    acknowledged = stage.now
    stage << at(5)

    assert stage.now >= acknowledged + 10
    stage << at(25)
    assert min(request.start_seconds for _, request in stage.asked) >= acknowledged + 10


def test_t08_the_test_goes_on_over_the_steps_while_samples_count_anew() -> None:
    """A reset at each step would spend α at each; `minSamples` is a step's own."""
    stage = a_stage() >> points_at(V2) << at(25)

    assert stage.state is not None
    errors = stage.state.metrics[0]
    assert errors.candidate_total > 0
    assert errors.step_candidate_total == 0


def test_t09_a_gateway_that_does_not_converge_holds_the_rollout_and_then_ends_it() -> None:
    """Held(GatewayNotConverged), the weight is pushed all the while; at the deadline back to stable."""
    stage = a_stage() >> points_at(V2) << at(5) >> gateway(1, listens=False)
    stage << in_phase(RolloutPhase.APPLYING, weight=25) << held(HeldReason.GATEWAY_NOT_CONVERGED)
    stage << says("1 of 2 gateways have acknowledged 25 %, waiting for gateway-1") << share(25).lasting(60)
    stage >> gateway(1, listens=True) << at(25).within(40)

    stage >> gateway(1, listens=False) << held(HeldReason.GATEWAY_NOT_CONVERGED)
    stage << in_phase(RolloutPhase.ROLLING_BACK, weight=0).within(610) >> gateway(1, listens=True)
    stage << rolled_back(RollbackReason.HOLD_TIMEOUT).within(4)


def test_t10_an_interval_is_judged_two_scrapes_after_its_end() -> None:
    """Before that its last samples may still be on their way."""
    stage = a_stage(an_entry(metrics=(GATED_ERRORS,))) >> points_at(V2) << at(5)
    assert stage.state is not None
    assert stage.state.measured_from is not None
    end = stage.state.measured_from + 20
    stage >> wait(end + 8 - stage.now)

    assert stage.state.intervals == 0
    stage >> wait(2)
    assert (1, end) == (stage.state.intervals, stage.state.counted_until)


# ------------------------------------------------------------------------------------------------------ any active


@pytest.mark.parametrize("weight", [5, 25, 50])
def test_t11_a_guardrail_that_fails_rolls_back_within_an_interval(weight: int) -> None:
    """It acts at every tick, on what is still open too."""
    stage = a_stage(an_entry(interval="300s", minSamples=1, minIntervals=1)) >> points_at(V2) << at(weight)
    stage >> samples(errors=1.0) << share(0).within(40) << rolled_back(RollbackReason.GUARDRAIL_FAILED)
    stage << announced(EventReason.GATE_FAILED, "guardrail errors: candidate")


def test_t11_a_guardrail_acts_while_paused_and_while_held() -> None:
    """A pause freezes the weight, it does not blind anybody."""
    stage = a_stage() >> points_at(V2) << at(25) >> pause << in_phase(RolloutPhase.PAUSED) >> samples(errors=0.5)
    stage << rolled_back(RollbackReason.GUARDRAIL_FAILED).within(60)

    other = a_stage() >> points_at(V2) << at(5) >> gateway(1, listens=False) << held(HeldReason.GATEWAY_NOT_CONVERGED)
    other >> samples(errors=1.0) << share(0).within(60)
    assert other.state is not None
    assert other.state.reason == RollbackReason.GUARDRAIL_FAILED


# ------------------------------------------------------------------------------------------------------ Evaluating


def test_t12_a_gate_that_rejects_rolls_back_at_the_end_of_an_interval() -> None:
    """The message has the metric, both figures, how many requests, the bound and the window."""
    stage = a_stage(an_entry(metrics=(GATED_ERRORS,))) >> samples(stable_errors=0.01) >> points_at(V2) << at(25)
    stage >> samples(errors=0.2) << rolled_back(RollbackReason.GATE_FAILED).within(120)

    state = stage.state
    assert state is not None
    assert state.decision is not None
    assert (Verdict.FAIL, "errors-gate") == (state.decision.verdict, state.decision.metric)
    assert state.decision.e_value >= state.decision.threshold
    for text in ("gate errors-gate: candidate", "stable 1", "at most 1.5 x stable", "evidence", "2001-09-09T"):
        assert text in state.message
    assert state.measurements[-1].candidate_bad > 0


def test_t13_each_step_needs_its_intervals_and_samples() -> None:
    """Then the next one, and after the last all of the traffic."""
    stage = a_stage() >> points_at(V2) << stable_is(V2)

    assert [0, 500, 2500, 5000, 10_000, 0] == shares_of(stage)
    slow = a_stage(an_entry(minIntervals=6)) >> points_at(V2) << at(5)
    began = slow.now
    slow << share(25)
    assert slow.now - began >= 6 * 20


def test_t13_no_worse_than_allowed_passes_before_the_samples_are_there() -> None:
    """With 10 % errors everywhere a few hundred requests show it, whatever `minSamples` says."""
    patient = an_entry(minSamples=1_000_000, metrics=(GUARDED_ERRORS,), stepDeadline="3h")
    stage = a_stage(patient) >> samples(errors=0.1, stable_errors=0.1, per_second=100) >> points_at(V2) << at(25)

    assert stage.state is not None
    assert stage.state.metrics[0].candidate_total < 100_000


def test_t14_without_a_verdict_the_step_stays_until_its_deadline() -> None:
    """Default `onInconclusive`: Rollback; the message says how far it came."""
    stage = a_stage(an_entry(minSamples=10_000, stepDeadline="10m")) >> points_at(V2)
    stage << at(5) << in_phase(RolloutPhase.SOAKING, weight=5).lasting(500)
    stage << rolled_back(RollbackReason.INCONCLUSIVE).within(120) << says("of 10,000 samples")


def test_t14_on_inconclusive_advance_takes_the_next_step() -> None:
    """The user's wish; the reason stands in the message."""
    wishful = an_entry(steps=(5, 50), minSamples=100_000, stepDeadline="2m", onInconclusive="Advance")
    a_stage(wishful) >> points_at(V2) << at(5) << share(50).within(200) << share(100).within(200)


def test_t14_on_inconclusive_hold_waits_and_goes_on_once_it_is_known() -> None:
    """Held(Inconclusive) at the same weight; the samples go on being counted."""
    careful = an_entry(minSamples=2_000, stepDeadline="2m", onInconclusive="Hold")
    stage = a_stage(careful) >> points_at(V2) << held(HeldReason.INCONCLUSIVE) << share(5).lasting(60)
    stage >> samples(per_second=200) << share(25).within(300)


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        (metrics_down("HTTP 503"), HeldReason.METRICS_UNAVAILABLE),
        (scrapes_stop, HeldReason.STALE_METRICS),
        (samples(per_second=0), HeldReason.NO_TRAFFIC),
        (clock_skew(31), HeldReason.CLOCK_SKEW),
        (target_weight(zero=True), HeldReason.TARGET_WEIGHT_ZERO),
    ],
)
def test_t15_missing_data_holds(deed: object, reason: HeldReason) -> None:
    """Neither up nor down, whatever it is that is missing."""
    stage = a_stage(an_entry(minIntervals=1)) >> points_at(V2) << at(25)
    stage >> deed << held(reason).within(120) << share(25).lasting(120)  # type: ignore[operator]
    stage << announced(EventReason.HELD)


# ------------------------------------------------------------------------------------------------------------ Held


def test_t16_when_data_return_the_same_step_goes_on_and_nothing_is_lost() -> None:
    """Evidence is kept, and the missed intervals are replayed one by one."""
    stage = a_stage(an_entry(minIntervals=12, holdDeadline="1h")) >> points_at(V2) << at(25) >> wait(60)
    assert stage.state is not None
    before = stage.state.intervals
    stage >> metrics_down() << held(HeldReason.METRICS_UNAVAILABLE) >> wait(100) >> metrics_up >> wait(1)

    assert (RolloutPhase.SOAKING, 25) == (stage.state.phase, stage.state.weight)
    assert stage.state.intervals >= before + 5
    stage << announced(EventReason.RESUMED) << share(50)


def test_t16_one_turn_replays_no_more_than_max_replay() -> None:
    """The rest is the next turns' work, and none of it is lost."""
    stage = a_stage(an_entry(minIntervals=60, max_replay=4)) >> points_at(V2) << at(5)
    stage >> metrics_down() >> wait(200) >> metrics_up
    counted = []
    for _ in range(4):
        before = stage.state.intervals if stage.state is not None else 0
        stage >> wait(1)
        assert stage.state is not None
        counted.append(stage.state.intervals - before)

    assert [4, 4] == counted[:2]
    assert max(counted) == 4


def test_t17_a_hold_ends_at_its_deadline_as_the_user_said() -> None:
    """Rollback by default; Keep leaves the weight where it is for as long as it takes."""
    stage = a_stage(an_entry(holdDeadline="5m")) >> points_at(V2) << at(25) >> metrics_down("HTTP 500")
    stage << held(HeldReason.METRICS_UNAVAILABLE) << share(25).lasting(290)
    stage << rolled_back(RollbackReason.HOLD_TIMEOUT).within(20) << says("HTTP 500")

    keeper = a_stage(an_entry(holdDeadline="5m", onHoldTimeout="Keep")) >> points_at(V2) << at(25) >> metrics_down()
    keeper << held(HeldReason.METRICS_UNAVAILABLE) << held(HeldReason.METRICS_UNAVAILABLE).lasting(900) << share(25)


# ---------------------------------------------------------------------------------------------------------- Paused


def test_t18_a_pause_freezes_the_weight_and_stops_the_deadlines() -> None:
    """Longer than stepDeadline and holdDeadline together, and nothing moves."""
    stage = a_stage(an_entry(stepDeadline="5m", holdDeadline="5m", minSamples=10_000)) >> points_at(V2) << at(5)
    stage >> pause << in_phase(RolloutPhase.PAUSED).within(1) << announced(EventReason.PAUSED)
    stage << in_phase(RolloutPhase.PAUSED, weight=5).lasting(1200) >> resume << share(5).lasting(120)


def test_t18_a_held_rollout_can_be_paused_and_is_held_again_afterwards() -> None:
    """The pause does not use up the hold's time."""
    stage = a_stage(an_entry(holdDeadline="5m")) >> points_at(V2) << at(25) >> metrics_down()
    stage << held(HeldReason.METRICS_UNAVAILABLE) >> pause << in_phase(RolloutPhase.PAUSED).lasting(600)
    stage >> resume << held(HeldReason.METRICS_UNAVAILABLE).lasting(200) >> metrics_up << share(50)


@pytest.mark.parametrize("phase", [RolloutPhase.PREFLIGHT, RolloutPhase.SOAKING, RolloutPhase.BAKING])
def test_t19_a_resumed_rollout_is_back_where_it_was(phase: RolloutPhase) -> None:
    """Counters continue: what was seen while paused counts."""
    stage = a_stage(an_entry(minIntervals=4, bake=4)) >> preflight(None) >> points_at(V2) >> wait(2)
    if phase is not RolloutPhase.PREFLIGHT:
        stage >> preflight(READY)
    stage << in_phase(phase) >> pause >> wait(70) >> resume >> wait(1)

    assert stage.state is not None
    assert stage.state.phase is phase
    if phase is not RolloutPhase.PREFLIGHT:
        assert stage.state.intervals > 0


# ------------------------------------------------------------------------------------------- another, and the old one


def test_t21_another_candidate_replaces_the_one_under_way() -> None:
    """v2 is at 0 on all gateways before v3 begins against the same stable v1."""
    stage = a_stage() >> points_at(V2) << at(50) >> points_at(V3) >> gateway(0, listens=False)
    stage << in_phase(RolloutPhase.ROLLING_BACK, reason=RollbackReason.SUPERSEDED, weight=0).lasting(30)
    stage >> gateway(0, listens=True) << in_phase(RolloutPhase.PREFLIGHT).within(3)

    state = stage.state
    assert state is not None
    assert (V1.as_ref(), V3.as_ref()) == (state.stable, state.candidate)
    assert ("RolledBack", "Superseded", V2.as_ref()) == (
        state.history[0].result,
        state.history[0].reason,
        state.history[0].candidate,
    )
    assert () == state.quarantine
    stage << announced(EventReason.SUPERSEDED) << stable_is(V3)


def test_t22_back_to_stable_at_once_when_the_spec_says_so() -> None:
    """No metric is asked, and nothing is held against the candidate."""
    stage = a_stage() >> points_at(V2) << at(50) >> metrics_down() >> points_at(V1) << share(0).within(1)
    stage << stable_is(V1).within(3)

    assert stage.state is not None
    assert ("SpecReverted", ()) == (stage.state.history[0].reason, stage.state.quarantine)
    stage >> metrics_up >> points_at(V2) << at(5)


# ------------------------------------------------------------------------------------------------ Promoting, Baking


def test_t24_all_traffic_acknowledged_begins_the_bake() -> None:
    """Stable is kept in the config at weight 0, its figures frozen."""
    stage = a_stage() >> samples(stable_errors=0.02) >> points_at(V2) << in_phase(RolloutPhase.BAKING)

    assert stage.plan is not None
    assert stage.state is not None
    assert (V1, V2, 10_000) == (stage.plan.stable, stage.plan.candidate, stage.plan.share_bp)
    frozen = stage.state.baselines[0]
    assert frozen.total > 0
    assert abs(frozen.bad / frozen.total - 0.02) < 0.005
    stage << announced(EventReason.PROMOTED)


def test_t25_a_gateway_that_keeps_stable_holds_the_promotion() -> None:
    """Held(GatewayNotConverged), pushed again; back to Promoting when it listens."""
    stage = a_stage() >> points_at(V2) << at(50) >> gateway(0, listens=False) << in_phase(RolloutPhase.PROMOTING)
    stage << held(HeldReason.GATEWAY_NOT_CONVERGED).within(70) << share(100).lasting(30)
    stage >> gateway(0, listens=True) << in_phase(RolloutPhase.BAKING).within(3)


@pytest.mark.parametrize("metrics", [(GUARDED_ERRORS,), (GATED_ERRORS,), (ABSOLUTE_ERRORS,)])
def test_t26_a_failure_while_baking_goes_back_to_the_old_stable(metrics: tuple[dict[str, object], ...]) -> None:
    """Which is still in the config, so it is one push away."""
    stage = a_stage(an_entry(metrics=metrics, bake=50)) >> samples(stable_errors=0.01, errors=0.01) >> points_at(V2)
    stage << in_phase(RolloutPhase.BAKING) >> samples(errors=0.3) << share(0).within(120)

    assert stage.plan is not None
    assert (V1, V2) == (stage.plan.stable, stage.plan.candidate)
    stage << in_phase(RolloutPhase.ROLLED_BACK)
    assert stage.state is not None
    assert stage.state.reason in {RollbackReason.GUARDRAIL_FAILED, RollbackReason.GATE_FAILED}


def test_t27_missing_data_while_baking_holds_and_goes_back_to_baking() -> None:
    """All traffic stays on the candidate meanwhile."""
    stage = a_stage(an_entry(bake=5)) >> points_at(V2) << in_phase(RolloutPhase.BAKING) >> metrics_down()
    stage << held(HeldReason.METRICS_UNAVAILABLE) << share(100).lasting(60) >> metrics_up
    stage << in_phase(RolloutPhase.BAKING).within(2) << stable_is(V2)


def test_t28_after_enough_clean_intervals_the_candidate_is_stable() -> None:
    """The old one is kept for `rollbackWindow`, and only intervals with traffic are clean."""
    stage = a_stage(an_entry(bake=4)) >> points_at(V2) << in_phase(RolloutPhase.BAKING) >> wait(40)
    stage >> samples(per_second=0) << share(100).lasting(200) >> samples(per_second=20)
    stage << stable_is(V2) << announced(EventReason.BAKE_FINISHED)

    state = stage.state
    assert state is not None
    assert ((V1.as_ref(),), None, "") == (state.earlier, state.candidate, state.entry)
    assert "Promoted" == state.history[0].result
    assert stage.plan is not None
    assert {V1, V2} == set(stage.plan.remembered)


def test_t27_traffic_that_stops_while_baking_holds_and_the_hold_has_its_deadline() -> None:
    """Intervals without a request are not clean, and nobody waits for them for ever."""
    stage = a_stage(an_entry(bake=6, minIntervals=3)) >> points_at(V2) << in_phase(RolloutPhase.BAKING) >> wait(60)
    stage >> samples(per_second=0) << held(HeldReason.NO_TRAFFIC).within(110) << says("in the last 3 intervals")
    stage >> samples(per_second=20) << in_phase(RolloutPhase.BAKING).within(40) >> samples(per_second=0)
    stage << held(HeldReason.NO_TRAFFIC) << share(100).lasting(580) << rolled_back(RollbackReason.HOLD_TIMEOUT)


# -------------------------------------------------------------------------------------------- RollingBack, RolledBack


def test_t29_a_rollback_waits_for_every_live_gateway_and_for_nothing_else() -> None:
    """Not for metrics, and not for a gateway that is dead; but one that lives and does not listen is waited for."""
    stage = a_stage() >> points_at(V2) << at(50) >> samples(errors=0.5) >> gateway(1, listens=False)
    stage << in_phase(RolloutPhase.ROLLING_BACK) >> metrics_down()
    stage << in_phase(RolloutPhase.ROLLING_BACK, weight=0).lasting(120)
    stage >> gateway(1, live=False) << rolled_back(RollbackReason.GUARDRAIL_FAILED).within(2)


def test_t31_the_same_candidate_stays_out() -> None:
    """Through resyncs and restarts; and that is said once."""
    stage = a_stage() >> points_at(V2) << at(25) >> samples(errors=0.5) << rolled_back(RollbackReason.GUARDRAIL_FAILED)
    before = stage.state
    stage >> samples(errors=0) << in_phase(RolloutPhase.ROLLED_BACK).lasting(600) << share(0)

    assert before is not None
    assert stage.state == before.model_copy(update={"refused": V2.digest})
    assert 1 == sum(event.reason is EventReason.CANDIDATE_QUARANTINED for event in stage.events)


def test_t32_a_different_candidate_gets_its_chance_after_a_rollback() -> None:
    """Against the same stable; and the one that failed is still out afterwards."""
    stage = a_stage() >> points_at(V2) << at(25) >> samples(errors=0.5) << rolled_back(RollbackReason.GUARDRAIL_FAILED)
    stage >> samples(errors=0) >> points_at(V3) << at(25) >> points_at(V2)
    stage << in_phase(RolloutPhase.ROLLED_BACK) << share(0).lasting(60)
    stage >> points_at(V3) << stable_is(V3)


def test_t33_the_spec_at_stable_clears_everything() -> None:
    """Stable again, and the version that failed may be tried anew."""
    stage = a_stage() >> points_at(V2) << at(25) >> samples(errors=0.5) << rolled_back(RollbackReason.GUARDRAIL_FAILED)
    stage >> samples(errors=0) >> points_at(V1) << stable_is(V1).within(1)

    assert stage.state is not None
    assert ((), "", "") == (stage.state.quarantine, stage.state.reason, stage.state.refused)
    stage >> points_at(V2) << stable_is(V2)


# ------------------------------------------------------------------------------------------------- beside the table


def test_a_version_that_failed_elsewhere_in_the_policy_is_not_tried() -> None:
    """Neither begun nor gone on with."""
    stage = a_stage() >> failed_elsewhere(V2) >> points_at(V2) << rolled_back(RollbackReason.QUARANTINED)
    assert [0] == shares_of(stage)

    other = a_stage() >> points_at(V2) << at(25) >> failed_elsewhere(V2) << share(0).within(1)
    other << rolled_back(RollbackReason.QUARANTINED)


def test_a_deleted_candidate_is_rolled_back_and_tried_again_when_it_returns() -> None:
    """F18: nothing hangs, and nothing is held against it."""
    stage = a_stage() >> points_at(V2) << at(25) >> points_at(None) << rolled_back(RollbackReason.CANDIDATE_DELETED)
    stage << share(0).lasting(30) >> points_at(V2) << at(5)


def test_an_entry_that_is_removed_lets_the_rollout_end_on_its_last_settings() -> None:
    """And once at rest there is no state left to keep."""
    stage = a_stage() >> points_at(V2) << at(25) >> entry(None) << share(50) << share(100) << stable_is(V2)

    assert stage.state is None
    stage >> points_at(V3) << stable_is(V3).within(1)


def test_an_entry_that_is_removed_leaves_a_failed_version_out() -> None:
    """Until the spec points elsewhere, which then goes live at once: nothing is gated any more."""
    stage = a_stage() >> points_at(V2) << at(25) >> samples(errors=0.5) << rolled_back(RollbackReason.GUARDRAIL_FAILED)
    stage >> entry(None) << in_phase(RolloutPhase.ROLLED_BACK).lasting(60)
    assert stage.plan is not None
    assert stage.plan.stable == V1
    stage >> points_at(V3) << stable_is(V3).within(1)


@pytest.mark.parametrize(
    ("steps", "shares"),
    [
        ((10, 40, 60), [2500, 4000, 6000, 10_000]),  # the next step is the first above 25
        ((30,), [2500, 3000, 10_000]),
        ((1, 10), [2500, 1000, 10_000]),  # clamped down once, then measured there
    ],
)
def test_steps_that_are_edited_keep_the_weight_or_clamp_it(steps: tuple[int, ...], shares: list[int]) -> None:
    """Nothing is restarted, and nothing rises without a verdict."""
    stage = a_stage() >> points_at(V2) << at(25)
    stage.plans.clear()
    stage >> entry(an_entry(steps=steps)) << in_phase(RolloutPhase.BAKING)

    assert shares == [bp for bp in shares_of(stage) if bp] or shares[1:] == shares_of(stage)
