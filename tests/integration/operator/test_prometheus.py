"""Measuring: against a real Prometheus with a known past, and against a fake one for what goes wrong."""

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modelway_contract.names import REQUESTS_TOTAL, Arm, Label, Outcome
from modelway_operator.api.strategy import BadOutcome
from modelway_operator.clients import metrics
from modelway_operator.clients.metrics import NoSource, Prometheus
from modelway_operator.core.rollout.model import (
    Counts,
    Measurement,
    MeasurementProblem,
    MeasurementRequest,
    RatioQuantity,
    TargetKey,
    Version,
)
from modelway_operator.settings import PrometheusSettings

from tests.support.prometheus import FakePrometheus, Sample, fake_prometheus, running_prometheus
from tests.support.waiting import eventually

SCRAPE_SECONDS = 15.0
NOW = float(int(time.time()) // 60 * 60 - 3 * 3600)
"""Three hours ago: only a query with an explicit time sees anything there."""
KEY = TargetKey("team", "chat", "default", "main")
STABLE, CANDIDATE = Version("team/law", "sha-1"), Version("team/law", "sha-2")


def a_request(**changes: Any) -> MeasurementRequest:
    request = MeasurementRequest(
        key=KEY,
        metric="errors",
        quantity=RatioQuantity(bad=(BadOutcome.UPSTREAM_ERROR,)),
        stable=STABLE,
        candidate=CANDIDATE,
        start_seconds=NOW - 60,
        end_seconds=NOW,
        scrape_interval_seconds=SCRAPE_SECONDS,
    )
    return dataclasses.replace(request, **changes)


def the_past() -> list[Sample]:
    """Ten minutes: the candidate gets 4 requests a scrape, stable 40; one of each ends badly."""
    return [
        Sample(
            REQUESTS_TOTAL,
            (
                (Label.NAMESPACE, "team"),
                (Label.POLICY, "chat"),
                (Label.RULE, "default"),
                (Label.TARGET, "main"),
                (Label.MODEL, version.model),
                (Label.VERSION, version.digest),
                (Label.ARM, arm),
                (Label.OUTCOME, outcome),
            ),
            NOW - 600 + number * SCRAPE_SECONDS,
            number * (1 if outcome is Outcome.UPSTREAM_ERROR else rate if outcome is Outcome.SUCCESS else 0),
        )
        for arm, version, rate in ((Arm.CANDIDATE, CANDIDATE, 3), (Arm.STABLE, STABLE, 39))
        for outcome in Outcome
        for number in range(41)
    ]


@asynccontextmanager
async def a_source(url: str, **changes: Any) -> AsyncIterator[Prometheus]:
    source = Prometheus(PrometheusSettings(url=url, **changes))
    yield source
    await source.close()


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    """A real one."""
    with running_prometheus(the_past()) as url:
        yield url


@pytest.fixture
async def fake() -> AsyncIterator[FakePrometheus]:
    """A fake one."""
    async with fake_prometheus() as running:
        yield running


async def measured(url: str, request: MeasurementRequest | None = None, **changes: Any) -> Measurement:
    request = request or a_request()
    async with a_source(url, **changes) as source:
        return (await source.fetch([request]))[request]


async def test_counts_are_those_of_the_window(prometheus: str) -> None:
    """Asked hours later, the same window gives the same counts: a restart loses nothing."""
    found = await measured(prometheus)

    assert (Counts(total=16, bad=4), Counts(total=160, bad=4)) == (found.candidate, found.stable)
    assert found.problem is None


async def test_many_requests_are_answered_each(prometheus: str) -> None:
    """One fetch asks for all of them, and each finds its own answer."""
    requests = [a_request(start_seconds=NOW - 60 * n, end_seconds=NOW - 60 * (n - 1)) for n in range(1, 9)]
    async with a_source(prometheus) as source:
        answers = await source.fetch(requests)

    assert {request: Counts(total=16, bad=4) for request in requests} == {
        request: answer.candidate for request, answer in answers.items()
    }


async def test_f33_no_series_is_no_data(prometheus: str) -> None:
    """A version that nobody counted has no data, which is not the same as no failures."""
    found = await measured(prometheus, a_request(candidate=Version("team/law", "sha-3")))

    assert MeasurementProblem.NO_DATA == found.problem


async def test_f33_old_samples_are_stale(prometheus: str) -> None:
    """A window that ends after the last sample says nothing of its end."""
    found = await measured(prometheus, a_request(start_seconds=NOW + 60, end_seconds=NOW + 120))

    assert MeasurementProblem.STALE == found.problem


async def test_f33_hostile_label_values_reach_a_real_parser_as_text(prometheus: str) -> None:
    """Quotes and braces in a name are a name that has no series, and not another query."""
    hostile = dataclasses.replace(KEY, policy='chat"} or vector(1) #\n\\')
    found = await measured(prometheus, a_request(key=hostile))

    assert MeasurementProblem.NO_DATA == found.problem


def figures(**changes: Any) -> list[dict[str, Any]]:
    values = {"candidate_bad": "1", "candidate_good": "9", "stable_bad": "1", "stable_good": "99", "age": "3"} | changes
    return [{"metric": {"figure": name}, "value": [NOW, value]} for name, value in values.items() if value is not None]


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        pytest.param(figures(), None, id="good"),
        pytest.param([], MeasurementProblem.NO_DATA, id="empty"),
        pytest.param(figures(candidate_bad="NaN"), MeasurementProblem.CONFIG, id="nan"),
        pytest.param(figures(candidate_bad="NaN", candidate_good="0"), MeasurementProblem.NO_DATA, id="nan-of-none"),
        pytest.param(figures(stable_good="+Inf"), MeasurementProblem.CONFIG, id="inf"),
        pytest.param([*figures(), *figures()], MeasurementProblem.CONFIG, id="two-series"),
        pytest.param(figures(age="31"), MeasurementProblem.STALE, id="stale"),
        pytest.param(figures(age=None), MeasurementProblem.STALE, id="no-age"),
        pytest.param(figures(candidate_good="many"), MeasurementProblem.CONFIG, id="word"),
    ],
)
async def test_f33_answers_of_a_vector(
    fake: FakePrometheus, result: list[Any], problem: MeasurementProblem | None
) -> None:
    """Whatever is not clearly a count is a problem of its own, and never a 0."""
    fake.says(result)

    assert problem == (await measured(fake.url)).problem


