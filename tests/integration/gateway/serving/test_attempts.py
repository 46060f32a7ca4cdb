"""More than one attempt, with real upstreams: who is asked, what the client sees of it, and how it is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import openai
import pytest

from modelway_contract import names
from modelway_contract.config import Fallback, Rule, Timeouts
from modelway_gateway.core.budget import FLOOR_PER_SECOND, WINDOW_SECONDS
from modelway_gateway.streamed import MAX_HELD_EVENTS

from tests.integration.gateway.client.raw import RawClient
from tests.integration.gateway.serving.scenes import (
    DONE,
    answer,
    chunk,
    completion,
    events_of,
    streaming,
)
from tests.support.canary import PROMPT
from tests.support.gateway import (
    KEY,
    Harness,
    a_backend,
    a_base,
    a_model,
    a_policy,
    a_rule,
    a_split,
    a_target,
    credentials,
    gateway_harness,
)
from tests.support.upstreams import (
    SSE_HEAD,
    Peer,
    RawUpstream,
    Script,
    answering,
    answering_then_waiting,
    chunked,
    raw_upstream,
)
from tests.support.waiting import eventually

GOOD = answering(answer(200, completion()))
BAD = answering(answer(503, b"", "Retry-After: 60"))
FALLBACK = Fallback(models=("team/spare@v1",))
QUESTION = {"model": "chat", "messages": [{"role": "user", "content": PROMPT}]}


@asynccontextmanager
async def serving(
    *law: Script,
    spare: Script | None = None,
    candidate: Script | None = None,
    rule: dict[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[tuple[Harness, list[RawUpstream]]]:
    """`law` with a backend for each script behind the policy `chat`; `spare` is another model, `candidate` its v2."""
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(raw_upstream(script)) for script in law]
        ports = [each.port for each in upstreams]
        places = tuple(
            a_backend(id=f"law/{number}", name=f"b{number}", port=port, **more.get("backend", {}))
            for number, port in enumerate(ports)
        )
        models = [a_model("law", backends=places)]
        for name, version, script in (("spare", "v1", spare), ("law", "v2", candidate)):
            if script is not None:
                upstreams.append(await stack.enter_async_context(raw_upstream(script)))
                models.append(a_model(name, version=version, port=upstreams[-1].port))
        target = a_target(models[0], candidate=models[-1] if candidate is not None else None)
        made: Rule = a_rule(target, **(rule or {}))
        splits = (a_split(10_000),) if candidate is not None else ()
        base = a_base(*models, policies=(a_policy(made),), public_names=())
        secrets = more.get("secrets") or credentials()
        yield await stack.enter_async_context(gateway_harness(base, splits=splits, secrets=secrets)), upstreams


def counts(samples: dict[str, float], family: str, **labels: str) -> float:
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(
        value for name, value in samples.items() if name.startswith(family + "{") and all(w in name for w in wanted)
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_another_backend_hides_a_failure(*, stream: bool) -> None:
    """From the client, and not from the rollout: the request counts as its first attempt ended (ADR 8)."""
    good = streaming(chunk(), chunk("a"), DONE) if stream else GOOD
    failed = 0
    for _ in range(8):
        async with serving(BAD, good) as (harness, upstreams), harness.chat({**QUESTION, "stream": stream}) as got:
            assert (got.status, got.headers["x-modelway-backend"]) == (200, "b1")
            attempts = int(got.headers["x-modelway-attempts"])
            await got.read()
            samples = await harness.metrics()
            assert await harness.requests() == {"success" if attempts == 1 else "upstream_error": 1}
        assert counts(samples, "modelway_rescued_total") == attempts - 1
        assert got.headers["x-modelway-fallbacks"] == "0"
        assert attempts == 1 + len(upstreams[0].requests)
        assert counts(samples, "modelway_attempts_total", backend="b0", outcome="upstream_error") == attempts - 1
        assert counts(samples, "modelway_attempts_total", backend="b1", outcome="success") == 1
        failed += attempts - 1
    assert failed


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fallback_serves_and_the_failure_counts_against_the_first_model(*, stream: bool) -> None:
    """Headers and body name who served; no histogram of the first model is fed by another one's speed."""
    good = streaming(chunk(), chunk("a"), chunk("b"), DONE) if stream else GOOD
    async with serving(BAD, spare=good, rule={"fallback": FALLBACK}) as (harness, _):
        async with harness.chat({**QUESTION, "stream": stream}) as got:
            text = await got.read()
        samples = await harness.metrics()
        outcomes = await harness.requests()

    served = events_of(text)[0]["model"] if stream else json.loads(text)["model"]
    shown = {name: got.headers[f"x-modelway-{name}"] for name in ("model", "rule", "target", "attempts", "fallbacks")}
    assert (got.status, served) == (200, "spare")
    assert shown == {"model": "spare", "rule": "default", "target": "main", "attempts": "2", "fallbacks": "1"}
    assert outcomes == {"upstream_error": 1}
    assert counts(samples, "modelway_fallbacks_total", model="law") == 1
    assert not any(counts(samples, f"{family}_count") for family in (names.TTFT_SECONDS, names.DURATION_SECONDS))


