"""A plugin of pytest: what a test run has written down is searched for prompts, and a run that finds one fails.

The rule: whoever starts a process or a gateway for tests hands over what it wrote (`canary.WRITTEN`, `overhearing`);
what pytest captured and what was logged in this process is searched here. `tests/conftest.py` brings it in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from modelway_gateway.logs import JsonFormatter

from tests.support.canary import WRITTEN

RECORDS = Path(__file__).resolve().parents[2] / "docs" / "records"
LOGGERS = ("modelway_gateway", "modelway_operator", "modelway_cli", "aiohttp", "asyncio", "kopf")


class _Searching(logging.Handler):
    """Every log line as the gateway would write it."""

    def emit(self, record: logging.LogRecord) -> None:
        WRITTEN.search(f"log of {record.name}", self.format(record))


def pytest_configure() -> None:
    """Listen to this process's logs, to the gateway's at every level."""
    handler = _Searching()
    handler.setFormatter(JsonFormatter())
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    logging.getLogger("modelway_gateway").setLevel(logging.DEBUG)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Search what was captured while one test ran; its logs were, as a process of ours would write them."""
    for title, text in report.sections:
        if report.when == "teardown" and not title.startswith("Captured log"):
            WRITTEN.search(f"{report.nodeid}: {title}", text)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that wrote a prompt down somewhere."""
    search_folder(RECORDS)
    if WRITTEN.found and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was searched, and where a prompt was found."""
    terminalreporter.write_line(
        f"prompts: {WRITTEN.sent:,} with the canary sent, {WRITTEN.texts:,} texts "
        f"({WRITTEN.size_bytes / 1e6:.1f} MB) searched, found in {len(WRITTEN.found)}"
    )
    for place in dict.fromkeys(WRITTEN.found):
        terminalreporter.write_line(f"  {place}", red=True)


def search_folder(folder: Path) -> None:
    """Search every file below it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            WRITTEN.search(str(path), path.read_bytes())


@contextmanager
def _heard(place: str, stream: asyncio.StreamReader | None) -> Iterator[None]:
    if stream is None:
        yield
        return
    kept = bytearray(stream._buffer)  # type: ignore[attr-defined]
    feed = stream.feed_data

    def feed_data(data: bytes) -> None:
        kept.extend(data)
        feed(data)

    stream.feed_data = feed_data  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        WRITTEN.search(place, bytes(kept))


@asynccontextmanager
async def overhearing(process: asyncio.subprocess.Process, what: str) -> AsyncIterator[None]:
    """Search all that a process writes while the block lasts; the test reads its pipes as if nobody listened."""
    with _heard(f"standard output of {what}", process.stdout), _heard(f"standard error of {what}", process.stderr):
        yield
