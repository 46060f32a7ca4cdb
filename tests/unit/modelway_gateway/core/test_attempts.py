"""What is asked after a failure: the order of the scopes, what is waited for, and what ends it all."""

from __future__ import annotations

import random
from typing import Any

import pytest

from modelway_contract.config import Capabilities, Endpoints, Fallback, Model, Policy, Require, RetryOn
from modelway_gateway.core.attempts import DRAW_BITS, MAX_BACKOFF_SECONDS, Attempts, Cause, Step
from modelway_gateway.core.choose import choose
from modelway_gateway.core.records import Refusal

from tests.support.gateway import (
    USE_KEY,
    a_backend,
    a_base,
    a_model,
    a_policy,
    a_rule,
    a_runtime,
    a_target,
    credentials,
)
from tests.unit.modelway_gateway.core.asking import ask

ERROR, LIMITED = Cause(RetryOn.SERVER_ERROR), Cause(RetryOn.RATE_LIMITED)
REFUSED_KEY = Cause(key_refused=True)
ALL = 1 << DRAW_BITS


def a_place(model: str, name: str, **changes: Any) -> Any:
    return a_backend(id=f"team/{model}@v1/{name}", name=name, **changes)


def some(model: str, *names: str, **changes: Any) -> Model:
    """A model with a backend of each name."""
    return a_model(model, backends=tuple(a_place(model, name) for name in names), **changes)


class Story:
    """The attempts of one request, by the names of the backends they go to."""

    def __init__(
        self, *models: Model, fallback: Fallback | None = None, made_before: int = 0, question: Any = None, **more: Any
    ) -> None:
        rule = a_rule(a_target(models[0]), fallback=fallback, **more.pop("rule", {}))
        policy: Policy = a_policy(rule)
        self.runtime = a_runtime(a_base(*models, policies=(policy,)), **more)
        self.draws = random.Random(7)
        self.decision = choose(self.runtime, question or ask(), 0)
        self.attempts = Attempts(self.runtime, question or ask(), self.decision, made_before=made_before)
        assert self.decision.offer is not None
        self.asked = [self.decision.offer.backend.name]

    def fail(self, cause: Cause, *, seconds_left: float = 60.0) -> Step | None:
        step = self.attempts.after(cause, seconds_left=seconds_left, draw=self.draws.getrandbits(DRAW_BITS))
        if step is not None:
            self.asked.append(step.offer.backend.name)
        return step


def keys(*names: str) -> Fallback:
    return Fallback(models=tuple(f"team/{name}@v1" for name in names))


def test_other_backends_of_the_model_come_first_and_at_once() -> None:
    """Each of them once."""
    story = Story(some("law", "a", "b", "c"))
    steps = [story.fail(ERROR) for _ in range(3)]

    assert sorted(story.asked) == ["a", "b", "c"]
    assert [None if each is None else each.wait_seconds for each in steps] == [0.0, 0.0, None]


