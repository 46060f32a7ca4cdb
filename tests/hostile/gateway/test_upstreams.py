"""Hostile upstreams, through a whole gateway: the client gets a clean error, and the next request a clean answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from modelway_contract.config import Timeouts

from tests.integration.gateway.client.raw import RawClient
from tests.integration.gateway.serving.scenes import (
    DONE,
    END,
    answer,
    asking_for_a_stream,
    chunk,
    completion,
)
from tests.support.canary import PROMPT
from tests.support.gateway import KEY, Harness, a_backend, a_base, a_model, gateway_harness
from tests.support.upstreams import OK, SSE_HEAD, Peer, RawUpstream, chunked, raw_upstream
from tests.support.waiting import eventually

METADATA = "http://169.254.169.254/latest/meta-data/"
QUICK = Timeouts(connect=2.0, first_token=0.4, idle=0.4, total=1.2)
WHOLE = {"model": "llama", "messages": [{"role": "user", "content": PROMPT}]}
STREAM = asking_for_a_stream()


@dataclass
class Attack:
    """What the upstream sends, until it goes silent; and what the client may be told."""

    sends: tuple[bytes, ...]
    status: int
    code: str
    outcome: str
    then: str = "wait"
    stream: bool | None = None
    """None: to be tried with and without."""


def _broken(*sends: bytes, then: str = "wait", stream: bool | None = None) -> Attack:
    return Attack(sends, 502, "upstream_error", "upstream_error", then, stream)


def _late(code: str, *sends: bytes, then: str = "wait", stream: bool) -> Attack:
    return Attack(sends, 504, code, "timeout", then, stream)


ATTACKS = {
    "f41 never answers, stream": _late("first_token_timeout", stream=True),
    "f41 never answers, whole": _late("total_timeout", stream=False),
    "f41 head and no content": _late("first_token_timeout", SSE_HEAD, chunked(chunk()), stream=True),
    "f42 stalls in a whole answer": _late("idle_timeout", answer(200, completion())[:-9], stream=False),
    "f43 resets at once": _broken(then="reset"),
    "f43 resets in the head": _broken(OK[:25], then="reset"),
    "f43 resets in a whole answer": _broken(OK[:-1], then="reset", stream=False),
    "f44 drips a whole answer": _late("total_timeout", answer(200, completion())[:-60], then="drip", stream=False),
    "f44 drips before the content": _late("first_token_timeout", SSE_HEAD, then="drip", stream=True),
    "f45 bad chunk size": _broken(SSE_HEAD + b"zz\r\nx\r\n"),
    "f45 two lengths": _broken(OK.replace(b"Content-L", b"Content-Length: 3\r\nContent-L")),
    "f45 NUL in a header": _broken(OK.replace(b"Content-T", b"X-A: a\0b\r\nContent-T")),
    "f45 10 MB of headers": _broken(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 10_000_000),
    "f45 another protocol": _broken(b"\x15\x03\x01\x00\x02\x02\x16"),
    "f45 hints without end": _broken(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" * 5000),
    "f46 redirects to metadata": _broken(answer(302, b"", f"Location: {METADATA}"), then="close"),
    "f46 moved for good": _broken(answer(308, b"", f"Location: {METADATA}"), then="close"),
}


class Upstream:
    """Attacks as long as it is told to; afterwards it answers well."""

    def __init__(self, attack: Attack, *, stream: bool) -> None:
        self.attack: Attack | None = attack
        self.good = (
            b"".join((SSE_HEAD, chunked(chunk("ok")), chunked(DONE), END)) if stream else answer(200, completion())
        )

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.read_request()
            attack = self.attack
            if attack is None:
                await peer.send(self.good)
                continue
            await peer.send(*attack.sends)
            if attack.then == "reset":
                peer.reset()
            elif attack.then == "drip":
                with suppress(RuntimeError):  # what uvloop says of a connection that the other side has closed
                    while True:
                        await peer.send(chunked(b":") if attack.stream else b" ")
                        await asyncio.sleep(0.05)
            elif attack.then == "wait":
                await peer.until_gone()
            return


def one_model(upstream: RawUpstream) -> Any:
    return a_base(a_model(backends=(a_backend(port=upstream.port, timeouts=QUICK),)))


CASES = [
    (name, stream)
    for name, attack in ATTACKS.items()
    for stream in ((False, True) if attack.stream is None else (attack.stream,))
]


@pytest.mark.parametrize(("name", "stream"), CASES, ids=[f"{name}{' stream' * stream}" for name, stream in CASES])
async def test_f41_f43_f44_f45_f46_a_hostile_answer_is_one_clean_error(name: str, *, stream: bool) -> None:
    """JSON with our code, counted once, nothing held afterwards, and the next request is served."""
    attack = ATTACKS[name]
    script = Upstream(attack, stream=stream)
    async with raw_upstream(script) as upstream, gateway_harness(one_model(upstream)) as harness:
        async with harness.chat(STREAM if stream else WHOLE) as got:
            error = json.loads(await got.read())["error"]
        await eventually(lambda: upstream.gone == upstream.connections)
        outcomes, metrics = await harness.requests(), await harness.metrics()
        script.attack = None
        async with harness.chat(STREAM if stream else WHOLE) as good:
            assert good.status == 200
            await good.read()

    assert (got.status, error["code"], outcomes) == (attack.status, attack.code, {attack.outcome: 1})
    assert metrics["modelway_inflight"] == 0
    assert "169.254" not in error["message"]


ENDS = {
    "f42 stalls": (b"", False, "idle_timeout", "timeout"),
    "f43 resets": (b"", True, "stream_error", "stream_error"),
    "f45 bad chunk": (b"zz\r\n", False, "stream_error", "stream_error"),
}


@pytest.mark.parametrize("name", ENDS)
async def test_f42_f43_what_breaks_in_mid_stream_is_said_in_the_stream_and_is_not_tried_again(name: str) -> None:
    """What came is passed on once, then one event with the error; no [DONE], and one call of the upstream."""
    last, resets, code, outcome = ENDS[name]

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, chunked(chunk("a")), last)
        if resets:
            peer.reset()
        await peer.until_gone()

    async with raw_upstream(script) as upstream, gateway_harness(one_model(upstream)) as harness:
        text = await all_of(harness, STREAM)
        outcomes = await harness.requests()

    events = [json.loads(line[6:]) for line in text.split(b"\n") if line.startswith(b"data: ")]
    assert [each["choices"][0]["delta"].get("content") for each in events] == ["a", None]
    assert (events[-1]["error"]["code"], events[-1]["choices"][0]["finish_reason"]) == (code, "error")
    assert not text.endswith(b"0\r\n\r\n")
    assert (outcomes, len(upstream.requests)) == ({outcome: 1}, 1)


async def test_f44_a_drip_in_mid_stream_meets_the_total_time_out() -> None:
    """A byte now and then keeps the idle time-out quiet, and no more."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, chunked(chunk("a")))
        with suppress(RuntimeError):
            while True:
                await peer.send(chunked(b":"))
                await asyncio.sleep(0.05)

    async with raw_upstream(script) as upstream, gateway_harness(one_model(upstream)) as harness:
        text = await all_of(harness, STREAM)
        outcomes = await harness.requests()

    assert b"total_timeout" in text
    assert outcomes == {"timeout": 1}


