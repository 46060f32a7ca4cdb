"""A gateway in front of one scripted upstream, and the pieces such an upstream sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from modelway_contract.config import Policy

from tests.support.canary import PROMPT
from tests.support.gateway import Harness, a_backend, a_base, a_model, a_policy, a_rule, a_target, gateway_harness
from tests.support.upstreams import SSE_HEAD, RawUpstream, Script, answering, chunked, raw_upstream

DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"


def chunk(content: str | None = None, *, model: str = "simulated", finish: str | None = None, **more: Any) -> bytes:
    """One event of a chat completion stream."""
    delta = {"role": "assistant", "content": ""} if content is None and finish is None else {"content": content}
    choice = {"index": 0, "delta": delta if finish is None else {}, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice], **more}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def completion(content: str = "hello", *, model: str = "simulated", **more: Any) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], **more}
    return json.dumps(body, separators=(",", ":")).encode()


def answer(status: int, body: bytes, *lines: str, kind: str = "application/json") -> bytes:
    """An answer of known length."""
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def streaming(*events: bytes, then: bytes = END) -> Script:
    """Stream these events in answer to each request."""
    return answering(SSE_HEAD, *(chunked(each) for each in events), *([then] if then else []))


@asynccontextmanager
async def one_upstream(
    script: Script, *, model: dict[str, Any] | None = None, backend: dict[str, Any] | None = None, **harness: Any
) -> AsyncIterator[tuple[Harness, RawUpstream]]:
    """`llama` may be called directly; `chat` is a policy that leads to it."""
    async with raw_upstream(script) as upstream:
        place = a_backend(**{"id": "team/llama@v1/main", "port": upstream.port, **(backend or {})})
        llama = a_model(**{"backends": (place,), **(model or {})})
        policy: Policy = a_policy(a_rule(a_target(llama)))
        async with gateway_harness(a_base(llama, policies=(policy,)), **harness) as gateway:
            yield gateway, upstream


def asking_for_a_stream(model: str = "llama") -> dict[str, Any]:
    """The body of a request for a stream."""
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}


def events_of(text: bytes) -> list[Any]:
    """The data of each event, parsed where it is JSON."""
    datas = [event[6:] for event in text.split(b"\n\n") if event.startswith(b"data: ")]
    return [each.decode() if each == b"[DONE]" else json.loads(each) for each in datas]


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_seconds: float = 5.0) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(within_seconds):
        while not await condition():  # noqa: ASYNC110 - anything may be the condition
            await asyncio.sleep(0.01)