def test_endpoints_of_one_backend_are_places_of_their_own() -> None:
    """A pod that fails says little of the next one."""
    model = a_model("law", backends=(a_place("law", "a", discovered=True),))
    addresses = (("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80))
    story = Story(model, endpoints=(Endpoints(backend="team/law@v1/a", addresses=addresses),))
    seen = {story.decision.address} | {step.address for _ in range(2) if (step := story.fail(ERROR)) is not None}

    assert seen == set(addresses)


def test_then_the_fallback_models_in_their_order() -> None:
    """The rule says which; a model that is one of them and was chosen is no fallback of itself."""
    story = Story(some("law", "a"), some("two", "b"), some("three", "c"), fallback=keys("law", "two", "three"))
    steps = [story.fail(ERROR) for _ in range(2)]

    assert story.asked == ["a", "b", "c"]
    assert all(step is not None and step.falls_back for step in steps)


def test_the_last_attempt_is_kept_for_a_fallback() -> None:
    """Otherwise a model of many backends would never reach it."""
    story = Story(some("law", "a", "b", "c", "d"), some("two", "z"), fallback=keys("two"))
    while story.fail(ERROR) is not None:
        pass

    assert len(story.asked) == 3
    assert story.asked[-1] == "z"


def test_a_fallback_that_fails_has_other_backends_too() -> None:
    """Of the model it is, never back at the one that failed before."""
    fallback = Fallback(models=("team/two@v1",), max_attempts=5)
    story = Story(some("law", "a"), some("two", "y", "z"), fallback=fallback)
    story.fail(ERROR)
    story.fail(ERROR)

    assert story.asked[0] == "a"
    assert sorted(story.asked[1:]) == ["y", "z"]


@pytest.mark.parametrize("kind", list(RetryOn))
def test_a_fallback_is_asked_for_the_listed_kinds_only(kind: RetryOn) -> None:
    """After another failure the model itself is all there is."""
    fallback = Fallback(models=("team/two@v1",), on_errors=(RetryOn.TIMEOUT,))
    story = Story(some("law", "a"), some("two", "z"), fallback=fallback)
    story.fail(Cause(kind))

    assert story.asked[1:] == (["z"] if kind is RetryOn.TIMEOUT else ["a"])


SMALL = Capabilities(context_window=5, tools=False)


@pytest.mark.parametrize(
    ("changes", "rule", "fields"),
    [
        ({"capabilities": SMALL}, {}, {}),
        ({"capabilities": Capabilities(tools=False)}, {}, {"tools": [{"type": "function"}]}),
        ({}, {"require": Require(jurisdictions=("eu",))}, {}),
    ],
    ids=["context window", "tools", "jurisdiction"],
)
def test_hard_filters_hold_for_fallbacks(changes: dict[str, Any], rule: dict[str, Any], fields: dict[str, Any]) -> None:
    """What could not have been chosen is skipped, and the next one is asked."""
    eu = {"jurisdiction": "eu"}
    first = a_model("law", backends=(a_place("law", "a", **eu),))
    last = a_model("three", backends=(a_place("three", "c", **eu),))
    story = Story(
        first, some("two", "b", **changes), last, fallback=keys("two", "three"), rule=rule, question=ask(**fields)
    )
    story.fail(ERROR)

    assert story.asked == ["a", "c"]


@pytest.mark.parametrize(
    ("waits", "expected"), [((None,), [0.25]), ((None, None, None, None, None), [0.25, 0.5, 1.0, 2.0, 2.0])]
)
def test_the_same_place_is_asked_again_after_a_doubling_back_off(
    waits: tuple[None, ...], expected: list[float]
) -> None:
    """With jitter between half of it and all of it, and only where there is nobody else."""
    story = Story(some("law", "a"), fallback=Fallback(max_attempts=10))
    got = [step.wait_seconds for _ in waits if (step := story.fail(ERROR)) is not None]

    assert len(got) == len(expected)
    assert all(limit / 2 <= wait <= limit <= MAX_BACKOFF_SECONDS for wait, limit in zip(got, expected, strict=True))
    assert len(set(story.asked)) == 1


@pytest.mark.parametrize(("retry_after", "waits"), [(0.0, True), (1.0, True), (5.0, True), (5.1, False), (60.0, False)])
def test_retry_after_is_obeyed_up_to_five_seconds(retry_after: float, *, waits: bool) -> None:
    """Whoever wants more is left alone; never less than the back-off, or a 0 would be a busy loop."""
    step = Story(some("law", "a")).fail(Cause(RetryOn.RATE_LIMITED, retry_after_seconds=retry_after))

    assert (step is not None) is waits
    assert step is None or step.wait_seconds >= max(retry_after, 0.125)


def test_another_place_need_not_wait_for_this_ones_retry_after() -> None:
    """It is about the place that said so."""
    step = Story(some("law", "a", "b")).fail(Cause(RetryOn.RATE_LIMITED, retry_after_seconds=600))

    assert step is not None
    assert step.wait_seconds == 0


def test_what_took_too_long_is_not_asked_again() -> None:
    """But somebody else is."""
    assert Story(some("law", "a")).fail(Cause(RetryOn.TIMEOUT)) is None
    assert Story(some("law", "a", "b")).fail(Cause(RetryOn.TIMEOUT)) is not None


@pytest.mark.parametrize("cause", [Cause(), REFUSED_KEY])
def test_what_is_final_is_final(cause: Cause) -> None:
    """No fallback, no waiting."""
    story = Story(some("law", "a"), some("two", "z"), fallback=keys("two"))

    assert story.fail(cause) is None


def test_a_refused_key_is_not_used_again_and_another_one_is() -> None:
    """The key is dead, not the model: only backends with another key are asked."""
    places = tuple(
        a_place("law", name, credential=type(USE_KEY)(id=key, header="Authorization"))
        for name, key in (("a", "k1"), ("b", "k1"), ("c", "k2"))
    )
    secrets = credentials(keys={"k1": "one", "k2": "two"})
    story = Story(a_model("law", backends=places), secrets=secrets)
    while story.fail(REFUSED_KEY) is not None:
        pass

    assert len(story.asked) == 2
    assert "c" in story.asked


def test_attempts_of_the_client_come_off_the_budget() -> None:
    """SDKs say how often they have tried; ours and theirs together stay within one budget."""
    assert Story(some("law", "a", "b", "c"), made_before=2).fail(ERROR) is None
    story = Story(some("law", "a", "b", "c"), made_before=1)
    assert story.fail(ERROR) is not None
    assert story.fail(ERROR) is None


@pytest.mark.parametrize(("seconds_left", "waits"), [(0.0, False), (0.1, False), (1.0, True)])
def test_nothing_is_waited_for_past_the_deadline(seconds_left: float, *, waits: bool) -> None:
    """The request would be over before the answer."""
    assert (Story(some("law", "a")).fail(ERROR, seconds_left=seconds_left) is not None) is waits


def test_a_model_without_endpoints_falls_back_before_any_attempt() -> None:
    """As after a failed connection; without a fallback for that it is refused."""
    empty = a_model("law", backends=(a_place("law", "a", discovered=True),))
    story = Story(empty, some("two", "y", "z"), fallback=keys("two"))
    assert story.decision.skipped is not None
    assert story.decision.skipped.model.key == empty.key
    assert story.fail(ERROR) is not None
    assert sorted(story.asked) == ["y", "z"]

    only_limits = Fallback(models=("team/two@v1",), on_errors=(RetryOn.RATE_LIMITED,))
    rule = a_rule(a_target(empty), fallback=only_limits)
    runtime = a_runtime(a_base(empty, some("two", "z"), policies=(a_policy(rule),)))
    assert choose(runtime, ask(), 0).refusal is Refusal.NO_ENDPOINTS
