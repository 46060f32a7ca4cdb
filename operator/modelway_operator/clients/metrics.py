"""Measurements from Prometheus, or from nowhere; the gateways' own figures are in `scrapes`.

Rule: a source never raises and never guesses. Whatever goes wrong on the way becomes an answer that `promql.read`
turns into a problem, within a deadline that holds whatever the other side does.
"""

import asyncio
import contextlib
import io
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from modelway_operator.core.rollout import promql
from modelway_operator.core.rollout.model import (
    Measurement,
    MeasurementProblem,
    MeasurementRequest,
    MetricsSource,
)
from modelway_operator.settings import PrometheusSettings

QUERY_SECONDS: Final = 2.0
"""All that one query may take, from the first byte sent to the last one read."""
CONNECT_SECONDS: Final = 1.0
FETCH_SECONDS: Final = 2.5
"""All that one turn may spend on measuring."""
TRIES: Final = 3
"""How often one question is asked within a turn, where an answer may come at the next time."""
CHECK_SECONDS: Final = 5.0
"""How often it is asked for its time, whether or not anything is to be measured: so it is known before a rollout needs
it, and while it does not answer, no turn waits for it."""
REMEMBERED: Final = 4096
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
THREADS: Final = 4

logger = logging.getLogger(__name__)


class MeasurementSource(Protocol):
    """Where measurements come from."""

    @property
    def health(self) -> MetricsSource:
        """How the source is doing, as the engine wants to know it."""

    async def fetch(self, requests: Collection[MeasurementRequest]) -> Mapping[MeasurementRequest, Measurement]:
        """An answer to each request, in bounded time; a failure is an answer too."""

    async def close(self) -> None:
        """Give back what is held."""


class NoSource:
    """The choice to have none: every rollout with analysis is held, and says why."""

    MESSAGE: Final = "the operator runs without a source of metrics (--metrics-source none)"

    @property
    def health(self) -> MetricsSource:
        """Never available."""
        return MetricsSource(available=False, message=self.MESSAGE)

    async def fetch(self, requests: Collection[MeasurementRequest]) -> Mapping[MeasurementRequest, Measurement]:
        """The same problem for each."""
        return dict.fromkeys(requests, promql.problem(MeasurementProblem.UNAVAILABLE, self.MESSAGE))

    async def close(self) -> None:
        """Nothing is held."""


class Prometheus:
    """Anything that speaks Prometheus' API."""

    def __init__(
        self,
        settings: PrometheusSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wall_clock = wall_clock
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="prometheus")
        self._local = threading.local()
        self._connections: list[PrometheusConnect] = []
        self._counted: dict[MeasurementRequest, Measurement] = {}
        self._health = MetricsSource()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep an eye on it from now on."""
        self._task = asyncio.create_task(self._watch(), name="prometheus")

    @property
    def health(self) -> MetricsSource:
        """As of the last answer, or the lack of one."""
        return self._health

    async def close(self) -> None:
        """End the threads without waiting for a query that hangs, and close their connections."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._threads.shutdown(wait=False, cancel_futures=True)
        for connection in self._connections:
            connection.close()

    async def fetch(self, requests: Collection[MeasurementRequest]) -> Mapping[MeasurementRequest, Measurement]:
        """Ask all at once; what is not answered when the time is over counts as unavailable."""
        if not requests:
            return {}
        if not self._health.available:
            return dict.fromkeys(requests, promql.problem(MeasurementProblem.UNAVAILABLE, self._health.message))
        ends = self._clock() + FETCH_SECONDS
        skew = self._health.clock_skew_seconds
        known = {request: self._counted[request] for request in requests if request in self._counted}
        asked = [request for request in requests if request not in known]
        answers = await asyncio.gather(*(self._ask(promql.query_of(request, skew), ends) for request in asked))
        if answers and not any(_is_answered(answer) for answer in answers):
            self._lost(answers[0])
        found = {request: promql.read(request, answer) for request, answer in zip(asked, answers, strict=True)}
        self._keep({request: measurement for request, measurement in found.items() if measurement.problem is None})
        return known | found

    def _keep(self, counted: Mapping[MeasurementRequest, Measurement]) -> None:
        """Counts of a window that is over do not change: to catch up on many must not begin anew each turn."""
        self._counted |= counted
        for request in list(self._counted)[: max(0, len(self._counted) - REMEMBERED)]:
            del self._counted[request]

    async def check(self) -> None:
        """Ask for its time: whether it answers, and how far its clock is from ours."""
        before = self._wall_clock()
        answer = await self._ask(promql.Query(text="time()", time_seconds=0.0), self._clock() + QUERY_SECONDS, now=True)
        after = self._wall_clock()
        if not _is_answered(answer):
            self._lost(answer)
            return
        if not self._health.available:
            logger.info("Prometheus answers")
        # A refusal is an answer too: the measurements will be refused alike, and say so where it is seen.
        theirs = _scalar(answer)
        skew = self._health.clock_skew_seconds if theirs is None else theirs - (before + after) / 2
        self._health = MetricsSource(clock_skew_seconds=skew)

    async def _watch(self) -> None:
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    def _lost(self, answer: promql.Answer) -> None:
        message = f"Prometheus gave no answer: {answer.message or f'HTTP {answer.status}'}"
        if self._health.available:
            logger.warning("Prometheus does not answer", extra={"error": message})
        skew = self._health.clock_skew_seconds
        self._health = MetricsSource(available=False, message=message, clock_skew_seconds=skew)

    async def _ask(self, query: promql.Query, ends: float, *, now: bool = False) -> promql.Answer:
        loop = asyncio.get_running_loop()
        answer = promql.Answer(status=None, message="no time left for it")
        for _ in range(TRIES):
            left = min(QUERY_SECONDS, ends - self._clock())
            if left < 0.05:
                break
            work = loop.run_in_executor(self._threads, self._query, query, left, now)
            try:
                # The thread ends by its own deadline; a side that defeats that one does not hold us up.
                async with asyncio.timeout(left + 0.25):
                    answer = await work
            except TimeoutError:
                answer = promql.Answer(status=None, message="it took too long")
            if _is_answered(answer):
                break
            await asyncio.sleep(min(0.1 + 0.2 * random.random(), max(0.0, ends - self._clock())))  # noqa: S311 - jitter
        return answer

    def _query(self, query: promql.Query, seconds: float, now: bool) -> promql.Answer:
        """Runs in a thread."""
        params = {"timeout": f"{seconds:.3f}"}
        if not now:
            params["time"] = f"{query.time_seconds:.3f}"
        try:
            connection, session = self._connection()
            session.begin(seconds)
            connection.custom_query(query.text, params=params)
        except (requests.RequestException, HTTPError, OSError) as exc:
            # Not the text: it repeats the address with all its parameters.
            return promql.Answer(status=None, message=_why(exc))
        except (PrometheusApiClientException, ValueError, KeyError, TypeError):
            pass  # the library reads less out of an answer than we do
        return session.answer

    def _connection(self) -> tuple[PrometheusConnect, "BoundedSession"]:
        if not hasattr(self._local, "connection"):
            session = BoundedSession(self._settings.ca_file)
            connection = PrometheusConnect(
                url=self._settings.url, session=session, method="POST", retry=Retry(total=0, redirect=False)
            )
            self._local.connection, self._local.session = connection, session
            self._connections.append(connection)
        # Read each time, so that a rotated token needs no restart.
        headers = dict(self._settings.headers)
        if self._settings.bearer_token_file is not None:
            headers["Authorization"] = f"Bearer {_secret(self._settings.bearer_token_file)}"
        if self._settings.password_file is not None:
            self._local.connection.auth = (self._settings.username, _secret(self._settings.password_file))
        self._local.connection.headers = headers
        return self._local.connection, self._local.session


