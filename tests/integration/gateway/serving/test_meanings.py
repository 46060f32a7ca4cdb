"""Rules on what a prompt means, as a client and an operator meet them."""

from __future__ import annotations

import json
import logging

import pytest

from modelway_contract.config import SignalCondition, When
from modelway_contract.prompt_labels import Domain, Task
from modelway_contract.signals import DomainSignal, ExamplesSignal, LanguageSignal, TaskSignal
from modelway_gateway.logs import JsonFormatter

from tests.integration.gateway.serving.test_conditions import rule_of, two_rules

POEM = "Write a poem about the first snow of the year, in four stanzas."
RETURNS = ExamplesSignal(
    name="returns",
    phrases=(
        "I want my money back",
        "how do I return this jacket?",
        "can I send the shoes back for a refund?",
        "the parcel arrived broken, I want to return it",
        "please refund my order",
    ),
)
CREATIVE = TaskSignal(name="creative", any_of=(Task.WRITING, Task.ROLEPLAY))
LEGAL = DomainSignal(name="legal", any_of=(Domain.LAW,))
EITHER = When(any=(SignalCondition(name="returns"), SignalCondition(name="creative"), SignalCondition(name="legal")))


async def test_a_prompt_is_routed_by_its_meaning_and_the_answer_says_what_was_read() -> None:
    """Labels and numbers of the signals that were asked, in streams and in whole answers; nothing of the prompt."""
    async with two_rules(EITHER, CREATIVE, LEGAL, RETURNS) as (harness, upstream):
        assert await rule_of(harness, POEM) == "special"
        question = {"model": "chat", "messages": [{"role": "user", "content": POEM}]}
        async with harness.chat(question) as got:
            said = got.headers["x-modelway-signals"]
        async with harness.chat() as got:
            other = got.headers["x-modelway-signals"]

    assert "creative=?1;label=writing;score=0." in said
    assert "snow" not in said
    assert "legal=?0" in other
    assert POEM.encode() in upstream.requests[0][1]


async def test_no_header_where_no_signal_was_asked() -> None:
    """As before there were any."""
    async with two_rules(When(all=()), CREATIVE) as (harness, _), harness.chat() as got:
        assert "x-modelway-signals" not in got.headers


async def test_signals_are_counted_and_timed() -> None:
    """By policy and signal; a second request with the same text counts too."""
    async with two_rules(When(all=(SignalCondition(name="creative"),)), CREATIVE) as (harness, _):
        for text in (POEM, POEM, ""):
            await rule_of(harness, text)
        figures = await harness.metrics()
    labels = 'modelway_namespace="team",policy="chat",signal="creative",kind="task"'

    assert [2, 0, 1, 0] == [
        figures[f'modelway_signal_results_total{{{labels},result="{result}"}}']
        for result in ("match", "no_match", "abstained", "failed")
    ]
    assert figures['modelway_signal_seconds_count{kind="task"}'] == 3


async def test_the_acknowledgement_says_how_well_own_categories_are_told_apart() -> None:
    """The operator puts it into the policy's status."""
    async with two_rules(When(all=(SignalCondition(name="returns"),)), RETURNS) as (harness, _):
        assert await rule_of(harness, "I would like to return the blender and get a refund") == "special"
        (figure,) = harness.gateway.live.status().examples

    assert (figure.namespace, figure.policy, figure.signal, figure.phrases) == ("team", "chat", "returns", 5)
    assert 0.6 <= figure.accuracy <= 1.0


async def test_a_decision_is_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """One line each, with names, labels and numbers; and none at INFO."""
    german = LanguageSignal(name="german", any_of=("de",))
    when = When(all=(SignalCondition(name="german"),))
    text = "Wie beantrage ich am schnellsten einen neuen Reisepass?"
    caplog.set_level(logging.DEBUG, logger="modelway_gateway.decisions")
    async with two_rules(when, german) as (harness, _):
        await rule_of(harness, text)
    (line,) = [json.loads(JsonFormatter().format(each)) for each in caplog.records if each.getMessage() == "decided"]

    assert (line["policy"], line["rule"], line["signals"]) == ("chat", "special", {"german": "match de 1.00"})
    assert "Reisepass" not in caplog.text
    caplog.clear()
    caplog.set_level(logging.INFO, logger="modelway_gateway.decisions")
    async with two_rules(when, german) as (harness, _):
        await rule_of(harness, text)
    assert "decided" not in caplog.text
