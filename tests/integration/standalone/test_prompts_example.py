"""examples/routing/prompts.yaml as a user runs it: what a prompt means decides, a classifier of one's own included."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from modelway_cli.simulator.behaviour import Behaviour
from modelway_cli.simulator.server import SimulatedLLM
from modelway_cli.standalone.listing import chosen
from modelway_cli.standalone.state import read_objects

from tests.integration.standalone.places import comes_to_know, served
from tests.integration.standalone.test_routing_example import EXAMPLE
from tests.support.ports import free_ports
from tests.support.waiting import eventually

HARD = """Find the number of ordered pairs (a, b) of integers such that the polynomial x^2 + ax + b has two integer
roots r and s with |r| + |s| <= 2024. Express the answer modulo 1000."""
ASKED = [
    ("Mail the invoice to jane.doe@example.com", "private", "small"),
    ("I bought a kettle last week and want my money back, how do I return it?", "shop", "small"),
    ("My parcel has not arrived yet, where is it?", "shop", "small"),
    ("Wie wird das Wetter morgen in Hamburg?", "experts", "large"),
    ("Can I sue my employer for breach of contract if the non-compete clause was never signed?", "experts", "large"),
    (HARD, "experts", "large"),
    ("Write a long story about a lighthouse keeper who finds a letter", "drafts", "long"),
    ("Who wrote Othello?", "default", "small"),
]
RUDE = "This is useless, where is my parcel?"


async def ask(url: str, content: str) -> dict[str, str]:
    """The headers of the answer to one request."""
    body = {"model": "guide", "messages": [{"role": "user", "content": content}]}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/chat/completions", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return {name.lower(): value for name, value in answer.headers.items()}


@contextlib.asynccontextmanager
async def classifier(port: int) -> AsyncIterator[None]:
    """The example's classifier, on this port."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(EXAMPLE / "classifier.py"), str(port))
    try:
        await eventually(lambda: is_open(port))
        yield
    finally:
        process.kill()
        await process.wait()


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_each_prompt_goes_where_its_meaning_leads(tmp_path: Path) -> None:
    """Each kind of signal decides once; the classifier while it answers; the status has the examples' figures."""
    folder = tmp_path / "routing"
    shutil.copytree(EXAMPLE, folder)
    (port,) = free_ports(1)
    policy = (folder / "prompts.yaml").read_text()
    (folder / "prompts.yaml").write_text(policy.replace("127.0.0.1:9010", f"127.0.0.1:{port}"))
    async with contextlib.AsyncExitStack() as stack:
        llms = {
            f"llm-{name}": await stack.enter_async_context(SimulatedLLM(Behaviour(models=(name,), tokens=1)))
            for name in ("small", "large", "long")
        }
        options = ("--anonymous-namespace", "default")
        place = await stack.enter_async_context(served(folder, *options, services=llms))
        url = place.running.client_url
        await comes_to_know(url, model="guide", key="")
        unclassified = await ask(url, RUDE)
        await stack.enter_async_context(classifier(port))
        answers = [(content, await ask(url, content)) for content, _, _ in ASKED]
        classified = await ask(url, RUDE)

        def figures() -> Any:
            ((guide, *_),) = (chosen(read_objects(folder / ".modelway"), "policy/guide"),)
            return guide["status"].get("signals")

        shown = await eventually(figures)

    assert ASKED == [(content, each["x-modelway-rule"], each["x-modelway-model"]) for content, each in answers]
    assert ("shop", "experts") == (unclassified["x-modelway-rule"], classified["x-modelway-rule"])
    assert "rude=?1;label=rude;score=0.95" in classified["x-modelway-signals"]
    assert [("returns", 8), ("delivery", 8)] == [(each["name"], each["phrases"]) for each in shown]
    assert all(float(each["accuracy"]) > 0.7 for each in shown), shown


def test_the_docs_show_the_classifier_that_was_run() -> None:
    """Word by word, so that what is copied works."""
    docs = (EXAMPLE.parents[1] / "docs" / "routing.md").read_text()

    assert f"```python\n{(EXAMPLE / 'classifier.py').read_text()}```\n" in docs
