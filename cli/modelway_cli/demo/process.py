"""`modelway run` as a child process: started, waited for, ended.

Rule: it is the very command that people use, so the demo shows nothing that they cannot have.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from modelway_cli.errors import CliError
from modelway_cli.standalone.state import DEFAULT_NAME, Running, read_running

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.1
SCRAPES_PER_INTERVAL: Final = 4
LAST_LINES: Final = 12


class StandaloneProcess:
    """`modelway run` on a folder, running while its `async with` block does."""

    def __init__(self, folder: Path, log: Path, *, services: Mapping[str, str], seconds_per_interval: float) -> None:
        self._folder = folder
        self._log = log
        scrape = f"{round(seconds_per_interval / SCRAPES_PER_INTERVAL * 1000)}ms"
        self.arguments = [
            *("run", str(folder), "--port", "0", "--metrics-port", "0"),
            *("--anonymous-namespace", "default", "--scrape-interval", scrape, "--parent", str(os.getpid())),
            *(part for service, place in services.items() for part in ("--service", f"{service}={place}")),
        ]
        self._process: asyncio.subprocess.Process | None = None
        self.running: Running | None = None

    @property
    def client_url(self) -> str:
        """Where clients go."""
        assert self.running is not None
        return self.running.client_url

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "modelway_cli", *self.arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which ends it in order
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                while self.running is None:
                    self.check()
                    await asyncio.sleep(POLL_SECONDS)
                    self.running = read_running(self._folder / DEFAULT_NAME)
        except TimeoutError:
            await self._stop()
            raise CliError(f"modelway run did not start within {START_SECONDS:g} s:\n{self.last_lines()}") from None
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def check(self) -> None:
        """Raise CliError if it has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise CliError(f"modelway run ended with status {self._process.returncode}:\n{self.last_lines()}")

    def last_lines(self) -> str:
        """What it said last."""
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:])

    def policy(self, name: str) -> dict[str, Any] | None:
        """The policy with its status, as `modelway get -o yaml` would show it."""
        path = self._folder / DEFAULT_NAME / "objects" / f"RoutingPolicy.default.{name}.json"
        try:
            raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return raw

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
