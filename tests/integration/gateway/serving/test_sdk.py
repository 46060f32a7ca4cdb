"""The official OpenAI SDK works unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from modelway_cli.simulator.behaviour import ErrorMode
from modelway_cli.simulator.server import SimulatedLLM

from tests.support.canary import PROMPT
from tests.support.gateway import (
    KEY,
    USE_KEY,
    Harness,
    a_backend,
    a_base,
    a_model,
    a_policy,
    a_rule,
    a_target,
    credentials,
    gateway_harness,
)

MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]
LLM_KEY = "sk-llm"


@pytest.fixture
async def llm() -> AsyncIterator[SimulatedLLM]:
    async with SimulatedLLM() as simulated:
        simulated.behave(api_key=LLM_KEY, tokens=12)
        yield simulated


@pytest.fixture
async def harness(llm: SimulatedLLM) -> AsyncIterator[Harness]:
    port = int(llm.root_url.rpartition(":")[2])
    backend = a_backend(id="b", port=port, credential=USE_KEY)
    model = a_model("llama", backends=(backend,))
    base = a_base(model, policies=(a_policy(a_rule(a_target(model))),))
    async with gateway_harness(base, secrets=credentials(keys={"key": LLM_KEY})) as running:
        yield running


def a_client(harness: Harness, key: str = KEY) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=f"{harness.gateway.client_url}/v1", max_retries=0)


async def test_the_sdk_gets_a_whole_answer(harness: Harness) -> None:
    """With usage, and the model that served in it."""
    async with a_client(harness) as client:
        answer = await client.chat.completions.create(model="chat", messages=MESSAGES)

    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert (answer.model, answer.usage.completion_tokens) == ("llama", 12)


async def test_the_sdk_gets_a_stream(harness: Harness) -> None:
    """Each chunk with the model that served, and a proper end."""
    async with a_client(harness) as client:
        stream = await client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in stream]

    assert {chunk.model for chunk in chunks} == {"llama"}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_the_sdk_reads_headers_of_the_route(harness: Harness) -> None:
    """Every answer says how it was routed."""
    async with a_client(harness) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="chat", messages=MESSAGES, extra_headers={"x-request-id": "mine-1"}
        )

    shown = {
        name.removeprefix("x-modelway-"): value for name, value in raw.headers.items() if name.startswith("x-modelway-")
    }
    revision, decision, overhead = shown.pop("revision"), shown.pop("decision"), shown.pop("overhead-ms")
    assert shown == {
        "model": "llama", "backend": "main", "policy": "chat", "rule": "default", "target": "main", "attempts": "1",
        "fallbacks": "0",
    }  # fmt: skip
    assert revision == harness.gateway.live.revision
    assert decision
    assert 0 <= float(overhead) < 1000
    assert raw.headers["x-request-id"] == "mine-1"


async def test_the_sync_sdk_works_too(harness: Harness) -> None:
    """Another HTTP stack, the same bytes."""

    def use() -> tuple[str | None, int]:
        with openai.OpenAI(api_key=KEY, base_url=f"{harness.gateway.client_url}/v1", max_retries=0) as client:
            answer = client.chat.completions.create(model="llama", messages=MESSAGES)
            stream = client.chat.completions.create(model="llama", messages=MESSAGES, stream=True)
            return answer.choices[0].message.content, sum(1 for _ in stream)

    content, chunks = await asyncio.to_thread(use)

    assert content
    assert chunks >= 12


async def test_the_sdk_lists_and_finds_models(harness: Harness) -> None:
    """What this client may name."""
    async with a_client(harness) as client:
        names = [model.id async for model in client.models.list()]
        found = await client.models.retrieve("llama")
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("gpt-4")

    assert names == ["chat", "llama"]
    assert (found.id, found.object, found.created) == ("llama", "model", 1700000000)
    assert caught.value.code == "model_not_found"


async def test_the_sdk_raises_the_right_errors(harness: Harness, llm: SimulatedLLM) -> None:
    """By status, with our code, and the param that was wrong."""
    async with a_client(harness) as client, a_client(harness, "wrong") as stranger:
        with pytest.raises(openai.NotFoundError) as not_found:
            await client.chat.completions.create(model="gpt-4", messages=MESSAGES)
        with pytest.raises(openai.AuthenticationError) as unauthorized:
            await stranger.chat.completions.create(model="chat", messages=MESSAGES)
        llm.behave(error_rate=1.0, error_mode=ErrorMode.STATUS, error_status=429)
        with pytest.raises(openai.RateLimitError) as limited:
            await client.chat.completions.create(model="chat", messages=MESSAGES)

    assert (not_found.value.code, not_found.value.param) == ("model_not_found", "model")
    assert unauthorized.value.code == "invalid_api_key"
    assert limited.value.code == "rate_limited"
    assert limited.value.response.headers["retry-after"] == "1"


async def test_an_error_in_mid_stream_raises_in_the_sdk(harness: Harness, llm: SimulatedLLM) -> None:
    """What came before it has been delivered; nobody takes the rest for a whole answer."""
    llm.behave(error_rate=1.0, error_mode=ErrorMode.ERROR_IN_STREAM, error_after_tokens=3)
    received: list[str] = []

    async def read(stream: openai.AsyncStream[Any]) -> None:
        async for chunk in stream:
            received.extend(filter(None, [chunk.choices[0].delta.content]))

    async with a_client(harness) as client:
        stream = await client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError) as caught:
            await read(stream)

    assert len(received) == 3
    assert caught.value.code == "stream_error"
    assert await harness.requests() == {"stream_error": 1}


@pytest.mark.parametrize(
    ("mode", "after", "expected"),
    [
        (ErrorMode.RESET, 0, "upstream_error"),
        (ErrorMode.EMPTY_200, 0, "stream_error"),
        (ErrorMode.ERROR_IN_STREAM, 0, "upstream_error"),
        (ErrorMode.MALFORMED, 0, "stream_error"),
        (ErrorMode.STATUS, 0, "upstream_error"),
    ],
)
async def test_what_fails_before_the_first_content_is_a_clean_error(
    harness: Harness, llm: SimulatedLLM, mode: ErrorMode, after: int, expected: str
) -> None:
    """A status that the SDK can retry on, not a broken stream."""
    llm.behave(error_rate=1.0, error_mode=mode, error_after_tokens=after)
    async with a_client(harness) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)

    assert caught.value.code in ("upstream_error", "stream_error")
    assert await harness.requests() == {expected: 1}
