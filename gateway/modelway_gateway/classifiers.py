"""Asks policies' own classifiers over HTTP; what is asked and what an answer means is `core.classifiers`' to say.

Rules to know: nobody waits longer than a signal's deadline, from before the connection to the answer's last byte. A
question that is asked already is not asked again, and one that nobody waits for any more is given up. Nothing here
logs: a failure is a verdict.
"""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Final

import aiohttp
import msgspec

from modelway_gateway.core.classifiers import MAX_ANSWER_BYTES, Asking, Failure, failed
from modelway_gateway.core.heads import USER_AGENT
from modelway_gateway.core.series import SignalKey
from modelway_gateway.core.verdicts import Verdict
from modelway_gateway.upstream.tls import system_context

MAX_UNDER_WAY: Final = 64
"""Questions of one signal at a time; each holds a connection."""
_MAX_CONNECTIONS: Final = 1024
_KEEP_ALIVE_SECONDS: Final = 15.0
_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": USER_AGENT,
}
_encode: Final = msgspec.json.Encoder().encode


class _Question(msgspec.Struct):
    """What a classifier gets to see."""

    text: str


class _Flight:
    """A question under way, and how many requests wait for its answer."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[Verdict]) -> None:
        self.task = task
        self.waiting = 0


class Classifiers:
    """Everything that is being asked; opens nothing before the first question."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._flights: dict[bytes, _Flight] = {}
        self._under_way: dict[SignalKey, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether anything was ever asked."""
        return self._session is not None

    @property
    def under_way(self) -> int:
        """How many questions have no answer yet."""
        return sum(self._under_way.values())

    async def ask(self, asking: Asking) -> Verdict:
        """What the classifier says; a failed verdict where it says nothing. May be cancelled."""
        flight = self._flights.get(asking.digest)
        if flight is None:
            if self._under_way.get(asking.classifier.key, 0) >= MAX_UNDER_WAY:
                return failed(Failure.BUSY)
            flight = self._start(asking)
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                self._forget(asking.digest, flight)
                flight.task.cancel()

    async def close(self) -> None:
        """Give up what is under way, and close what rests."""
        tasks = [each.task for each in self._flights.values()]
        self._flights.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _start(self, asking: Asking) -> _Flight:
        key = asking.classifier.key
        flight = _Flight(asyncio.get_running_loop().create_task(self._fly(asking)))
        self._flights[asking.digest] = flight
        self._under_way[key] = self._under_way.get(key, 0) + 1

        def landed(_: asyncio.Task[Verdict]) -> None:
            self._forget(asking.digest, flight)
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]

        flight.task.add_done_callback(landed)
        return flight

    def _forget(self, digest: bytes, flight: _Flight) -> None:
        """Let nobody join it any more: the same text is asked anew."""
        if self._flights.get(digest) is flight:
            del self._flights[digest]

    async def _fly(self, asking: Asking) -> Verdict:
        classifier = asking.classifier
        try:
            async with asyncio.timeout(classifier.deadline_seconds):
                body = await self._post(classifier.url, _encode(_Question(asking.text)))
        except TimeoutError:
            return failed(Failure.DEADLINE)
        except (aiohttp.ClientError, OSError, ValueError):  # the last two: of a host that is no name
            return failed(Failure.UNREACHABLE)
        return failed(body) if isinstance(body, Failure) else classifier.hear(asking.digest, body)

    async def _post(self, url: str, question: bytes) -> bytes | Failure:
        """The answer's body. A connection that rested may have been closed meanwhile: then it is asked once more."""
        try:
            return await self._post_once(url, question)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._post_once(url, question)

    async def _post_once(self, url: str, question: bytes) -> bytes | Failure:
        async with self._opened().post(
            url,
            data=BytesIO(question),  # aiohttp warns of large bytes
            headers=_HEADERS,
            allow_redirects=False,
            ssl=system_context() if url.startswith("https:") else True,
        ) as answer:
            if answer.status != 200:
                answer.close()
                return Failure.BAD_STATUS
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    answer.close()
                    return Failure.TOO_LARGE
        return bytes(body)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                auto_decompress=False,
                read_bufsize=MAX_ANSWER_BYTES,
                trust_env=False,
            )
        return self._session
