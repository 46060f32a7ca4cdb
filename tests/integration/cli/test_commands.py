"""The commands as processes: what they print, and the status they end with."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from modelway_cli.simulator.behaviour import Behaviour, ErrorMode
from modelway_cli.simulator.server import SimulatedLLM

from tests.integration.cli.conditions import until
from tests.support.canary import PROMPT
from tests.support.search import overhearing
from tests.support.upstreams import answering, raw_upstream


@asynccontextmanager
async def modelway(*arguments: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, ended with the block if it has not ended by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modelway_cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", **variables},
    )
    async with overhearing(process, f"modelway {arguments[0]}"):
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def run(*arguments: str, **variables: str) -> tuple[int | None, str, str]:
    async with modelway(*arguments, **variables) as process:
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


async def address_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().split()[-1]


@pytest.fixture
async def llm() -> AsyncIterator[SimulatedLLM]:
    async with SimulatedLLM(Behaviour(models=("m",), tokens=3)) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_simulator_prints_its_address_and_ends_cleanly(number: signal.Signals) -> None:
    """Port 0 takes a free one; a signal ends it with status 0 though a request hangs."""
    arguments = ("--port", "0", "-m", "a", "-m", "b", "--error-rate", "1", "--error-mode", "hang")
    async with modelway("simulate-llm", *arguments) as process, aiohttp.ClientSession() as session:
        url = await address_of(process)
        async with session.get(f"{url}/models") as answer:
            models = [model["id"] for model in (await answer.json())["data"]]
        body = {"model": "a", "messages": [{"role": "user", "content": PROMPT}]}
        hanging = asyncio.create_task(session.post(f"{url}/chat/completions", json=body))
        stats = url.removesuffix("/v1") + "/stats"
        received = 0
        while not received:
            async with session.get(stats) as answer:
                received = (await answer.json())["received"]
        process.send_signal(number)
        status = await process.wait()
        with pytest.raises(aiohttp.ClientError):
            await hanging
        assert process.stderr is not None
        err = await process.stderr.read()

    assert (models, status, err) == (["a", "b"], 0, b"")


async def test_the_simulator_takes_its_key_from_the_environment() -> None:
    """So that no list of processes shows it."""
    async with (
        modelway("simulate-llm", "--port", "0", MODELWAY_SIMULATOR_API_KEY="k") as process,
        aiohttp.ClientSession() as session,
    ):
        url = await address_of(process)
        async with session.get(f"{url}/models") as refused:
            pass
        async with session.get(f"{url}/models", headers={"Authorization": "Bearer k"}) as admitted:
            pass

    assert (refused.status, admitted.status) == (401, 200)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("simulate-llm", "--error-rate", "2"), 2, "$.error_rate"),
        (("simulate-llm", "--error-mode", "explode"), 2, "explode"),
        (("simulate-llm", "--tls-cert", "x.pem"), 2, "--tls-key"),
        (("simulate-llm", "--tls-cert", "x.pem", "--tls-key", "x.key"), 1, "x.pem"),
        (("traffic", "http://192.0.2.1", "-m", "m"), 2, "--allow-public"),
        (("traffic", "nonsense", "-m", "m"), 2, "http://127.0.0.1:8080/v1"),
        (("traffic", "http://127.0.0.1", "-m", "m", "-H", "x"), 2, "NAME=VALUE"),
        (("traffic", "http://127.0.0.1"), 2, "--model"),
    ],
)
async def test_what_makes_no_sense_is_one_message(arguments: tuple[str, ...], status: int, says: str) -> None:
    """No traceback, nothing on standard output."""
    code, out, err = await run(*arguments)

    assert (code, out) == (status, "")
    assert says in err
    assert "Traceback" not in err


async def test_traffic_prints_a_table(llm: SimulatedLLM) -> None:
    """On standard output, and nothing else off a terminal in a short run."""
    code, out, err = await run("traffic", llm.base_url, "-m", "m", "-n", "10", "--stream-share", "1")

    assert (code, err) == (0, "")
    rows = [line.replace("│", " ").split() for line in out.splitlines()]
    assert ["ok", "10", "100.0%"] in rows
    assert ["streams", "10", "100.0%"] in rows
    assert llm.stats.received == 10


async def test_json_on_standard_output_is_alone_there(llm: SimulatedLLM) -> None:
    """A script can read it; the table goes to standard error."""
    code, out, err = await run("traffic", llm.base_url, "-m", "m", "-n", "5", "--json", "-")

    report = json.loads(out)
    assert (code, report["requests"], report["ok"], report["by_model"]) == (0, 5, 5, {"m": 5})
    assert "requests" in err


async def test_json_goes_to_a_file(llm: SimulatedLLM, tmp_path: Path) -> None:
    """Beside the table."""
    path = tmp_path / "report.json"

    code, out, _ = await run("traffic", llm.base_url, "-m", "m", "-n", "5", "--json", str(path))

    assert (code, json.loads(path.read_text())["ok"]) == (0, 5)
    assert "requests" in out


@pytest.mark.parametrize(("flags", "status"), [((), 0), (("--fail-on-error",), 1)])
async def test_the_status_tells_of_failures_only_when_asked(
    llm: SimulatedLLM, flags: tuple[str, ...], status: int
) -> None:
    """A load run that took place has done its work."""
    llm.behave(error_rate=1)

    code, _, _ = await run("traffic", llm.base_url, "-m", "m", "-n", "3", *flags)

    assert code == status


async def test_the_key_is_sent_and_never_printed(llm: SimulatedLLM) -> None:
    """Neither a report nor its table holds it."""
    llm.behave(api_key="very-secret")

    code, out, err = await run(
        "traffic", llm.base_url, "-m", "m", "-n", "2", "--json", "-", MODELWAY_API_KEY="very-secret"
    )

    assert (code, json.loads(out)["ok"]) == (0, 2)
    assert "very-secret" not in out + err


async def test_an_interrupted_run_reports_what_it_did(llm: SimulatedLLM) -> None:
    """Status 130, with the open request counted as unfinished."""
    llm.behave(error_rate=1, error_mode=ErrorMode.HANG)
    async with modelway("traffic", llm.base_url, "-m", "m", "-n", "5", "--json", "-") as process:
        await until(lambda: llm.stats.received == 1)
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()

    report = json.loads(out)
    assert (process.returncode, report["requests"], report["unfinished"]) == (130, 0, 1)


@pytest.mark.parametrize("command", ["simulate-llm", "traffic"])
async def test_help_has_examples(command: str) -> None:
    """Whoever asks for help sees how it is used."""
    code, out, _ = await run(command, "--help")

    assert code == 0
    assert f"modelway {command}" in out
    assert "Examples" in out


async def test_help_loads_nothing_heavy() -> None:
    """Registration is cheap: no server, client or table library before a command runs."""
    code = (
        "import sys, modelway_cli.__main__;"
        "print(sorted({'aiohttp', 'pydantic', 'kopf', 'kubernetes', 'openai'} & set(sys.modules)))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()

    assert out == b"[]\n"


async def test_traffic_asks_what_it_is_told_to_and_does_not_repeat_it() -> None:
    """`--prompt` reaches the endpoint, and neither the table nor the report has it."""
    completion = b'{"model":"m","choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(completion)
    async with raw_upstream(answering(head + completion)) as upstream:
        url = f"http://127.0.0.1:{upstream.port}/v1"
        status, out, err = await run("traffic", url, "-m", "m", "-n", "2", "--prompt", PROMPT, "--json", "-")

    assert (0, 2) == (status, json.loads(out)["ok"])
    assert [PROMPT] * 2 == [json.loads(body)["messages"][0]["content"] for _, body in upstream.requests]
    assert PROMPT not in out + err
