"""Gateways as processes of their own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.support.gateway import TOKEN
from tests.support.search import overhearing

ROOT = Path(__file__).resolve().parents[4]


@asynccontextmanager
async def process(
    *arguments: str, module: str = "modelway_gateway", **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program, or one of its tests' own that ends in it; killed with the block if it has not ended by itself."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, cwd=ROOT,
        stderr=asyncio.subprocess.PIPE, env={"PATH": "/usr/bin", **environment},
    )  # fmt: skip
    async with overhearing(started, "a gateway"):
        try:
            yield started
        finally:
            if started.returncode is None:
                started.kill()
            await started.communicate()


async def event(started: asyncio.subprocess.Process, name: str) -> dict[str, object]:
    """The next log line of this event; every line must be a JSON object."""
    assert started.stderr is not None
    async with asyncio.timeout(20):
        while line := await started.stderr.readline():
            parsed: dict[str, object] = json.loads(line)
            if parsed["event"] == name:
                return parsed
    raise AssertionError(f"the log ended before {name}")


LOOPBACK = (
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--metrics-port",
    "0",
    "--admin-host",
    "127.0.0.1",
    "--admin-port",
    "0",
)


@dataclass(frozen=True)
class Running:
    """A gateway process that listens."""

    started: asyncio.subprocess.Process
    client_port: int
    metrics_port: int
    admin_port: int | None

    @property
    def chat_url(self) -> str:
        return f"http://127.0.0.1:{self.client_port}/v1/chat/completions"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def ready_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/readyz"

    @property
    def config_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}/config"

    async def is_ready(self, session: aiohttp.ClientSession) -> bool:
        async with session.get(self.ready_url) as got:
            return got.status == 200


@asynccontextmanager
async def listening(
    *flags: str, first: tuple[str, ...] = (), module: str = "modelway_gateway", **environment: str
) -> AsyncIterator[Running]:
    """A process on free ports of loopback, from the moment on at which it takes requests."""
    arguments = (*first, *LOOPBACK, *flags)
    async with process(*arguments, module=module, MODELWAY_ADMIN_TOKEN=TOKEN, **environment) as started:
        ports = await event(started, "listening")
        admin = ports["admin"]
        assert admin is None or isinstance(admin, int)
        yield Running(started, int(str(ports["clients"])), int(str(ports["metrics"])), admin)