async def test_a_candidates_failure_that_a_fallback_hid_is_the_candidates() -> None:
    """And it never goes to the stable version by itself."""
    async with serving(GOOD, spare=GOOD, candidate=BAD, rule={"fallback": FALLBACK}) as (harness, upstreams):
        async with harness.chat(QUESTION) as got:
            assert (got.status, got.headers["x-modelway-model"]) == (200, "spare")
        assert await harness.requests(arm="candidate", version="v2") == {"upstream_error": 1}
        assert await harness.requests(arm="stable") == {}
    assert upstreams[0].requests == []
    async with serving(GOOD, candidate=BAD) as (harness, upstreams), harness.chat(QUESTION) as got:
        assert got.status == 503
    assert upstreams[0].requests == []


FINAL = {"400": answer(400, b"{}"), "404": answer(404, b"{}"), "422": answer(422, b"{}"), "302": answer(302, b"")}


@pytest.mark.parametrize("name", FINAL)
async def test_what_the_client_did_wrong_is_not_tried_elsewhere(name: str) -> None:
    """One call, whoever is asked."""
    script = answering(FINAL[name])
    both = serving(script, script, spare=GOOD, rule={"fallback": FALLBACK})
    async with both as (harness, upstreams), harness.chat(QUESTION) as got:
        assert got.headers["x-modelway-attempts"] == "1"
    assert sum(len(each.requests) for each in upstreams) == 1


async def test_refused_keys_are_replaced_by_others_until_none_is_left() -> None:
    """502 of our own, and the fallback is not for that."""
    script = answering(answer(401, b"{}"))
    both = serving(script, script, spare=GOOD, rule={"fallback": FALLBACK})
    async with both as (harness, upstreams), harness.chat(QUESTION) as got:
        error = (await got.json())["error"]
    assert (got.status, error["code"], got.headers["x-should-retry"]) == (
        502,
        "upstream_credentials_exhausted",
        "false",
    )
    assert [len(each.requests) for each in upstreams] == [1, 1, 0]


async def test_nothing_is_tried_again_after_the_first_content() -> None:
    """An error ends the stream."""
    script = streaming(chunk("a"), b'data: {"error":{"message":"x"}}\n\n')
    async with serving(script, script, spare=GOOD, rule={"fallback": FALLBACK}) as (harness, upstreams):
        async with harness.chat({**QUESTION, "stream": True}) as got:
            text = await got.content.readuntil(b"}}\n\n")
        assert await harness.requests() == {"stream_error": 1}
    assert events_of(text)[-1]["error"]["code"] == "stream_error"
    assert sum(len(each.requests) for each in upstreams) == 1


async def test_a_stream_that_fails_before_its_content_begins_anew_elsewhere() -> None:
    """What was held back of the first one reaches nobody."""
    bad = answering(SSE_HEAD, chunked(chunk(id="first")), chunked(b'data: {"error":{"message":"x","code":503}}\n\n'))
    good = streaming(chunk(id="second"), chunk("a", id="second"), DONE)
    both = serving(bad, spare=good, rule={"fallback": FALLBACK})
    async with both as (harness, _), harness.chat({**QUESTION, "stream": True}) as got:
        events = events_of(await got.read())
    assert [each["id"] for each in events[:-1]] == ["second", "second"]
    assert events[-1] == "[DONE]"


