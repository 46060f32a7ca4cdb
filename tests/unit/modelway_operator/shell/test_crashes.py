"""The operator on a world that can be copied: a crash at every effect of a canary, long rest, odd clocks, rivals."""

import itertools
import re
from typing import Any

import pytest

from modelway_operator.clients.lease import Role
from modelway_operator.core.rollout.model import Counts, Measurement
from modelway_operator.kinds import EVENT, LEASE, LLM_MODEL, ROUTING_POLICY, SECRET, Raw

from tests.support.builders import a_model, a_policy, a_rollout, a_rule, a_target
from tests.support.crashes import NAMESPACE, Process, World, a_world

TURN_SECONDS = 5.0
GOOD = Measurement(candidate=Counts(total=500, bad=0), stable=Counts(total=500, bad=0))
BAD = Measurement(candidate=Counts(total=500, bad=400), stable=Counts(total=500, bad=0))
LONGEST = 60


def pointing_at(model: str) -> list[Raw]:
    return [a_rule(targets=[a_target(model=model)])]


def before_it_all(measurement: Measurement) -> World:
    """A policy that points at v1, and nobody who acts upon it yet."""
    rollout = a_rollout(interval="5s", bake={"intervals": 1})
    return a_world([a_model("v1"), a_model("v2")], [a_policy(rules=pointing_at("v1"), rollouts=[rollout])], measurement)


async def to_the_end(world: World, phase: str) -> int:
    """Start an operator and let it work: v1 is deployed, the user points at v2, the rollout ends; how many turns."""
    process, quiet, last = Process(world), 0, ""
    for turns in range(1, LONGEST):
        await process.turn(seconds=TURN_SECONDS)
        state, policy = world.rollout(), world.objects[ROUTING_POLICY, NAMESPACE, "chat"]
        if policy["metadata"]["generation"] == 1:
            if state.get("phase") == "Stable":
                world.edit(ROUTING_POLICY, "chat", rules=pointing_at("v2"))
            continue
        now = repr(end_state(world))
        quiet = quiet + 1 if state["phase"] == phase and now == last else 0
        last = now
        if quiet == 3:
            return turns
    raise AssertionError(f"no end after {LONGEST} turns: {world.rollout()}")


def end_state(world: World) -> dict[str, Any]:
    """All that stands in the end: statuses without their times, what gateways run, what is remembered and kept."""
    found: dict[str, Any] = {}
    for (kind, namespace, name), raw in world.objects.items():
        if kind in (LLM_MODEL, ROUTING_POLICY):
            found[f"{kind.name} {name}"] = (raw["spec"], timeless(raw.get("status")))
        elif kind is SECRET:
            own = name.startswith("modelway-") and not name.endswith("-versions")
            # Keys and the packed bundle are others in each life; what they are for is not.
            found[f"Secret {namespace}/{name}"] = sorted(raw["data"]) if own else raw["data"]
    for name, push in world.gateways.items():
        assert push is not None
        found[name] = (push.base_digest, push.credentials_digest, push.live.state)
    return found


def timeless(value: Any) -> Any:
    """Without the moments, what is named after them, and the figures of the windows that they bound."""
    if isinstance(value, dict):
        return {
            key: timeless(one) for key, one in value.items() if key not in {"measurements", "decision", "rolloutId"}
        }
    if isinstance(value, list | tuple):
        # That v1 was the first is not known to one who finds it remembered, and no status yet.
        return [timeless(one) for one in value if not isinstance(one, dict) or one.get("result") != "InitialDeploy"]
    if isinstance(value, str):
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "a moment", value)
    return value


def unannounced(world: World) -> list[tuple[str, int, str]]:
    """Rises without a Pass in the operator's record; the first step needs a passed preflight instead."""
    return [
        (rise.gateway, rise.share_bp, str(rise.state.get("phase")))
        for rise in world.rises
        if rise.state.get("weight", 0) * 100 < rise.share_bp
        or (rise.share_bp > 1000 and rise.state["decision"]["verdict"] != "Pass")
    ]


