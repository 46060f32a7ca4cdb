"""Several targets of one policy: the same move in lock-step, any other one after it."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RollbackReason, RolloutPhase
from modelway_operator.core.rollout.model import EventReason, Preflight, Version
from modelway_operator.core.rollout.phases import ACTIVE

from tests.playbooks.stage import (
    ABSOLUTE_ERRORS,
    START,
    V1,
    V2,
    V3,
    Deed,
    Stage,
    a_stage,
    an_entry,
    announced,
    at,
    entry,
    gateway,
    held,
    in_phase,
    metrics_down,
    metrics_up,
    one_policy,
    pause,
    points_at,
    preflight,
    resume,
    rolled_back,
    samples,
    says,
    share,
    stable_is,
    wait,
)
from tests.playbooks.test_transitions import shares_of


def two_targets(**chosen: object) -> tuple[Stage, Stage]:
    """Two targets of one policy that serve the same version, each with an entry of its own."""
    one = a_stage(an_entry(name="one", target="one", **chosen))  # type: ignore[arg-type]
    two = a_stage(an_entry(name="two", target="two", **chosen))  # type: ignore[arg-type]
    one_policy(one, two)
    return one, two


def weights(*stages: Stage) -> list[float]:
    return [stage.state.weight if stage.state is not None else 0.0 for stage in stages]


def both_point_at_v2(one: Stage, two: Stage) -> None:
    one >> points_at(V2)
    two >> points_at(V2)


def test_rule7_the_same_move_goes_in_lock_step() -> None:
    """The same weights at every turn, though one of them has a tenth of the traffic and passes later."""
    one, two = two_targets(minSamples=100)
    one >> samples(per_second=100)
    two >> samples(per_second=10)
    both_point_at_v2(one, two)
    waited = 0
    while one.state is None or one.state.phase is not RolloutPhase.BAKING:
        one.tick()
        assert len(set(weights(one, two))) == 1
        waited += "waits for rollout two" in (one.state.message if one.state is not None else "")
        assert one.now < START + 10_000
    one << stable_is(V2)
    two << stable_is(V2).within(1)

    assert waited > 10
    assert [0, 500, 2500, 5000, 10_000, 0] == shares_of(one) == shares_of(two)


def test_rule7_a_blue_green_of_two_targets_cuts_over_and_ends_at_one_moment() -> None:
    """Both are measured first; and neither pointer moves before both bakes are over."""
    one, two = two_targets(steps=(), minSamples=200)
    one >> samples(per_second=50)
    two >> samples(per_second=4)
    both_point_at_v2(one, two)
    one << share(0).lasting(44) << share(100)
    two << share(100).within(1)
    two >> metrics_down() >> wait(80)
    one << in_phase(RolloutPhase.BAKING).lasting(60) << says("clean intervals with all traffic; waits for rollout two")
    two >> metrics_up << stable_is(V2)
    one << stable_is(V2).within(1)


def test_rule7_one_that_fails_takes_all_back_in_the_same_turn() -> None:
    """One revision; and the others say why."""
    one, two = two_targets()
    both_point_at_v2(one, two)
    one << at(25) >> samples(errors=0.5)
    while weights(one)[0]:
        one.tick()
        assert len(set(weights(one, two))) == 1
    one << rolled_back(RollbackReason.GUARDRAIL_FAILED)
    two << rolled_back(RollbackReason.QUARANTINED).within(2) << says("failed at another target of this policy")


def test_rule7_one_that_is_held_or_paused_keeps_the_others_at_its_step() -> None:
    """They pass, wait, and say for whom; their own deadlines do not end them meanwhile."""
    one, two = two_targets(stepDeadline="4m", holdDeadline="1h")
    both_point_at_v2(one, two)
    two << at(25) >> metrics_down()
    one << says("waits for rollout two") << share(25).lasting(600)
    two << held(HeldReason.METRICS_UNAVAILABLE) >> metrics_up >> pause
    one << share(25).lasting(300)
    two >> resume << share(50)
    one << share(50).within(1) << stable_is(V2)


def test_rule7_the_slowest_goes_first_where_steps_were_edited() -> None:
    """One whose weight was lowered catches up before the others go on."""
    one, two = two_targets()
    both_point_at_v2(one, two)
    one << at(25)
    two >> entry(an_entry(name="two", target="two", steps=(10, 50)))
    shares_before_catching_up = []
    while weights(two)[0] < 50:
        two.tick()
        shares_before_catching_up.append(weights(one)[0])
    assert set(shares_before_catching_up[:-1]) == {25.0}
    two << stable_is(V2)
    one << stable_is(V2).within(1)


def test_rule7_a_step_that_is_lowered_must_be_passed_anew() -> None:
    """What one had passed while it waited was another share."""
    one, two = two_targets(minIntervals=4)
    both_point_at_v2(one, two)
    two << at(25) >> pause
    one << says("waits for rollout two")
    for stage, name in ((one, "one"), (two, "two")):
        stage >> entry(an_entry(name=name, target=name, steps=(5, 10), minIntervals=4))
    two >> resume
    one << at(10).within(60)
    assert one.state is not None
    assert not one.state.passed
    while weights(one)[0] == 10:
        lowered = one.state
        one.tick()
    assert lowered.intervals >= 3


def test_rule7_one_that_is_ready_before_all_others_is_not_given_up_for_a_gateway_that_comes_late() -> None:
    """The time that it waited is not its own; what is missing from then on has the whole deadline."""
    one, two = two_targets(stepDeadline="4m", onInconclusive="Hold")
    both_point_at_v2(one, two)
    two >> pause
    one << in_phase(RolloutPhase.PREFLIGHT).lasting(400)
    one >> gateway(0, listens=False)
    one.gateways[0].split = None
    one << says("1 of 2 gateways have acknowledged 0 %") << in_phase(RolloutPhase.PREFLIGHT).lasting(230)
    one << rolled_back(RollbackReason.PREFLIGHT).within(20)


def test_rule7_another_move_waits_in_the_queue_and_begins_when_the_first_ends() -> None:
    """It says for whom, once as an Event; its traffic stays where it is."""
    one, two = two_targets()
    one >> points_at(V2) >> wait(2)
    two >> points_at(V3) << in_phase(RolloutPhase.QUEUED).within(2) << says("waits for rollout one")
    two << announced(EventReason.ROLLOUT_QUEUED) << share(0).lasting(100)
    one << stable_is(V2)
    two << in_phase(RolloutPhase.PREFLIGHT).within(2) << stable_is(V3)
    assert 1 == sum(event.reason is EventReason.ROLLOUT_QUEUED for event in two.events)


def test_rule7_the_queue_goes_on_after_a_rollback_and_after_an_entry_is_removed() -> None:
    """However the one in front ends."""
    one, two = two_targets()
    one >> points_at(V2) << at(5)
    two >> points_at(V3) << in_phase(RolloutPhase.QUEUED)
    one >> samples(errors=0.6) << rolled_back(RollbackReason.GUARDRAIL_FAILED)
    two << in_phase(RolloutPhase.PREFLIGHT).within(2)

    first, second = two_targets()
    first >> points_at(V2) << at(5)
    second >> points_at(V3) << in_phase(RolloutPhase.QUEUED)
    first >> entry(None) << stable_is(V2)
    second << in_phase(RolloutPhase.PREFLIGHT).within(2)


def test_rule7_a_held_one_in_front_is_named_as_such() -> None:
    """Whoever waits can see what for; and the word changes with the one in front."""
    one, two = two_targets(onHoldTimeout="Keep")
    one >> points_at(V2) << at(5) >> metrics_down()
    two >> points_at(V3) << says("waits for rollout one (Held, MetricsUnavailable)")
    one >> metrics_up << at(5) >> pause
    two << says("waits for rollout one (Paused)") << in_phase(RolloutPhase.QUEUED).lasting(300)
    one >> resume
    two << stable_is(V3)


def test_rule7_who_comes_late_to_the_same_move_waits_for_its_end() -> None:
    """No target jumps to a weight that its own figures have not led to."""
    one, two = two_targets()
    one >> points_at(V2) << at(25)
    two >> points_at(V2) << in_phase(RolloutPhase.QUEUED).within(2) << share(0).lasting(60)
    one << stable_is(V2)
    two << stable_is(V2)
    assert [0, 500, 2500, 5000, 10_000, 0] == shares_of(two)


def test_rule7_who_waits_can_be_pointed_elsewhere() -> None:
    """Back at stable, at nothing, at what failed; and without an entry it switches at once."""
    one, two = two_targets()
    one >> points_at(V2) << at(5)
    two >> points_at(V3) << in_phase(RolloutPhase.QUEUED) >> points_at(V1) << stable_is(V1).within(2)
    two >> points_at(V3) << in_phase(RolloutPhase.QUEUED) >> points_at(None) << stable_is(V1).within(2)
    two >> points_at(V3) << in_phase(RolloutPhase.QUEUED) >> entry(None) << stable_is(V3).within(2)


def test_rule7_who_waits_and_is_pointed_at_what_failed_stays_out_without_an_entry_too() -> None:
    """As one that does not wait."""
    one, two = two_targets()
    two >> points_at(V2) << at(5) >> samples(errors=0.6) << rolled_back(RollbackReason.GUARDRAIL_FAILED)
    one >> points_at(V3) << at(5)
    two >> points_at(Version("shop/law-v4", "v4-digest")) << in_phase(RolloutPhase.QUEUED)
    two >> points_at(V2) >> entry(None) << in_phase(RolloutPhase.ROLLED_BACK).within(2)
    assert two.plan is not None
    assert V1 == two.plan.stable


def test_rule7_who_has_waited_longest_comes_next() -> None:
    """Whatever the order of the rules; of two that come at once the first rule is first."""
    one, two, three = one_policy(
        *(a_stage(an_entry(name=name, target=name, steps=(50,), bake=1)) for name in ("one", "two", "three"))
    )
    one >> points_at(V2)
    three >> points_at(V3) << in_phase(RolloutPhase.QUEUED).within(2) >> wait(10)
    two >> points_at(Version("shop/law-v4", "v4-digest")) << in_phase(RolloutPhase.QUEUED).within(2)
    one << stable_is(V2)
    three << in_phase(RolloutPhase.PREFLIGHT).within(2)
    two << says("waits for rollout three") << share(0).lasting(60)
    three << stable_is(V3)
    two << share(50)


def test_rule7_a_move_that_becomes_the_one_that_waits_goes_with_it() -> None:
    """v2 gives way to v3, which another target waits for: both begin in one turn."""
    one, two = two_targets()
    one >> points_at(V2) << at(5)
    two >> points_at(V3) << in_phase(RolloutPhase.QUEUED)
    one >> points_at(V3) << in_phase(RolloutPhase.PREFLIGHT).within(6)
    two << in_phase(RolloutPhase.PREFLIGHT).within(1) << stable_is(V3)
    one << stable_is(V3).within(1)


DEEDS: dict[str, Deed] = {
    "v1": points_at(V1),
    "v2": points_at(V2),
    "v3": points_at(V3),
    "deleted": points_at(None),
    "well": samples(errors=0.01, stable_errors=0.01, per_second=40),
    "ill": samples(errors=0.5, stable_errors=0.01),
    "metrics down": metrics_down(),
    "metrics up": metrics_up,
    "pause": pause,
    "resume": resume,
    "no entry": entry(None),
    "not ready": preflight(Preflight(references_resolve=False)),
    "ready": preflight(Preflight(references_resolve=True, probe_ok=True)),
}
HELPFUL = ("v2", "v3", "well", "metrics up", "resume", "ready")
SCRIPTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from((*DEEDS, *HELPFUL, *HELPFUL)), st.sampled_from((1, 3, 15))),
    min_size=4,
    max_size=14,
)


def three_targets(*, forgetful: bool = False) -> tuple[Stage, ...]:
    stages = []
    for name in ("one", "two", "three"):
        chosen = an_entry(
            name=name, target=name, steps=(10, 50), metrics=(ABSOLUTE_ERRORS,), bake=2, minSamples=5, holdDeadline="3m"
        )
        stages.append(a_stage(chosen, forgetful=forgetful))
    return one_policy(*stages)


def moves_under_way(*stages: Stage) -> set[tuple[str, str]]:
    return {
        (state.stable.version, state.candidate.version)
        for stage in stages
        if (state := stage.state) is not None
        and (state.phase in ACTIVE or state.phase is RolloutPhase.ROLLING_BACK)
        and state.stable is not None
        and state.candidate is not None
    }


def are_at_rest(stages: tuple[Stage, ...]) -> bool:
    """Whether nothing moves any more for a few turns."""
    before = [stage.state for stage in stages]
    for _ in range(5):
        stages[0].tick()
    return before == [stage.state for stage in stages] and not moves_under_way(*stages)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCRIPTS)
def test_rule7_no_two_moves_at_once_and_no_deadlock(script: list[tuple[int, str, int]]) -> None:
    """Whatever happens; and once nothing is in the way any more all come to rest at what the specs point to."""
    stages = three_targets()
    for index, name, ticks in script:
        DEEDS[name](stages[index])
        for _ in range(ticks):
            stages[0].tick()
            assert len(moves_under_way(*stages)) <= 1
    for stage in stages:
        stage >> samples(errors=0, stable_errors=0, per_second=40) >> metrics_up >> resume
        stage >> preflight(Preflight(references_resolve=True, probe_ok=True))
    assert any(are_at_rest(stages) for _ in range(300))
    for stage in stages:
        assert stage.state is None or stage.state.phase in {RolloutPhase.STABLE, RolloutPhase.ROLLED_BACK}
        blamed = stage.failed().union(*(other.failed() for other in stages))
        assert stage.plan is not None
        assert stage.wanted in {None, stage.plan.stable} or (stage.wanted is not None and stage.wanted.digest in blamed)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCRIPTS)
def test_rule7_a_restart_at_any_moment_changes_nothing(script: list[tuple[int, str, int]]) -> None:
    """Who has passed, who waits and since when is all on the status."""
    steady, forgetful = three_targets(), three_targets(forgetful=True)
    for stages in (steady, forgetful):
        for index, name, ticks in script:
            DEEDS[name](stages[index])
            for _ in range(ticks):
                stages[0].tick()

    assert [stage.plans for stage in steady] == [stage.plans for stage in forgetful]
