"""One timer for all deadlines."""

from __future__ import annotations

import asyncio
import logging

import pytest

from modelway_gateway.upstream.sweeper import Sweeper

from tests.integration.gateway.upstream.calls import until


async def test_every_sweep_is_called_again_and_again_until_the_stop() -> None:
    """With the loop's time."""
    loop, times = asyncio.get_running_loop(), [[], []]  # type: ignore[var-annotated]
    sweeper = Sweeper(times[0].append, times[1].append)
    started = loop.time()
    sweeper.start()
    await until(lambda: len(times[1]) >= 3)
    sweeper.stop()
    sweeper.stop()
    count = len(times[0])
    await asyncio.sleep(0.25)

    assert len(times[0]) == len(times[1]) == count
    assert started < times[0][0] < times[0][1] < times[0][2] < loop.time()


async def test_a_failing_sweep_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A fault in one part must not switch off every deadline."""
    times: list[float] = []

    def fail(_now: float) -> None:
        raise RuntimeError("a fault")

    sweeper = Sweeper(fail, times.append)
    sweeper.start()
    with caplog.at_level(logging.ERROR):
        await until(lambda: len(times) >= 2)
    sweeper.stop()

    assert "A sweep failed" in caplog.text