@pytest.mark.parametrize(
    ("measurement", "phase", "shares"), [(GOOD, "Stable", {1000, 5000, 10000}), (BAD, "RolledBack", {1000})]
)
async def test_p1_f01_a8_crash_at_every_effect_ends_in_the_same_state(
    measurement: Measurement, phase: str, shares: set[int]
) -> None:
    """Statuses, Secrets, Events, Lease, bundle and each push to each gateway: no step twice, none left out."""
    world = before_it_all(measurement)
    world.crashes = []
    await to_the_end(world, phase)
    expected = end_state(world)
    kinds = {crash.before for crash in world.crashes}
    assert {
        "create Lease", "replace Lease", "apply Secret", "status LLMModel", "status RoutingPolicy", "create Event",
        "push to gateway-0", "push to gateway-1",
    } <= kinds  # fmt: skip
    assert shares == {rise.share_bp for rise in world.rises}
    assert len(world.crashes) >= 40

    for number, crash in enumerate(world.crashes):
        lived_on = crash.world
        await to_the_end(lived_on, phase)
        where = f"crash {number} of {len(world.crashes)}, before: {crash.before}"
        assert expected == end_state(lived_on), where
        assert [] == unannounced(lived_on), where
        risen = {rise.share_bp for rise in lived_on.rises}
        # Who takes over before the first push, and finds the figures bad, has no reason to make it.
        assert risen == shares or (phase == "RolledBack" and not risen), where
        assert 0 == lived_on.fenced, where
        assert 1 == sum(1 for kind, _, _ in lived_on.objects if kind is LEASE), where
        assert any(kind is EVENT for kind, _, _ in lived_on.objects), where


async def test_p5_ten_minutes_at_rest_nothing_is_written_but_the_lease() -> None:
    """Turns, relists and heartbeats go on: no status, no Event, no Secret, no config version."""
    world = before_it_all(GOOD)
    process = Process(world)
    for _ in range(8):
        await process.turn(seconds=TURN_SECONDS)
    pushes, world.crashes = dict(world.gateways), []
    for _ in range(120):
        await process.turn(seconds=TURN_SECONDS)

    assert {"replace Lease"} == {crash.before for crash in world.crashes}
    assert pushes == world.gateways


@pytest.mark.parametrize("jump_seconds", [3600.0, -3600.0])
async def test_f05_clock_that_jumps_costs_neither_the_lead_nor_a_soak(jump_seconds: float) -> None:
    """The lease runs on the monotonic clock; a rollout that is measured is held until the clock is right."""
    world = before_it_all(GOOD)
    process, weights = Process(world), []
    for turns in range(LONGEST):
        await process.turn(seconds=TURN_SECONDS)
        if world.rollout()["phase"] == "Stable" and turns == 3:
            world.edit(ROUTING_POLICY, "chat", rules=pointing_at("v2"))
        if world.rollout()["phase"] == "Soaking":
            break
    epoch, weight = process.lease.epoch, world.rollout()["weight"]
    world.clock_error_seconds = jump_seconds
    for _ in range(6):
        await process.turn(seconds=TURN_SECONDS)
        weights.append(world.rollout()["weight"])
    held = (world.rollout()["phase"], world.rollout()["reason"])
    assert (Role.LEADING, epoch) == (process.lease.role, process.lease.epoch)
    world.clock_error_seconds = 0.0
    await to_the_end(world, "Stable")

    assert [weight] * 6 == weights
    assert ("Held", "ClockSkew") == held
    assert "v2" in world.rollout()["stable"]["model"]


async def test_f03_two_operators_that_both_lead_do_not_alternate() -> None:
    """Each has a Lease of its own, by mistake: the higher epoch wins, and is outbid ever more seldom."""
    world = before_it_all(GOOD)
    one, other = Process(world), Process(world, "other")
    epochs = []
    for _ in range(120):
        await one.turn(seconds=TURN_SECONDS / 2)
        await other.turn(seconds=TURN_SECONDS / 2)
        push = world.gateways["gateway-0"]
        assert push is not None
        epochs.append(push.live.epoch)

    changes = [later - before for before, later in itertools.pairwise(epochs) if later != before]
    assert all(change > 0 for change in changes)
    assert 1 <= len(changes) <= 8
    assert world.fenced > 50
