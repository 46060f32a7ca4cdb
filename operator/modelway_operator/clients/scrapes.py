"""Measurements without Prometheus: the gateways' own `/metrics`, read on a beat and kept for a while in memory.

Rule: only what tells the arms of a rollout apart is kept, since nothing else is ever asked of it.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from modelway_contract.names import METRICS_PATH, REQUESTS_TOTAL, TPOT_SECONDS, TTFT_SECONDS, Arm, Label
from modelway_operator.clients.bodies import read_bounded
from modelway_operator.core.rollout import counters
from modelway_operator.core.rollout.counters import Scrape, Series
from modelway_operator.core.rollout.model import Measurement, MeasurementRequest, MetricsSource

SCRAPE_DEADLINE_SECONDS: Final = 2.0
KEEP_SECONDS: Final = 1800.0
"""How far back a window may reach; the catch-up after an outage ends here."""
MAX_SCRAPE_BYTES: Final = 32 * 1024 * 1024

_WANTED: Final = (REQUESTS_TOTAL, TTFT_SECONDS, TPOT_SECONDS)
_UNSPLIT: Final = f'{Label.ARM}="{Arm.NONE}"'

logger = logging.getLogger(__name__)


class GatewayScrapes:
    """The source that a cluster without Prometheus has."""

    def __init__(
        self,
        addresses: Callable[[], Collection[str]],
        *,
        interval_seconds: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._addresses = addresses
        self._interval_seconds = interval_seconds
        self._wall_clock = wall_clock
        self._recordings: dict[str, deque[Scrape]] = {}
        self._known: dict[Series, Series] = {}
        self._last_success = wall_clock()
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=SCRAPE_DEADLINE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Read on a beat from now on."""
        self._task = asyncio.create_task(self._run(), name="gateway scrapes")

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._session.close()

    @property
    def health(self) -> MetricsSource:
        """Available while any gateway answers; the clock is our own."""
        silent = self._wall_clock() - self._last_success
        if silent > 2 * self._interval_seconds + SCRAPE_DEADLINE_SECONDS:
            return MetricsSource(available=False, message=f"no gateway has shown its metrics for {silent:.0f} s")
        return MetricsSource()

    async def fetch(self, requests: Collection[MeasurementRequest]) -> Mapping[MeasurementRequest, Measurement]:
        """Count what was recorded."""
        return {request: counters.measure(request, self._recordings) for request in requests}

    async def scrape(self) -> None:
        """Read every replica once."""
        now = self._wall_clock()
        addresses = sorted(self._addresses())
        pages = await asyncio.gather(*(self._read(address) for address in addresses))
        for address, page in zip(addresses, pages, strict=True):
            if page is not None:
                self._last_success = now
                values = {self._known.setdefault(series, series): value for series, value in read_page(page).items()}
                self._recordings.setdefault(address, deque()).append(Scrape(time_seconds=now, values=values))
        self._forget(now - KEEP_SECONDS)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self.scrape()
            except Exception:
                # Whatever it was, the next beat asks anew; without beats every rollout would be held.
                logger.exception("a scrape failed unexpectedly")
            await asyncio.sleep(max(0.0, started + self._interval_seconds - loop.time()))

    async def _read(self, address: str) -> str | None:
        try:
            async with self._session.get(f"http://{address}{METRICS_PATH}", allow_redirects=False) as response:
                if response.status != 200:
                    return None
                body = await read_bounded(response, MAX_SCRAPE_BYTES)
                return body.decode() if body is not None else None
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeDecodeError) as exc:
            logger.info("a gateway did not show its metrics", extra={"gateway": address, "error": type(exc).__name__})
            return None

    def _forget(self, before: float) -> None:
        for address, scrapes in list(self._recordings.items()):
            while scrapes and scrapes[0].time_seconds < before:
                scrapes.popleft()
            if not scrapes:
                del self._recordings[address]
        # A series is shown by every scrape while it lives, so the youngest scrapes name all that still matter; one
        # that is kept by older scrapes only is known there under its own object.
        kept = {series for scrapes in self._recordings.values() for series in scrapes[-1].values}
        self._known = {series: series for series in self._known if series in kept}


def read_page(page: str) -> dict[Series, float]:
    """The series of a page that tell arms apart; a page that cannot be read has none."""
    lines = [line for line in page.splitlines() if line.startswith(_WANTED) and _UNSPLIT not in line]
    found: dict[Series, float] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                found[Series(sample.name, frozenset(sample.labels.items()))] = float(sample.value)
    except ValueError as exc:
        logger.warning("a gateway's metrics cannot be read", extra={"error": type(exc).__name__})
        return {}
    return found
