"""Rules on priorities and signals, as a client meets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from modelway_contract.config import (
    Priority,
    PriorityCondition,
    SignalCondition,
    When,
)
from modelway_contract.signals import KeywordsSignal, RegexSignal, Signal

from tests.integration.gateway.serving.scenes import answer, completion
from tests.support.canary import PROMPT
from tests.support.gateway import (
    Harness,
    a_base,
    a_client,
    a_model,
    a_policy,
    a_rule,
    a_target,
    credentials,
    gateway_harness,
)
from tests.support.upstreams import RawUpstream, answering, raw_upstream

GOOD = answering(answer(200, completion()))


@asynccontextmanager
async def two_rules(when: When, *signals: Signal, **client: Any) -> AsyncIterator[tuple[Harness, RawUpstream]]:
    """What `when` is true for goes to the rule `special`, all else to `default`."""
    async with raw_upstream(GOOD) as upstream:
        model = a_model(port=upstream.port)
        rules = (a_rule(a_target(model), name="special", when=when), a_rule(a_target(model)))
        base = a_base(model, policies=(a_policy(*rules, signals=signals),))
        async with gateway_harness(base, secrets=credentials(a_client(**client))) as harness:
            yield harness, upstream


async def rule_of(harness: Harness, text: str = PROMPT, **headers: str) -> str:
    question = {"model": "chat", "messages": [{"role": "user", "content": text}]}
    async with harness.chat(question, **headers) as got:
        assert got.status == 200
        return str(got.headers["x-modelway-rule"])


BATCHES = When(all=(PriorityCondition(priority=Priority.BATCH),))


async def test_b55_only_a_trusted_client_chooses_its_priority() -> None:
    """The header of others is ignored, and so are its look-alikes."""
    async with two_rules(BATCHES) as (harness, _):
        assert await rule_of(harness, **{"x-priority": "Batch"}) == "default"
        assert await rule_of(harness, **{"x-priority": "nonsense"}) == "default"
    async with two_rules(BATCHES, chooses_priority=True) as (harness, _):
        assert await rule_of(harness, **{"X-Priority": "batch"}) == "special"
        assert await rule_of(harness, x_priority="Batch") == "default"
        assert await rule_of(harness) == "default"


@pytest.mark.parametrize("model", ["chat", "llama"], ids=["read by a rule", "read by none"])
async def test_a_priority_that_is_none_is_refused(model: str) -> None:
    """400, with the header's name and what it may say; the value itself is not repeated."""
    async with two_rules(BATCHES, chooses_priority=True) as (harness, upstream):
        question = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
        async with harness.chat(question, **{"x-priority": "urgent!"}) as got:
            error = (await got.json())["error"]

    assert (got.status, error["code"], error["param"]) == (400, "invalid_value", "x-priority")
    assert error["message"] == "x-priority must be one of Interactive, Standard, Batch."
    assert upstream.requests == []


async def test_a_prompt_is_routed_by_its_words_and_reaches_the_model_unchanged() -> None:
    """And stands in no header of the answer."""
    when = When(any=(SignalCondition(name="law"), SignalCondition(name="number")))
    law = KeywordsSignal(name="law", any=("vertrag",), whole_words=True)
    number = RegexSignal(name="number", pattern=r"\b\d{3}-\d{4}\b")
    async with two_rules(when, law, number) as (harness, upstream):
        assert await rule_of(harness, "Prüfe den VERTRAG.") == "special"
        assert await rule_of(harness, "call 555-1234") == "special"
        assert await rule_of(harness, "Verträge") == "default"

    assert "Prüfe den VERTRAG.".encode() in upstream.requests[0][1]


async def test_b27_a_signal_that_cannot_be_compiled_fails_closed() -> None:
    """503 for requests that need it; the operator reads why in the acknowledgement."""
    broken = RegexSignal(name="pii", pattern="(?=x)")
    async with two_rules(When(all=(SignalCondition(name="pii"),)), broken) as (harness, upstream):
        async with harness.chat() as got:
            error = (await got.json())["error"]
        finding = harness.gateway.live.status().findings[0]
        refusals = (await harness.metrics())['modelway_refusals_total{code="broken_signal"}']

    assert (got.status, error["code"], refusals) == (503, "broken_signal", 1)
    assert "signal pii" in finding.message
    assert upstream.requests == []