async def test_f33_string_is_a_fault_of_configuration(fake: FakePrometheus) -> None:
    """An answer of another type cannot pass by itself."""
    fake.says([NOW, "hello"], kind="string")

    assert MeasurementProblem.CONFIG == (await measured(fake.url)).problem


async def test_partial_data_is_not_believed(fake: FakePrometheus) -> None:
    """A warning says that a part is missing."""
    fake.says(figures(), warnings=["store 3 is down"])
    found = await measured(fake.url)

    assert MeasurementProblem.UNAVAILABLE == found.problem
    assert "store 3 is down" in found.message


@pytest.mark.parametrize(
    ("status", "problem", "tries"),
    [
        (400, MeasurementProblem.CONFIG, 1),
        (401, MeasurementProblem.CONFIG, 1),
        (302, MeasurementProblem.UNAVAILABLE, 1),
        (422, MeasurementProblem.CONFIG, 1),
        (429, MeasurementProblem.UNAVAILABLE, 2),
        (500, MeasurementProblem.UNAVAILABLE, 2),
        (503, MeasurementProblem.UNAVAILABLE, 2),
    ],
)
async def test_f33_http_errors(fake: FakePrometheus, status: int, problem: MeasurementProblem, tries: int) -> None:
    """A refusal stands and is asked once; what may pass is asked again within the turn."""
    fake.status, fake.body = status, json.dumps({"status": "error", "error": "because"}).encode()
    found = await measured(fake.url)

    assert problem == found.problem
    assert f"HTTP {status}" in found.message
    assert (len(fake.asked) == 1) if tries == 1 else (len(fake.asked) >= 2)


async def test_query_carries_time_credentials_and_tenant(fake: FakePrometheus, tmp_path: Path) -> None:
    """The explicit time, the token of the file as it is now, and the tenant's header arrive; by POST."""
    token = tmp_path / "token"
    token.write_text("first\n")
    fake.says(figures())
    async with a_source(fake.url, bearer_token_file=token, headers=(("X-Scope-OrgID", "team-a"),)) as source:
        await source.fetch([a_request()])
        token.write_text("second\n")
        await source.fetch([a_request(end_seconds=NOW + 1)])
    first, second = fake.asked

    assert f"{NOW:.3f}" == first.form["time"]
    assert ("Bearer first", "team-a") == (first.headers["Authorization"], first.headers["X-Scope-OrgID"])
    assert "Bearer second" == second.headers["Authorization"]
    assert "candidate_bad" in first.form["query"]


async def test_basic_credentials_arrive(fake: FakePrometheus, tmp_path: Path) -> None:
    """User and the password of the file."""
    password = tmp_path / "password"
    password.write_text("pässword\n", encoding="utf-8")
    fake.says(figures())
    await measured(fake.url, username="prom", password_file=password)

    assert fake.asked[0].headers["Authorization"].startswith("Basic ")


