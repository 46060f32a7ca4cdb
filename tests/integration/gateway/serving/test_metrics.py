"""What `/metrics` says, and when."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from modelway_contract import names
from modelway_contract.names import Outcome

from tests.integration.gateway.serving.scenes import (
    DONE,
    answer,
    asking_for_a_stream,
    chunk,
    completion,
    one_upstream,
    streaming,
)
from tests.support.gateway import Harness, a_base, a_model, a_policy, a_rule, a_split, a_target, gateway_harness
from tests.support.upstreams import answering

OLD, NEW = a_model("law", version="v1"), a_model("law", version="v2")
ROLLOUT = a_base(OLD, NEW, policies=(a_policy(a_rule(a_target(OLD, candidate=NEW))),))


async def text_of(harness: Harness) -> str:
    async with harness.session.get(f"{harness.gateway.metrics_url}/metrics") as got:
        assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
        return await got.text()


async def test_every_arm_and_outcome_is_there_at_0_before_any_traffic() -> None:
    """From the moment the config is live; also the histograms an SLO is made of."""
    async with gateway_harness(ROLLOUT, splits=(a_split(0),)) as harness:
        samples = await harness.metrics()

    for version, arm in (("v1", "stable"), ("v2", "candidate")):
        labels = (
            'modelway_namespace="team",policy="chat",rule="default",target="main",'
            f'model="law",version="{version}",arm="{arm}"'
        )
        for outcome in Outcome:
            assert samples[f'{names.REQUESTS_TOTAL}{{{labels},outcome="{outcome}"}}'] == 0
        for family, bounds in (
            (names.TTFT_SECONDS, names.TTFT_BUCKETS_SECONDS),
            (names.TPOT_SECONDS, names.TPOT_BUCKETS_SECONDS),
            (names.DURATION_SECONDS, names.DURATION_BUCKETS_SECONDS),
        ):
            for bound in (*map(str, bounds), "+Inf"):
                assert samples[f'{family}_bucket{{{labels},le="{bound}"}}'] == 0


async def test_prometheus_can_read_it() -> None:
    """By its own parser: families once, histograms cumulative, labels escaped."""
    odd = a_model('q"\\\n', public_name="odd")
    async with gateway_harness(a_base(odd, OLD)) as harness:
        text = await text_of(harness)

    families = {family.name: family for family in text_string_to_metric_families(text)}
    labels = [sample.labels for sample in families["modelway_requests"].samples]
    assert {each["model"] for each in labels} == {'q"\\\n', "law"}
    assert {each["policy"] for each in labels} == {""}
    assert len(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) == len(families)
    buckets = [each.value for each in families[names.TTFT_SECONDS].samples if each.name.endswith("_bucket")]
    assert buckets
    assert {"modelway_inflight", "modelway_config_revision_info", "modelway_event_loop_lag_seconds"} <= set(families)


async def test_a_stream_feeds_every_histogram_and_a_whole_answer_all_but_one() -> None:
    """Time per token needs two tokens and a stream."""
    events = (chunk(), chunk("a"), chunk("b"), chunk("c"), DONE)
    async with one_upstream(streaming(*events)) as (harness, _):
        async with harness.chat(asking_for_a_stream()) as got:
            await got.read()
        streamed = await counts(harness)
    async with one_upstream(answering(answer(200, completion()))) as (harness, _):
        async with harness.chat({"model": "llama", "messages": [{}]}) as got:
            await got.read()
        whole = await counts(harness)

    assert streamed == {names.TTFT_SECONDS: 1, names.TPOT_SECONDS: 1, names.DURATION_SECONDS: 1}
    assert whole == {names.TTFT_SECONDS: 1, names.TPOT_SECONDS: 0, names.DURATION_SECONDS: 1}


async def counts(harness: Harness) -> dict[str, float]:
    samples = await harness.metrics()
    return {
        family: sum(value for name, value in samples.items() if name.startswith(f"{family}_count"))
        for family in (names.TTFT_SECONDS, names.TPOT_SECONDS, names.DURATION_SECONDS)
    }


async def test_a_failure_before_content_feeds_no_histogram() -> None:
    """Fast errors must not make a model look fast."""
    async with one_upstream(answering(answer(500, b""))) as (harness, _):
        async with harness.chat({"model": "llama", "messages": [{}]}) as got:
            assert got.status == 502
        assert set((await counts(harness)).values()) == {0}


async def test_b72_a_name_that_nobody_configured_becomes_no_label() -> None:
    """A thousand names leave one counter."""
    async with one_upstream(answering(answer(200, completion()))) as (harness, _):
        before = len(await harness.metrics())
        for number in range(1000):
            async with harness.chat({"model": f"bomb-{number}", "messages": [{}]}) as got:
                assert got.status == 404
        text = await text_of(harness)
        after = await harness.metrics()

    assert len(after) == before
    assert "bomb-" not in text
    assert after['modelway_refusals_total{code="model_not_found"}'] == 1000


async def test_a_swap_resets_no_counter() -> None:
    """Also while the weights move."""
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        model = a_model(port=upstream.port)
        policy = a_policy(a_rule(a_target(model)))
        for number in range(4):
            await harness.run(a_base(model, a_model(f"m{number}"), policies=(policy,)))
            async with harness.chat() as got:
                assert got.status == 200
        counted = await harness.requests(policy="chat")

    assert counted == {"success": 4}
