"""Every test here runs on asyncio's loop and on uvloop: their transports differ in more than speed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops that each test gets."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
