"""A tiny run against the real gateway: the load generator, the upstream and the gateway count the same."""

import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import contestants, page, picture, record, table
from bench.contestants import Contestant
from bench.native import UnmeasurableError, built
from bench.plan import HOLD, TESTS
from bench.record import Record
from bench.rounds import Run, Tools
from bench.windows import Load, LoadFailedError, Outcome, measure

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the harness needs a C compiler")


@pytest.fixture(scope="module")
def programs() -> Path:
    return built()


@pytest.fixture
def upstream(programs: Path) -> Iterator[Contestant]:
    with contestants.upstream(programs) as upstream:
        yield upstream


@pytest.fixture
def gateway(upstream: Contestant, tmp_path: Path) -> Iterator[Contestant]:
    with contestants.modelway(tmp_path, upstream.port) as gateway:
        yield gateway


@pytest.fixture
def tools(programs: Path, tmp_path: Path) -> Tools:
    return Tools(programs=programs, folder=tmp_path, key=contestants.api_key())


def small(name: str, **changes: Any) -> Load:
    """A test's load, made small."""
    (test,) = (each for each in TESTS if each.name == name)
    fields = {"connections": 4, "seconds": 0.3, "warm_up_seconds": 0.0, "spread_seconds": 0.0, **changes}
    return Load(mode=test.load.mode, body=fields.pop("body", test.load.body), **fields)


def outcome(load: Load, contestant: Contestant, tools: Tools) -> Outcome:
    return measure(load, contestant, programs=tools.programs, folder=tools.folder, key=tools.key).outcome


@pytest.mark.parametrize("name", ["1 KB requests", "200 requests per second", "100 KB prompts"])
def test_each_answered_request_came_to_the_upstream_once(
    name: str, gateway: Contestant, upstream: Contestant, tools: Tools
) -> None:
    """Closed and open loop, small and large."""
    found = outcome(small(name), gateway, tools)

    assert found.answered > 0
    assert found.answered == contestants.upstream_counts(upstream.port)["requests"]
    assert found.latency_us is not None
    assert 0 < found.latency_us.p50 <= found.latency_us.p99 <= found.latency_us.max


def test_each_chunk_of_the_streams_is_counted(gateway: Contestant, upstream: Contestant, tools: Tools) -> None:
    """As many as the upstream sent, in streams that are all whole."""
    body = b'{"model":"chat","messages":[{"role":"user","content":"pace_ms=1"}],"max_tokens":7,"stream":true}'

    found = outcome(small("streams", body=body, chunks=7, seconds=0.5), gateway, tools)
    counts = contestants.upstream_counts(upstream.port)

    assert found.answered == counts["streams"]
    assert found.answered * 7 == counts["chunks"]
    assert 0 < found.chunks_in_time <= counts["chunks"]
    assert found.transit_us is not None


def test_the_gateway_under_test_checks_keys_and_takes_the_rule_by_header(gateway: Contestant, tools: Tools) -> None:
    """Else less would be measured than is said."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.port}/v1/chat/completions",
        data=small("1 KB requests").body,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {tools.key}", "X-Use-Case": "bench"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        headers = answer.headers

    assert ("chat", "by-header") == (headers["x-modelway-policy"], headers["x-modelway-rule"])
    with pytest.raises(LoadFailedError, match="no 200"):
        measure(small("1 KB requests"), gateway, programs=tools.programs, folder=tools.folder, key="wrong")


def test_a_run_makes_a_record_that_can_be_shown(gateway: Contestant, upstream: Contestant, tools: Tools) -> None:
    """Read back, as a table and as a picture; the gateway stands in for nginx, which need not be here."""
    other = Contestant("nginx", gateway.port, gateway.process)
    run = Run(tools, upstream=upstream, gateways=[other, gateway])

    run.hold_streams(Load(mode="hold", body=HOLD.body, connections=5, seconds=20, warm_up_seconds=0))
    held = contestants.upstream_counts(upstream.port)["streams"]
    run.measure([each for each in TESTS if each.name == "1 KB requests"], rounds=1)
    made = Record(
        machine="m", python="p", made_at="d", modelway="w", nginx="n", rounds=1, figures=run.figures,
        foreign_shares=run.foreign_shares, fixed_work_us=run.fixed_work_us, retaken=run.retaken,
    )  # fmt: skip
    record.write(made, tools.folder / "record.json")

    assert 10 == held
    assert made == record.read(tools.folder / "record.json")
    assert run.answered == contestants.upstream_counts(upstream.port)["requests"] - held
    assert re.search(r"CPU for a request of 1 KB +\S+ µs +\S+ µs +\S+ ×  ≤ 3.4 ×", table.as_text(made))
    assert "CPU for a request of 1 KB" in picture.draw(made)


def test_the_page_shows_what_its_record_says() -> None:
    """Table and picture; after a change of either: `python -m bench --publish RECORD`."""
    text = page.PAGE.read_text()
    published = page.published_record(text)

    assert page.with_figures(text, published) == text
    assert picture.draw(record.read(published)) == page.PICTURE.read_text()


def test_without_nginx_the_bench_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And measures nothing."""
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_options: None)

    with pytest.raises(UnmeasurableError, match="apt-get install nginx-light"):
        contestants.nginx_program()


def test_without_a_compiler_the_bench_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is looked for only where nothing was built before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")

    with pytest.raises(UnmeasurableError, match="apt-get install gcc"):
        built()
