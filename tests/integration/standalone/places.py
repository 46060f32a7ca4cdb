"""A folder of manifests that a process serves, with simulated backends behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from modelway_cli.simulator.server import SimulatedLLM
from modelway_cli.standalone.listing import chosen
from modelway_cli.standalone.state import Running, read_objects, read_running

from tests.integration.standalone.commands import modelway
from tests.support.canary import PROMPT
from tests.support.search import search_folder

ALL_REQUESTS = """
apiVersion: modelway.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: chat}
spec:
  models: [chat]
  rules: [{name: all, targets: [{name: main, modelRef: {name: MODEL}}]}]
  rollouts:
  - name: main
    rule: all
    target: main
    strategy: {steps: [{weight: 50}], interval: 1s, minIntervals: 1, minSamples: 20, bake: {intervals: 1}}
    analysis:
      metrics: [{name: errors, type: Ratio, role: Guardrail, ratio: {bad: [upstream_error]}, absolute: {max: "0.5"}}]
"""


def a_model(name: str) -> str:
    return f"""
apiVersion: modelway.dev/v1alpha1
kind: LLMModel
metadata: {{name: {name}}}
spec: {{backends: [{{name: b, serviceRef: {{name: {name}, port: 8000}}}}]}}
"""


def write(path: Path, *documents: str) -> None:
    """A file, whole at once."""
    beside = path.with_suffix(".new")
    beside.write_text("---".join(documents))
    beside.rename(path)


class Served:
    """A process that serves a folder, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, running: Running) -> None:
        self.process = process
        self.folder = folder
        self.running = running
        self.said = ""

    def policy(self) -> dict[str, Any]:
        """The policy `chat` with its status; nothing before it was first read."""
        found = chosen(read_objects(self.folder / ".modelway"), "policy/chat")
        return dict(found[0]) if found else {"status": {"conditions": []}}

    def rollout(self) -> dict[str, Any]:
        """Its one rollout; empty while there is none."""
        found: dict[str, Any] = next(iter(self.policy()["status"].get("rollouts") or ()), {})
        return found

    def is_ready(self) -> bool:
        """Whether the policy serves."""
        conditions = self.policy()["status"]["conditions"]
        return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)

    async def says(self, text: str) -> str:
        """Wait until the process says this; the line."""
        assert self.process.stdout is not None
        while True:
            line = (await self.process.stdout.readline()).decode()
            assert line, f"it ended without saying {text!r}: {self.said}"
            self.said += line
            if text in line:
                return line

    async def comes_to(self, condition: Callable[["Served"], bool]) -> None:
        """Wait until this is so; the test's own time-out bounds it."""
        while not condition(self):  # noqa: ASYNC110 - a file has no event to wait for
            await asyncio.sleep(0.05)


@asynccontextmanager
async def served(folder: Path, *options: str, services: dict[str, SimulatedLLM] | None = None) -> AsyncIterator[Served]:
    """`modelway run` on the folder, on free ports, ended with the block if it has not ended by itself."""
    places = [
        part
        for name, llm in (services or {}).items()
        for part in ("--service", f"{name}:8000={llm.root_url.removeprefix('http://')}")
    ]
    ports = ("--port", "0", "--metrics-port", "0")
    async with modelway("run", str(folder), *ports, "--scrape-interval", "250ms", *places, *options) as process:
        while (running := read_running(folder / ".modelway")) is None or running.pid != process.pid:
            assert process.returncode is None, (await process.communicate())[1].decode()
            await asyncio.sleep(0.05)
        try:
            yield Served(process, folder, running)
        finally:
            search_folder(folder)


async def comes_to_know(url: str, *, model: str, key: str) -> None:
    """Wait until this model can be asked for."""
    while (await ask(url, model=model, key=key))[0] == 404:  # noqa: ASYNC110 - another process's config
        await asyncio.sleep(0.05)


async def ask(url: str, *, model: str = "chat", key: str | None = None) -> tuple[int, str | None]:
    """One request: its status, and the model that answered."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/chat/completions", json=body, headers=headers) as answer,
    ):
        await answer.read()
        return answer.status, answer.headers.get("x-modelway-model")
