"""Waiting for a condition, never for a time."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def eventually(condition: Callable[[], Any], *, within_seconds: float = 15.0) -> Any:
    """The first truthy answer of a function, which may be a coroutine's; fails when there is none in time."""
    ends = time.monotonic() + within_seconds
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < ends, f"not so within {within_seconds:g} s: {inspect.getsource(condition).strip()}"
        await asyncio.sleep(0.02)
