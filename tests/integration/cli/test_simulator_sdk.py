"""The official OpenAI SDK takes the simulator for an LLM backend."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from modelway_cli.simulator.behaviour import Behaviour, ErrorMode
from modelway_cli.simulator.server import SimulatedLLM
from modelway_cli.simulator.stats import Outcome

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "good day to you"}]


@pytest.fixture
async def llm() -> AsyncIterator[SimulatedLLM]:
    async with SimulatedLLM(Behaviour(models=("small", "large"), tokens=5, version_label="v7")) as running:
        yield running


@pytest.fixture
async def sdk(llm: SimulatedLLM) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=llm.base_url, api_key="any", max_retries=0, timeout=10) as client:
        yield client


async def test_a_plain_answer(llm: SimulatedLLM, sdk: openai.AsyncOpenAI) -> None:
    """It names the model asked for and the version, counts its tokens and stops."""
    answer = await sdk.chat.completions.create(model="small", messages=HELLO)

    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (4, 5, 9)
    assert (answer.model, answer.system_fingerprint, answer.choices[0].finish_reason) == ("small", "v7", "stop")
    assert len((answer.choices[0].message.content or "").split()) == 5
    assert (llm.stats.received, dict(llm.stats.by_model)) == (1, {"small": 1})


async def test_a_stream(llm: SimulatedLLM, sdk: openai.AsyncOpenAI) -> None:
    """First who speaks, then a chunk for each token, then the reason; no usage that was not asked for."""
    stream = await sdk.chat.completions.create(model="large", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]

    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", *[None] * 6]
    assert [bool(chunk.choices[0].delta.content) for chunk in chunks] == [False, *[True] * 5, False]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [*[None] * 6, "stop"]
    assert {"large"} == {chunk.model for chunk in chunks}
    assert {"v7"} == {chunk.system_fingerprint for chunk in chunks}
    assert [chunk.usage for chunk in chunks] == [None] * 7
    assert llm.stats.by_outcome == {Outcome.OK: 1}


async def test_usage_comes_last_when_it_is_asked_for(sdk: openai.AsyncOpenAI) -> None:
    """One more chunk, without a choice."""
    stream = await sdk.chat.completions.create(
        model="large", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert [chunk.usage is None for chunk in chunks] == [*[True] * 7, False]
    assert chunks[-1].usage is not None
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 9)


async def test_a_limit_of_the_request_is_kept(sdk: openai.AsyncOpenAI) -> None:
    """The reason is then the length, and `max_completion_tokens` counts more than its old name."""
    answer = await sdk.chat.completions.create(model="small", messages=HELLO, max_completion_tokens=2, max_tokens=4)

    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (2, "length")


async def test_the_models_are_listed(sdk: openai.AsyncOpenAI) -> None:
    """Those that are served, in their order."""
    assert [model.id async for model in sdk.models.list()] == ["small", "large"]


async def test_the_same_seed_gives_the_same_answers() -> None:
    """Two backends with one seed answer byte for byte alike, and another seed differently."""

    async def contents(seed: int) -> list[str]:
        async with (
            SimulatedLLM(Behaviour(seed=seed)) as llm,
            openai.AsyncOpenAI(base_url=llm.base_url, api_key="any") as client,
        ):
            answers = [await client.chat.completions.create(model="simulated", messages=HELLO) for _ in range(5)]
            return [answer.model_dump_json() for answer in answers]

    first, again, other = await asyncio.gather(contents(1), contents(1), contents(2))

    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, openai.BadRequestError, None),
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, "permission_denied"),
        (404, openai.NotFoundError, "model_not_found"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, "server_error"),
        (503, openai.InternalServerError, "service_unavailable"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_status_that_was_asked_for(
    llm: SimulatedLLM,
    sdk: openai.AsyncOpenAI,
    status: int,
    error: type[openai.APIStatusError],
    code: str | None,
    stream: bool,
) -> None:
    """The SDK raises its own class for it, with the code from the body."""
    llm.behave(error_rate=1, error_status=status)

    with pytest.raises(error) as caught:
        await sdk.chat.completions.create(model="small", messages=HELLO, stream=stream)

    assert (status, code) == (caught.value.status_code, caught.value.code)
    assert ("1" if status in (429, 503) else None) == caught.value.response.headers.get("retry-after")
    assert llm.stats.by_outcome == {Outcome.STATUS: 1}


async def test_an_unknown_model(llm: SimulatedLLM, sdk: openai.AsyncOpenAI) -> None:
    """404 with the code that OpenAI gives it; the name becomes no label."""
    with pytest.raises(openai.NotFoundError) as caught:
        await sdk.chat.completions.create(model="huge", messages=HELLO)

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert (llm.stats.by_outcome, llm.stats.by_model) == ({Outcome.UNKNOWN_MODEL: 1}, {"unknown": 1})


async def test_a_key_is_asked_for_when_there_is_one(llm: SimulatedLLM, sdk: openai.AsyncOpenAI) -> None:
    """401 without saying what is wrong with the key; the right one is let in."""
    llm.behave(api_key="right")

    with pytest.raises(openai.AuthenticationError) as caught:
        await sdk.chat.completions.create(model="small", messages=HELLO)
    with pytest.raises(openai.AuthenticationError):
        await sdk.models.list()
    await sdk.with_options(api_key="right").chat.completions.create(model="small", messages=HELLO)

    assert caught.value.code == "invalid_api_key"
    assert "right" not in str(caught.value)
    assert llm.stats.by_outcome == {Outcome.UNAUTHORIZED: 1, Outcome.OK: 1}


async def test_an_error_in_a_stream(llm: SimulatedLLM, sdk: openai.AsyncOpenAI) -> None:
    """The SDK delivers what came before it and then raises."""
    llm.behave(error_rate=1, error_mode=ErrorMode.ERROR_IN_STREAM, error_after_tokens=2)
    got: list[str] = []

    async def read() -> None:
        stream = await sdk.chat.completions.create(model="small", messages=HELLO, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                got.append(chunk.choices[0].delta.content)  # noqa: PERF401 - kept when the stream raises

    with pytest.raises(openai.APIError, match="Simulated failure 500"):
        await read()

    assert len(got) == 2
    assert llm.stats.by_outcome == {Outcome.ERROR_IN_STREAM: 1}


async def test_a_reset(llm: SimulatedLLM, sdk: openai.AsyncOpenAI) -> None:
    """For the SDK it is an error of the connection."""
    llm.behave(error_rate=1, error_mode=ErrorMode.RESET)

    with pytest.raises(openai.APIConnectionError):
        await sdk.chat.completions.create(model="small", messages=HELLO)


async def test_a_hang(llm: SimulatedLLM, sdk: openai.AsyncOpenAI) -> None:
    """Nothing ever comes: only the client's own patience ends it."""
    llm.behave(error_rate=1, error_mode=ErrorMode.HANG)

    with pytest.raises(openai.APITimeoutError):
        await sdk.with_options(timeout=0.2).chat.completions.create(model="small", messages=HELLO)
