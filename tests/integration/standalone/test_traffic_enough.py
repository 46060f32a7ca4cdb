"""Traffic that ends in order: what was begun is answered and counted on both sides."""

import asyncio

import pytest

from modelway_cli.simulator.behaviour import Behaviour
from modelway_cli.simulator.server import SimulatedLLM
from modelway_cli.traffic.plan import TrafficPlan
from modelway_cli.traffic.run import run_traffic

from tests.integration.cli.conditions import until


@pytest.mark.parametrize("pace", [{"rate": 200.0}, {"concurrency": 5}])
async def test_enough_begins_no_more_and_waits_for_what_is_open(pace: dict[str, float]) -> None:
    """No request is dropped, so the client and the backend count the same."""
    async with SimulatedLLM(Behaviour(models=("m",), tokens=1, ttft_ms=50)) as llm:
        enough = asyncio.Event()
        plan = TrafficPlan(url=llm.base_url, model="m", duration_seconds=3600, **pace)  # type: ignore[arg-type]
        running = asyncio.create_task(run_traffic(plan, enough=enough))
        await until(lambda: llm.stats.received >= 20)
        enough.set()
        report = await running

    assert (llm.stats.received, 0, 0) == (report.ok, report.failed, report.unfinished)
