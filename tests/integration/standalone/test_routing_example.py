"""examples/routing as a user runs it: each kind of request is served by the model that its README names."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import aiohttp

from modelway_cli.simulator.behaviour import Behaviour
from modelway_cli.simulator.server import SimulatedLLM

from tests.integration.standalone.commands import run
from tests.integration.standalone.places import comes_to_know, served

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "routing"


async def ask(url: str, key: str, content: str, **headers: str) -> tuple[int, str | None, str | None]:
    """One request: its status, the rule that decided and the model that answered."""
    body: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": content}]}
    headers = {"Authorization": f"Bearer {key}", **headers}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/chat/completions", json=body, headers=headers) as answer,
    ):
        await answer.read()
        return answer.status, answer.headers.get("x-modelway-rule"), answer.headers.get("x-modelway-model")


async def test_each_request_goes_where_the_readme_says(tmp_path: Path) -> None:
    """Words, a pattern, length and priority decide; a large model that fails is stood in for by the small one."""
    folder = tmp_path / "routing"
    shutil.copytree(EXAMPLE, folder)
    keys = {}
    for name, options in {"app": (), "nightly": ("--priority", "Batch"), "chooser": ("--chooses-priority",)}.items():
        made = await run("client", "create", name, *options)
        (folder / f"{name}.yaml").write_text(made.out)
        keys[name] = made.out.rpartition("api-key: ")[2].strip()
    async with contextlib.AsyncExitStack() as stack:
        llms = {
            f"llm-{name}": await stack.enter_async_context(SimulatedLLM(Behaviour(models=(name,), tokens=1)))
            for name in ("small", "large", "long")
        }
        place = await stack.enter_async_context(served(folder, services=llms))
        url = place.running.client_url
        await comes_to_know(url, model="assistant", key=keys["app"])

        asked = [
            await ask(url, keys["app"], "Good morning, how are you?"),
            await ask(url, keys["app"], "Who wrote Othello?"),
            await ask(url, keys["app"], "Hello, what became of INC-000042?"),
            await ask(url, keys["app"], "word " * 40_000),
            await ask(url, keys["nightly"], "Hello, what became of INC-000042?"),
            await ask(url, keys["chooser"], "Who wrote Othello?", **{"x-priority": "Batch"}),
            await ask(url, keys["app"], "Who wrote Othello?", **{"x-priority": "Batch"}),
        ]
        llms["llm-large"].behave(error_rate=1.0)
        stood_in = await ask(url, keys["app"], "Who wrote Othello?")

    assert [
        (200, "small-talk", "small"),
        (200, "default", "large"),
        (200, "default", "large"),
        (200, "books", "long"),
        (200, "batch", "small"),
        (200, "batch", "small"),
        (200, "default", "large"),
    ] == asked
    assert (200, "default", "small") == stood_in
