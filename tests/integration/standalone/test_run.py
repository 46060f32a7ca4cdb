"""`modelway run` and `modelway get` as processes: a folder is served, edited, left and taken up again."""

import asyncio
import base64
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from modelway_cli.simulator.behaviour import Behaviour
from modelway_cli.simulator.server import SimulatedLLM
from modelway_cli.traffic.plan import TrafficPlan
from modelway_cli.traffic.run import run_traffic

from tests.integration.standalone.commands import run
from tests.integration.standalone.places import ALL_REQUESTS, Served, a_model, ask, comes_to_know, served, write
from tests.support.canary import PROMPT

KEY = "mw-canary-key-that-nobody-may-see"
CLIENT = f"""
apiVersion: v1
kind: Secret
metadata: {{name: me, labels: {{modelway.dev/secret: client}}}}
stringData: {{api-key: {KEY}}}
"""


@pytest.fixture
async def llms() -> AsyncIterator[dict[str, SimulatedLLM]]:
    async with contextlib.AsyncExitStack() as exits:
        yield {
            name: await exits.enter_async_context(SimulatedLLM(Behaviour(models=(name,), tokens=1)))
            for name in ("v1", "v2")
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    write(folder / "models.yaml", a_model("v1"), a_model("v2"))
    write(folder / "policy.yaml", ALL_REQUESTS.replace("MODEL", "v1"))
    return folder


def files_of(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.rglob("*") if file.is_file()}


async def test_a_folder_is_served_shown_and_edited(folder: Path, llms: dict[str, SimulatedLLM]) -> None:
    """The whole of it once: keys, columns, mistakes, a second process, a new route, the end."""
    write(folder / "client.yaml", CLIENT)
    async with served(folder, services=llms) as place:
        url = place.running.client_url
        await place.comes_to(Served.is_ready)
        assert [(401, None), (200, "v1")] == [await ask(url), await ask(url, key=KEY)]

        table = await run("get", str(folder))
        assert (0, "") == (table.status, table.err)
        assert "NAME   READY   REASON    WEIGHTS        ROLLOUT   GATEWAYS   AGE" not in table.out
        assert ["llmmodel.modelway.dev/v1", "v1", "True", "Serving", "1/1"] == table.out.splitlines()[1].split()[:5]

        second = await run("run", str(folder), "--port", "0", "--metrics-port", "0")
        assert (1, "") == (second.status, second.out)
        assert f"another `modelway run` holds {folder / '.modelway'} (process {place.process.pid}" in second.err

        write(folder / "models.yaml", a_model("v1").replace("name: b", "name: b, wait: 1"), a_model("v2"))
        mistake = await place.says("Mistake")
        assert "models.yaml: LLMModel default/v1: spec.backends[0].wait: unknown field" in mistake
        assert (200, "v1") == await ask(url, key=KEY)

        another = a_model("v3").replace("serviceRef: {name: v3", "upstreamModel: v1, serviceRef: {name: v1")
        write(folder / "models.yaml", a_model("v1"), a_model("v2"), another)
        await place.says("Fixed")
        await comes_to_know(url, model="v3", key=KEY)

        place.process.send_signal(signal.SIGTERM)
        assert 0 == await place.process.wait()

    left = await run("get", "policies", str(folder))
    assert ["NAME", "READY", "REASON", "WEIGHTS", "ROLLOUT", "GATEWAYS", "AGE"] == left.out.splitlines()[0].split()
    assert "nobody serves" in left.err


async def test_p25_a_key_is_in_no_file_and_no_line(folder: Path, llms: dict[str, SimulatedLLM]) -> None:
    """Not in the state folder, not in what it says when told to say everything, not in its metrics."""
    write(folder / "client.yaml", CLIENT)
    async with served(folder, "--verbose", services=llms) as place:
        await place.comes_to(Served.is_ready)
        await ask(place.running.client_url, key=KEY)
        kept = files_of(folder / ".modelway")
        write(folder / "client.yaml", CLIENT.replace("stringData", "data"))  # it is no base64
        await place.says("client.yaml: Secret default/me: data.api-key is not base64")
        async with aiohttp.ClientSession() as session, session.get(f"{place.running.metrics_url}/metrics") as answer:
            metrics = await answer.text()
        place.process.send_signal(signal.SIGINT)
        out, err = await place.process.communicate()

    assert "LLMModel.default.v1.json" in kept
    told = {**kept, "standard output": place.said + out.decode(), "standard error": err.decode(), "metrics": metrics}
    spellings = (KEY, base64.b64encode(KEY.encode()).decode())
    assert [] == [name for name, text in told.items() if any(spelling in text for spelling in spellings)]
    assert 0 == place.process.returncode


async def test_a_rollout_goes_on_where_a_killed_process_left_it(folder: Path, llms: dict[str, SimulatedLLM]) -> None:
    """The same rollout at the same weight, against the version that was stable; then traffic lets it finish."""
    options = ("--anonymous-namespace", "default")
    async with served(folder, *options, services=llms) as place:
        await place.comes_to(Served.is_ready)
        write(folder / "policy.yaml", ALL_REQUESTS.replace("MODEL", "v2"))
        await place.comes_to(lambda here: here.rollout().get("phase") == "Held")
        before = place.rollout()
        place.process.kill()
        await place.process.wait()

    async with served(folder, *options, services=llms) as place:
        after = place.rollout()
        plan = TrafficPlan(url=place.running.client_url, model="chat", rate=100, duration_seconds=300, prompt=PROMPT)
        enough, models = asyncio.Event(), set[str | None]()
        sending = asyncio.create_task(run_traffic(plan, lambda sample: models.add(sample.model), enough=enough))
        await place.comes_to(lambda here: here.rollout().get("phase") == "Stable")
        enough.set()
        report = await sending
        end = place.rollout()

    known = ("rolloutId", "weight", "attempt", "stable", "candidate")
    assert [before[name] for name in known] == [after[name] for name in known]
    assert (50.0, "default/v1") == (before["weight"], before["stable"]["model"])
    assert ("default/v2", before["rolloutId"], "Promoted") == (
        end["stable"]["model"],
        end["history"][0]["rolloutId"],
        end["history"][0]["result"],
    )
    assert ({"v1", "v2"}, 0) == (models, report.failed)


BLUE_GREEN = "{type: BlueGreen, interval: 1s, minIntervals: 2, minSamples: 20, bake: {intervals: 2}}"


async def test_a_blue_green_moves_all_traffic_at_once_on_one_machine(
    folder: Path, llms: dict[str, SimulatedLLM]
) -> None:
    """Blue is measured by the gateway's own counters, green is compared with that; no request fails."""
    canary = "{steps: [{weight: 50}], interval: 1s, minIntervals: 1, minSamples: 20, bake: {intervals: 1}}"
    assert canary in ALL_REQUESTS
    policy = ALL_REQUESTS.replace(canary, BLUE_GREEN).replace('absolute: {max: "0.5"}', 'relative: {maxRatio: "3"}')
    write(folder / "policy.yaml", policy.replace("MODEL", "v1"))
    async with served(folder, "--anonymous-namespace", "default", services=llms) as place:
        await place.comes_to(Served.is_ready)
        plan = TrafficPlan(url=place.running.client_url, model="chat", rate=60, duration_seconds=300, prompt=PROMPT)
        enough, models = asyncio.Event(), list[str | None]()
        sending = asyncio.create_task(run_traffic(plan, lambda sample: models.append(sample.model), enough=enough))
        write(folder / "policy.yaml", policy.replace("MODEL", "v2"))
        await place.comes_to(lambda here: here.rollout().get("phase") == "Baking")
        baking = place.rollout()
        await place.comes_to(lambda here: here.rollout().get("phase") == "Stable")
        enough.set()
        report = await sending
        end = place.rollout()

    assert 100.0 == baking["weight"]
    assert baking["baselines"][0]["total"] >= 20
    assert ("default/v2", "Promoted") == (end["stable"]["model"], end["history"][0]["result"])
    assert ({"v1", "v2"}, 0) == (set(models), report.failed)


async def test_a_process_does_not_outlive_the_one_that_started_it(folder: Path) -> None:
    """The demo may be killed without a chance to end what it started."""
    ended = await run("run", str(folder), "--port", "0", "--metrics-port", "0", "--parent", "1")

    assert (0, "") == (ended.status, ended.err)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "/no/such/folder"), "/no/such/folder is not a folder"),
        (("run", ".", "--service", "x"), "--service x: must be like [NAMESPACE/]NAME:PORT=HOST:PORT"),
        (("run", ".", "--scrape-interval", "soon"), "--scrape-interval soon"),
        (("run", ".", "--scrape-interval", "1ms"), "--scrape-interval is between"),
        (("run", ".", "--host", "localhost"), "--host localhost"),
        (("run", ".", "--prometheus", "prometheus:9090"), "--prometheus-url is an http:// or https:// address"),
        (("run", ".", "--anonymous-namespace", "No"), "--anonymous-namespace"),
        (("get", "a", "b", "c"), "[WHAT] DIR"),
        (("demo", "--seconds-per-interval", "0.5"), "--seconds-per-interval"),
    ],
)
async def test_what_makes_no_sense_is_one_sentence(arguments: tuple[str, ...], says: str) -> None:
    """With status 2, and without a traceback."""
    ended = await run(*arguments)

    assert (2, "") == (ended.status, ended.out)
    assert says in ended.err
    assert "Traceback" not in ended.err


async def test_get_says_what_there_is_not(tmp_path: Path) -> None:
    """A folder that was never served is told from one that holds nothing of that name."""
    never = await run("get", str(tmp_path))
    (tmp_path / ".modelway" / "objects").mkdir(parents=True)
    nothing = await run("get", "chat", str(tmp_path))
    none = await run("get", "models", str(tmp_path))

    assert (1, True) == (never.status, "was never served" in never.err)
    assert (1, True) == (nothing.status, "no model and no policy called chat" in nothing.err)
    assert (0, True) == (none.status, "No resources found" in none.err)
