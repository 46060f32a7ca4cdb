"""Measuring without Prometheus: the gateways' own pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from modelway_contract.names import REQUESTS_TOTAL, Arm, Label, Outcome
from modelway_gateway.server import running_gateway
from modelway_operator.api.strategy import BadOutcome
from modelway_operator.clients import scrapes
from modelway_operator.clients.scrapes import GatewayScrapes, read_page
from modelway_operator.core.rollout.counters import Series
from modelway_operator.core.rollout.model import (
    Counts,
    MeasurementProblem,
    MeasurementRequest,
    RatioQuantity,
    TargetKey,
    Version,
)

from tests.support.gateway import a_base, a_model, a_policy, a_push, a_rule, a_split, a_target
from tests.support.gateway import settings as gateway_settings

STABLE, CANDIDATE = a_model(version="v1"), a_model(version="v2")
BASE = a_base(STABLE, CANDIDATE, policies=(a_policy(a_rule(a_target(STABLE, candidate=CANDIDATE))),))
REQUEST = MeasurementRequest(
    key=TargetKey("team", "chat", "default", "main"),
    metric="errors",
    quantity=RatioQuantity(bad=(BadOutcome.UPSTREAM_ERROR,)),
    stable=Version("team/llama", "v1"),
    candidate=Version("team/llama", "v2"),
    start_seconds=1000.0,
    end_seconds=1010.0,
    scrape_interval_seconds=5.0,
)


class Clock:
    """Seconds since 1970, as the test says."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def recording(*addresses: str, clock: Clock) -> AsyncIterator[GatewayScrapes]:
    source = GatewayScrapes(lambda: addresses, interval_seconds=5.0, wall_clock=clock)
    yield source
    await source.close()


@asynccontextmanager
async def a_page(text: list[str], *, status: int = 200) -> AsyncIterator[str]:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=text[-1], status=status)

    app = web.Application()
    app.add_routes([web.get("/metrics", page)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def lines(bad: int, good: int) -> str:
    page = ["# TYPE modelway_requests_total counter"]
    for arm, version in ((Arm.CANDIDATE, "v2"), (Arm.STABLE, "v1"), (Arm.NONE, "v0")):
        for outcome in Outcome:
            value = {Outcome.UPSTREAM_ERROR: bad, Outcome.SUCCESS: good}.get(outcome, 0)
            labels = {
                Label.NAMESPACE: "team",
                Label.POLICY: "chat",
                Label.RULE: "default",
                Label.TARGET: "main",
                Label.MODEL: "llama",
                Label.VERSION: version,
                Label.ARM: arm,
                Label.OUTCOME: outcome,
            }
            text = ",".join(f'{name}="{content}"' for name, content in labels.items())
            page.append(f"{REQUESTS_TOTAL}{{{text}}} {value}")
    return "\n".join(page) + "\nother_metric 5\n"


async def test_real_page_shows_both_arms_from_the_start() -> None:
    """A gateway shows every arm and outcome at 0 when the config goes live, and we can read its page."""
    async with running_gateway(gateway_settings()) as gateway:
        await gateway.live.apply_push(a_push(BASE, splits=(a_split(100),)))
        clock = Clock()
        async with recording(gateway.metrics_url.removeprefix("http://"), clock=clock) as source:
            for clock.now in (1000.0, 1010.0):
                await source.scrape()
            found = (await source.fetch([REQUEST]))[REQUEST]

    assert (Counts(total=0, bad=0), Counts(total=0, bad=0), None) == (found.candidate, found.stable, found.problem)


async def test_counts_are_what_was_added_over_all_replicas() -> None:
    """Two replicas, two scrapes: the difference of each, summed."""
    page, clock = [lines(1, 10)], Clock()
    async with a_page(page) as one, a_page(page) as two, recording(one, two, clock=clock) as source:
        await source.scrape()
        page.append(lines(3, 30))
        clock.now = 1010.0
        await source.scrape()
        found = (await source.fetch([REQUEST]))[REQUEST]

    assert Counts(total=44, bad=4) == found.candidate == found.stable


async def test_series_without_an_arm_are_not_kept() -> None:
    """They are most of a page, and nothing is ever asked of them."""
    arms = {dict(series.labels)["arm"] for series in read_page(lines(1, 1))}

    assert {"candidate", "stable"} == arms


async def test_old_scrapes_are_forgotten() -> None:
    """Memory holds what a window may reach back to, and no more."""
    page, clock = [lines(1, 1)], Clock()
    async with a_page(page) as address, recording(address, clock=clock) as source:
        for number in range(5):
            clock.now = 1000.0 + number * scrapes.KEEP_SECONDS
            await source.scrape()

        assert [2] == [len(kept) for kept in source._recordings.values()]


async def test_source_is_available_while_any_gateway_shows_its_page() -> None:
    """One that fails is left out; when all do, the rollouts are held."""
    page, clock = [lines(1, 1)], Clock()
    async with (
        a_page(page) as well,
        a_page(page, status=500) as broken,
        recording(well, broken, "127.0.0.1:9", clock=clock) as source,
    ):
        await source.scrape()
        assert source.health.available
    async with recording("127.0.0.1:9", clock=clock) as source:
        clock.now += 60
        await source.scrape()
        assert not source.health.available
        assert "no gateway has shown its metrics for 60 s" == source.health.message
        assert MeasurementProblem.NO_DATA == (await source.fetch([REQUEST]))[REQUEST].problem


@pytest.mark.parametrize("page", ["", "modelway_requests_total{", 'modelway_requests_total{arm="stable"} many', "\x00"])
def test_page_that_cannot_be_read_has_no_series(page: str) -> None:
    """A broken page is no data, and never a crash."""
    assert {} == read_page(page)


def test_histograms_are_read_by_bound() -> None:
    """As the counting wants them."""
    labels = f'{Label.ARM}="stable",le="0.5"'
    found = read_page(f"gen_ai_server_time_to_first_token_seconds_bucket{{{labels}}} 7\n")
    name = "gen_ai_server_time_to_first_token_seconds_bucket"

    assert {Series(name, frozenset({("arm", "stable"), ("le", "0.5")})): 7.0} == found
