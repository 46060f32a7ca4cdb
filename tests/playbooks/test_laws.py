"""Laws that hold whatever happens: no rise without a Pass, and nothing remembered outside of the status."""

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelway_operator.api.rollout_status import RolloutPhase, RolloutStatus, Verdict
from modelway_operator.core.rollout.model import Preflight, TargetPlan

from tests.playbooks.stage import (
    GATED_ERRORS,
    GUARDED_ERRORS,
    V1,
    V2,
    V3,
    Deed,
    Sight,
    Stage,
    a_stage,
    an_entry,
    at,
    clock_skew,
    entry,
    failed_elsewhere,
    gateway,
    in_phase,
    metrics_down,
    metrics_up,
    pause,
    points_at,
    preflight,
    prometheus_killed,
    resume,
    samples,
    scrapes_stop,
    target_weight,
)

DEEDS: dict[str, Deed] = {
    "v1": points_at(V1),
    "v2": points_at(V2),
    "v3": points_at(V3),
    "deleted": points_at(None),
    "well": samples(errors=0.01, stable_errors=0.01, per_second=40),
    "ill": samples(errors=0.4, stable_errors=0.01),
    "both ill": samples(errors=0.4, stable_errors=0.4),
    "no traffic": samples(per_second=0),
    "metrics down": metrics_down(),
    "metrics up": metrics_up,
    "prometheus killed": prometheus_killed,
    "scrapes stop": scrapes_stop,
    "skew": clock_skew(45),
    "deaf gateway": gateway(0, listens=False),
    "hearing gateway": gateway(0, listens=True),
    "dead gateway": gateway(1, live=False),
    "living gateway": gateway(1, live=True),
    "pause": pause,
    "resume": resume,
    "share zero": target_weight(zero=True),
    "share again": target_weight(zero=False),
    "other steps": entry(an_entry(steps=(10, 30), minIntervals=1, stepDeadline="4m", holdDeadline="2m")),
    "few steps": entry(an_entry(steps=(2,), metrics=(GATED_ERRORS,), minIntervals=1, bake=1)),
    "blue green": entry(an_entry(steps=(), minSamples=50, holdDeadline="3m", bake=2)),
    "no entry": entry(None),
    "not ready": preflight(Preflight(references_resolve=False)),
    "ready": preflight(Preflight(references_resolve=True, probe_ok=True)),
    "failed elsewhere": failed_elsewhere(V2),
    "forgiven elsewhere": failed_elsewhere(),
}

# Most of what happens must let a rollout get somewhere, or nothing but Preflight would be tested.
HELPFUL = ("v2", "well", "metrics up", "hearing gateway", "living gateway", "resume", "share again", "ready")
SCRIPTS = st.lists(
    st.tuples(st.sampled_from((*DEEDS, *HELPFUL, *HELPFUL)), st.sampled_from((1, 3, 12, 30))),
    min_size=4,
    max_size=14,
)
STARTS: dict[str, tuple[Sight, ...]] = {
    "preflight": (),
    "first step": (at(5),),
    "last step": (at(50),),
    "baking": (in_phase(RolloutPhase.BAKING),),
    "before a cut-over": (),
    "after a cut-over": (in_phase(RolloutPhase.BAKING),),
}
PLAYS = st.tuples(st.sampled_from(sorted(STARTS)), SCRIPTS)
PATIENT = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


Play = tuple[str, list[tuple[str, int]]]


WITHOUT_TRAFFIC = {
    RolloutPhase.STABLE,
    RolloutPhase.PREFLIGHT,
    RolloutPhase.ROLLING_BACK,
    RolloutPhase.ROLLED_BACK,
}


def a_short_rollout(start: str, *, forgetful: bool = False) -> Stage:
    """A rollout that gets somewhere within a few dozen ticks."""
    quick = an_entry(
        steps=() if start.endswith("cut-over") else (5, 50),
        metrics=(GUARDED_ERRORS, GATED_ERRORS),
        minIntervals=2,
        minSamples=50,
        bake=2,
        holdDeadline="3m",
    )
    stage = a_stage(quick, forgetful=forgetful) >> points_at(V2)
    for sight in STARTS[start]:
        stage << sight
    return stage


Look = Callable[[RolloutStatus | None, TargetPlan], None]


def play(stage: Stage, script: list[tuple[str, int]], after: Look = lambda *_: None) -> None:
    """Play a script, looking at every turn."""
    for name, ticks in script:
        DEEDS[name](stage)
        for _ in range(ticks):
            before = stage.state
            after(before, stage.tick())


@PATIENT
@given(PLAYS)
def test_no_sequence_of_events_raises_the_share_without_a_pass_of_the_step_before(scene: Play) -> None:
    """The share of one rollout rises from 0 after Preflight, and from a step only by that step's fresh Pass.

    At rest and on the way back it is 0, and there is always something that serves the rest.
    """
    stage = a_short_rollout(scene[0])

    def look(before: RolloutStatus | None, plan: TargetPlan) -> None:
        after = plan.state
        assert plan.stable is not None
        assert 0 <= plan.share_bp <= 10_000
        if after is None or after.phase in WITHOUT_TRAFFIC:
            assert 0 == plan.share_bp
        if before is None or after is None or plan.share_bp <= round(before.weight * 100):
            return
        assert not stage.paused
        assert plan.rollout_id == before.rollout_id
        if before.phase is RolloutPhase.PREFLIGHT:
            return
        assert before.phase in {RolloutPhase.SOAKING, RolloutPhase.HELD, RolloutPhase.PAUSED}
        assert stage.source.available
        assert after.decision is not None
        assert after.decision.verdict is Verdict.PASS
        assert before.counted_until is not None
        assert after.decision.window_to > before.counted_until
        assert after.counted_until == after.decision.window_to

    play(stage, scene[1], look)


@PATIENT
@given(PLAYS)
def test_a_restart_at_any_moment_changes_no_later_decision(scene: Play) -> None:
    """An operator that starts anew at every turn, with what it wrote as JSON, makes the same plans."""
    steady, forgetful = a_short_rollout(scene[0]), a_short_rollout(scene[0], forgetful=True)
    play(steady, scene[1])
    play(forgetful, scene[1])

    assert steady.plans == forgetful.plans


@PATIENT
@given(PLAYS)
def test_a_status_stays_small_whatever_happens(scene: Play) -> None:
    """Every list in it is bounded, and at rest it holds no evidence."""
    stage = a_short_rollout(scene[0])

    def look(before: RolloutStatus | None, plan: TargetPlan) -> None:
        if plan.state is None or plan.state == before:
            return
        text = plan.state.model_dump_json(by_alias=True)
        assert len(text) < 12_000
        assert plan.state == RolloutStatus.model_validate_json(text)
        if plan.state.phase in {RolloutPhase.STABLE, RolloutPhase.ROLLED_BACK}:
            assert () == plan.state.metrics
            assert "" == plan.state.entry

    play(stage, scene[1], look)