async def test_nothing_is_tried_again_once_events_have_gone_out_without_content() -> None:
    """What is too much to hold back has begun the answer; a second beginning in it would make both useless."""
    seen = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, chunked(chunk(id="first") * (MAX_HELD_EVENTS + 1)))
        await seen.wait()
        await peer.send(chunked(b'data: {"error":{"message":"x","code":503}}\n\n'))
        await peer.until_gone()

    both = serving(script, spare=streaming(chunk("a"), DONE), rule={"fallback": FALLBACK})
    async with both as (harness, upstreams), harness.chat({**QUESTION, "stream": True}) as got:
        assert b"first" in await got.content.readuntil(b"\n\n")
        seen.set()
        await got.content.readuntil(b'"error":{')
        assert await harness.requests() == {"upstream_error": 1}
    assert upstreams[1].requests == []


async def test_a_first_token_time_out_is_tried_elsewhere() -> None:
    """It counts as a time-out, and its time to the first token, the lost time included, as nobody's."""
    limits = Timeouts(connect=2.0, first_token=0.3, idle=5.0, total=30.0)
    good = streaming(chunk("a"), DONE)
    async with serving(
        answering_then_waiting(SSE_HEAD), spare=good, rule={"fallback": FALLBACK}, backend={"timeouts": limits}
    ) as (
        harness,
        _,
    ):
        async with harness.chat({**QUESTION, "stream": True}) as got:
            assert (got.status, got.headers["x-modelway-model"]) == (200, "spare")
            await got.read()
        assert await harness.requests() == {"timeout": 1}
    async with serving(answering_then_waiting(SSE_HEAD), good, backend={"timeouts": limits}) as (harness, upstreams):
        at_once = -1
        while not upstreams[0].requests:
            async with harness.chat({**QUESTION, "stream": True}) as got:
                await got.read()
            at_once += 1
        samples = await harness.metrics()
    assert counts(samples, names.REQUESTS_TOTAL, outcome="timeout") == 1
    assert counts(samples, f"{names.TTFT_SECONDS}_count") == at_once


async def test_a_fallback_is_asked_where_the_model_has_no_endpoints() -> None:
    """It counts as a failed connection of the model that was chosen."""
    empty = {"discovered": True}
    async with serving(GOOD, spare=GOOD, rule={"fallback": FALLBACK}, backend=empty) as (harness, _):
        async with harness.chat(QUESTION) as got:
            shown = (got.status, got.headers["x-modelway-attempts"], got.headers["x-modelway-fallbacks"])
        assert await harness.requests(model="law") == {"connect_error": 1}
    assert shown == (200, "1", "1")


async def test_the_same_place_is_asked_again_when_there_is_no_other() -> None:
    """After a pause; the client sees an answer, and how many calls it took."""
    state = {"left": 1}

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            state["left"] -= 1
            await peer.send(answer(200, completion()) if state["left"] < 0 else answer(500, b"{}"))

    async with serving(script) as (harness, _), harness.chat(QUESTION) as got:
        assert (got.status, got.headers["x-modelway-attempts"]) == (200, "2")
        assert float(got.headers["x-modelway-overhead-ms"]) < 100  # the pause is not ours


# Deadlines and clients that leave


async def test_the_clients_deadline_ends_all_attempts() -> None:
    """504 with a code of its own; no model is blamed for it."""
    async with serving(answering_then_waiting(b""), answering_then_waiting(b"")) as (harness, upstreams):
        async with harness.chat(QUESTION, **{"x-request-timeout": "0.4"}) as got:
            error = (await got.json())["error"]
        outcomes = await harness.requests()
        await eventually(lambda: sum(each.gone for each in upstreams) == 1)
    assert (got.status, error["code"], outcomes) == (504, "request_timeout", {"client_cancel": 1})


