"""What is pushed, in which order, and what is not."""

from dataclasses import replace

import pytest

from modelway_contract import codec
from modelway_contract.config import Push
from modelway_operator.core.decide import decide
from modelway_operator.core.rollout.model import Counts, Measurement

from tests.support.builders import a_client, a_model, a_policy, a_rollout, a_rule, a_target, some_models
from tests.support.turns import World, condition, message

BAD = Measurement(candidate=Counts(total=500, bad=400), stable=Counts(total=500, bad=0))


def moving() -> World:
    """A rollout from v1 to v2 that is about to take its first step."""
    world = World(
        models=[a_model("v1"), a_model("v2")],
        policies=[a_policy(rules=[a_rule(targets=[a_target(model="v1")])], rollouts=[a_rollout()])],
    )
    world.settle()
    world.edit_policy(rules=[a_rule(targets=[a_target(model="v2")])])
    world.turn(seconds=10)
    return world


def share(push: Push | None) -> int | None:
    assert push is not None
    return push.live.state.splits[0].share if push.live.state.splits else None


def test_a_rise_is_announced_before_it_is_pushed() -> None:
    """Before the status is written, the candidate has what it had; its arm is there already."""
    world = moving()
    before = world.pushed
    plan = world.turn(seconds=10)

    assert 0 == share(before)
    assert plan.push_first is None
    assert 10.0 == world.policy()["status"]["rollouts"][0]["weight"]
    assert 1000 == share(plan.push)


def test_a_fall_is_pushed_before_anything_is_written() -> None:
    """A bad candidate is out at once, whatever the API server does."""
    world = moving()
    for _ in range(8):
        world.turn(seconds=10)
    assert 1000 == share(world.pushed)
    world.counts = BAD
    plan = world.decide()
    while not plan.events:
        world.turn(seconds=10)
        plan = world.decide()

    assert "RollbackStarted" in [event.reason for event in plan.events]
    assert 0 == share(plan.push_first)
    assert 0 == share(plan.push)
    assert plan.push_first == plan.push


def test_what_people_change_goes_out_before_the_writes_and_shares_do_not_rise_with_it() -> None:
    """One turn with an edit and a step: the edit is in the first push, the step in the last."""
    world = moving()
    world.edit_model("v1", description="new")
    plan = world.decide()

    assert plan.push_first is not None
    assert plan.push is not None
    assert (0, 1000) == (share(plan.push_first), share(plan.push))
    assert plan.push_first.base_digest == plan.push.base_digest
    assert plan.push.live.sequence == plan.push_first.live.sequence + 1


def test_after_a_restart_a_share_rises_from_what_gateways_say() -> None:
    """Not from 0, which would take the candidate's users away, and not above what they have."""
    world = moving()
    world.turn(seconds=10)
    assert 1000 == share(world.pushed)
    world.restart()
    plan = world.decide()

    assert 1000 == share(plan.push_first)
    assert 2 == plan.push_first.live.epoch if plan.push_first is not None else False


def test_at_rest_the_push_is_the_same() -> None:
    """Sequence and all, for the heartbeat."""
    world = World(models=[a_model()])
    plan = world.settle()
    again = world.turn()

    assert plan.push is world.pushed
    assert again.push is plan.push
    assert again.push_first is None


def test_every_push_is_whole_and_says_what_it_is() -> None:
    """Each could be the bundle that a gateway boots from."""
    world = moving()
    world.secrets = {**world.secrets, **dict([a_client("app", "key")])}
    for _ in range(60):
        world.turn(seconds=10)

    pairs = [(push.live.epoch, push.live.sequence) for push in world.pushes]
    assert sorted(pairs) == pairs
    for push in world.pushes:
        assert push == codec.unpack(codec.pack(push))


def test_equal_objects_give_equal_bytes_whatever_their_order() -> None:
    """Otherwise two operators would push two configs."""
    one = World(
        models=list(some_models(["a", "b", "c"])), policies=[a_policy("x", models=["x"]), a_policy("y", models=["y"])]
    )
    other = World(models=one.models[::-1], policies=one.policies[::-1])

    assert one.decide().push == other.decide().push


def test_f30_a_config_that_is_too_large_is_refused_before_the_push() -> None:
    """The gateways keep what they have, and what is not on them says why."""
    world = World(models=[a_model()])
    world.settle()
    before = world.pushed
    assert before is not None
    world.install = replace(world.install, max_config_bytes=1000)
    world.models += some_models(["a", "b", "c", "d"])
    plan = world.turn()
    world.turn()

    assert (None, None) == (plan.push, plan.push_first)
    assert plan.refused is not None
    assert "1000" in plan.refused
    assert before is world.pushed
    assert ("False", "Pending") == condition(world.model("a"), "Programmed")
    assert "more than the 1000" in message(world.model("a"), "Programmed")
    assert ("True", "Programmed") == condition(world.model("llama"), "Programmed")


@pytest.mark.parametrize(("left", "expected"), [(10, False), (5, False), (4, True), (0, True)])
def test_losing_most_models_is_confirmed_first(left: int, expected: bool) -> None:
    """More often a fault of reading than anyone's wish."""
    world = World(models=list(some_models([f"m{number}" for number in range(10)])))
    world.settle()
    world.models = world.models[:left]

    assert expected is world.decide().shrunk


@pytest.mark.parametrize(("left", "expected"), [(5, False), (4, True)])
def test_f16_a_new_leader_confirms_a_shrunken_config_too(left: int, expected: bool) -> None:
    """It has pushed nothing yet, and compares with what its predecessor left."""
    world = World(models=list(some_models([f"m{number}" for number in range(left)])))
    snapshot = replace(world.snapshot(), models_before=10)

    assert expected is decide(snapshot).shrunk


def test_a_fall_that_reached_one_gateway_is_not_undone_by_the_next_leader() -> None:
    """The former leader died between two gateways: the one that took its last word says what it was."""
    world = moving()
    for _ in range(8):
        world.turn(seconds=10)
    world.counts = BAD
    plan = world.decide()
    while not plan.events:
        world.turn(seconds=10)
        plan = world.decide()
    assert plan.push_first is not None
    world.gateways["gateway-1"] = plan.push_first
    world.restart()
    plan = world.decide()

    assert (0, 0) == (share(plan.push_first), share(plan.push))


def test_a_standby_that_takes_over_compiles_nothing_anew() -> None:
    """What it compiled while it watched is taken; only statuses are judged by what gateways say now."""
    world = World(models=list(some_models([f"m{number}" for number in range(50)])))
    world.settle()
    world.restart()
    cold = world.decide().counts.compiled
    standby = decide(replace(world.snapshot(), replicas=())).memory.of_a_standby()
    world.memory = standby
    warm = world.decide()

    assert warm.counts.compiled <= 51
    assert cold > 100
    assert (frozenset(), {}) == (standby.told, dict(standby.known))


def test_the_order_of_a_push_is_not_lost_with_an_older_epoch() -> None:
    """A new leader begins its own sequence, above every lower epoch."""
    world = World(models=[a_model()])
    world.settle()
    snapshot = replace(world.snapshot(), epoch=7)
    plan = decide(snapshot)

    assert plan.push is not None
    assert (7, 1) == (plan.push.live.epoch, plan.push.live.sequence)
