"""Generated traffic, recounted by the servers that received it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from modelway_cli.errors import CliError, PublicTargetError
from modelway_cli.simulator.behaviour import Behaviour, ErrorMode
from modelway_cli.simulator.server import SimulatedLLM
from modelway_cli.traffic.plan import TrafficPlan
from modelway_cli.traffic.report import Sample
from modelway_cli.traffic.run import run_traffic

from tests.integration.cli.conditions import until


@pytest.fixture
async def llm() -> AsyncIterator[SimulatedLLM]:
    async with SimulatedLLM(Behaviour(models=("m",), tokens=3)) as running:
        yield running


def a_plan(url: str, **fields: Any) -> TrafficPlan:
    defaults: dict[str, Any] = {"url": url, "model": "m", "requests": 4}
    return TrafficPlan(**(defaults | fields))


async def test_a_rate_sends_exactly_what_its_schedule_says(llm: SimulatedLLM) -> None:
    """200 a second for half a second are 100 requests, however busy the machine is."""
    report = await run_traffic(a_plan(llm.base_url, rate=200, duration_seconds=0.5, requests=None))

    assert (report.requests, report.ok, llm.stats.received) == (100, 100, 100)


async def test_an_open_loop_waits_for_no_answer(llm: SimulatedLLM) -> None:
    """All requests are open at once while none of them is answered."""
    llm.behave(error_rate=1, error_mode=ErrorMode.HANG)
    stop = asyncio.Event()
    running = asyncio.create_task(run_traffic(a_plan(llm.base_url, rate=500, requests=30), stop=stop))
    await until(lambda: llm.stats.received == 30)
    stop.set()
    report = await running

    assert (report.requests, report.unfinished) == (0, 30)


async def test_requests_beyond_those_that_may_be_open_fail_unsent(llm: SimulatedLLM) -> None:
    """They are counted, so that the load that was missing shows."""
    llm.behave(error_rate=1, error_mode=ErrorMode.HANG)
    plan = a_plan(llm.base_url, rate=1000, requests=10, max_in_flight=3, timeout_seconds=1)

    report = await run_traffic(plan)

    assert report.by_error == {"not_sent": 7, "timeout": 3}
    assert llm.stats.received == 3


@pytest.mark.parametrize("clients", [1, 4])
async def test_a_closed_loop_has_as_many_open_as_clients(llm: SimulatedLLM, clients: int) -> None:
    """Not one more, while there is no answer."""
    llm.behave(error_rate=1, error_mode=ErrorMode.HANG)
    stop = asyncio.Event()
    plan = a_plan(llm.base_url, concurrency=clients, requests=20)
    running = asyncio.create_task(run_traffic(plan, stop=stop))
    await until(lambda: llm.stats.received == clients)
    stop.set()

    assert (await running).unfinished == clients
    assert llm.stats.received == clients


async def test_a_closed_loop_sends_its_number(llm: SimulatedLLM) -> None:
    """Clients share the number among them."""
    report = await run_traffic(a_plan(llm.base_url, concurrency=3, requests=20, stream_share=0.5))

    assert (report.requests, report.ok, llm.stats.received) == (20, 20, 20)
    assert 8 <= report.streams <= 12


async def test_latency_counts_from_when_a_request_was_due(llm: SimulatedLLM) -> None:
    """A target that stands still cannot hide it: a blocked loop makes the later requests look as late as they are."""
    import time

    blocked = False

    def block_once(_: Sample) -> None:
        nonlocal blocked
        if not blocked:
            blocked = True
            time.sleep(0.4)

    samples: list[Sample] = []

    def take(sample: Sample) -> None:
        samples.append(sample)
        block_once(sample)

    report = await run_traffic(a_plan(llm.base_url, rate=100, requests=20), take)

    assert report.requests == 20
    assert max(sample.latency_seconds for sample in samples) > 0.25


async def test_time_to_first_token_is_that_of_the_first_content(llm: SimulatedLLM) -> None:
    """Who speaks comes at once and is no token; plain answers have none."""
    llm.behave(ttft_ms=150)
    samples: list[Sample] = []

    report = await run_traffic(a_plan(llm.base_url, requests=3, concurrency=3, stream_share=1), samples.append)
    plain = await run_traffic(a_plan(llm.base_url, requests=1))

    assert all(sample.ttft_seconds is not None and sample.ttft_seconds >= 0.149 for sample in samples)
    assert report.ttft_seconds.p50 is not None
    assert plain.ttft_seconds.p50 is None


@pytest.mark.parametrize(
    ("mode", "stream", "error", "status"),
    [
        (ErrorMode.STATUS, False, "service_unavailable", "503"),
        (ErrorMode.STATUS, True, "service_unavailable", "503"),
        (ErrorMode.RESET, False, "connection_lost", "none"),
        (ErrorMode.HANG, False, "timeout", "none"),
        (ErrorMode.STALL_MID_STREAM, False, "timeout", "200"),
        (ErrorMode.STALL_MID_STREAM, True, "timeout", "200"),
        (ErrorMode.ERROR_IN_STREAM, False, "service_unavailable", "200"),
        (ErrorMode.ERROR_IN_STREAM, True, "service_unavailable", "200"),
        (ErrorMode.EMPTY_200, False, "empty_answer", "200"),
        (ErrorMode.EMPTY_200, True, "empty_answer", "200"),
        (ErrorMode.MALFORMED, False, "malformed_answer", "200"),
        (ErrorMode.MALFORMED, True, "malformed_answer", "200"),
    ],
)
async def test_every_failure_is_seen_and_named(
    llm: SimulatedLLM, mode: ErrorMode, stream: bool, error: str, status: str
) -> None:
    """None of them passes for an answer."""
    llm.behave(error_rate=1, error_mode=mode, error_status=503)

    report = await run_traffic(a_plan(llm.base_url, requests=2, stream_share=float(stream), timeout_seconds=0.5))

    assert (report.ok, report.failed) == (0, 2)
    assert (report.by_error, report.by_status) == ({error: 2}, {status: 2})


async def test_nobody_listening_is_a_connect_error(llm: SimulatedLLM) -> None:
    """The run takes place and says so."""
    url = llm.base_url
    async with SimulatedLLM() as gone:
        url = gone.base_url

    assert (await run_traffic(a_plan(url))).by_error == {"connect_error": 4}


async def test_a_mixture_adds_up_with_what_the_backend_counted(llm: SimulatedLLM) -> None:
    """Both sides agree on how many were good."""
    llm.behave(error_rate=0.3)

    report = await run_traffic(a_plan(llm.base_url, requests=100, concurrency=5, stream_share=0.4))

    outcomes = {str(outcome): count for outcome, count in llm.stats.by_outcome.items()}
    assert outcomes == {"ok": report.ok, "status": report.failed}
    assert report.by_fingerprint == {"v1": report.ok}
    assert 0 < report.failed < 100


class Recorder:
    """A target that writes down what it was sent and answers with a gateway's headers."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []

    async def serve(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        number = len(self.seen)
        return web.json_response(
            {"model": "body", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]},
            headers={
                "x-modelway-model": "served",
                "x-modelway-target": f"t{number % 2}",
                "x-modelway-version": "v" * 99,
            },
        )

    async def redirect(self, _: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/v1/chat/completions"})


@pytest.fixture
async def recorder() -> AsyncIterator[tuple[Recorder, str]]:
    target = Recorder()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", target.serve)
    application.router.add_post("/moved/chat/completions", target.redirect)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield target, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_who_served_is_read_from_the_headers(recorder: tuple[Recorder, str]) -> None:
    """The gateway's headers come before the body's `model`; values are cut to a printable length."""
    _, url = recorder

    report = await run_traffic(a_plan(url))

    assert (report.by_model, report.by_target) == ({"served": 4}, {"t0": 2, "t1": 2})
    assert report.by_version == {"v" * 64: 4}


async def test_key_headers_and_sessions_are_sent(
    recorder: tuple[Recorder, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions in turn; a proxy of the environment is not asked."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    target, url = recorder

    await run_traffic(a_plan(url, api_key="k", headers=(("X-Tier", "gold"),), session_count=2))

    assert Counter(request.headers["x-session-id"] for request in target.seen) == {"session-0": 2, "session-1": 2}
    assert {request.headers["Authorization"] for request in target.seen} == {"Bearer k"}
    assert {request.headers["X-Tier"] for request in target.seen} == {"gold"}


async def test_a_redirect_is_not_followed(recorder: tuple[Recorder, str]) -> None:
    """It could lead out of the network that was judged."""
    target, url = recorder

    assert (await run_traffic(a_plan(f"{url}/moved"))).by_error == {"http_307": 4}
    assert target.seen == []


async def test_a_public_target_is_refused_before_anything_is_sent() -> None:
    """The address is judged, so nothing leaves the machine."""
    with pytest.raises(PublicTargetError, match="--allow-public"):
        await run_traffic(a_plan("http://192.0.2.1/v1"))


async def test_a_name_without_an_address_is_said() -> None:
    """`.invalid` never resolves."""
    with pytest.raises(CliError, match=r"cannot resolve nowhere\.invalid"):
        await run_traffic(a_plan("http://nowhere.invalid/v1"))


async def test_names_of_this_machine_are_let_through(llm: SimulatedLLM) -> None:
    """A name is resolved once and connected to where it was judged."""
    report = await run_traffic(a_plan(llm.base_url.replace("127.0.0.1", "localhost")))

    assert report.ok == 4
