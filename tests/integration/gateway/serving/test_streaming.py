"""Streams: when they are committed, how they end, and that nobody takes a broken one for a whole one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from modelway_gateway import streamed
from modelway_gateway.client.limits import ClientLimits

from tests.integration.gateway.client.raw import RawClient
from tests.integration.gateway.serving.scenes import (
    DONE,
    END,
    answer,
    asking_for_a_stream,
    chunk,
    completion,
    events_of,
    eventually,
    one_upstream,
    streaming,
)
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
    gateway_harness,
)
from tests.support.upstreams import SSE_HEAD, Peer, answering, chunked, raw_upstream

ERROR = b'data: {"error":{"message":"boom-from-upstream","type":"server_error","code":"overloaded"}}\n\n'


async def read_stream(harness: Harness, body: Any = None) -> tuple[int, bytes, bool]:
    """Status, body, and whether the answer came to its proper end."""
    async with harness.chat(body or asking_for_a_stream()) as got:
        text = b""
        try:
            async for data in got.content.iter_any():
                text += data
        except aiohttp.ClientPayloadError:
            return got.status, text, False
        return got.status, text, True


async def test_events_are_passed_on_as_they_came() -> None:
    """Comments, spacing and unknown fields included."""
    events = [b": ping\n\n", chunk(), chunk("a"), b"event: x\ndata:  {}\n\n", chunk("b", extra=[1, {}]), DONE]
    async with one_upstream(streaming(*events)) as (harness, _):
        got = await read_stream(harness)

    assert got == (200, b"".join(events), True)


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_events_arrive_whole_however_they_are_cut(size: int) -> None:
    """A client that reads chunk by chunk gets whole events."""
    text = b"".join((chunk(), chunk("é"), chunk("日本"), DONE))
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    async with one_upstream(streaming(*pieces)) as (harness, _), harness.chat(asking_for_a_stream()) as got:
        parts = [data async for data, _ in got.content.iter_chunks()]

    assert b"".join(parts) == text
    assert all(part.endswith(b"\n\n") for part in parts)


async def test_an_error_before_the_first_content_is_a_clean_error() -> None:
    """Role chunks, comments and empty deltas were held back."""
    events = (b": ping\n\n", chunk(), chunk(""), ERROR)
    async with one_upstream(streaming(*events)) as (harness, _), harness.chat(asking_for_a_stream()) as got:
        error = (await got.json())["error"]

        assert (got.status, error["code"]) == (502, "upstream_error")
        assert (got.headers["x-should-retry"], got.headers["x-modelway-attempts"]) == ("false", "3")
        assert "boom" not in error["message"]
        assert await harness.requests() == {"upstream_error": 1}


async def test_an_error_that_names_its_status_is_answered_with_it() -> None:
    """A 429 inside a 200 is still a 429."""
    event = b'data: {"error":{"message":"slow down","code":429}}\n\n'
    async with one_upstream(streaming(chunk(), event)) as (harness, _), harness.chat(asking_for_a_stream()) as got:
        assert (got.status, (await got.json())["error"]["code"]) == (429, "rate_limited")
        assert await harness.requests() == {"rate_limited": 1}


@pytest.mark.parametrize(
    ("last", "then"),
    [(ERROR, END), (b"", END), (b"data: [DO", END), (b"", b""), (b"x" * (2 * 1024 * 1024), END)],
    ids=["error object", "end without [DONE]", "end in mid-event", "cut off", "endless event"],
)
async def test_b76_what_breaks_after_the_first_content_ends_with_an_error_and_no_done(last: bytes, then: bytes) -> None:
    """One chunk with a top-level error and finish_reason error; then the connection ends without the answer's end."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        pieces = [chunked(each) for each in (chunk(), chunk("a"), last) if each]
        await peer.send(SSE_HEAD, *pieces, then)
        if not then:
            peer.reset()
        await peer.until_gone()

    async with one_upstream(script) as (harness, _):
        status, text, whole = await read_stream(harness)
        outcomes = await harness.requests()

    *before, error = events_of(text)
    assert (status, whole) == (200, False)
    assert [each["choices"][0]["delta"].get("content") for each in before] == ["", "a"]
    assert error["error"]["code"] == "stream_error"
    assert (error["choices"][0]["finish_reason"], error["object"]) == ("error", "chat.completion.chunk")
    assert b"[DONE]" not in text
    assert b"boom" not in text
    assert outcomes == {"stream_error": 1}