async def a_request(harness: Harness, question: dict[str, Any]) -> RawClient:
    """Sent on a connection of its own, whose end can be seen."""
    host, _, port = harness.gateway.client_url.removeprefix("http://").partition(":")
    client = RawClient(*await asyncio.open_connection(host, int(port)))
    body = json.dumps(question).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\n"
    await client.send(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return client


async def all_of(harness: Harness, question: dict[str, Any]) -> bytes:
    """Every byte of the answer until its connection is closed."""
    client = await a_request(harness, question)
    try:
        return await client.reader.read()
    finally:
        client.close()


@pytest.mark.parametrize("when", ["before the answer", "in mid-stream"])
@pytest.mark.parametrize("question", [WHOLE, STREAM], ids=["whole", "stream"])
async def test_f49_fifty_clients_that_leave_at_once_free_everything(when: str, question: dict[str, Any]) -> None:
    """Every upstream connection closed within 200 ms, every slot free, every one counted as the client's doing."""
    count, closed = 50, []
    loop = asyncio.get_running_loop()
    begun: asyncio.Queue[None] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if when == "in mid-stream":
            await peer.send(
                *((SSE_HEAD, chunked(chunk("a"))) if question is STREAM else (answer(200, completion())[:-5],))
            )
        begun.put_nowait(None)
        await peer.until_gone()
        closed.append(loop.time())

    async with raw_upstream(script) as upstream, gateway_harness(a_base(a_model(port=upstream.port))) as harness:
        clients = [await a_request(harness, question) for _ in range(count)]
        for _ in range(count):
            await begun.get()
        left_at = loop.time()
        for client in clients:
            client.close()
        await eventually(lambda: len(closed) == count)
        outcomes, metrics = await harness.requests(), await harness.metrics()

    assert sorted(closed)[count // 2] - left_at <= 0.2
    assert (outcomes, metrics["modelway_inflight"]) == ({"client_cancel": count}, 0)
