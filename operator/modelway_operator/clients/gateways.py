"""Every gateway replica: pushes over mutual TLS, answers remembered, heartbeats, one call at a time to each.

Rule: a replica is its own task, so that one that hangs delays nobody. What is offered is always the newest whole
config; a replica gets the sections it lacks, by digest, and what it last said is all that anybody may believe of it.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import aiohttp

from modelway_contract import codec
from modelway_contract.config import (
    Ack,
    Fenced,
    Missing,
    ProbeRequest,
    ProbeResult,
    Push,
    Rejected,
    Rejection,
)
from modelway_contract.names import ADMIN_SERVER_NAME, CONFIG_PATH, CONFIG_STATUS_PATH, PROBE_PATH
from modelway_operator.clients.bodies import read_bounded

PUSH_DEADLINE_SECONDS: Final = 2.0
PROBE_DEADLINE_SECONDS: Final = 10.0
HEARTBEAT_SECONDS: Final = 10.0
RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
"""Pauses after a push that did not arrive, each halved or not by chance, so that replicas are not retried in step."""
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one replica's admin port is. A pod that was replaced is another replica, whatever its address."""

    pod: str
    address: str
    port: int

    @property
    def host(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.address}]" if ":" in self.address else self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is known of one replica: its last words, and when they were (monotonic seconds)."""

    endpoint: Endpoint
    ack: Ack | None = None
    answered_at: float | None = None
    fenced: Fenced | None = None
    rejections: tuple[Rejection, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class _Offer:
    """One config on its way to everybody, packed once for each choice of sections."""

    def __init__(self, push: Push, *, offered_at: float) -> None:
        assert push.base is not None
        assert push.credentials is not None
        self.push = push
        self.offered_at = offered_at
        self._packed: dict[frozenset[str], asyncio.Task[bytes]] = {}
        self._answered: set[Endpoint] = set()
        self._news = asyncio.Event()

    async def packed(self, sections: frozenset[str]) -> bytes:
        """The document with these sections; compressing a large one must not stop the loop."""
        if sections not in self._packed:
            push = self.push
            part = Push(
                live=push.live,
                base_digest=push.base_digest,
                credentials_digest=push.credentials_digest,
                base=push.base if "base" in sections else None,
                credentials=push.credentials if "credentials" in sections else None,
            )
            self._packed[sections] = asyncio.ensure_future(asyncio.to_thread(codec.pack, part))
        return await asyncio.shield(self._packed[sections])

    def lacking(self, ack: Ack | None) -> frozenset[str]:
        """Sections that a replica that said this does not have; of one that said nothing, let it ask."""
        if ack is None:
            return frozenset()
        digests = {
            "base": (ack.base, self.push.base_digest),
            "credentials": (ack.credentials, self.push.credentials_digest),
        }
        return frozenset(name for name, (has, needs) in digests.items() if has != needs)

    def has_answer_of(self, endpoint: Endpoint) -> bool:
        """Whether the replica has answered before: then this is a heartbeat."""
        return endpoint in self._answered

    def is_answered_by(self, endpoint: Endpoint) -> None:
        """The replica has answered, whichever way."""
        self._answered.add(endpoint)
        self._news.set()

    async def wait_for(self, endpoints: set[Endpoint]) -> None:
        """Return once all of these have answered."""
        while not endpoints <= self._answered:
            self._news.clear()
            await self._news.wait()


class _Replica:
    """One replica's task and what it knows."""

    def __init__(self, fleet: "Gateways", endpoint: Endpoint) -> None:
        self._fleet = fleet
        self._wake = asyncio.Event()
        self.met = asyncio.Event()
        self.report = Report(endpoint=endpoint)
        self.task = asyncio.create_task(self._run(), name=f"gateway {endpoint.pod}")

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    async def ask(self, method: str, path: str, body: bytes | None, deadline_seconds: float) -> _Answer:
        """One call, done or given up by the deadline."""
        endpoint = self.report.endpoint
        url = f"https://{endpoint.host}:{endpoint.port}{path}"
        async with asyncio.timeout(deadline_seconds):
            return await self._fleet.call(method, url, body)

    async def _run(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            offer = self._fleet.offer
            try:
                if not self.met.is_set():
                    await self._meet()
                if offer is not None:
                    await self._push(offer)
                    offer.is_answered_by(self.report.endpoint)
                failures, pause = 0, HEARTBEAT_SECONDS
            except (aiohttp.ClientError, TimeoutError, OSError, codec.ContractError) as exc:
                # The text of a connection error names addresses and certificates, never contents.
                said = str(exc) if isinstance(exc, codec.ContractError) else f"{type(exc).__name__} {exc}".strip()
                self._tell(replace(self.report, error=said[:200]))
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                pause *= 0.5 + 0.5 * random.random()  # noqa: S311 - spreads retries, guards nothing
                failures += 1
            except Exception:
                # Whatever it was, this replica must not be left with an old config for good.
                logger.exception("a push failed unexpectedly", extra={"gateway": self.report.endpoint.pod})
                pause = RETRY_SECONDS[-1]
            finally:
                self.met.set()
            if self._fleet.offer is offer:
                # Not wait_for: before Python 3.12 it loses a cancel that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()

    async def _meet(self) -> None:
        answer = await self.ask("GET", CONFIG_STATUS_PATH, None, PUSH_DEADLINE_SECONDS)
        ack = codec.decode(answer.body, Ack) if answer.status == 200 else None
        self._tell(replace(self.report, ack=ack, answered_at=self._fleet.clock(), error=""))

    async def _push(self, offer: _Offer) -> None:
        sections = offer.lacking(self.report.ack)
        # Twice: once with what it seems to lack, once more with what it says it lacks.
        for _ in range(2):
            body = await offer.packed(sections)
            answer = await self.ask("PUT", CONFIG_PATH, body, PUSH_DEADLINE_SECONDS)
            now = self._fleet.clock()
            if answer.status != 412:
                break
            sections |= frozenset(codec.decode(answer.body, Missing).missing)
        self._fleet.count(answer.status)
        known = replace(self.report, answered_at=now, error="", fenced=None)
        match answer.status:
            case 200:
                ack = codec.decode(answer.body, Ack)
                if not offer.has_answer_of(self.report.endpoint):
                    self._fleet.time_taken(now - offer.offered_at)
                self._tell(replace(known, ack=ack, rejections=()))
            case 409:
                self._tell(replace(known, fenced=codec.decode(answer.body, Fenced)))
            case 422:
                errors = codec.decode(answer.body, Rejected).errors
                self._tell(replace(known, rejections=errors))
            case status:
                raise codec.ContractError(f"the gateway answered a push with HTTP {status}")

    def _tell(self, report: Report) -> None:
        before, self.report = self.report, report
        if replace(before, answered_at=None) != replace(report, answered_at=None):
            if report.error and report.error != before.error:
                told = {"gateway": report.endpoint.pod, "error": report.error}
                logger.warning("a gateway could not be reached", extra=told)
            self._fleet.on_change()


class Gateways:
    """All replicas."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
        on_answer: Callable[[int], None] = lambda _: None,
        on_acknowledged: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.clock = clock
        self.on_change = on_change
        self.count = on_answer
        self.time_taken = on_acknowledged
        self.offer: _Offer | None = None
        self._replicas: dict[Endpoint, _Replica] = {}
        self._session: aiohttp.ClientSession | None = None
        self._retired: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End every task and connection."""
        self.set_endpoints(())
        await asyncio.gather(*self._retired, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def set_identity(self, context: ssl.SSLContext) -> None:
        """Show this certificate from now on; connections made with the one before are given up."""
        old, self._session = (
            self._session,
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=0, limit_per_host=2, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            ),
        )
        if old is not None:
            await old.close()
        for replica in self._replicas.values():
            replica.wake()

    def set_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Speak to these and to nobody else."""
        wanted = set(endpoints)
        for endpoint in self._replicas.keys() - wanted:
            task = self._replicas.pop(endpoint).task
            task.cancel()
            self._retired.add(task)
            task.add_done_callback(self._retired.discard)
        for endpoint in wanted - self._replicas.keys():
            self._replicas[endpoint] = _Replica(self, endpoint)

    def reports(self) -> tuple[Report, ...]:
        """What every replica last said, in a fixed order."""
        return tuple(
            self._replicas[endpoint].report
            for endpoint in sorted(self._replicas, key=lambda one: (one.pod, one.address))
        )

    def propose(self, push: Push | None) -> None:
        """Offer this to every replica, now and at every heartbeat; None ends all pushing."""
        if push is not None and self.offer is not None and _is_same(push, self.offer.push):
            return
        self.offer = None if push is None else _Offer(push, offered_at=self.clock())
        for replica in self._replicas.values():
            replica.wake()

    async def meet(self, *, within_seconds: float) -> None:
        """Ask every replica anew what it runs; return when all have answered, or the time is over."""
        for replica in self._replicas.values():
            replica.met.clear()
            replica.wake()
        waits = [replica.met.wait() for replica in self._replicas.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await asyncio.gather(*waits)

    @property
    def offered(self) -> Push | None:
        """What every replica is offered now."""
        return None if self.offer is None else self.offer.push

    async def settle(self, *, within_seconds: float) -> None:
        """Wait until every replica that answers at all has answered what is offered now, or the time is over."""
        if self.offer is not None:
            answering = {endpoint for endpoint, replica in self._replicas.items() if not replica.report.error}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_seconds):
                    await self.offer.wait_for(answering)

    async def probe(self, endpoint: Endpoint, model: str) -> ProbeResult:
        """Let one replica ask a model's backends; a probe that fails on the way is a failed probe."""
        replica = self._replicas.get(endpoint)
        if replica is None:
            return ProbeResult(ok=False, message="the gateway is gone")
        body = codec.encode(ProbeRequest(model=model))
        try:
            answer = await replica.ask("POST", PROBE_PATH, body, PROBE_DEADLINE_SECONDS)
            if answer.status != 200:
                return ProbeResult(ok=False, message=f"the gateway answered the probe with HTTP {answer.status}")
            return codec.decode(answer.body, ProbeResult)
        except (aiohttp.ClientError, TimeoutError, OSError, codec.ContractError) as exc:
            return ProbeResult(ok=False, message=f"the gateway could not be asked: {type(exc).__name__}")

    async def call(self, method: str, url: str, body: bytes | None) -> _Answer:
        """One HTTP exchange with whichever replica the address belongs to."""
        if self._session is None:
            raise codec.ContractError("there is no client certificate yet")
        headers = {"Content-Type": "application/json" if method == "POST" else "application/gzip"} if body else None
        async with self._session.request(
            method, url, data=body, headers=headers, server_hostname=ADMIN_SERVER_NAME, allow_redirects=False
        ) as response:
            read = await read_bounded(response, MAX_ANSWER_BYTES)
            if read is None:
                raise codec.ContractError("the gateway's answer is too long")
            return _Answer(response.status, read)


def _is_same(one: Push, other: Push) -> bool:
    # By digests: comparing thousands of models field by field would take longer than not pushing saves.
    def key(push: Push) -> tuple[object, ...]:
        return push.base_digest, push.credentials_digest, push.live

    return one is other or key(one) == key(other)
