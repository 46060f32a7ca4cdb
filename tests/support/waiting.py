"""Waiting for a condition, never for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(condition: Callable[[], T | Awaitable[T]], *, within_seconds: float = 15.0) -> T:
    """The condition's first truthy answer; fails when there is none in time."""
    ends = time.monotonic() + within_seconds
    while True:
        answer = condition()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        assert time.monotonic() < ends, f"not so within {within_seconds:g} s: {inspect.getsource(condition).strip()}"
        await asyncio.sleep(0.02)
