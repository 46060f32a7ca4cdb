"""The decision: rules, filters, shares and arms."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from modelway_contract.config import (
    Capabilities,
    ClientCondition,
    Endpoints,
    HeaderCondition,
    Model,
    Require,
    Retention,
    StickyKey,
    TrafficState,
    When,
)
from modelway_contract.names import Arm
from modelway_gateway.core.choose import DRAW_BITS, arm_bucket, choose
from modelway_gateway.core.features import Caller
from modelway_gateway.core.records import Decision, Exclusion, Reason, Refusal, summarise
from modelway_gateway.core.runtime import Runtime

from tests.support.gateway import a_backend, a_base, a_model, a_policy, a_rule, a_runtime, a_split, a_target
from tests.unit.modelway_gateway.core.asking import ask

STABLE, CANDIDATE = a_model("law", version="v1"), a_model("law", version="v2")
BY_SESSION = (StickyKey(header="x-session"),)


def with_rule(*models: Model, rule: object, **live: object) -> Runtime:
    return a_runtime(a_base(*models, policies=(a_policy(rule),)), **live)  # type: ignore[arg-type]


def a_rollout(share: int, **changes: object) -> Runtime:
    rule = a_rule(a_target(STABLE, candidate=CANDIDATE), **changes)
    return with_rule(STABLE, CANDIDATE, rule=rule, splits=(a_split(share),))


def served(decision: Decision) -> str | None:
    return decision.option.model.key if decision.offer is not None and decision.option is not None else None


def draws(count: int, seed: int = 1) -> list[int]:
    source = random.Random(seed)
    return [source.getrandbits(DRAW_BITS) for _ in range(count)]


# Rules


RULES = {
    "exact header": (When(all=(HeaderCondition(name="x-use", exact="law"),)), {"X-Use": "law"}, {"x-use": "lawyer"}),
    "prefix": (When(all=(HeaderCondition(name="x-use", prefix="la"),)), {"x-use": "law"}, {"x-use": "al"}),
    "empty prefix": (When(all=(HeaderCondition(name="x-use", prefix=""),)), {"x-use": ""}, {}),
    "present": (When(all=(HeaderCondition(name="x-use", present=True),)), {"x-use": ""}, {}),
    "absent": (When(all=(HeaderCondition(name="x-use", present=False),)), {}, {"x-use": "1"}),
    "all of two": (
        When(all=(HeaderCondition(name="a", exact="1"), HeaderCondition(name="b", exact="1"))),
        {"a": "1", "b": "1"},
        {"a": "1"},
    ),
    "any of two": (
        When(any=(HeaderCondition(name="a", exact="1"), HeaderCondition(name="b", exact="1"))),
        {"b": "1"},
        {"c": "1"},
    ),
    "none": (When(none=(HeaderCondition(name="a", exact="1"),)), {}, {"a": "1"}),
    "nested": (
        When(all=(When(any=(HeaderCondition(name="a", exact="1"), HeaderCondition(name="b", exact="1"))),)),
        {"a": "1"},
        {},
    ),
    "all and none": (
        When(all=(HeaderCondition(name="a", present=True),), none=(HeaderCondition(name="b", present=True),)),
        {"a": ""},
        {"a": "", "b": ""},
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_takes_what_its_condition_is_true_for(name: str) -> None:
    """The first header set matches, the second does not, and then no rule does."""
    when, yes, no = RULES[name]
    runtime = with_rule(STABLE, rule=a_rule(a_target(STABLE), when=when))

    assert choose(runtime, ask(headers=yes), 0).refusal is None
    assert choose(runtime, ask(headers=no), 0).refusal is Refusal.NO_MATCHING_RULE


def test_the_first_rule_that_matches_decides() -> None:
    """Later rules are not looked at."""
    rules = (
        a_rule(a_target(STABLE), name="first", when=When(all=(HeaderCondition(name="a", present=True),))),
        a_rule(a_target(CANDIDATE), name="second"),
        a_rule(a_target(STABLE), name="third"),
    )
    runtime = a_runtime(a_base(STABLE, CANDIDATE, policies=(a_policy(*rules),)))

    names = [
        decision.rule.name
        for headers in ({"a": "1"}, {})
        if (decision := choose(runtime, ask(headers=headers), 0)).rule is not None
    ]

    assert names == ["first", "second"]


def test_a_header_that_came_twice_counts_as_none() -> None:
    """Of two values nobody can say which one was meant, and proxies disagree."""
    when = When(all=(HeaderCondition(name="x-tier", exact="gold"),))
    runtime = with_rule(STABLE, rule=a_rule(a_target(STABLE), when=when))
    headers = CIMultiDict([("x-tier", "gold"), ("X-Tier", "none")])

    assert choose(runtime, ask(headers=headers), 0).refusal is Refusal.NO_MATCHING_RULE


@pytest.mark.parametrize(
    ("condition", "caller", "matches"),
    [
        (ClientCondition(names=("alice",)), Caller("team", "alice"), True),
        (ClientCondition(names=("alice",)), Caller("team", "bob"), False),
        (ClientCondition(groups=("eu", "us")), Caller("team", "bob", frozenset({"us"})), True),
        (ClientCondition(groups=("eu",)), Caller("team", "bob", frozenset({"us"})), False),
        (ClientCondition(tiers=("gold",)), Caller("team", "bob", tier="gold"), True),
        (ClientCondition(tiers=("gold",)), Caller("team", "bob"), False),
        (ClientCondition(names=("alice",), tiers=("gold",)), Caller("team", "bob", tier="gold"), True),
        (ClientCondition(names=("alice",)), None, False),
    ],
)
def test_a_client_condition_asks_who_the_key_belongs_to(
    condition: ClientCondition, caller: Caller | None, *, matches: bool
) -> None:
    """Any of names, groups and tiers is enough."""
    runtime = with_rule(STABLE, rule=a_rule(a_target(STABLE), when=When(all=(condition,))))

    assert (choose(runtime, ask(caller=caller), 0).refusal is None) == matches


def test_a_tenant_cannot_mint_a_group_of_a_shared_policy() -> None:
    """A client of another namespace with the same name, group and tier is somebody else."""
    condition = ClientCondition(names=("alice",), groups=("eu",), tiers=("gold",))
    rule = a_rule(a_target(STABLE), when=When(all=(condition,)))
    policy = a_policy(rule, namespace="platform")
    runtime = a_runtime(a_base(STABLE, policies=(policy,), shared_namespaces=("platform",)))
    impostor = Caller("team", "alice", frozenset({"eu"}), "gold")
    real = Caller("platform", "alice", frozenset({"eu"}), "gold")

    assert choose(runtime, ask(caller=impostor), 0).refusal is Refusal.NO_MATCHING_RULE
    assert choose(runtime, ask(caller=real, namespace="platform"), 0).refusal is None


# Hard filters

IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}
FILTERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], Reason | None]] = {
    "disabled": ({"traffic_state": TrafficState.DISABLED}, {}, {}, Reason.DISABLED),
    "draining": ({"traffic_state": TrafficState.DRAINING}, {}, {}, Reason.DRAINING),
    "jurisdiction unknown": ({}, {"jurisdictions": ("EU",)}, {}, Reason.JURISDICTION),
    "capability not stated": ({}, {"capabilities": ("tools",)}, {}, Reason.CAPABILITY),
    "capability false": (
        {"capabilities": Capabilities(json_schema=False)},
        {"capabilities": ("jsonSchema",)},
        {},
        Reason.CAPABILITY,
    ),
    "capability true": ({"capabilities": Capabilities(tools=True)}, {"capabilities": ("tools",)}, {}, None),
    "retention unknown": ({}, {"retention": Retention.LIMITED}, {}, Reason.RETENTION),
    "retention too long": ({"retention": Retention.LIMITED}, {"retention": Retention.NONE}, {}, Reason.RETENTION),
    "retention shorter": ({"retention": Retention.NONE}, {"retention": Retention.LIMITED}, {}, None),
    "tools refused": ({"capabilities": Capabilities(tools=False)}, {}, {"tools": TOOLS}, Reason.TOOLS),
    "tools not stated": ({}, {}, {"tools": TOOLS}, None),
    "no tools asked": ({"capabilities": Capabilities(tools=False)}, {}, {"tools": []}, None),
    "images refused": ({}, {}, {"messages": IMAGE}, Reason.IMAGES),
    "images": ({"capabilities": Capabilities(input=("Text", "Image"))}, {}, {"messages": IMAGE}, None),
    "the word in a text": ({}, {}, {"messages": [{"role": "user", "content": 'say "image_url" please'}]}, None),
    "schema refused": (
        {"capabilities": Capabilities(json_schema=False)},
        {},
        {"response_format": SCHEMA},
        Reason.JSON_SCHEMA,
    ),
    "plain json": (
        {"capabilities": Capabilities(json_schema=False)},
        {},
        {"response_format": {"type": "json_object"}},
        None,
    ),
    "odd format": ({"capabilities": Capabilities(json_schema=False)}, {}, {"response_format": 7}, None),
    "answer too long": (
        {"capabilities": Capabilities(max_output_tokens=100)},
        {},
        {"max_completion_tokens": 101},
        Reason.MAX_OUTPUT_TOKENS,
    ),
    "answer fits": ({"capabilities": Capabilities(max_output_tokens=100)}, {}, {"max_tokens": 100}, None),
    "prompt too long": (
        {"capabilities": Capabilities(context_window=1000)},
        {},
        {"messages": [{"role": "user", "content": "word " * 1000}]},
        Reason.CONTEXT_WINDOW,
    ),
    "prompt and answer too long": (
        {"capabilities": Capabilities(context_window=1000)},
        {},
        {"max_tokens": 999},
        Reason.CONTEXT_WINDOW,
    ),
    "number that is none": ({"capabilities": Capabilities(context_window=1000)}, {}, {"max_tokens": "many"}, None),
    "all weights 0": ({"backends": (a_backend(weight=0),)}, {}, {}, Reason.NO_BACKEND),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_hard_filter_excludes_with_its_reason(name: str) -> None:
    """Nothing left means 503, with the reason on record; what is not stated excludes nothing."""
    model_changes, require, fields, reason = FILTERS[name]
    model = a_model("law", **model_changes)
    runtime = with_rule(model, rule=a_rule(a_target(model), require=Require(**require)))

    decision = choose(runtime, ask(**fields), 0)

    if reason is None:
        assert served(decision) == model.key
    else:
        assert decision.refusal is Refusal.NO_ELIGIBLE_MODEL
        assert decision.exclusions == (Exclusion("main", model.key, reason),)
        assert summarise(decision.exclusions) == f"{reason.value} (1)"


def test_a_jurisdiction_is_a_backends_not_a_models() -> None:
    """Of a model with backends in several places only those in the right one serve."""
    backends = tuple(
        a_backend(id=place, name=place.lower(), jurisdiction=place, weight=weight)
        for place, weight in (("US", 99), ("EU", 1))
    )
    model = a_model(backends=backends)
    runtime = with_rule(model, rule=a_rule(a_target(model), require=Require(jurisdictions=("EU", "CH"))))

    names = {
        decision.offer.backend.name
        for draw in draws(200)
        if (decision := choose(runtime, ask(), draw)).offer is not None
    }

    assert names == {"eu"}


def test_an_excluded_target_leaves_its_share_to_the_others_by_weight() -> None:
    """10 : 30 : 60 without the last is 1 : 3."""
    a, b = a_model("a"), a_model("b")
    off = a_model("c", traffic_state=TrafficState.DISABLED)
    targets = tuple(a_target(m, name=m.name, weight=w) for m, w in ((a, 10), (b, 30), (off, 60)))
    runtime = with_rule(a, b, off, rule=a_rule(*targets))

    counts = Counter(served(choose(runtime, ask(), draw)) for draw in draws(8000))

    assert set(counts) == {a.key, b.key}
    assert counts[b.key] / counts[a.key] == pytest.approx(3, rel=0.15)


@settings(max_examples=25, deadline=None)
@given(weights=st.lists(st.integers(0, 100), min_size=1, max_size=6).filter(any), seed=st.integers(0, 2**32))
def test_targets_are_chosen_by_their_weight(weights: list[int], seed: int) -> None:
    """Shares of the sum, whatever the sum; 0 is never chosen."""
    models = [a_model(f"m{number}") for number in range(len(weights))]
    targets = tuple(a_target(m, name=m.name, weight=w) for m, w in zip(models, weights, strict=True))
    runtime = with_rule(*models, rule=a_rule(*targets))
    question = ask()
    n = 3000

    counts = Counter(served(choose(runtime, question, draw)) for draw in draws(n, seed))

    for model, weight in zip(models, weights, strict=True):
        expected = weight / sum(weights)
        spread = 5 * (expected * (1 - expected) / n) ** 0.5
        assert abs(counts[model.key] / n - expected) <= spread


def test_backends_are_chosen_by_their_weight_among_those_with_an_address() -> None:
    """A discovered backend without endpoints is passed over; its endpoints share what it gets."""
    backends = (
        a_backend(id="a", name="a", weight=1, discovered=True),
        a_backend(id="b", name="b", weight=3, discovered=True),
        a_backend(id="c", name="c", weight=96, discovered=True),
    )
    model = a_model(backends=backends)
    endpoints = (
        Endpoints(backend="a", addresses=(("10.0.0.1", 80),)),
        Endpoints(backend="b", addresses=(("10.0.0.2", 80), ("10.0.0.3", 80), ("10.0.0.4", 80))),
        Endpoints(backend="c", addresses=()),
    )
    runtime = with_rule(model, rule=a_rule(a_target(model)), endpoints=endpoints)

    counts = Counter(choose(runtime, ask(), draw).address for draw in draws(8000))

    assert {address[0] for address in counts if address} == {f"10.0.0.{n}" for n in (1, 2, 3, 4)}
    for count in counts.values():
        assert count == pytest.approx(2000, rel=0.15)


def test_a_chosen_target_without_endpoints_answers_for_it() -> None:
    """Having nobody to ask is a fault of what was chosen: it counts there and is not hidden."""
    backend = a_backend(id="a", discovered=True)
    candidate = a_model("law", version="v2", backends=(backend,))
    rule = a_rule(a_target(STABLE, candidate=candidate))
    runtime = with_rule(STABLE, candidate, rule=rule, splits=(a_split(10_000),))

    decision = choose(runtime, ask(), 0)

    assert decision.refusal is Refusal.NO_ENDPOINTS
    assert decision.series is not None
    assert (decision.arm, decision.series.key.arm) == (Arm.CANDIDATE, Arm.CANDIDATE)


# Arms


@pytest.mark.parametrize("share", [0, 1, 500, 5000, 10_000])
def test_the_candidate_gets_its_share_of_random_requests(share: int) -> None:
    """In basis points; 0 is nobody and 10,000 everybody."""
    runtime, n = a_rollout(share), 10_000

    counts = Counter(choose(runtime, ask(), draw).arm for draw in draws(n))

    expected = share / 10_000
    spread = 5 * (expected * (1 - expected) / n) ** 0.5
    assert abs(counts[Arm.CANDIDATE] / n - expected) <= spread
    assert counts[Arm.NONE] == 0


@given(user=st.text(min_size=1), shares=st.lists(st.integers(0, 10_000), min_size=2, max_size=8))
def test_raising_a_share_only_adds_users(user: str, shares: list[int]) -> None:
    """Who has the candidate at one share has it at every higher one; who has stable, at every lower one."""
    arms = []
    for share in sorted(shares):
        decision = choose(a_rollout(share, sticky=BY_SESSION), ask(headers={"x-session": user}), 0)
        arms.append(decision.arm)

    assert arms == sorted(arms, key=lambda arm: arm is Arm.CANDIDATE)


def test_a_users_arm_does_not_depend_on_the_draw() -> None:
    """Sticky means the same answerer each time."""
    runtime = a_rollout(5000, sticky=BY_SESSION)
    for user in map(str, range(50)):
        arms = {choose(runtime, ask(headers={"x-session": user}), draw).arm for draw in draws(20)}
        assert len(arms) == 1


def test_the_arms_of_two_rollouts_are_independent() -> None:
    """Each split hashes with its own salt: who tries one new version need not try them all."""
    both = sum(arm_bucket(b"one\0", b"%d" % n) < 5000 and arm_bucket(b"two\0", b"%d" % n) < 5000 for n in range(4000))

    assert both / 4000 == pytest.approx(0.25, abs=0.04)


def test_the_first_sticky_source_that_a_request_has_is_the_key() -> None:
    """Header, then client; a request with neither is random."""
    runtime = a_rollout(5000, sticky=(StickyKey(header="x-session"), StickyKey()))

    def arms(**question: object) -> set[Arm]:
        return {choose(runtime, ask(**question), draw).arm for draw in draws(64)}  # type: ignore[arg-type]

    assert len(arms(headers={"x-session": "s"})) == 1
    assert len(arms()) == 1
    assert len(arms(caller=None)) == 2


@pytest.mark.parametrize("share", [0, 10_000])
def test_what_the_candidate_may_not_serve_counts_in_neither_arm(share: int) -> None:
    """Stable serves it whatever was drawn, so that both arms see the same kind of requests."""
    candidate = a_model("law", version="v2", capabilities=Capabilities(tools=False))
    rule = a_rule(a_target(STABLE, candidate=candidate))
    runtime = with_rule(STABLE, candidate, rule=rule, splits=(a_split(share),))

    decision = choose(runtime, ask(tools=TOOLS), 0)

    assert decision.series is not None
    assert (served(decision), decision.arm, decision.series.key.arm) == (STABLE.key, Arm.NONE, Arm.NONE)
    assert decision.exclusions == (Exclusion("main", candidate.key, Reason.TOOLS),)


def test_what_only_the_candidate_may_serve_goes_to_it_by_its_share() -> None:
    """A rollout moves no more than its share, even where stable cannot serve."""
    stable = a_model("law", version="v1", capabilities=Capabilities(tools=False))
    rule = a_rule(a_target(stable, candidate=CANDIDATE))
    for share, expected in ((0, None), (10_000, CANDIDATE.key)):
        runtime = with_rule(stable, CANDIDATE, rule=rule, splits=(a_split(share),))

        decision = choose(runtime, ask(tools=TOOLS), 0)

        assert (served(decision), decision.arm) == (expected, Arm.NONE)


def test_a_split_of_another_rollout_moves_nothing() -> None:
    """A share belongs to one rollout; an old one must not revive a candidate of a new one."""
    rule = a_rule(a_target(STABLE, candidate=CANDIDATE))
    split = a_split(10_000, rollout_id="rollout-0")
    runtime = with_rule(STABLE, CANDIDATE, rule=rule, splits=(split,))

    assert served(choose(runtime, ask(), 0)) == STABLE.key
    assert [finding.code for finding in runtime.findings] == ["unknown_split"]