async def test_the_models_total_bounds_all_attempts_together() -> None:
    """What the first attempt took is gone; a client cannot raise it."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if state["first"]:
            state["first"] = False
            await asyncio.sleep(0.4)
            peer.reset()
        else:
            await peer.until_gone()

    state = {"first": True}
    limits = Timeouts(connect=2.0, first_token=9.0, idle=9.0, total=0.8)
    loop = asyncio.get_running_loop()
    async with serving(script, script, backend={"timeouts": limits}) as (harness, _):
        began = loop.time()
        async with harness.chat(QUESTION, **{"x-request-timeout": "3600"}) as got:
            error = (await got.json())["error"]
        took = loop.time() - began
    assert (got.status, error["code"], got.headers["x-modelway-attempts"]) == (504, "total_timeout", "2")
    assert 0.7 < took < 1.3


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e3", "soon", "", "100000000", "86401", "٣"])
async def test_a_deadline_that_is_none_is_refused(value: str) -> None:
    """400, with the name of the header and what it takes."""
    async with serving(GOOD) as (harness, upstreams), harness.chat(QUESTION, **{"x-request-timeout": value}) as got:
        error = (await got.json())["error"]
    assert (got.status, error["param"]) == (400, "x-request-timeout")
    assert "seconds" in error["message"]
    assert upstreams[0].requests == []


async def test_f49_a_client_that_leaves_between_two_attempts_ends_them() -> None:
    """The slot is free at once, and the upstream is not asked again."""
    body = json.dumps(QUESTION).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    async with serving(answering(answer(429, b"", "Retry-After: 1"))) as (harness, upstreams):
        host, _, port = harness.gateway.client_url.removeprefix("http://").partition(":")
        client = RawClient(*await asyncio.open_connection(host, int(port)))
        await client.send(head.encode() + body)
        await eventually(lambda: len(upstreams[0].requests) == 1)
        await asyncio.sleep(0)
        client.close()
        await eventually(lambda: harness.gateway.metrics.inflight == 0, within_seconds=2)
        await asyncio.sleep(1.2)  # the second attempt would be made by now
        assert len(upstreams[0].requests) == 1
        samples = await harness.metrics()
    assert counts(samples, names.REQUESTS_TOTAL, outcome="rate_limited") == 1
    assert counts(samples, "modelway_attempts_total", outcome="rate_limited") == 1


# Budgets


async def ask_by_sdk(harness: Harness) -> None:
    """One call with the official SDK's own retries on; it fails."""
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{harness.gateway.client_url}/v1") as sdk:
        with pytest.raises(openai.APIStatusError):
            await sdk.chat.completions.create(model="chat", messages=[{"role": "user", "content": PROMPT}])


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_p18_one_call_of_the_official_sdk_is_at_most_three_attempts(status: int) -> None:
    """Its own retries and ours do not multiply."""
    async with serving(answering(answer(status, b"{}"))) as (harness, upstreams):
        await ask_by_sdk(harness)
    assert len(upstreams[0].requests) == 3


async def test_p18_where_nothing_is_tried_again_here_the_sdk_does_and_no_more() -> None:
    """A Retry-After that is too long for us: the SDK's tries come off ours."""
    state = {"asked": 0}

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            state["asked"] += 1
            await peer.send(answer(429, b"{}", *(["Retry-After: 6"] if state["asked"] == 1 else [])))

    async with serving(script) as (harness, _):
        await ask_by_sdk(harness)
    assert state["asked"] == 3


async def test_p17_an_outage_does_not_grow_by_our_retries() -> None:
    """All backends answer 503: a fifth of the requests and ten a second; the rest is counted as not in the budget."""
    bad, requests = answering(answer(503, b"", "Retry-After: 60")), 1000
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with serving(bad, bad, bad) as (harness, upstreams):

        async def ask() -> None:
            for _ in range(requests // 20):
                async with harness.chat(QUESTION) as got:
                    assert got.status == 503

        await asyncio.gather(*(ask() for _ in range(20)))
        took = loop.time() - began
        samples = await harness.metrics()
    calls = sum(len(each.requests) for each in upstreams)
    floor = FLOOR_PER_SECOND * (WINDOW_SECONDS + took)
    assert requests < calls <= 1.2 * requests + floor < 3 * requests
    assert samples["modelway_retries_total"] == calls - requests
    assert samples["modelway_retry_budget_exhausted_total"] > 0


async def test_the_counters_of_attempts_exist_from_the_moment_a_config_is_loaded() -> None:
    """All outcomes at 0, so that an alert's increase() sees the first one."""
    async with serving(GOOD, spare=GOOD, rule={"fallback": FALLBACK}) as (harness, _):
        samples = await harness.metrics()
    attempts = {name: value for name, value in samples.items() if name.startswith("modelway_attempts_total{")}
    assert len(attempts) == 2 * len(names.Outcome)
    assert set(attempts.values()) == {0}
    assert [value for name, value in samples.items() if name.startswith("modelway_fallbacks_total{")] == [0]
    assert {"modelway_retries_total", "modelway_retry_budget_exhausted_total"} <= set(samples)