class BoundedSession(requests.Session):
    """A session whose every answer is kept, bounded in bytes and time, whatever the library makes of it."""

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = str(ca_file) if ca_file is not None else True
        self._ends = 0.0
        self._seconds = QUERY_SECONDS
        self.answer = promql.Answer(status=None)

    def begin(self, seconds: float) -> None:
        """The next request has this long."""
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self.answer = promql.Answer(status=None, message="nothing was asked")

    def request(self, method: str, url: str, **given: Any) -> requests.Response:  # type: ignore[override]
        """Send; parameters of a POST go into its body, where length does not matter."""
        if method == "POST":
            given["data"] = given.pop("params", None)
        given["timeout"] = (min(CONNECT_SECONDS, self._seconds), self._seconds)
        # Neither redirects nor compression: both let the other side decide how much we do.
        given["headers"] = {**(given.get("headers") or {}), "Accept-Encoding": "identity"}
        response = super().request(method, url, allow_redirects=False, stream=True, **given)
        with response:
            body = self._read(response)
        self.answer = promql.Answer(status=response.status_code, body=body)
        again = requests.Response()
        again.status_code, again.headers, again.raw = response.status_code, response.headers, io.BytesIO(body)
        return again

    def _read(self, response: requests.Response) -> bytes:
        body = bytearray()
        while chunk := response.raw.read1(65536):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise requests.exceptions.ContentDecodingError("the answer is too long")
            if time.monotonic() > self._ends:
                raise requests.exceptions.ReadTimeout("the answer took too long")
        return bytes(body)


def _is_answered(answer: promql.Answer) -> bool:
    """Whether asking again would only bring the same."""
    return answer.status is not None and answer.status < 500 and answer.status not in promql.RETRYABLE_4XX


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as exc:
        raise OSError("a file with a token or password is not text") from exc


def _why(exc: Exception) -> str:
    match exc:
        case requests.exceptions.ContentDecodingError():
            return f"it was longer than {MAX_ANSWER_BYTES} bytes"
        case requests.exceptions.SSLError():
            return "its certificate is not trusted"
        case requests.exceptions.Timeout() | TimeoutError():
            return "it took too long"
        case requests.exceptions.ConnectionError() | HTTPError():
            return "no connection"
        case _:
            return type(exc).__name__


class _Data(msgspec.Struct):
    result: tuple[float, str]


class _Scalar(msgspec.Struct):
    data: _Data


def _scalar(answer: promql.Answer) -> float | None:
    if answer.status != 200:
        return None
    try:
        return float(msgspec.json.decode(answer.body, type=_Scalar).data.result[1])
    except (msgspec.DecodeError, ValueError):
        return None
