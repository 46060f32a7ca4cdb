"""What is lost of what the operator knows: its process, a status, an object with all that it owned."""

from typing import Any

import pytest

from modelway_operator.core.rollout.model import Counts, Measurement

from tests.support.turns import World, condition
from tests.unit.modelway_operator.core.test_rollouts_in_decide import BAD, a_world, pointing_at, rollout, until


def rolled_back_world() -> World:
    """v2 has failed, the spec still points at it, v1 serves."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"))
    until(world, "Soaking")
    world.counts = BAD
    until(world, "RolledBack")
    world.counts = Measurement(candidate=Counts(total=500, bad=0), stable=Counts(total=500, bad=0))
    for _ in range(3):
        world.turn()
    world.pushes.clear()
    world.events.clear()
    return world


def without_status(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key != "status"}


def made_anew(raw: dict[str, Any]) -> dict[str, Any]:
    """The same object by name, and another one to the API server."""
    metadata = raw["metadata"] | {"uid": f"{raw['metadata']['uid']}-again", "generation": 1}
    return without_status(raw) | {"metadata": metadata}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("lost", ["status", "object and secret"])
def test_a23_a_status_that_is_lost_gives_a_failed_version_no_traffic(lost: str, *, restarted: bool) -> None:
    """The Secret remembers; and for an object made anew, whose Secret went with the old one, what gateways run."""
    world = rolled_back_world()
    if restarted:
        world.restart()
    if lost == "status":
        world.policies = [without_status(raw) for raw in world.policies]
    else:
        world.policies, world.secrets = [made_anew(raw) for raw in world.policies], {}
    for _ in range(30):
        world.turn(seconds=10)

    assert {0} >= {split.share for push in world.pushes for split in push.live.state.splits}
    assert "all: v1=100" == world.policy()["status"]["weights"]
    assert "RolledBack" == rollout(world)["phase"]
    assert ("True", "RolledBack") == condition(world.policy(), "Stalled")
    assert all("InitialDeploy" != event.reason for event in world.events)
    world.edit_policy(rules=pointing_at("v3"))
    until(world, "Stable")
    assert "all: v3=100" == world.policy()["status"]["weights"]


@pytest.mark.parametrize("restarted", [False, True])
def test_rule11_an_object_made_anew_in_the_middle_of_a_rollout_is_no_initial_deploy(*, restarted: bool) -> None:
    """Stable is what gateways run as stable; the candidate begins at 0 again."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"))
    until(world, "Soaking")
    if restarted:
        world.restart()
    world.policies, world.secrets = [made_anew(raw) for raw in world.policies], {}
    world.turn()

    assert "all: v1=100 v2=0" == world.policy()["status"]["weights"]
    assert "Preflight" == rollout(world)["phase"]
    until(world, "Stable")
    assert "all: v2=100" == world.policy()["status"]["weights"]


def test_rule11_what_gateways_run_of_a_model_that_is_gone_helps_nobody() -> None:
    """Better the version that exists than none."""
    world = a_world()
    world.models = [raw for raw in world.models if raw["metadata"]["name"] != "v1"]
    world.policies, world.secrets = [made_anew(raw) for raw in world.policies], {}
    world.edit_policy(rules=pointing_at("v2"))
    world.settle()

    assert "all: v2=100" == world.policy()["status"]["weights"]


A8_PHASES = ("Preflight", "Applying", "Warming", "Soaking", "Promoting", "Baking", "RollingBack", "RolledBack")


def played(*, crash_in: str | None, is_good: bool) -> tuple[World, list[int]]:
    """A rollout to its end, with one crash in that phase; and the shares that gateways were given, in order."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"))
    crashed = crash_in is None
    for _ in range(200):
        state = world.policy()["status"]["rollouts"]
        if not is_good and state and state[0]["phase"] == "Soaking" and state[0].get("step") == 2:
            world.counts = BAD
        if not crashed and state and state[0]["phase"] == crash_in:
            world.restart()
            crashed = True
        world.turn(seconds=10)
    assert crashed
    return world, [split.share for push in world.pushes for split in push.live.state.splits]


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize("phase", A8_PHASES)
def test_a8_a_crash_in_any_phase_ends_as_if_there_was_none(phase: str, *, is_good: bool) -> None:
    """All that the process had in memory is lost; the shares rise by the same steps, and never twice."""
    if (phase in {"Promoting", "Baking"} and not is_good) or (phase in {"RollingBack", "RolledBack"} and is_good):
        return
    undisturbed, steps = played(crash_in=None, is_good=is_good)
    world, shares = played(crash_in=phase, is_good=is_good)

    def distinct(values: list[int]) -> list[int]:
        return [value for index, value in enumerate(values) if index == 0 or values[index - 1] != value]

    assert distinct(steps) == distinct(shares)
    assert undisturbed.policy()["status"]["weights"] == world.policy()["status"]["weights"]
    for key in ("phase", "reason", "stable", "quarantine"):
        before, after = rollout(undisturbed).get(key), rollout(world).get(key)
        assert (before and "set") == (after and "set") if key == "quarantine" else before == after
