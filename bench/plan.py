"""What is measured, and how the figures of a window are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.windows import Load, Spread, Window

STREAMS: Final = 200
CHUNKS: Final = 100
PACE_MS: Final = 20
HELD: Final = 500
_STREAM_SECONDS: Final = CHUNKS * PACE_MS / 1000
_SENTENCE: Final = (
    "The miller asked the river how far it had come, and the river asked the miller how long he had stood. "
)


@dataclass(frozen=True, kw_only=True)
class Test:
    """One kind of window."""

    name: str
    load: Load
    also_direct: bool
    """Whether the upstream is asked directly too, so that what the gateway adds can be told."""
    figures: Callable[[Window], Iterator[tuple[str, float]]]
    times: int = 1
    """How often in a round: many short windows tell a ratio better than few long ones on a restless machine."""


def _body(prompt_bytes: int, **fields: object) -> bytes:
    prompt = (_SENTENCE * (prompt_bytes // len(_SENTENCE) + 1))[:prompt_bytes]
    messages = [
        {"role": "system", "content": f"You are a helpful assistant. pace_ms={fields.pop('pace_ms', 0)}"},
        {"role": "user", "content": prompt},
    ]
    return json.dumps({"model": "chat", "messages": messages, "temperature": 0.7, **fields}).encode()


def _stream_body(*, chunks: int, pace_ms: int) -> bytes:
    return _body(600, pace_ms=pace_ms, max_tokens=chunks, stream=True)


def _request_cost(window: Window) -> Iterator[tuple[str, float]]:
    outcome = window.outcome
    if window.cpu_seconds and outcome.answered_in_time:
        yield "request_cpu_us", window.cpu_seconds / outcome.answered_in_time * 1e6
    yield "requests_per_second", outcome.answered_in_time / window.seconds


def _prompt_cost(window: Window) -> Iterator[tuple[str, float]]:
    outcome = window.outcome
    if window.cpu_seconds and outcome.answered_in_time:
        yield "prompt_cpu_us", window.cpu_seconds / outcome.answered_in_time * 1e6
    yield "prompts_per_second", outcome.answered_in_time / window.seconds


def _latency(window: Window) -> Iterator[tuple[str, float]]:
    yield from _percentiles("latency", window.outcome.latency_us)


def _stream_cost(window: Window) -> Iterator[tuple[str, float]]:
    outcome = window.outcome
    if window.cpu_seconds and outcome.chunks_in_time:
        yield "chunk_cpu_us", window.cpu_seconds / outcome.chunks_in_time * 1e6
    yield "chunks_per_second", outcome.chunks_in_time / window.seconds
    yield from _percentiles("first_chunk", outcome.first_chunk_us)
    yield from _percentiles("transit", outcome.transit_us)


def _percentiles(name: str, spread: Spread | None) -> Iterator[tuple[str, float]]:
    if spread is not None:
        yield f"{name}_p50_us", spread.p50
        yield f"{name}_p99_us", spread.p99


TESTS: Final = (
    Test(
        name="1 KB requests",
        load=Load(mode="closed", body=_body(900), connections=64, seconds=1.0),
        also_direct=False,
        figures=_request_cost,
        times=3,
    ),
    Test(
        name="200 requests per second",
        load=Load(mode="rate", body=_body(900), connections=16, seconds=3.0, rate=200),
        also_direct=True,
        figures=_latency,
    ),
    Test(
        name="100 KB prompts",
        load=Load(mode="closed", body=_body(100_000), connections=16, seconds=1.0),
        also_direct=False,
        figures=_prompt_cost,
        times=2,
    ),
    Test(
        name="streams",
        load=Load(
            mode="stream",
            body=_stream_body(chunks=CHUNKS, pace_ms=PACE_MS),
            connections=STREAMS,
            seconds=2.0,
            warm_up_seconds=_STREAM_SECONDS + 0.3,
            chunks=CHUNKS,
            spread_seconds=_STREAM_SECONDS,
        ),
        also_direct=True,
        figures=_stream_cost,
    ),
)
HOLD: Final = Load(
    mode="hold", body=_stream_body(chunks=100_000, pace_ms=500), connections=HELD, seconds=30.0, spread_seconds=1.5
)