@pytest.mark.parametrize("events", [(), (chunk(),), (chunk(), b": ping\n\n")], ids=["nothing", "role", "comment"])
async def test_b76_a_stream_that_ends_before_it_began_is_an_error(events: tuple[bytes, ...]) -> None:
    """A bare end is never a success."""
    async with one_upstream(streaming(*events)) as (harness, _), harness.chat(asking_for_a_stream()) as got:
        assert (got.status, (await got.json())["error"]["code"]) == (502, "stream_error")


async def test_an_empty_completion_is_an_answer() -> None:
    """A model may have nothing to say; the upstream said so properly."""
    events = (chunk(), chunk(finish="stop"), DONE)
    async with one_upstream(streaming(*events)) as (harness, _):
        got = await read_stream(harness)
        metrics = await harness.metrics()

    assert got == (200, b"".join(events), True)
    assert sum(value for name, value in metrics.items() if "time_to_first_token_seconds_count" in name) == 0


async def test_b76_json_in_answer_to_a_stream_is_an_error() -> None:
    """Chunks are not invented."""
    async with (
        one_upstream(answering(answer(200, completion()))) as (harness, _),
        harness.chat(asking_for_a_stream()) as got,
    ):
        assert (got.status, (await got.json())["error"]["code"]) == (502, "upstream_error")


@pytest.mark.parametrize(("count", "size"), [(65, 10), (10, 40_000)], ids=["64 chunks", "256 KiB"])
async def test_no_more_is_held_back_than_the_limit(count: int, size: int) -> None:
    """Then the stream begins, content or not, and stays in order."""
    events = [chunk("", pad="x" * size) for _ in range(count)]
    released = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, *(chunked(each) for each in events))
        await released.wait()
        await peer.send(chunked(DONE), END)
        await peer.until_gone()

    async with one_upstream(script) as (harness, _), harness.chat(asking_for_a_stream()) as got:
        text = await got.content.readexactly(sum(map(len, events)))
        released.set()
        text += await got.content.read()

    assert text == b"".join(events) + DONE


async def test_a_model_that_thinks_long_keeps_the_client_waiting_with_comments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer has begun, but nothing is committed: an error is tried again, and then told in the stream."""
    monkeypatch.setattr(streamed, "OPEN_AFTER_SECONDS", 0.2)
    events: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(SSE_HEAD, chunked(chunk()))
            while data := await events.get():
                await peer.send(chunked(data))
                if data is ERROR:
                    return
            await peer.send(END)

    async with one_upstream(script) as (harness, _):
        async with harness.chat(asking_for_a_stream()) as got:
            comments = [await got.content.readuntil(b"\n\n") for _ in range(2)]
            for each in (chunk("a"), DONE, b""):
                events.put_nowait(each)
            rest = await got.content.read()
        async with harness.chat(asking_for_a_stream()) as got:
            await got.content.readuntil(b"\n\n")
            for _ in range(3):
                events.put_nowait(ERROR)
            with pytest.raises(aiohttp.ClientPayloadError):
                await got.content.read()
        outcomes = await harness.requests()

    assert all(each.startswith(b": ") for each in comments)
    assert rest.endswith(chunk() + chunk("a") + DONE)
    assert outcomes == {"success": 1, "upstream_error": 1}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("when", ["before the head", "after the first piece"])
async def test_f49_a_client_that_goes_away_ends_the_upstream_call_at_once(*, stream: bool, when: str) -> None:
    """Within 200 ms, and it counts as the client's own doing."""
    gone_at: list[float] = []
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if when != "before the head":
            body = SSE_HEAD + chunked(chunk("a")) if stream else answer(200, completion())[:-5]
            await peer.send(body)
        started.set()
        await peer.until_gone()
        gone_at.append(loop.time())

    async with one_upstream(script) as (harness, _):
        body = json.dumps({**asking_for_a_stream(), "stream": stream}).encode()
        host, _, port = harness.gateway.client_url.removeprefix("http://").partition(":")
        client = RawClient(*await asyncio.open_connection(host, int(port)))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await client.send(head.encode() + body)
        await started.wait()
        if stream and when != "before the head":
            await client.head()
        left_at = loop.time()
        client.close()
        await eventually(lambda: _is_true(bool(gone_at)))
        outcomes = await harness.requests()
        inflight = (await harness.metrics())["modelway_inflight"]

    assert gone_at[0] - left_at <= 0.2
    assert (outcomes, inflight) == ({"client_cancel": 1}, 0)


