"""What is read from a manifest, and what an error may say."""

from collections.abc import Iterator
from typing import Any

import pytest

from modelway_operator.api.llmmodel import Access, LLMModel
from modelway_operator.api.parsing import parse_llmmodel, parse_routingpolicy
from modelway_operator.api.routingpolicy import RoutingPolicy
from modelway_operator.errors import InvalidObjectError

from tests.cluster.manifests import ABSENT, base, put, value_at

SMALL_MODEL = {
    "metadata": {"name": "llama"},
    "spec": {"backends": [{"name": "a", "url": "https://llm.example.com/v1"}]},
}
SMALL_POLICY = {
    "metadata": {"name": "chat"},
    "spec": {
        "models": ["chat"],
        "rules": [{"name": "default", "targets": [{"name": "main", "modelRef": {"name": "llama"}}]}],
    },
}


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{prefix}.{key}" if prefix else key
            yield path
            yield from paths(inner, path)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, f"{prefix}[{index}]")


def parse(raw: dict[str, Any]) -> LLMModel | RoutingPolicy:
    return parse_llmmodel(raw) if raw["kind"] == "LLMModel" else parse_routingpolicy(raw)


def outcome(raw: dict[str, Any]) -> LLMModel | RoutingPolicy | str:
    try:
        return parse(raw)
    except InvalidObjectError as exc:
        return str(exc)


def test_small_model_gets_its_defaults() -> None:
    """What a user leaves out is resolved, and what depends on other fields too."""
    model = parse_llmmodel(SMALL_MODEL)
    backend = model.spec.backends[0]

    assert (
        model.spec.gateway,
        model.spec.access,
        model.model_name,
        model.upstream_model(backend),
    ) == ("default", Access.DIRECT, "llama", "llama")
    assert (
        backend.weight,
        backend.timeouts.connect.seconds,
        backend.timeouts.first_token.seconds,
        backend.timeouts.idle.seconds,
        backend.timeouts.total.seconds,
    ) == (1, 2.0, 30.0, 20.0, 600.0)


def test_small_policy_gets_its_defaults() -> None:
    """A policy needs nothing but names, a rule and a target."""
    policy = parse_routingpolicy(SMALL_POLICY)

    assert (
        policy.spec.gateway,
        policy.spec.priority,
        policy.spec.rollouts,
        policy.spec.rules[0].targets[0].weight,
        policy.spec.rules[0].when,
    ) == ("default", 0, (), 1, None)


def test_strategy_defaults_are_those_of_the_design() -> None:
    """Only steps and metrics have to be written."""
    raw = base("RoutingPolicy")
    raw["spec"]["rollouts"][0]["strategy"] = {"steps": [{"weight": 5}]}
    del raw["spec"]["rollouts"][0]["analysis"]["alpha"], raw["spec"]["rollouts"][0]["analysis"]["maxReplay"]
    rollout = parse_routingpolicy(raw).spec.rollouts[0]
    strategy = rollout.strategy

    assert (
        strategy.type,
        strategy.interval,
        strategy.min_intervals,
        strategy.min_samples,
        strategy.step_deadline,
        strategy.on_inconclusive,
        strategy.hold_deadline,
        strategy.on_hold_timeout,
        strategy.converge_timeout,
        strategy.bake.intervals,
        strategy.rollback_window,
    ) == ("Canary", "30s", 4, 100, "30m", "Rollback", "30m", "Rollback", "60s", 20, 3)
    assert (rollout.analysis.alpha.value, rollout.analysis.max_replay) == (0.01, 20)


@pytest.mark.parametrize("kind", ["LLMModel", "RoutingPolicy"])
def test_manifest_comes_back_as_it_was_written(kind: str) -> None:
    """`as_manifest` spells every field of the full example as its author did."""
    raw = base(kind)

    written = parse(raw).as_manifest()

    for path in paths(raw["spec"], "spec"):
        assert value_at(raw, path) == value_at(written, path) or isinstance(value_at(raw, path), dict | list)


@pytest.mark.parametrize(
    ("kind", "path"),
    [(kind, path) for kind in ("LLMModel", "RoutingPolicy") for path in paths(base(kind)["spec"], "spec")],
)
def test_b42_null_is_the_same_as_absent(kind: str, path: str) -> None:
    """`null` in a field reads, or is refused, exactly as the field's absence does."""
    with_null, without = base(kind), base(kind)
    put(with_null, path, None)
    put(without, path, ABSENT)

    assert outcome(without) == outcome(with_null)


def test_b42_null_for_every_optional_field_at_once() -> None:
    """An object whose optional fields are all null reads like one that has none of them."""
    with_nulls, without = base("LLMModel"), base("LLMModel")
    required = ("spec.backends", "spec.backends[0].name", "spec.backends[0].url", "spec.backends[0].serviceRef")
    for path in paths(base("LLMModel")["spec"], "spec"):
        if path.replace("[1]", "[0]") not in required and path.count(".") <= 1 + path.count("["):
            put(with_nulls, path, None)
            put(without, path, ABSENT)

    assert with_nulls != without
    assert parse(with_nulls) == parse(without)


def test_all_problems_are_named_at_once() -> None:
    """Whoever wrote two mistakes should not have to ask twice."""
    raw = base("LLMModel")
    put(raw, "spec.access", "Everyone")
    put(raw, "spec.backends[1].url", "ftp://llm.example.com")

    assert str(outcome(raw)).split("; ") == [
        'spec.access: Unsupported value: supported values: "Direct", "PolicyOnly"',
        "spec.backends[1].url: must begin with http:// or https://",
    ]


@pytest.mark.parametrize("kind", ["LLMModel", "RoutingPolicy"])
def test_b38_messages_never_repeat_a_value(kind: str) -> None:
    """Whatever a user pasted, into whichever field: it may be a key, and messages go to statuses and logs."""
    for path in paths(base(kind)["spec"], "spec"):
        for pasted in ("sk-canary-0123456789abcdef\n", {"canary-key": 1}, ["canary canary\t"]):
            raw = base(kind)
            put(raw, path, pasted)
            said = outcome(raw)

            assert not isinstance(said, str) or "canary-0" not in said
            assert not isinstance(said, str) or "canary canary" not in said


def test_attribute_names_are_not_field_names() -> None:
    """A manifest spells its fields in camelCase only, as the API server would insist."""
    raw = base("LLMModel")
    put(raw, "spec.model_name", "llama")

    assert outcome(raw) == "spec.model_name: unknown field; correct its spelling or remove it"


@pytest.mark.parametrize(
    "status", [{"conditions": "all fine"}, {"rules": [{"name": "a", "state": "Odd"}]}, "Ready", []]
)
def test_b39_unreadable_status_counts_as_absent(status: object) -> None:
    """Nobody can take a policy out of service by writing nonsense into its status."""
    policy = parse_routingpolicy({**SMALL_POLICY, "status": status})

    assert policy.status is None


def test_status_of_a_newer_release_is_read() -> None:
    """Fields this release does not know are skipped: going back one release must not lose a rollout's state."""
    status = {"observedGeneration": 7, "weights": "default: llama=100", "novelty": {"x": 1}}
    policy = parse_routingpolicy({**SMALL_POLICY, "status": status})

    assert policy.status is not None
    assert (policy.status.observed_generation, policy.status.weights) == (7, "default: llama=100")
