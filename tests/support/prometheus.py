"""A real Prometheus with a recorded past, and a fake one for answers that a real one does not give.

The past is made by `promtool` from an OpenMetrics text, so a test knows every sample and waits for no scrape.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tools.localkube.layout import read_layout

from tests.support.ports import free_ports

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series at one moment."""

    name: str
    labels: tuple[tuple[str, str], ...]
    time_seconds: float
    value: float

    def line(self) -> str:
        """As OpenMetrics spells it."""
        labels = ",".join(f"{key}={json.dumps(value)}" for key, value in self.labels)
        return f"{self.name}{{{labels}}} {self.value} {self.time_seconds}"


@contextlib.contextmanager
def running_prometheus(samples: Sequence[Sample]) -> Iterator[str]:
    """A Prometheus whose past is this; its URL."""
    with tempfile.TemporaryDirectory(prefix="modelway-prometheus-") as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir()
        _record(folder, data, samples)
        config = folder / "prometheus.yml"
        config.write_text("global: {scrape_interval: 15s}\n")
        (port,) = free_ports(1)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    find("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}",
                    f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y",
                ],
                stdout=log, stderr=subprocess.STDOUT, cwd=folder,
            )  # fmt: skip
            try:
                url = f"http://127.0.0.1:{port}"
                _wait_until_ready(url, process, folder / "log")
                yield url
            finally:
                process.kill()
                process.wait()


def find(program: str) -> str:
    """Debian's, or the one that localkube keeps."""
    kept = read_layout().commands / program
    found = shutil.which(program) or (str(kept) if kept.exists() else None)
    if found is None:
        why = f"{program} is not installed: run `make node`, or install it from your distribution"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


def _record(folder: Path, data: Path, samples: Sequence[Sample]) -> None:
    if not samples:
        return
    # promtool wants each family in one piece, and each series in the order of time.
    ordered = sorted(samples, key=lambda one: (one.name, one.labels, one.time_seconds))
    text = folder / "past.txt"
    text.write_text("\n".join([*(one.line() for one in ordered), "# EOF"]) + "\n")
    command = [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    subprocess.run(command, check=True, capture_output=True)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(OSError):
            opener.open(f"{url}/-/ready", timeout=2).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"Prometheus did not start:\n{log.read_text(errors='replace')[-2000:]}")


@dataclass(slots=True)
class Asked:
    """One query as it arrived."""

    headers: dict[str, str]
    form: dict[str, str]


@dataclass(slots=True)
class FakePrometheus:
    """Answers what it is told to: bytes, with a status, or whatever a handler of the test does."""

    url: str = ""
    status: int = 200
    body: bytes = b""
    asked: list[Asked] = field(default_factory=list)
    handler: Any = None

    def says(self, result: Any, *, status: int = 200, kind: str = "vector", **more: Any) -> None:
        """Answer with this result from now on."""
        data = {"resultType": kind, "result": result}
        self.status, self.body = status, json.dumps({"status": "success", "data": data, **more}).encode()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`/api/v1/query`, and everything else."""
        form = {key: str(value) for key, value in (await request.post()).items()}
        if form.get("query") == "time()" and self.handler is None:
            data = {"resultType": "scalar", "result": [time.time(), str(time.time())]}
            return web.json_response({"status": "success", "data": data})
        self.asked.append(Asked(headers=dict(request.headers), form=form))
        if self.handler is not None:
            answer: web.StreamResponse = await self.handler(request)
            return answer
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@contextlib.asynccontextmanager
async def fake_prometheus() -> AsyncIterator[FakePrometheus]:
    """One on loopback."""
    fake = FakePrometheus()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()