async def _is_true(value: bool) -> bool:
    return value


async def test_what_follows_done_does_not_reach_the_client_nor_the_next_one() -> None:
    """The answer ends at [DONE], and the connection serves the next request."""
    events = (chunk("a"), DONE, chunk("too late"))
    async with one_upstream(streaming(*events)) as (harness, upstream):
        first = await read_stream(harness)
        second = await read_stream(harness)

    assert first == second == (200, chunk("a") + DONE, True)
    assert upstream.connections == 1


async def test_a_last_event_without_its_blank_line_is_still_one() -> None:
    """Some servers close right behind [DONE]."""
    async with one_upstream(streaming(chunk("a"), b"data: [DONE]")) as (harness, _):
        status, text, whole = await read_stream(harness)

    assert (status, whole, events_of(text)[-1]) == (200, True, "[DONE]")


async def test_a_slow_client_pauses_its_upstream() -> None:
    """What waits in memory is bounded, however fast the upstream sends."""
    piece = chunk("x" * 8000)
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.read_request()
        await peer.send(SSE_HEAD)
        for _ in range(4000):  # 32 MB
            await peer.send(chunked(piece))
            sent += 1

    limits = ClientLimits(write_buffer_bytes=16 * 1024)
    async with (
        one_upstream(script, changes={"limits": limits}) as (harness, _),
        harness.chat(asking_for_a_stream()) as got,
    ):
        before = -1
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.3)
        stalled_at = sent
        await got.content.readexactly(1_000_000)
        await eventually(lambda: _is_true(sent > stalled_at))

    assert stalled_at < 3000


# Which model served


@pytest.mark.parametrize(
    ("asked", "expected"), [("chat", "llama"), ("llama", "simulated")], ids=["by a policy", "by its own name"]
)
async def test_the_model_in_the_answer_is_renamed_only_where_another_one_served(asked: str, expected: str) -> None:
    """By a policy it says the public name of the model that served; else the answer stays as it came."""
    events = (chunk('the "model":"simulated" said'), chunk("b"), DONE)
    async with one_upstream(streaming(*events)) as (harness, _):
        _, text, _ = await read_stream(harness, asking_for_a_stream(asked))
    async with (
        one_upstream(answering(answer(200, completion(usage={"model": 1})))) as (harness, _),
        harness.chat({"model": asked, "messages": [{}]}) as got,
    ):
        whole = await got.json()

    chunks = events_of(text)[:-1]
    assert {each["model"] for each in chunks} == {expected}
    assert chunks[0]["choices"][0]["delta"]["content"] == 'the "model":"simulated" said'
    assert (whole["model"], whole["usage"]) == (expected, {"model": 1})


async def test_a_rollouts_answer_names_the_public_model_in_both_arms() -> None:
    """The upstream's name of a version is nobody's business, and would give the arm away."""
    async with raw_upstream(streaming(chunk("a", model="law-v2-weights"), DONE)) as upstream:
        old, new = (a_model("law", version=v, backends=(a_backend(id=v, port=upstream.port),)) for v in ("v1", "v2"))
        policy = a_policy(a_rule(a_target(old, candidate=new)), models=("law",))
        base = a_base(old, new, policies=(policy,), public_names=())
        async with gateway_harness(base, splits=(a_split(10_000),)) as harness:
            async with harness.chat(asking_for_a_stream("law")) as got:
                events = events_of(await got.read())
            arms = await harness.requests(arm="candidate", version="v2")

    assert events[0]["model"] == "law"
    assert arms == {"success": 1}