async def test_environment_is_not_asked_for_a_proxy(fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the queries and the token go is the installation's choice alone."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    fake.says(figures())

    assert (await measured(fake.url)).problem is None


async def slow_head(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def flood(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


@pytest.mark.parametrize(
    ("handler", "message"), [(slow_head, "took too long"), (drip, "took too long"), (flood, "longer than")]
)
async def test_f32_answer_that_never_ends_is_given_up(
    fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch, handler: Callable[[web.Request], Any], message: str
) -> None:
    """Silence, a drip and a flood: each ends by a bound of ours, and the turn goes on."""
    monkeypatch.setattr(metrics, "QUERY_SECONDS", 0.4)
    monkeypatch.setattr(metrics, "FETCH_SECONDS", 0.5)
    fake.handler = handler
    started = time.monotonic()
    found = await measured(fake.url)

    assert MeasurementProblem.UNAVAILABLE == found.problem
    assert message in found.message
    assert time.monotonic() - started < 5.0


async def test_f32_thread_that_met_an_endless_answer_is_free_again(
    fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that drips holds one of few threads, but only until its time is over."""
    monkeypatch.setattr(metrics, "THREADS", 1)
    monkeypatch.setattr(metrics, "QUERY_SECONDS", 0.4)
    monkeypatch.setattr(metrics, "FETCH_SECONDS", 0.5)
    fake.handler = drip
    async with a_source(fake.url) as source:
        await source.fetch([a_request()])
        assert not source.health.available
        fake.handler = None

        async def is_back() -> bool:
            await source.check()
            return source.health.available

        await eventually(is_back, within_seconds=5.0)


async def test_f32_source_that_is_gone_is_not_waited_for_again(fake: FakePrometheus) -> None:
    """After a fetch without any answer the next one answers at once, until the source was seen alive."""
    fake.status = 503
    async with a_source(fake.url) as source:
        await source.fetch([a_request()])
        asked = len(fake.asked)
        again = (await source.fetch([a_request()]))[a_request()]
        assert (asked, False) == (len(fake.asked), source.health.available)
        assert MeasurementProblem.UNAVAILABLE == again.problem
        fake.says(figures())
        await source.check()
        assert source.health.available
        assert (await source.fetch([a_request()]))[a_request()].problem is None


async def test_window_that_was_counted_is_not_asked_for_again(fake: FakePrometheus) -> None:
    """To catch up on many windows takes many turns, and each turn goes on where the last one ended."""
    async with a_source(fake.url) as source:
        fake.says([])
        await source.fetch([a_request()])
        fake.says(figures())
        await source.fetch([a_request()])
        assert 2 == len(fake.asked)
        again = await source.fetch([a_request()])

    assert 2 == len(fake.asked)
    assert Counts(total=10, bad=1) == again[a_request()].candidate


async def test_clock_of_the_source_is_compared_with_ours(prometheus: str) -> None:
    """Its time minus ours, whichever of the two is wrong."""
    source = Prometheus(PrometheusSettings(url=prometheus), wall_clock=lambda: time.time() - 90)
    await source.check()
    await source.close()

    assert 88 < source.health.clock_skew_seconds < 92


async def test_source_is_watched_whether_or_not_anything_is_measured(
    fake: FakePrometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a rollout finds out before it starts, and a source that came back is used again."""
    monkeypatch.setattr(metrics, "CHECK_SECONDS", 0.05)

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503)

    fake.handler = refuse
    async with a_source(fake.url) as source:
        source.start()
        await eventually(lambda: not source.health.available)
        fake.handler = None
        await eventually(lambda: source.health.available)


async def test_p25_no_credential_in_a_message(fake: FakePrometheus, tmp_path: Path, caplog: Any) -> None:
    """Neither what is logged nor what becomes a status repeats a token."""
    token = tmp_path / "token"
    token.write_text("canary-token\r\nX-Injected: 1")
    headers = (("X-Scope-OrgID", "canary-tenant"),)
    broken = await measured(fake.url, bearer_token_file=token, headers=headers)
    token.write_text("canary-token")
    gone = await measured("http://127.0.0.1:9", bearer_token_file=token, headers=headers)

    assert [MeasurementProblem.UNAVAILABLE] * 2 == [broken.problem, gone.problem]
    assert "canary" not in f"{broken.message}{gone.message}{caplog.text}"


async def test_no_source_says_so() -> None:
    """Without a source a rollout is held, and its status says why."""
    found = (await NoSource().fetch([a_request()]))[a_request()]

    assert (MeasurementProblem.UNAVAILABLE, False) == (found.problem, NoSource().health.available)
    assert "--metrics-source" in found.message
